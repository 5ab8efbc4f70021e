package drive

import (
	"testing"
	"time"

	"github.com/shoal-storage/shoal/erasure/register"
	"github.com/shoal-storage/shoal/internal/lock"
)

// stuckFiles do not come back from removing a file until they are let.
type stuckFiles struct {
	Files
	removing, let chan struct{}
}

func (s stuckFiles) Remove(id register.DataID) error {
	s.removing <- struct{}{}
	<-s.let
	return s.Files.Remove(id)
}

// TestNobodyWaitsForShardsThatAreRemoved: many that were deleted together are removed together, which may take long.
func TestNobodyWaitsForShardsThatAreRemoved(t *testing.T) {
	files := stuckFiles{NewMemoryFiles(), make(chan struct{}), make(chan struct{})}
	d := New(NewMemory(), files, nil)
	sequence := uint64(0)
	commit := func(name string, r register.Record) register.Decision {
		sequence++
		key := register.Key{Space: register.Objects, Bucket: 1, Name: name}
		r.Version, r.Quorum, r.Made = register.Null, 1, register.Token{Lease: lock.Token{Generation: 1, Sequence: sequence}}
		r.Changed = r.Made
		if err := d.Commit(t.Context(), register.Change{Key: key, Record: r}); err != nil {
			t.Fatal(err)
		}
		return register.Decision{Key: key, Version: register.Null, Made: r.Made, Changed: r.Made}
	}
	deleted := func(name string, id byte) register.Decision {
		w, err := d.Create(t.Context(), register.DataID{id}, 10<<10)
		if err == nil {
			_, err = w.Write(make([]byte, 10<<10))
		}
		if err == nil {
			err = w.Finish()
		}
		if err != nil {
			t.Fatal(err)
		}
		commit(name, register.Record{Kind: register.Object, Need: 1, Data: []register.DataID{{id}}})
		return commit(name, register.Record{Kind: register.Tombstone})
	}
	one, other := deleted("one", 1), deleted("other", 2)
	if err := d.Decide(t.Context(), []register.Decision{one}); err != nil {
		t.Fatal(err)
	}
	d.grave.mu.Lock()
	d.grave.graves[0].due = time.Now()
	d.grave.mu.Unlock()
	go d.exhume()
	<-files.removing
	decided := make(chan error, 1)
	go func() { decided <- d.Decide(t.Context(), []register.Decision{other}) }()
	select {
	case err := <-decided:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(20 * time.Second):
		t.Error("that another key is deleted cannot be decided while a shard is being removed")
	}
	close(files.let)
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}
