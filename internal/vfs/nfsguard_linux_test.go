package vfs

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// nfsTree is a tree as it would be on an NFS mount, with a directory from which
// new files come and one to which they go.
type nfsTree struct {
	Dir
	stage, dir Dir
	puts       int
}

func nfsGuarded(t *testing.T) *nfsTree {
	t.Helper()
	d, err := openRoot(t.TempDir())
	must(t, err)
	d.tree.guard = newNFSGuard()
	return stagedIn(t, d)
}

func stagedIn(t *testing.T, d Dir) *nfsTree {
	t.Helper()
	n := &nfsTree{Dir: d}
	var err error
	for name, opened := range map[string]*Dir{"stage": &n.stage, "dir": &n.dir} {
		must(t, d.Mkdir(name, 0o700))
		*opened, err = d.OpenDir(name)
		must(t, err)
	}
	t.Cleanup(func() { must(t, errors.Join(n.stage.Close(), n.dir.Close(), d.Close())) })
	return n
}

// put gives a new file the name of another.
func (n *nfsTree) put(t *testing.T, content string) {
	t.Helper()
	fill(t, n.stage, "new", content)
	must(t, n.stage.Rename("new", n.dir, "name"))
	n.puts++
}

// renames returns how often the client has asked its server for a rename, as
// /proc/self/mountstats tells of the mount.
func renames(t *testing.T, mount string) int {
	t.Helper()
	stats, err := os.ReadFile("/proc/self/mountstats")
	must(t, err)
	_, of, _ := strings.Cut(string(stats), " mounted on "+mount+" ")
	_, line, _ := strings.Cut(of, "RENAME: ")
	count, _, _ := strings.Cut(line, " ")
	n, err := strconv.Atoi(count)
	must(t, err)
	return n
}

// forgotten fails the test if the guard knows of files that are open.
func (n *nfsTree) forgotten(t *testing.T) {
	t.Helper()
	g, ok := n.Dir.(*osDir).tree.guard.(*nfsGuard)
	if !ok {
		return // nor does any
	}
	for i := range g.names {
		if len(g.names[i].open) > 0 {
			t.Errorf("the guard still knows %v", g.names[i].open)
		}
	}
}

func reads(t *testing.T, f File, want string) {
	t.Helper()
	b := make([]byte, len(want))
	if _, err := f.ReadAt(b, 0); err != nil || string(b) != want {
		t.Errorf("a reader has %q, %v, and not %q", b, err, want)
	}
}

// onMounts runs a test on a tree with that guard on the local disk, and on the first
// of the mounts that SHOAL_TEST_MOUNTS names, whatever guard is needed there.
func onMounts(t *testing.T, test func(t *testing.T, n *nfsTree)) {
	t.Run("local", func(t *testing.T) { test(t, nfsGuarded(t)) })
	if mounts := os.Getenv("SHOAL_TEST_MOUNTS"); mounts != "" {
		t.Run("mounted", func(t *testing.T) {
			path, err := os.MkdirTemp(strings.Split(mounts, ":")[0], "guard-")
			must(t, err)
			d, err := OpenRoot(path)
			must(t, err)
			if d.(*osDir).tree.smb {
				t.Skip("SMB has a guard of its own")
			}
			n := stagedIn(t, d)
			mount := filepath.Dir(path)
			before := renames(t, mount)
			test(t, n)
			if asked := renames(t, mount) - before; asked != n.puts {
				t.Errorf("%d renames took %d calls", n.puts, asked)
			}
		})
	}
}

// TestANameInUseIsReplacedInOneStep replaces a file that is open: its reader goes on,
// and nothing is moved out of the way, neither in the directory nor for longer than
// the file stays open.
func TestANameInUseIsReplacedInOneStep(t *testing.T) {
	onMounts(t, func(t *testing.T, n *nfsTree) {
		n.put(t, "first")
		first, err := n.Open("dir/name")
		must(t, err)
		reads(t, first, "first")
		n.put(t, "second")
		second, err := n.dir.Open("name")
		must(t, err)
		n.put(t, "third")
		if got := names(t, n.dir); !slices.Equal(got, []string{"name"}) {
			t.Errorf("in the directory there are %q", got)
		}
		reads(t, first, "first")
		reads(t, second, "second")
		if got := contentOf(t, n.dir, "name"); got != "third" {
			t.Errorf("under the name is %q", got)
		}
		if got := names(t, n.stage); len(got) != 2 {
			t.Errorf("two files are kept for their readers, and there are %q", got)
		}
		must(t, errors.Join(first.Close(), second.Close()))
		if got := names(t, n.stage); len(got) > 0 {
			t.Errorf("when nobody reads them any more there are %q", got)
		}
		n.forgotten(t)
	})
}

