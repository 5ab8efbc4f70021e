package drive_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/shoal-storage/shoal/erasure/drive"
	"github.com/shoal-storage/shoal/erasure/register"
	"github.com/shoal-storage/shoal/internal/vfs"
)

// BenchmarkShard writes shards of 512 KiB and commits what refers to them, eight at a time:
// in files of their own, and in segments.
func BenchmarkShard(b *testing.B) {
	for _, where := range []string{"files", "segments"} {
		b.Run(where, func(b *testing.B) {
			path := b.TempDir()
			root, err := vfs.OpenRoot(path)
			files, err1 := drive.OpenFiles(root)
			kv, err2 := drive.OpenPebble(filepath.Join(path, "kv"), slog.New(slog.DiscardHandler))
			if err != nil || err1 != nil || err2 != nil {
				b.Fatal(err, err1, err2)
			}
			defer root.Close()
			d := drive.New(kv, files, nil)
			defer d.Close()
			if where == "segments" {
				if err := d.UseSegments(root, slog.New(slog.DiscardHandler)); err != nil {
					b.Fatal(err)
				}
			}
			b.SetBytes(512 << 10)
			b.SetParallelism(4)
			before := cpuTime(b)
			b.RunParallel(func(pb *testing.PB) {
				cell := make([]byte, 256<<10)
				for pb.Next() {
					if err := writeShard(d, cell, cell); err != nil {
						b.Error(err)
					}
				}
			})
			b.ReportMetric(float64(cpuTime(b)-before)/1e6/float64(b.N), "cpu-ms/op")
		})
	}
}

func writeShard(d *drive.Drive, cells ...[]byte) error {
	ctx := context.Background()
	r := object(1)
	r.Need = 1
	r.Data = []register.DataID{{}}
	n := rand.Uint64()
	copy(r.Data[0][:], fmt.Sprintf("%016x", n))
	w, err := d.Create(ctx, r.Data[0], 0)
	if err != nil {
		return err
	}
	for _, c := range cells {
		if _, err := w.Write(c); err != nil {
			return err
		}
	}
	if err := w.Finish(); err != nil {
		return err
	}
	return d.Commit(ctx, register.Change{Key: key(fmt.Sprint(n)), Record: r, Strict: true})
}

// cpuTime returns what the process has used, in nanoseconds.
func cpuTime(b *testing.B) int64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}
