package nasfs

import (
	"sync"
	"time"

	"github.com/shoal-storage/shoal/internal/vfs"
)

// Files that are sent while they are replaced or deleted. A file server of NFSv3 does not
// know who has a file open: with its last name it is gone, whoever is sending it. So in a
// fleet of which one has NFSv3 who takes the name away leaves the file another one for a while, in
// his session, and who is still sending it by then has made one himself. To make one for each
// download at once would cost two calls, and all clients what they have cached of the
// file: they know it by the time of its last change, which a link is.

const (
	// lingerTime is how long a file keeps a name after it was replaced or deleted, and
	// holdAfter after which time who is sending one gives it a name. What is between
	// them is for a client that takes long to ask, and a server that takes long to answer.
	lingerTime = 15 * time.Second
	holdAfter  = 5 * time.Second
	// lingerShare bounds how much lingers, to one part in so many of the room that is left.
	lingerShare = 8
)

// lingering is how much this gateway has linger, and may.
type lingering struct {
	mu    sync.Mutex
	bytes int64
	free  uint64    // bytes that the file system had left
	asked time.Time // when
}

// forgetful reports whether a file is gone for somebody of the fleet with its last name, though
// he has it open.
func (s *Store) forgetful() bool {
	return s.stateless || s.fleet && vfs.TellsByTime(s.root)
}

// mayLinger reports whether a file that loses its name is to linger. Then it counts as
// lingering until ended is called.
func (s *Store) mayLinger(st vfs.Stat) bool {
	if st.Ino == 0 || !st.Mode.IsRegular() || st.Size < bufferMedium || !s.forgetful() {
		return false
	}
	l := &s.linger
	if now := time.Now(); l.old(now) {
		usage, err := s.root.Usage()
		if err != nil {
			return false
		}
		l.note(usage.Free, now)
	}
	return l.begin(st.Size)
}

// old reports whether it was found out too long ago how much room is left.
func (l *lingering) old(now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return now.Sub(l.asked) > lingerTime
}

func (l *lingering) note(free uint64, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.free, l.asked = free, now
}

// begin counts a file as lingering, if there is room for it.
func (l *lingering) begin(size int64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if uint64(l.bytes+size) > l.free/lingerShare { //nolint:gosec // sizes are not negative
		return false
	}
	l.bytes += size
	return true
}

func (l *lingering) ended(size int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.bytes -= size
}

// replacing keeps the file that is about to be replaced from going with its name, if it is to linger, or if
// something is kept under its stamp: until that is forgotten no other file may have the stamp. A clock that goes
// by milliseconds or seconds gives it to the next one of the same size that has the inode. Of a file that was
// replaced replaced is called, and of one that was not spared.
func (s *Store) replacing(dir vfs.Dir, leaf string, old vfs.Stat) (replaced, spared func()) {
	nothing := func() {}
	switch {
	case old.Ino == 0 || !old.Mode.IsRegular():
		return nothing, nothing
	case s.mayLinger(old):
		temp := s.tempName("k")
		if s.linkIn(dir, leaf, temp) == nil {
			return func() { s.letGoLater(temp, old.Size) }, func() {
				s.linger.ended(old.Size)
				s.removeTemp(temp)
			}
		}
		s.linger.ended(old.Size) // whoever is sending it is cut off
	}
	switch {
	case !s.mayKeep(stampOf(old)):
		return nothing, nothing
	case s.localDisk && s.cfg.ReadRoot == nil:
		return s.pinned(dir, leaf, old)
	}
	// With an open file a client of a file server would have the name replaced by way of another one beside it.
	temp := s.tempName("k")
	if s.linkIn(dir, leaf, temp) != nil {
		return func() { s.forgetReplaced(old) }, nothing
	}
	return func() {
		s.nowOrLater(replacedFile, func() error {
			if err := s.forget(old); err != nil {
				return err
			}
			return s.dropTemp(temp)
		})
	}, func() { s.removeTemp(temp) }
}

// pinned is replacing where an open file keeps its inode.
func (s *Store) pinned(dir vfs.Dir, leaf string, old vfs.Stat) (replaced, spared func()) {
	release := func() {}
	if f, err := dir.Open(leaf); err == nil {
		release = func() { closeFile(f) }
	}
	return func() {
		s.forgetReplaced(old)
		release()
	}, release
}

// replacedFile says what is cleaned up after a file was replaced.
const replacedFile = "metadata of a replaced object"

// forgetReplaced forgets what is kept of a file that was replaced.
func (s *Store) forgetReplaced(old vfs.Stat) {
	s.nowOrLater(replacedFile, func() error { return s.forget(old) })
}

// letGoLater removes a file of the session that lingers when it has had its time. If nobody
// has given it another name it is the end of what is kept under its stamp.
func (s *Store) letGoLater(temp string, size int64) {
	time.AfterFunc(lingerTime, func() {
		s.linger.ended(size)
		s.reaper.add("file that was replaced or deleted", func() error { return s.dropKept(temp) })
	})
}

func (s *Store) dropKept(temp string) error {
	if st, err := s.statTemp(temp); err == nil {
		if err = s.forget(st); err != nil {
			return err
		}
	}
	return s.dropTemp(temp)
}

// hold gives a file that is sent for long a name of its own. A nil hold does nothing.
type hold struct {
	s     *Store
	temp  string
	timer *time.Timer

	mu    sync.Mutex // held while the file is given its name
	named bool       // or may be: an answer can be lost
	ended bool
}

// holdLong returns the hold of an object that is to be sent; nil if it needs none.
func (s *Store) holdLong(o *opened) *hold {
	file, ok := o.file.(vfs.Linker)
	if !s.stateless || o.content != nil || !ok {
		return nil
	}
	h := &hold{s: s, temp: s.tempName("k")}
	h.timer = time.AfterFunc(holdAfter, func() { h.name(file) })
	return h
}

// name gives the file its name, unless it is not sent any more.
func (h *hold) name(file vfs.Linker) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ended {
		return
	}
	h.named = true
	if err := ownName(h.s.ofSession(file.LinkTo(h.s.session, h.temp))); err != nil {
		h.s.log.Debug("an object that is sent for long may be cut off if it is replaced", "error", err)
	}
}

// stop comes before the file is closed: it is not in use any more then.
func (h *hold) stop() {
	if h == nil {
		return
	}
	h.timer.Stop()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ended = true
}

// drop comes after that, or the file's client would only give it another name: it has the
// reaper remove the one that it has.
func (h *hold) drop() {
	if h != nil && h.named {
		h.s.reaper.add("name of an object that was sent", func() error { return h.s.dropKept(h.temp) })
	}
}