// TestWhoLooksAtANameDoesNotHoldIt replaces a name as fast as it can be done, which
// others look at, and read from, all the time.
func TestWhoLooksAtANameDoesNotHoldIt(t *testing.T) {
	onMounts(t, func(t *testing.T, n *nfsTree) {
		large := strings.Repeat("content", 100_000)
		n.put(t, large)
		stop := make(chan struct{})
		var lookers sync.WaitGroup
		for i := range 4 {
			lookers.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					if _, err := n.Stat("dir/name"); err != nil {
						t.Errorf("it is not there: %v", err)
						return
					}
					if i == 0 {
						continue
					}
					f, err := n.Open("dir/name")
					if err != nil {
						t.Errorf("it cannot be opened: %v", err)
						return
					}
					var sent bytes.Buffer
					if _, err := f.Send(&sent, 0, int64(len(large))); err != nil || sent.String() != large {
						t.Errorf("%d bytes were sent: %v", sent.Len(), err)
					}
					if err := f.Close(); err != nil {
						t.Error(err)
					}
				}
			})
		}
		for range 50 {
			n.put(t, large)
			if got := names(t, n.dir); !slices.Equal(got, []string{"name"}) {
				t.Fatalf("in the directory there are %q", got)
			}
		}
		close(stop)
		lookers.Wait()
		n.forgotten(t)
	})
}

// TestWhoIsFencedLeavesWhatHeReadsWhereItIs takes the directory away that a new file is
// in, as a fence does from another client, while what it was to replace is open.
func TestWhoIsFencedLeavesWhatHeReadsWhereItIs(t *testing.T) {
	onMounts(t, func(t *testing.T, n *nfsTree) {
		n.put(t, "old")
		reader, err := n.Open("dir/name")
		must(t, err)
		fill(t, n.stage, "new", "new")
		path, err := PathOf(n.Dir)
		must(t, err)
		path, err = os.Readlink(path)
		must(t, err)
		if mounts := strings.Split(os.Getenv("SHOAL_TEST_MOUNTS"), ":"); len(mounts) > 1 && strings.HasPrefix(path, mounts[0]) {
			path = mounts[1] + strings.TrimPrefix(path, mounts[0])
		}
		must(t, os.RemoveAll(path+"/stage"))
		began := time.Now()
		if err := n.stage.Rename("new", n.dir, "name"); !errors.Is(err, unix.ESTALE) {
			t.Errorf("the rename says %v", err)
		}
		if waited := time.Since(began); waited > guardPatience {
			t.Errorf("it waited %v for the reader", waited)
		}
		if got := names(t, n.dir); !slices.Equal(got, []string{"name"}) {
			t.Errorf("in the directory there are %q", got)
		}
		reads(t, reader, "old")
		must(t, reader.Close())
		if got := contentOf(t, n.dir, "name"); got != "old" {
			t.Errorf("under the name is %q", got)
		}
		n.forgotten(t)
	})
}

// TestAReaderMakesWayWhereItsOwnSessionIsOver has another process ask for a file that is
// open here, when there is no place any more for a link to it.
func TestAReaderMakesWayWhereItsOwnSessionIsOver(t *testing.T) {
	n := nfsGuarded(t)
	n.put(t, "old")
	reader, err := n.Open("dir/name")
	must(t, err)
	must(t, n.Rmdir("stage"))
	LetGo(n.Dir, "dir/name", n.stage, "k")()
	if _, err := reader.ReadAt(make([]byte, 1), 0); !errors.Is(err, errReplaced) || !errors.Is(err, unix.ESTALE) {
		t.Errorf("the reader gets %v", err)
	}
	must(t, reader.Close())
	n.forgotten(t)
}

