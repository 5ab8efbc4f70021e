package vfs

import (
	"errors"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

// dirLeases are leases on directories, among the clients of one process.
type dirLeases struct{ dirs sync.Map }

func (l *dirLeases) lease(alone bool, dirs ...uint64) (giveBack func() error, err error) {
	held := make([]func(), 0, len(dirs))
	for _, inode := range dirs { // of one: no test changes two
		value, _ := l.dirs.LoadOrStore(inode, new(sync.RWMutex))
		mu := value.(*sync.RWMutex)
		if alone {
			mu.Lock()
			held = append(held, mu.Unlock)
		} else {
			mu.RLock()
			held = append(held, mu.RUnlock)
		}
	}
	return func() error {
		for _, unlock := range held {
			unlock()
		}
		return nil
	}, nil
}

// timedDir is a directory of a file server whose clock goes on in steps, and clients of
// NFSv3 that change it and look at it whenever the one that tells of it makes a call.
type timedDir struct {
	random  *rand.Rand
	now     int  // the server's clock
	changed int  // the time of its last change
	made    bool // the change that is told of
	clients []timedClient
	leases  bool // nobody else changes it, or tells of it, meanwhile
}

// timedClient is what a client believes.
type timedClient struct {
	changed int
	knows   bool // of the change
}

// look has a client ask for the time of the last change.
func (d *timedDir) look(c *timedClient) {
	if c.changed != d.changed {
		c.changed, c.knows = d.changed, d.made
	}
}

// change has a client change something else, or only the times.
func (d *timedDir) change(c *timedClient) {
	if c.changed != d.changed {
		c.knows = d.made
	}
	d.changed = d.now
	c.changed = d.changed // the time of its own change is one that it knows
}

// others lets time pass, and the others do something.
func (d *timedDir) others() {
	for range d.random.IntN(6) {
		c := &d.clients[1+d.random.IntN(len(d.clients)-1)]
		switch what := d.random.IntN(4); {
		case what == 0:
			d.now++
		case what == 1 || d.leases:
			d.look(c)
		default:
			d.change(c)
		}
	}
}

func (d *timedDir) changeTime() (time.Time, error) {
	d.others()
	d.look(&d.clients[0])
	return time.Unix(int64(d.changed), 0), nil
}

func (d *timedDir) touch() error {
	d.others()
	d.change(&d.clients[0])
	return nil
}

// missed returns how many of many changes, each told of in so many steps, are missed by a
// client that looks afterwards, whether or not it changes the directory first.
func missed(t *testing.T, steps int, leases bool) (n int) {
	t.Helper()
	for seed := range uint64(3000) {
		d := &timedDir{random: rand.New(rand.NewPCG(seed, 1)), clients: make([]timedClient, 3)} //nolint:gosec // it has to be the same each time
		d.others()
		d.change(&d.clients[0])
		d.made, d.clients[0].knows = true, true
		d.others() // before the lease is granted
		d.leases = leases
		must(t, tell(d, steps))
		c := &d.clients[1]
		if seed%2 == 0 {
			d.change(c)
		}
		if d.look(c); !c.knows {
			n++
		}
	}
	return n
}

// TestWhatIsToldOfAloneIsMissedByNobody: one step of the server's clock is enough, as nasfs/DESIGN.md
// proves; without a lease two are not.
func TestWhatIsToldOfAloneIsMissedByNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		if n := missed(t, stepsAlone, true); n > 0 {
			t.Errorf("%d changes were missed", n)
		}
		for _, steps := range []int{stepsAlone, stepsBeside} {
			if missed(t, steps, false) == 0 {
				t.Errorf("none was missed without a lease, told of in %d steps: this test tells nothing", steps)
			}
		}
	})
}

// TestWhatIsChangedWhileADirectoryIsToldOfIsToldInTheNextRound: one round is for all who
// have changed it before that began.
func TestWhatIsChangedWhileADirectoryIsToldOfIsToldInTheNextRound(t *testing.T) {
	var r rounds
	dir := told{inode: 1}
	begun, goOn := make(chan struct{}), make(chan struct{})
	first := make(chan error, 1)
	go func() {
		first <- r.join(dir, func(begin func()) error {
			begin()
			close(begun)
			<-goOn
			return nil
		})
	}()
	<-begun
	failed := errors.New("failed")
	outcomes := make(chan error, 5)
	var told atomic.Int32
	for range cap(outcomes) {
		go func() { outcomes <- r.join(dir, func(func()) error { told.Add(1); return failed }) }()
	}
	other := dir
	other.inode++
	must(t, r.join(other, func(func()) error { return nil })) // another directory waits for nobody
	close(goOn)
	must(t, <-first)
	for range cap(outcomes) {
		if err := <-outcomes; !errors.Is(err, failed) {
			t.Errorf("who joined is told %v", err)
		}
	}
	if told.Load() == 0 {
		t.Error("the first round was taken for what was changed after it had begun")
	}
	if len(r.last) > 0 {
		t.Errorf("left are %v", r.last)
	}
}

