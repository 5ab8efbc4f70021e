package drive

import (
	"context"
	"io/fs"
	"sync"

	"github.com/shoal-storage/shoal/erasure/register"
)

// Create begins the shard of a content. Of what is finished nothing is left if it is
// dropped, and if no register ever refers to it. One that will be too long for a segment is in a file from the
// start: it is written past the page cache, and not kept in memory before.
func (d *Drive) Create(_ context.Context, id register.DataID, size int64) (register.ShardWriter, error) {
	if err := d.enter(nil); err != nil {
		return nil, err
	}
	defer d.leave(nil)
	size = max(size, 0) // it is not known
	if err := d.room.promise(size); err != nil {
		return nil, err
	}
	d.sweeper.due.Store(true)
	return &shardWriter{d: d, id: id, large: size > maxSegmented, promised: size}, nil
}

// maxInline is the size, in bytes, up to which a shard is in the ordered store.
const maxInline = 8 << 10

// shardWriter keeps a shard in memory for as long as it may come to be in the store or in a
// segment, and there is room; from then on it writes a file.
type shardWriter struct {
	mu    sync.Mutex // who gives a shard up may do so while it is being written
	d     *Drive
	id    register.DataID
	small []byte // while it is no more than maxInline
	draft draft  // while it is more, and can be in a segment
	file  File   // nil until it cannot
	size  int64  // what was written to it
	large bool   // it is known that it cannot
	ended bool

	promised int64 // bytes of the disk's room
	taken    int64 // bytes that came
}

// Write implements register.ShardWriter.
func (w *shardWriter) Write(p []byte) (int, error) {
	if err := w.d.enter(nil); err != nil {
		return 0, err
	}
	defer w.d.leave(nil)
	n, err := w.write(p)
	w.d.doubt(err)
	return n, asFull(err)
}

func (w *shardWriter) write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.ended:
		return 0, fs.ErrClosed
	case w.taken+int64(len(p)) > w.promised: // its length was not told
		if err := w.d.room.promise(int64(len(p))); err != nil {
			return 0, err
		}
		w.promised += int64(len(p))
	}
	w.taken += int64(len(p))
	switch {
	case w.file != nil:
		return w.toEnd(p)
	case w.draft.length == 0 && len(w.small)+len(p) <= maxInline:
		w.small = append(w.small, p...)
		return len(p), nil
	case w.drafted(p):
		return len(p), nil
	}
	if err := w.toFile(); err != nil {
		return 0, err
	}
	return w.toEnd(p)
}

// toEnd appends to the file.
func (w *shardWriter) toEnd(p []byte) (int, error) {
	n, err := w.file.Write(p)
	w.size += int64(n)
	w.d.room.settle(int64(n), int64(n))
	return n, err
}

// drafted appends to the draft, if the shard can be in a segment and there is room.
func (w *shardWriter) drafted(p []byte) bool {
	if w.large || w.d.segments == nil {
		return false
	}
	w.draft.spool = &w.d.spool
	if !w.draft.write(w.small) {
		return false
	}
	w.small = nil
	return w.draft.write(p)
}

// toFile goes on in a file.
func (w *shardWriter) toFile() error {
	if !w.d.claims.take(w.id) {
		return register.ErrClaimed
	}
	file, err := w.d.files.Create(w.id)
	if err != nil {
		w.d.claims.give(w.id)
		return err
	}
	w.file = file
	for _, b := range append(w.draft.content(), w.small) {
		if _, err := w.toEnd(b); err != nil {
			return err
		}
	}
	w.draft.drop()
	w.small = nil
	return nil
}

// Finish implements register.ShardWriter. The note becomes durable with the register
// that refers to it.
func (w *shardWriter) Finish() error {
	var in *lane // of a file there is none: to make one durable that is long takes its time
	if w.draft.length > 0 {
		in = &w.d.syncs
	}
	if err := w.d.enter(in); err != nil {
		w.Abort()
		return err
	}
	defer w.d.leave(in)
	err := w.finish()
	w.d.doubt(err)
	return asFull(err)
}

func (w *shardWriter) finish() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended {
		return fs.ErrClosed
	}
	w.ended = true
	defer w.d.room.settle(w.promised-w.size, w.taken-w.size)
	switch {
	case w.file != nil:
		defer w.d.claims.give(w.id)
		if err := w.file.Finish(); err != nil {
			return err
		}
		return w.d.keep(w.id, fileNote(w.size))
	case w.draft.length > 0:
		at, err := w.d.segments.store(w.id, &w.draft)
		if err != nil {
			return err
		}
		err = w.d.keep(w.id, at.note())
		w.d.segments.done(at, err == nil)
		return err
	}
	return w.d.keep(w.id, inlineShard(w.small))
}

// Abort implements register.ShardWriter.
func (w *shardWriter) Abort() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended {
		return
	}
	w.ended = true
	w.d.room.settle(w.promised-w.size, -w.size)
	w.draft.drop()
	if w.file != nil {
		w.file.Abort()
		w.d.claims.give(w.id)
	}
}

// claims are the contents whose files are being written, or removed: those who heal an object, several
// passes or a reader, may be about to make the same one, and who gives up removes it, as the sweeper does.
type claims struct {
	mu  sync.Mutex
	ids map[register.DataID]bool // whether the file was left to who has it
}

// take reports whether nobody else has claimed the file.
func (c *claims) take(id register.DataID) bool { return c.claim(id, false) }

// takeOrLeave is take, of who has just removed the note of the file. Somebody else who has claimed it hears of
// that when he gives it back.
func (c *claims) takeOrLeave(id register.DataID) bool { return c.claim(id, true) }

func (c *claims) claim(id register.DataID, leave bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if left, claimed := c.ids[id]; claimed {
		c.ids[id] = left || leave
		return false
	}
	if c.ids == nil {
		c.ids = make(map[register.DataID]bool)
	}
	c.ids[id] = false
	return true
}

// give reports whether the file was left to who gives it back.
func (c *claims) give(id register.DataID) (left bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	left = c.ids[id]
	delete(c.ids, id)
	return left
}