// TestWhatAnotherProcessReadsIsReplacedInOneStep replaces a file that another process,
// by a tree of its own, has open, looks at all the time, and opens again and again.
func TestWhatAnotherProcessReadsIsReplacedInOneStep(t *testing.T) {
	onMounts(t, func(t *testing.T, n *nfsTree) {
		own := n.Dir.(*osDir)
		path, err := PathOf(own)
		must(t, err)
		root, err := openRoot(path)
		must(t, err)
		other := &nfsTree{Dir: root}
		must(t, root.Mkdir("kept", 0o700))
		other.stage, err = root.OpenDir("kept")
		must(t, err)
		if g, ok := own.tree.guard.(*nfsGuard); ok {
			root.tree.guard = newNFSGuard()
			g.others = func(path string) (done func()) { return LetGo(root, path, other.stage, "k") }
		}
		n.put(t, "first")
		reader, err := root.Open("dir/name")
		must(t, err)
		stop := make(chan struct{})
		var looker sync.WaitGroup
		looker.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				f, err := root.Open("dir/name")
				if err == nil {
					err = f.Close()
				}
				if _, lost := root.Stat("dir/name"); err != nil || lost != nil {
					t.Errorf("the other one finds %v, %v", err, lost)
					return
				}
			}
		})
		for range 50 {
			n.put(t, "next")
			if got := names(t, n.dir); !slices.Equal(got, []string{"name"}) {
				t.Fatalf("in the directory there are %q", got)
			}
		}
		close(stop)
		looker.Wait()
		reads(t, reader, "first")
		must(t, reader.Close())
		other.forgotten(t)
		if got := names(t, other.stage); len(got) > 0 {
			t.Errorf("when nobody reads it any more there are %q", got)
		}
		must(t, errors.Join(other.stage.Close(), root.Close()))
	})
}

// TestWhereThereAreNoLinksAReaderThatTakesLongMakesWay: a download is worth less than
// what was acknowledged.
func TestWhereThereAreNoLinksAReaderThatTakesLongMakesWay(t *testing.T) {
	n := nfsGuarded(t)
	n.put(t, "old")
	reader, err := n.Open("dir/name")
	must(t, err)
	synctest.Test(t, func(t *testing.T) {
		fill(t, n.stage, "new", "new")
		stage, dir := n.stage.(*osDir), n.dir.(*osDir)
		began := time.Now()
		must(t, n.Dir.(*osDir).tree.guard.replace(&move{
			from: -1, oldname: "new", into: dir.fd, newname: "name", target: "dir/name",
			rename: func() error { return unix.Renameat(stage.fd, "new", dir.fd, "name") },
		}))
		if waited := time.Since(began); waited != nfsGrace+guardPatience {
			t.Errorf("it waited %v", waited)
		}
	})
	if _, err := reader.ReadAt(make([]byte, 1), 0); !errors.Is(err, errReplaced) {
		t.Errorf("the reader gets %v", err)
	}
	must(t, reader.Close())
	if got := contentOf(t, n.dir, "name"); got != "new" {
		t.Errorf("it holds %q", got)
	}
	n.forgotten(t)
}

// TestNoReadOfTheKernelsOwnHoldsAName reads a little of a file of which nothing is in
// memory: then there is no more of it than was read.
func TestNoReadOfTheKernelsOwnHoldsAName(t *testing.T) {
	const page, size = 4096, 1 << 20
	n := nfsGuarded(t)
	n.put(t, strings.Repeat("content ", size/8))
	f, err := n.Open("dir/name")
	must(t, err)
	defer f.Close()
	fd := f.(*osFile).fd
	must(t, errors.Join(unix.Fsync(fd), unix.Fadvise(fd, 0, 0, unix.FADV_DONTNEED)))
	if inMemory(t, fd, size) > 0 {
		t.Skip("a file system that is in memory")
	}
	for off := range int64(8) {
		_, err := f.ReadAt(make([]byte, page), off*page)
		must(t, err)
	}
	if pages := inMemory(t, fd, size); pages > 8*page/os.Getpagesize() {
		t.Errorf("8 pages were read, and %d are in memory", pages)
	}
}

// inMemory returns how many pages of a file there are (mincore(2)).
func inMemory(t *testing.T, fd, size int) (pages int) {
	t.Helper()
	m, err := unix.Mmap(fd, 0, size, unix.PROT_READ, unix.MAP_SHARED)
	must(t, err)
	defer func() { must(t, unix.Munmap(m)) }()
	in := make([]byte, size/os.Getpagesize())
	_, _, errno := unix.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Pointer(&m[0])), uintptr(size), uintptr(unsafe.Pointer(&in[0])))
	if errno != 0 {
		t.Fatal(errno)
	}
	for _, b := range in {
		pages += int(b & 1)
	}
	return pages
}
