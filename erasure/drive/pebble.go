package drive

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/shoal-storage/shoal/erasure/register"
	shoalvfs "github.com/shoal-storage/shoal/internal/vfs"
)

// Pebble is a KV on a disk: an LSM tree with a log, in a directory of its own
// (https://pkg.go.dev/github.com/cockroachdb/pebble/v2).
type Pebble struct {
	db       *pebble.DB
	disk     *haltingFS
	log      *slog.Logger
	once     sync.Once
	failed   chan struct{} // closed when it has met an error that it cannot go on from
	cause    error         // valid once failed is closed
	entrance entrance
}

// What a store takes of memory, in bytes: a node with four drives is to live in 512 MiB.
const (
	cacheSize    = 16 << 20
	memtableSize = 8 << 20
)

// OpenPebble opens the store in a directory, or makes it. A store that meets an error of
// its disk fails alone: the process, and the stores of other drives, go on. Once it is closed
// another one can be opened in its place.
func OpenPebble(path string, log *slog.Logger) (*Pebble, error) {
	return OpenPebbleIn(vfs.Default, path, log)
}

// OpenPebbleIn is OpenPebble in another file system than that of the machine.
func OpenPebbleIn(disk vfs.FS, path string, log *slog.Logger) (*Pebble, error) {
	p := &Pebble{failed: make(chan struct{}), log: log}
	p.disk = &haltingFS{FS: disk, failed: p.fail}
	opened := make(chan error, 1)
	go func() { opened <- p.open(path) }() // as Apply: that may end where the store fails
	var err error
	select {
	case err = <-opened:
	case <-p.failed:
		err = p.cause
	}
	if err != nil {
		p.disk.halt()
		return nil, errors.Join(fmt.Errorf("open the store in %s: %w", path, err), p.disk.release())
	}
	return p, nil
}

func (p *Pebble) open(path string) (err error) {
	cache := pebble.NewCache(cacheSize)
	defer cache.Unref()
	p.db, err = pebble.Open(path, &pebble.Options{
		FS: p.disk, Cache: cache, MemTableSize: memtableSize, Logger: &pebbleLog{p},
		FormatMajorVersion: pebble.FormatNewest, MaxOpenFiles: 256,
		EventListener: &pebble.EventListener{DataCorruption: p.damaged, BackgroundError: p.background},
	})
	return err
}

// damaged is the end of a store of which a table is. Whoever has read it, a compaction among them, goes on and gets an
// error: to end a compaction where it stands panics, as it gives back what it holds.
func (p *Pebble) damaged(i pebble.DataCorruptionInfo) { p.fail("read", fmt.Errorf("%s", i)) }

// background hears what became of a compaction, and the like. It is the end of the store, and of the goroutine,
// since Pebble tries again at once, as often as it fails. Want of files passes.
func (p *Pebble) background(err error) {
	if shoalvfs.Scarce(err) {
		p.log.Error("drive", "error", err)
		return
	}
	p.fail("background", err)
	runtime.Goexit()
}

// pebbleLog takes what Pebble logs. What it calls fatal, and would end the process for,
// is the end of the goroutine that met it, and of the store.
type pebbleLog struct{ p *Pebble }

func (l *pebbleLog) Infof(format string, args ...any) {
	l.p.log.Debug("drive", "detail", fmt.Sprintf(format, args...))
}

func (l *pebbleLog) Errorf(format string, args ...any) {
	l.p.log.Error("drive", "error", fmt.Sprintf(format, args...))
}

func (l *pebbleLog) Fatalf(format string, args ...any) {
	l.p.fail("store", fmt.Errorf(format, args...))
	runtime.Goexit()
}

// errFailed says that the store has met an error that it cannot go on from.
var errFailed = errors.New("drive: its store has failed")

// Failed returns what the store could not go on from; nil: it can.
func (p *Pebble) Failed() error {
	select {
	case <-p.failed:
		return p.cause
	default:
		return nil
	}
}

// enter has Close wait until the call leaves. After an error nothing was done.
func (p *Pebble) enter() error {
	if p.Failed() != nil {
		return fmt.Errorf("%w: %w", errFailed, register.ErrUnknown)
	}
	return p.entrance.enter()
}

// Get implements KV.
func (p *Pebble) Get(key []byte) ([]byte, bool, error) {
	if err := p.enter(); err != nil {
		return nil, false, err
	}
	defer p.entrance.leave()
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

// Apply implements KV. It runs in a goroutine of its own: that may end where the store
// fails, or wait for ever for one that has ended.
func (p *Pebble) Apply(b *Batch, sync bool) error {
	if err := p.enter(); err != nil {
		return err
	}
	defer p.entrance.leave()
	done := make(chan error, 1)
	go func() { done <- p.apply(b, sync) }()
	select {
	case err := <-done:
		return err
	case <-p.failed:
		return errFailed
	}
}

// fail is the end of the store.
func (p *Pebble) fail(what string, err error) {
	p.once.Do(func() {
		p.disk.halt()
		p.cause = fmt.Errorf("%s: %w", what, err)
		close(p.failed)
		p.log.Error("the drive has failed", "operation", what, "error", err)
	})
}

func (p *Pebble) apply(b *Batch, sync bool) error {
	batch := p.db.NewBatch()
	defer func() { _ = batch.Close() }() // it only gives back memory
	for _, o := range b.ops {
		var err error
		switch o.what {
		case set:
			err = batch.Set(o.key, o.value, nil)
		case extend:
			err = batch.Merge(o.key, o.value, nil) // Pebble's own way to merge is to append
		case remove:
			err = batch.Delete(o.key, nil)
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
	if err := p.enter(); err != nil {
		return nil, err
	}
	it, err := p.db.NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: to})
	if err != nil {
		p.entrance.leave()
		return nil, fmt.Errorf("drive: scan: %w", err)
	}
	return &pebbleIterator{it: it, done: p.entrance.leave}, nil
}

// Close implements KV. It waits for what is under way; what comes later fails.
func (p *Pebble) Close() error {
	p.entrance.shut()
	if p.Failed() != nil { // what it holds is lost anyway, and it could wait for itself
		return p.disk.release()
	}
	p.entrance.drain()
	done := make(chan error, 1)
	go func() { done <- p.db.Close() }()
	select {
	case err := <-done:
		if err != nil {
			return fmt.Errorf("drive: close: %w", err)
		}
		return nil
	case <-p.failed:
		return p.disk.release()
	}
}

type pebbleIterator struct {
	it    *pebble.Iterator
	begun bool
	done  func() // once it is closed
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
	defer i.done()
	if err := errors.Join(i.it.Error(), i.it.Close()); err != nil {
		return fmt.Errorf("drive: scan: %w", err)
	}
	return nil
}
