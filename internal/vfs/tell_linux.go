package vfs

import (
	"errors"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// tellWait is how long tell waits between two looks. The clocks of file servers
// go on in steps of 1 to 10 ms.
const tellWait = time.Millisecond

// In how many steps of that clock tell has to be first: where a lease keeps everybody
// else from changing the directory, and without one.
const (
	stepsAlone  = 1
	stepsBeside = 2
)

// tellTries bounds how long tell waits: for a server without a clock.
const tellTries = 1000

// tells reports whether Sync has to see to it that a change shows by time.
func (t *tree) tells() bool {
	return t.sharing == sharedAskTime || t.byTime != nil && t.byTime()
}

// tellsByTime is TellsByTime.
func (d *osDir) tellsByTime() bool { return d.tree.tells() }

// leased is Leased.
func (d *osDir) leased(lease Lease) (Dir, error) {
	if d.tree.sharing == sharedKernel || d.tree.routed {
		return d, nil
	}
	if err := d.enter(); err != nil {
		return nil, pathError("open root", d.path, err)
	}
	defer func() { _ = d.leave() }() // a directory open for reading has nothing to lose
	fd, err := retry(func() (int, error) { return unix.FcntlInt(uintptr(d.fd), unix.F_DUPFD_CLOEXEC, 0) })
	if err != nil {
		return nil, pathError("open root", d.path, err)
	}
	return &osDir{tree: d.tree, fd: fd, path: d.path, root: d.root, lease: lease}, nil
}

// changing makes a change of a directory that was opened beneath d, or d itself.
func (d *osDir) changing(fd int, change func() error) error {
	if !d.isMissed() {
		return change()
	}
	return d.underLease(change, fd)
}

// changingBoth makes a change of d and of into.
func (d *osDir) changingBoth(into *osDir, change func() error) error {
	switch from, to := d.isMissed(), into.isMissed(); {
	case from && to:
		return d.underLease(change, d.fd, into.fd)
	case from:
		return d.underLease(change, d.fd)
	case to:
		return into.underLease(change, into.fd)
	}
	return change()
}

// isMissed reports whether this client, by a change of a directory of its own, could miss
// those of others: it takes the time of its own for one at which it knew what is there.
func (d *osDir) isMissed() bool { return d.lease != nil && d.tree.sharing == sharedAskTime }

// underLease makes a change of directories while nobody tells of them. That the lease
// was lost meanwhile undoes nothing.
func (d *osDir) underLease(change func() error, dirs ...int) error {
	inodes := make([]uint64, 0, 2)
	for _, fd := range dirs {
		st, err := statKnown(fd)
		if err != nil {
			return err
		}
		inodes = append(inodes, st.Ino)
	}
	giveBack, err := d.lease(false, inodes...)
	if err != nil {
		return err
	}
	defer func() { _ = giveBack() }() // see above
	return change()
}

// tell makes what was changed in d visible by time, together with others who have
// changed it.
func (d *osDir) tell() error {
	st, err := statKnown(d.fd)
	if err != nil {
		return err
	}
	return d.tree.telling.join(told{st.Ino, d.lease != nil}, func(begin func()) error {
		if d.lease == nil {
			begin()
			return tell(openDir(d.fd), stepsBeside)
		}
		giveBack, err := d.lease(true, st.Ino)
		if err != nil {
			return err
		}
		begin()
		return errors.Join(tell(openDir(d.fd), stepsAlone), giveBack())
	})
}

// clocked is a directory that a file server gives times to.
type clocked interface {
	// changeTime asks the server when it was changed last.
	changeTime() (time.Time, error)
	// touch makes the server give it the time that it is now.
	touch() error
}

// openDir is the descriptor of an open directory.
type openDir int

func (fd openDir) changeTime() (time.Time, error) {
	st, err := statAt(int(fd), "", unix.AT_EMPTY_PATH|unix.AT_STATX_FORCE_SYNC)
	return st.Ctime, err
}

func (fd openDir) touch() error {
	now := []unix.Timespec{{Nsec: unix.UTIME_OMIT}, {Nsec: unix.UTIME_NOW}}
	return retryErr(func() error { return unix.UtimesNanoAt(int(fd), "", now, unix.AT_EMPTY_PATH) })
}

// tell gives a directory a time of change that no client has seen together with an
// earlier state of it. Each look is behind what was changed here before.
//
// A client that changes the directory itself takes the time of that for its own, and
// does not look what else was changed, if the time before is the one that it knows. If
// it does so first in a step of the server's clock, that step's time tells it nothing.
// Where a lease keeps clients from changing it, one step will do, as nasfs/DESIGN.md proves.
// Without one, what counts is a step in which nobody was first, by a look just before; and
// as somebody may be in between, it takes two, which is no proof.
func tell(dir clocked, enough int) error {
	seen, err := dir.changeTime()
	if err != nil {
		return err
	}
	first, steps := true, 0
	for range tellTries {
		if err := dir.touch(); err != nil {
			return err
		}
		own, err := dir.changeTime()
		if err != nil {
			return err
		}
		if first && !own.Equal(seen) {
			if steps++; steps == enough {
				return nil
			}
		}
		time.Sleep(tellWait)
		if seen, err = dir.changeTime(); err != nil {
			return err
		}
		first = seen.Equal(own)
	}
	return errors.New("the file server's clock stands still, or the directory changes too often")
}

// rounds has each directory be told of once at a time, for all that was changed in it
// before: or those who tell would keep each other from being first.
type rounds struct {
	mu   sync.Mutex
	last map[told]*round // that is under way, or waits for one that is
}

// told is a directory that is told of.
type told struct {
	inode  uint64
	leased bool
}

type round struct {
	begun bool // what is changed now it may not tell
	done  chan struct{}
	err   error // when done
}

// join tells of a directory, or waits for who does so. Who tells calls begin when it can
// take in no more.
func (r *rounds) join(dir told, tell func(begin func()) error) error {
	r.mu.Lock()
	last := r.last[dir]
	for last != nil && !last.begun {
		r.mu.Unlock()
		<-last.done
		if !errors.Is(last.err, unix.ESTALE) {
			return last.err
		}
		// That was told of a directory which is gone, whose inode this one may have now.
		r.mu.Lock()
		last = r.last[dir]
	}
	own := &round{done: make(chan struct{})}
	if r.last == nil {
		r.last = make(map[told]*round)
	}
	r.last[dir] = own
	r.mu.Unlock()
	if last != nil {
		<-last.done
	}
	own.err = tell(func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		own.begun = true
	})
	r.mu.Lock()
	own.begun = true // or whoever comes now would be told of an end that came before
	if r.last[dir] == own {
		delete(r.last, dir)
	}
	r.mu.Unlock()
	close(own.done)
	return own.err
}
