package drive

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Pebble is a KV on a disk: an LSM tree with a log, in a directory of its own
// (https://pkg.go.dev/github.com/cockroachdb/pebble/v2).
type Pebble struct {
	db     *pebble.DB
	failed atomic.Bool // it has met an error that it cannot go on from
}

// What a store takes of memory, in bytes: a node with four drives is to live in 512 MiB.
const (
	cacheSize    = 16 << 20
	memtableSize = 8 << 20
)

// OpenPebble opens the store in a directory, or makes it. A store that meets an error of
// its disk fails alone: the process, and the stores of other drives, go on.
func OpenPebble(path string, log *slog.Logger) (*Pebble, error) {
	p := &Pebble{}
	cache := pebble.NewCache(cacheSize)
	defer cache.Unref()
	db, err := pebble.Open(path, &pebble.Options{
		FS: vfs.Default, Cache: cache, MemTableSize: memtableSize, Logger: &pebbleLog{p: p, log: log, path: path},
		FormatMajorVersion: pebble.FormatNewest, MaxOpenFiles: 256,
	})
	if err != nil {
		return nil, fmt.Errorf("open the store in %s: %w", path, err)
	}
	p.db = db
	return p, nil
}

// pebbleLog takes what Pebble logs. What it calls fatal, and would end the process for,
// is the end of the goroutine that met it, and of the store.
type pebbleLog struct {
	p    *Pebble
	log  *slog.Logger
	path string
}

func (l *pebbleLog) Infof(format string, args ...any) {
	l.log.Debug("drive", "path", l.path, "detail", fmt.Sprintf(format, args...))
}

func (l *pebbleLog) Errorf(format string, args ...any) {
	l.log.Error("drive", "path", l.path, "error", fmt.Sprintf(format, args...))
}

func (l *pebbleLog) Fatalf(format string, args ...any) {
	l.p.failed.Store(true)
	l.log.Error("the drive has failed", "path", l.path, "error", fmt.Sprintf(format, args...))
	runtime.Goexit()
}

// errFailed says that the store has met an error that it cannot go on from.
var errFailed = errors.New("drive: its store has failed")

// Get implements KV.
func (p *Pebble) Get(key []byte) ([]byte, bool, error) {
	if p.failed.Load() {
		return nil, false, errFailed
	}
	v, closer, err := p.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("drive: get: %w", err)
	}
	v = bytes.Clone(v)
	return v, true, closer.Close()
}

// Apply implements KV. It runs in a goroutine of its own where it may end in one.
func (p *Pebble) Apply(b *Batch, sync bool) error {
	if p.failed.Load() {
		return errFailed
	}
	done := make(chan error, 1)
	go func() {
		defer close(done)
		done <- p.apply(b, sync)
	}()
	if err, ok := <-done; ok {
		return err
	}
	return errFailed
}

func (p *Pebble) apply(b *Batch, sync bool) error {
	batch := p.db.NewBatch()
	defer func() { _ = batch.Close() }() // it only gives back memory
	for _, o := range b.ops {
		var err error
		if o.remove {
			err = batch.Delete(o.key, nil)
		} else {
			err = batch.Set(o.key, o.value, nil)
		}
		if err != nil {
			return fmt.Errorf("drive: batch: %w", err)
		}
	}
	how := pebble.NoSync
	if sync {
		how = pebble.Sync
	}
	if err := batch.Commit(how); err != nil {
		return fmt.Errorf("drive: commit: %w", err)
	}
	return nil
}

// Scan implements KV.
func (p *Pebble) Scan(from, to []byte) (Iterator, error) {
	if p.failed.Load() {
		return nil, errFailed
	}
	it, err := p.db.NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: to})
	if err != nil {
		return nil, fmt.Errorf("drive: scan: %w", err)
	}
	return &pebbleIterator{it: it}, nil
}

// Close implements KV.
func (p *Pebble) Close() error {
	if p.failed.Load() {
		return nil // what it holds is lost anyway, and it could wait for itself
	}
	if err := p.db.Close(); err != nil {
		return fmt.Errorf("drive: close: %w", err)
	}
	return nil
}

type pebbleIterator struct {
	it    *pebble.Iterator
	begun bool
}

func (i *pebbleIterator) Next() bool {
	if !i.begun {
		i.begun = true
		return i.it.First()
	}
	return i.it.Next()
}

func (i *pebbleIterator) Seek(key []byte) bool {
	i.begun = true
	return i.it.SeekGE(key)
}

func (i *pebbleIterator) Key() []byte   { return i.it.Key() }
func (i *pebbleIterator) Value() []byte { return i.it.Value() }

func (i *pebbleIterator) Close() error {
	if err := errors.Join(i.it.Error(), i.it.Close()); err != nil {
		return fmt.Errorf("drive: scan: %w", err)
	}
	return nil
}
