package nasfs

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync"
	"syscall"
	"time"

	"github.com/shoal-storage/shoal/internal/vfs"
)

// reaper cleans up behind requests: what is removed need not be waited for.
// What fails is tried again, soon a few times and then now and then: a file server may be away for
// longer than a gateway wants to wait, and a gateway runs for months.
type reaper struct {
	mu      sync.Mutex
	changed *sync.Cond // broadcast when any of the fields below has changed
	queue   []chore
	running bool
	waiting int // chores that failed and are to be tried again,
	seldom  int // those of them that are now and then
	closed  bool
	done    chan struct{}
	log     *slog.Logger
}

// chore is one thing to clean up. It can be run again after it has failed.
type chore struct {
	what  string
	do    func() error
	tries int // so far
}

// maxReaperQueue bounds what waits to be cleaned up while the file system
// hangs or fails. What is left out the next Open removes.
const maxReaperQueue = 1 << 14

// A chore is tried so often soon, and the time to the next try grows by the
// factor from the first delay on: over some 14 s. Then it is told, and tried as seldom as choreLater.
const (
	choreTries  = 6
	choreDelay  = 10 * time.Millisecond
	choreFactor = 4
	choreLater  = 15 * time.Minute
)

func (s *Store) startReaper() {
	s.reaper.start(s.log)
	s.reaper.add("empty the trash", s.emptyTrash)
}

func (r *reaper) start(log *slog.Logger) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.changed, r.done, r.log = sync.NewCond(&r.mu), make(chan struct{}), log
	go r.run()
}

// add has do run soon, by the one goroutine that runs them all.
func (r *reaper) add(what string, do func() error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.push(chore{what: what, do: do})
}

func (r *reaper) push(c chore) {
	if r.changed == nil || r.closed || len(r.queue) >= maxReaperQueue {
		return
	}
	r.queue = append(r.queue, c)
	r.changed.Broadcast()
}

func (r *reaper) run() {
	defer close(r.done)
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		for len(r.queue) == 0 {
			if r.closed {
				return
			}
			r.changed.Wait()
		}
		c := r.queue[0]
		r.queue, r.running = r.queue[1:], true
		r.mu.Unlock()
		err := c.do()
		r.mu.Lock()
		r.running = false
		if err != nil {
			r.retry(c, err)
		}
		r.changed.Broadcast()
	}
}

// retry has a chore that failed run again later.
func (r *reaper) retry(c chore, err error) {
	c.tries++
	delay := choreLater
	switch {
	case r.closed || r.waiting >= maxReaperQueue:
		r.log.Warn("something is left to be cleaned up at the next start", "what", c.what, "error", err)
		return
	case c.tries == choreTries:
		r.log.Warn("something cannot be cleaned up, and is tried again now and then", "what", c.what, "error", err)
	case c.tries < choreTries:
		delay = choreDelay
		for range c.tries - 1 {
			delay *= choreFactor
		}
	}
	r.waiting++
	if delay == choreLater {
		r.seldom++
	}
	time.AfterFunc(delay, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.waiting--
		if delay == choreLater {
			r.seldom--
		}
		r.push(c)
		r.changed.Broadcast()
	})
}

// stop waits until all is cleaned up, but for what waits to be tried again.
func (r *reaper) stop() {
	r.mu.Lock()
	r.closed = true
	r.changed.Broadcast()
	r.mu.Unlock()
	<-r.done
}

// throwAway moves a directory, such as an upload's, into the trash, and has it
// removed.
func (s *Store) throwAway(parent, name string) error {
	dir, err := s.root.OpenDir(parent)
	if err != nil {
		return err
	}
	defer closeDir(dir)
	temp := s.locker.Session().ID() + "." + s.tempName("u")
	if err := dir.Rename(name, s.trash, temp); err != nil {
		if _, there := dir.Stat(name); there == nil || !isAbsent(there) {
			return err
		}
		if _, moved := s.trash.Stat(temp); moved != nil {
			return err
		}
	}
	s.reaper.add("trash", func() error { return s.removeTrash(temp) })
	if err := s.syncDir(dir); err != nil {
		return unknown{err}
	}
	return nil
}

// emptyTrash removes what an earlier process had thrown away.
func (s *Store) emptyTrash() error {
	entries, err := s.trash.ReadDir()
	if err != nil {
		return err
	}
	for _, e := range entries {
		s.reaper.add("trash", func() error { return s.removeTrash(e.Name) })
	}
	return nil
}

// removeTrash removes what was thrown away, with the sidecars of the files.
func (s *Store) removeTrash(name string) error {
	return removeTree(s.trash, name, s.forget)
}

// emptyWait is how long a directory that is not empty though all in it was removed is left
// before the next look; before each further one twice as long as before the last. That is
// two seconds and more in all: an SMB server removes no file that a client has open, which
// has that for a second after the last close.
const emptyWait = 10 * time.Millisecond

// removeTree removes a file, or a directory with all that is in it. It calls
// forget, unless that is nil, with each file before it goes.
func removeTree(parent vfs.Dir, name string, forget func(vfs.Stat) error) error {
	const rounds = 8 // what is added meanwhile comes from calls that were under way: it ends
	for wait := emptyWait; wait < emptyWait<<rounds; wait *= 2 {
		dir, err := parent.OpenDir(name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.ELOOP):
			return removeFile(parent, name, forget)
		case err != nil:
			return err
		}
		err = emptyDir(dir, forget)
		closeDir(dir)
		if isGone(err) {
			continue // another gateway of the fleet is removing it too
		}
		if err != nil {
			return err
		}
		if err = parent.Rmdir(name); err == nil || errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if !isTaken(err) {
			return err
		}
		time.Sleep(wait)
	}
	return fmt.Errorf("%s does not become empty", name)
}

func emptyDir(dir vfs.Dir, forget func(vfs.Stat) error) error {
	entries, err := dir.ReadDir()
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Type.IsRegular() {
			err = removeFile(dir, e.Name, forget)
		} else {
			err = removeTree(dir, e.Name, forget)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func removeFile(dir vfs.Dir, name string, forget func(vfs.Stat) error) error {
	if forget != nil {
		st, err := vfs.StatNow(dir, name)
		if err == nil && st.Mode.IsRegular() {
			err = forget(st)
		}
		if err != nil && !isAbsent(err) {
			return err
		}
	}
	if err := dir.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
