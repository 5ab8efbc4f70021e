package drive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"

	"github.com/shoal-storage/shoal/erasure/register"
)

// Files holds shards that are too large for the ordered store. Its methods may be called
// concurrently.
type Files interface {
	// Create begins the file of a content's shard, of which there is none yet.
	Create(id register.DataID) (File, error)
	// Open opens it for reading; fs.ErrNotExist if there is none.
	Open(id register.DataID) (io.ReaderAt, io.Closer, error)
	// Remove removes it; that there is none is no error.
	Remove(id register.DataID) error
	Close() error
}

// File is a shard that is being written. It is used by one goroutine.
type File interface {
	io.Writer
	// Finish makes it durable and closes it.
	Finish() error
	// Abort removes it, if it was not finished.
	Abort()
}

// errData is returned for what is no note of a shard.
var errData = errors.New("drive: not a note of a shard")

// The first byte of the note of a shard: where it is.
const (
	isInline byte = 'i' // behind this byte
	isFile   byte = 'f' // in a file
)

func dataName(id register.DataID) []byte { return append([]byte{dataKey}, id[:]...) }

func refName(id register.DataID, key []byte, version string) []byte {
	return append(append(append([]byte{refKey}, id[:]...), key...), version...)
}

func inlineShard(b []byte) []byte { return append([]byte{isInline}, b...) }

// holds reports whether the drive has the shards of all contents; inline says that the
// first one comes with the question.
func (d *Drive) holds(ids []register.DataID, inline bool) (bool, error) {
	if inline {
		return true, nil
	}
	for _, id := range ids {
		_, found, err := d.kv.Get(dataName(id))
		if err != nil || !found {
			return false, err
		}
	}
	return true, nil
}

// Create begins the shard of a content. Of what is finished nothing is left if it is
// dropped, and if no register ever refers to it.
func (d *Drive) Create(_ context.Context, id register.DataID) (register.ShardWriter, error) {
	if err := d.room.check(); err != nil {
		return nil, err
	}
	return &shardWriter{d: d, id: id}, nil
}

// maxInline is the size, in bytes, up to which a shard is in the ordered store.
const maxInline = 8 << 10

type shardWriter struct {
	mu    sync.Mutex // who gives a shard up may do so while it is being written
	d     *Drive
	id    register.DataID
	small []byte // while it is no more than maxInline
	file  File   // nil until it is more
}

// Write implements register.ShardWriter.
func (w *shardWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.file == nil && len(w.small)+len(p) <= maxInline {
		w.small = append(w.small, p...)
		return len(p), nil
	}
	if w.file == nil {
		var err error
		if w.file, err = w.d.files.Create(w.id); err != nil {
			return 0, err
		}
		if _, err := w.file.Write(w.small); err != nil {
			return 0, err
		}
	}
	return w.file.Write(p)
}

// Finish implements register.ShardWriter. The note becomes durable with the register
// that refers to it.
func (w *shardWriter) Finish() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	var b Batch
	if w.file == nil {
		b.Set(dataName(w.id), inlineShard(w.small))
		return w.d.kv.Apply(&b, false)
	}
	if err := w.file.Finish(); err != nil {
		return err
	}
	b.Set(dataName(w.id), []byte{isFile})
	return w.d.kv.Apply(&b, false)
}

// Abort implements register.ShardWriter.
func (w *shardWriter) Abort() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.file != nil {
		w.file.Abort()
	}
}

// Drop removes the shard of a content that nothing refers to.
func (d *Drive) Drop(_ context.Context, id register.DataID) error { return d.free(id) }

// ReadShard reads a shard from an offset into p, and returns how much: less than that has
// room for where the shard ends. The error is fs.ErrNotExist if the drive does not have it.
func (d *Drive) ReadShard(_ context.Context, id register.DataID, offset int64, p []byte) (int, error) {
	note, found, err := d.kv.Get(dataName(id))
	switch {
	case err != nil:
		return 0, err
	case !found:
		return 0, fs.ErrNotExist
	case len(note) > 0 && note[0] == isInline:
		inline := note[1:]
		return copy(p, inline[min(offset, int64(len(inline))):]), nil
	case len(note) == 0 || note[0] != isFile:
		return 0, errData
	}
	r, c, err := d.files.Open(id)
	if err != nil {
		return 0, fmt.Errorf("open shard: %w", err)
	}
	n, err := r.ReadAt(p, offset)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return n, errors.Join(err, c.Close())
}

// free removes the shard of a content, if nothing refers to that any more.
func (d *Drive) free(id register.DataID) error {
	d.refs.Lock()
	defer d.refs.Unlock()
	prefix := append([]byte{refKey}, id[:]...)
	it, err := d.kv.Scan(prefix, after(prefix))
	if err != nil {
		return err
	}
	used := it.Next()
	if err := it.Close(); err != nil || used {
		return err
	}
	note, found, err := d.kv.Get(dataName(id))
	if err != nil || !found {
		return err
	}
	var b Batch
	b.Remove(dataName(id))
	if err := d.kv.Apply(&b, false); err != nil {
		return err
	}
	if len(note) > 0 && note[0] == isFile {
		return d.files.Remove(id)
	}
	return nil
}
