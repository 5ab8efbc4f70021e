// Package directorytest has what tests of a Directory need.
package directorytest

import (
	"context"
	"errors"
	"strings"
	"sync"

	"github.com/shoal-storage/shoal/internal/directory"
)

// ErrCut is returned while nothing is known.
var ErrCut = errors.New("cut off")

// Records is a control plane in memory, which any number of Directories can follow. Its
// zero value is ready.
type Records struct {
	mu        sync.Mutex
	m         map[string]record
	last      uint64
	cut       bool
	meanwhile func()
}

type record struct {
	value    []byte
	revision uint64
}

// Get implements directory.Records.
func (r *Records) Get(name string) ([]byte, uint64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cut {
		return nil, 0, ErrCut
	}
	return r.m[name].value, r.m[name].revision, nil
}

// List implements directory.Records.
func (r *Records) List(prefix string) ([]string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var names []string
	for name := range r.m {
		if strings.HasPrefix(name, prefix) {
			names = append(names, name)
		}
	}
	return names, nil
}

// Set implements directory.Records.
func (r *Records) Set(_ context.Context, name string, value []byte, revision uint64) error {
	if f := r.meanwhile; f != nil {
		r.meanwhile = nil
		f()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.m[name].revision != revision {
		return directory.ErrChanged
	}
	r.put(name, value)
	return nil
}

func (r *Records) put(name string, value []byte) {
	r.last++
	if r.m == nil {
		r.m = make(map[string]record)
	}
	r.m[name] = record{value, r.last}
	if value == nil {
		delete(r.m, name)
	}
}

// Put changes a record whatever it was.
func (r *Records) Put(name string, value []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.put(name, value)
}

// All returns what there is.
func (r *Records) All() map[string][]byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make(map[string][]byte)
	for name, rec := range r.m {
		all[name] = rec.value
	}
	return all
}

// Cut has nothing be known from now on.
func (r *Records) Cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cut = true
}

// Meanwhile has f run at the beginning of the next Set, which nothing else may run
// beside.
func (r *Records) Meanwhile(f func()) { r.meanwhile = f }
