//go:build unix

package md5lanes_test

import (
	"crypto/md5" //nolint:gosec // what the sums are held against
	"fmt"
	"hash"
	"sync"
	"syscall"
	"testing"

	"github.com/shoal-storage/shoal/internal/md5lanes"
)

// BenchmarkStreams compares the sums of streams that are under way at once with crypto/md5.
func BenchmarkStreams(b *testing.B) {
	const size = 4 << 20
	for _, streams := range []int{1, 2, 3, 4, 8, 16} {
		b.Run(fmt.Sprintf("%d/md5", streams), func(b *testing.B) {
			benchmark(b, streams, size, func() hash.Hash { return md5.New() }) //nolint:gosec // as above
		})
		b.Run(fmt.Sprintf("%d/lanes", streams), func(b *testing.B) {
			var lanes md5lanes.Lanes
			benchmark(b, streams, size, func() *md5lanes.Sum { return lanes.Open() })
		})
	}
}

func benchmark[S interface {
	Write(p []byte) (int, error)
	Sum(b []byte) []byte
}](b *testing.B, streams, size int, open func() S,
) {
	piece := make([]byte, 256<<10)
	b.SetBytes(int64(streams * size))
	before := processorTime(b)
	for b.Loop() {
		var group sync.WaitGroup
		for range streams {
			sum := open()
			group.Go(func() {
				for range size / len(piece) {
					sum.Write(piece)
				}
				sum.Sum(nil)
				if c, ok := any(sum).(*md5lanes.Sum); ok {
					c.Close()
				}
			})
		}
		group.Wait()
	}
	b.ReportMetric((processorTime(b)-before)/(float64(b.N*streams*size)/(1<<30)), "cpu-s/GiB")
}

// processorTime returns the seconds that the process has used.
func processorTime(b *testing.B) float64 {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return float64(used.Utime.Nano()+used.Stime.Nano()) / 1e9
}
