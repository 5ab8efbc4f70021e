package drive

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/shoal-storage/shoal/erasure/register"
)

// Files holds shards that are too large for a segment. Its methods may be called
// concurrently.
type Files interface {
	// Create begins the file of a content's shard. One that is there stays until the new one is finished:
	// what is left of it may be all that there is. One at a time may be begun.
	Create(id register.DataID) (File, error)
	// Open opens it for reading; fs.ErrNotExist if there is none.
	Open(id register.DataID) (io.ReaderAt, io.Closer, error)
	// Remove removes it; that there is none is no error.
	Remove(id register.DataID) error
	// RemoveBegun removes what was begun in the place of one that is there, and stays that.
	RemoveBegun(id register.DataID) error
	// Each calls fn for those that are there, finished or not, until it returns an error; with begun
	// for those that were begun in the place of another one, and not finished.
	Each(fn func(id register.DataID, begun bool) error) error
	Close() error
}

// File is a shard that is being written. It is used by one goroutine.
type File interface {
	io.Writer
	// Finish makes it durable, has it take the place of one that was there, and closes it.
	Finish() error
	// Abort removes it, if it was not finished.
	Abort()
}

// errData is returned for what is no note of a shard.
var errData = errors.New("drive: not a note of a shard")

// The first byte of the note of a shard: where it is.
const (
	isInline  byte = 'i' // behind this byte
	isFile    byte = 'f' // in a file; behind this byte its length 8, unless it was written before that was noted
	isSegment byte = 's' // in a segment, at the place behind this byte

	isDamaged byte = 'x' // where the note behind this byte says, and not whole
)

func fileNote(length int64) []byte {
	return binary.BigEndian.AppendUint64([]byte{isFile}, uint64(length)) //nolint:gosec // not negative
}

// fileLength returns how long a shard is by its note; 0: that is not known.
func fileLength(note []byte) int64 {
	if len(note) != 1+8 || note[0] != isFile {
		return 0
	}
	return int64(binary.BigEndian.Uint64(note[1:])) //nolint:gosec // as above
}

// located returns what a note says of where the shard is, and whether it is damaged.
func located(note []byte) (where []byte, damaged bool) {
	if len(note) > 0 && note[0] == isDamaged {
		return note[1:], true
	}
	return note, false
}

func dataName(id register.DataID) []byte { return append([]byte{dataKey}, id[:]...) }

func refName(id register.DataID, key []byte, version string) []byte {
	return append(append(append([]byte{refKey}, id[:]...), key...), version...)
}

func inlineShard(b []byte) []byte { return append([]byte{isInline}, b...) }

// holds reports whether the drive has the shards of all contents, none of which is known to be
// damaged; inline says that the first one comes with the question.
func (d *Drive) holds(ids []register.DataID, inline bool) (bool, error) {
	if inline {
		return true, nil
	}
	for _, id := range ids {
		note, found, err := d.kv.Get(dataName(id))
		if err != nil || !found {
			return false, err
		}
		if where, damaged := located(note); damaged && d.whole(id, where) != nil {
			return false, nil
		}
	}
	return true, nil
}

// Drop removes the shard of a content that nothing refers to.
func (d *Drive) Drop(_ context.Context, id register.DataID) error {
	if err := d.enter(nil); err != nil {
		return err
	}
	defer d.leave(nil)
	return d.free(id)
}

// ReadShard reads a shard from an offset into p, and returns how much: less than that has
// room for where the shard ends. The error is fs.ErrNotExist if the drive does not have it.
func (d *Drive) ReadShard(_ context.Context, id register.DataID, offset int64, p []byte) (int, error) {
	if err := d.enter(&d.reads); err != nil {
		return 0, err
	}
	defer d.leave(&d.reads)
	d.grave.visit(id)
	var before []byte
	for {
		note, found, err := d.kv.Get(dataName(id))
		switch {
		case err != nil:
			return 0, err
		case !found:
			return 0, fs.ErrNotExist
		}
		n, err := d.readNoted(id, note, offset, p)
		if !errors.Is(err, fs.ErrNotExist) || bytes.Equal(note, before) {
			return n, err
		}
		before = note // its segment may have been compacted meanwhile
	}
}

func (d *Drive) readNoted(id register.DataID, note []byte, offset int64, p []byte) (int, error) {
	note, _ = located(note) // units of one that is damaged may be whole
	if at, ok := parsePlace(note); ok && d.segments != nil {
		return d.segments.read(at, offset, p)
	}
	switch {
	case len(note) > 0 && note[0] == isInline:
		inline := note[1:]
		return copy(p, inline[min(offset, int64(len(inline))):]), nil
	case len(note) > 0 && note[0] == isFile:
		return d.readFile(id, offset, p)
	}
	return 0, errData
}

func (d *Drive) readFile(id register.DataID, offset int64, p []byte) (int, error) {
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
	over := d.bindings.free(id)
	if over == nil {
		return nil // a register is being written that refers to it; if that fails the sweeper finds it
	}
	defer over()
	d.notes.Lock()
	defer d.notes.Unlock()
	prefix := append([]byte{refKey}, id[:]...)
	it, err := d.kv.Scan(prefix, after(prefix))
	if err != nil {
		return err
	}
	used := it.Next()
	if err := it.Close(); err != nil {
		return err
	}
	note, found, err := d.kv.Get(dataName(id))
	if err != nil {
		return err
	}
	var b Batch
	b.Remove(markName(id))
	if used || !found {
		return d.kv.Apply(&b, false)
	}
	note, _ = located(note)
	b.Remove(dataName(id))
	if p, ok := parsePlace(note); ok {
		p.unindex(&b)
	}
	if err := d.kv.Apply(&b, false); err != nil {
		return err
	}
	return d.discard(id, note)
}

// discard removes what a note was of.
func (d *Drive) discard(id register.DataID, note []byte) error {
	if p, ok := parsePlace(note); ok && d.segments != nil {
		d.segments.freed(p)
	}
	if len(note) == 0 || note[0] != isFile || !d.claims.takeOrLeave(id) { // who writes it notes it anew, and the sweeper removes it
		return nil
	}
	defer d.claims.give(id)
	return d.files.Remove(id)
}

// keep notes where a shard is, in the place of what was noted before.
func (d *Drive) keep(id register.DataID, note []byte) error {
	d.notes.Lock()
	defer d.notes.Unlock()
	old, _, err := d.kv.Get(dataName(id))
	if err != nil {
		return err
	}
	old, _ = located(old)
	var b Batch
	if was, ok := parsePlace(old); ok {
		was.unindex(&b)
	}
	if is, ok := parsePlace(note); ok {
		is.index(&b, id)
	}
	if note[0] == isFile {
		d.noteNewest(&b, id)
	}
	b.Set(dataName(id), note)
	if err := d.kv.Apply(&b, false); err != nil || len(old) == 0 || old[0] == isFile && note[0] == isFile {
		return err
	}
	return d.discard(id, old)
}