// TestADirectoryThatHasTheInodeOfOneThatIsGoneIsToldOf: whoever tells of the other finds that
// it is gone, and is not believed.
func TestADirectoryThatHasTheInodeOfOneThatIsGoneIsToldOf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r rounds
		granted, gone, outcomes := make(chan struct{}), make(chan error, 1), make(chan error, 3)
		go func() {
			gone <- r.join(told{inode: 1}, func(begin func()) error {
				<-granted
				begin()
				return pathError("stat", ".", unix.ESTALE)
			})
		}()
		synctest.Wait()
		rounds := 0
		for range cap(outcomes) {
			go func() {
				outcomes <- r.join(told{inode: 1}, func(begin func()) error {
					rounds++
					begin()
					return nil
				})
			}()
		}
		synctest.Wait()
		close(granted)
		if err := <-gone; !errors.Is(err, unix.ESTALE) {
			t.Errorf("of the directory that is gone: %v", err)
		}
		for range cap(outcomes) {
			must(t, <-outcomes)
		}
		if rounds == 0 {
			t.Error("nobody has told of the other one")
		}
	})
}

// TestWhoWaitsForALeaseTellsOfWhatIsChangedMeanwhile: nobody changes anything after that.
func TestWhoWaitsForALeaseTellsOfWhatIsChangedMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r rounds
		granted, rounds := make(chan struct{}), 0
		outcomes := make(chan error, 3)
		for range cap(outcomes) {
			go func() {
				outcomes <- r.join(told{inode: 1}, func(begin func()) error {
					<-granted
					begin()
					rounds++
					return nil
				})
			}()
			synctest.Wait()
		}
		close(granted)
		for range cap(outcomes) {
			must(t, <-outcomes)
		}
		if rounds != 1 {
			t.Errorf("%d rounds", rounds)
		}
	})
}

// leasedTree is a tree as a client of NFSv3 has it, on the disk of this machine.
func leasedTree(t *testing.T, lease Lease) (bare, root Dir) {
	t.Helper()
	d, err := openRoot(t.TempDir())
	must(t, err)
	d.root, d.tree.sharing = true, sharedAskTime
	root, err = Leased(d, lease)
	must(t, err)
	t.Cleanup(func() { must(t, errors.Join(root.Close(), d.Close())) })
	return d, root
}

// TestADirectoryIsChangedUnderItsLease: each change under one that others may have too,
// and told of alone. In a directory that was opened beneath the root itself under none.
func TestADirectoryIsChangedUnderItsLease(t *testing.T) {
	type taken struct {
		alone bool
		dirs  int
	}
	var last taken
	held := 0
	bare, root := leasedTree(t, func(alone bool, dirs ...uint64) (func() error, error) {
		last = taken{alone, len(dirs)}
		held++
		return func() error { held--; return nil }, nil
	})
	must(t, bare.Mkdir("own", 0o700))
	own, err := bare.OpenDir("own")
	must(t, err)
	must(t, root.Mkdir("shared", 0o700))
	shared, err := root.OpenDir("shared")
	must(t, err)
	target, _, err := OpenTarget(root, "shared")
	must(t, err)
	t.Cleanup(func() { must(t, errors.Join(own.Close(), shared.Close(), target.Close())) })
	made := func(d Dir, name string) error {
		f, err := d.Create(name, 0o600)
		return errors.Join(err, f.Close())
	}
	none, one, two, alone := taken{}, taken{false, 1}, taken{false, 2}, taken{true, 1}
	for _, c := range []struct {
		what string
		want taken
		do   func() error
	}{
		{"create in the own one", none, func() error { return made(own, "a") }},
		{"create", one, func() error { return made(shared, "b") }},
		{"rename in", one, func() error { return own.Rename("a", target, "a") }},
		{"link in", one, func() error { return shared.Link("a", root, "c") }},
		{"link out", none, func() error { return shared.Link("a", own, "d") }},
		{"rename from one to another", two, func() error { return root.Rename("c", shared, "c") }},
		{"rename out", one, func() error { return shared.Rename("c", own, "c") }},
		{"remove", one, func() error { return shared.Remove("b") }},
		{"make a directory by its path", one, func() error { return root.Mkdir("shared/dir", 0o700) }},
		{"remove a directory", one, func() error { return shared.Rmdir("dir") }},
		{"permissions", one, func() error { return shared.Chmod(0o755) }},
		{"look", none, func() error { _, err := root.Stat("shared/a"); return err }},
		{"tell", alone, func() error { return shared.Sync() }},
		{"tell of what is only a target", alone, func() error { return target.Sync() }},
		{"tell of the own one", none, func() error { return own.Sync() }},
	} {
		last = none
		must(t, c.do())
		if last != c.want || held != 0 {
			t.Errorf("%s: the lease was %+v, %d are left", c.what, last, held)
		}
	}
}

// TestWithoutALeaseNothingIsChanged: nor is a directory told of by who has lost it.
func TestWithoutALeaseNothingIsChanged(t *testing.T) {
	refused, lost := errors.New("refused"), error(nil)
	_, root := leasedTree(t, func(alone bool, _ ...uint64) (func() error, error) {
		if !alone {
			return nil, refused
		}
		return func() error { return lost }, nil
	})
	if err := root.Mkdir("dir", 0o700); !errors.Is(err, refused) {
		t.Errorf("mkdir: %v", err)
	}
	if _, err := root.Stat("dir"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it is there: %v", err)
	}
	must(t, root.Sync())
	lost = errors.New("lost")
	if err := root.Sync(); !errors.Is(err, lost) {
		t.Errorf("told of without a lease: %v", err)
	}
}
