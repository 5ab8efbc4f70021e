package drive

import (
	"encoding/binary"
	"log/slog"
	"testing"

	pebblefs "github.com/cockroachdb/pebble/v2/vfs"

	"github.com/shoal-storage/shoal/erasure/register"
	"github.com/shoal-storage/shoal/internal/lock"
)

// BenchmarkPut is what one of four drives does for a PUT of 4 KiB that all of them take: of an
// object that is new, and over one that is there.
func BenchmarkPut(b *testing.B) {
	for name, keys := range map[string]uint64{"new": 1 << 62, "over": 64} {
		b.Run(name, func(b *testing.B) { benchmarkPut(b, keys) })
	}
}

func benchmarkPut(b *testing.B, keys uint64) {
	kv, err := OpenPebbleIn(pebblefs.NewMem(), "kv", slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	d := New(kv, NewMemoryFiles(), nil)
	if err := d.StartLog(); err != nil {
		b.Fatal(err)
	}
	inline, value := make([]byte, 2<<10+64), make([]byte, 200)
	before := kv.db.Metrics().WAL.BytesIn
	b.ReportAllocs()
	for n := uint64(1); b.Loop(); n++ {
		token := register.Token{Lease: lock.Token{Generation: 1, Epoch: 1, Sequence: n}}
		key := register.Key{Space: register.Objects, Bucket: 7, Name: "photos/2026/" + string(binary.BigEndian.AppendUint64(nil, n%keys))}
		var id register.DataID
		binary.BigEndian.PutUint64(id[:], n)
		r := register.Record{Version: register.Null, Kind: register.Object, Made: token, Changed: token, Quorum: 3, Need: 2, Data: []register.DataID{id}, Value: value}
		if err := d.Commit(b.Context(), register.Change{Key: key, Record: r, Inline: inline, Strict: true}); err != nil {
			b.Fatal(err)
		}
		if err := d.Decide(b.Context(), []register.Decision{{Key: key, Version: register.Null, Made: token, Changed: token, Everywhere: true}}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(kv.db.Metrics().WAL.BytesIn-before)/float64(b.N), "stored-B/op")
	b.StopTimer()
	if err := d.Close(); err != nil {
		b.Fatal(err)
	}
}
