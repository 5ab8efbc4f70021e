package vfs

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

func makeFIFO(path string) error { return unix.Mkfifo(path, 0o666) }

func withoutOpenat2(d *osDir) { d.tree.noOpenat2 = true }

// sendfileOnly lets no byte pass by Write: what arrives was taken by ReadFrom.
type sendfileOnly struct {
	to   io.ReaderFrom
	t    *testing.T
	took int
}

func (s *sendfileOnly) Write(p []byte) (int, error) {
	s.t.Errorf("%d bytes were copied", len(p))
	return len(p), nil
}

func (s *sendfileOnly) ReadFrom(r io.Reader) (int64, error) {
	l := r.(*io.LimitedReader)
	s.took++
	// The reader must not be read: only its descriptor may be used.
	return s.to.ReadFrom(&io.LimitedReader{R: unread{l.R.(*sender), s.t}, N: l.N})
}

type unread struct {
	*sender
	t *testing.T
}

func (u unread) Read([]byte) (int, error) {
	u.t.Error("the file was read through a buffer")
	return 0, io.EOF
}

func TestSendThroughABufferedWriterIsSendfile(t *testing.T) {
	d, err := OpenRoot(t.TempDir())
	must(t, err)
	put(t, d, "f", strings.Repeat("x", 1<<20))
	f, err := d.Open("f")
	must(t, err)
	client, server := tcpPair(t)
	arrived := make(chan int64)
	go func() {
		n, _ := io.Copy(io.Discard, client) // what is short fails the comparison
		arrived <- n
	}()
	conn := &sendfileOnly{to: server, t: t}
	w := bufio.NewWriter(conn)
	if n, err := f.Send(w, 10, 1<<20-10); err != nil || n != 1<<20-10 {
		t.Errorf("%d, %v", n, err)
	}
	must(t, server.Close())
	if n := <-arrived; n != 1<<20-10 || conn.took != 1 {
		t.Errorf("%d bytes arrived, by %d calls", n, conn.took)
	}
	must(t, client.Close())
	must(t, f.Close())
	must(t, d.Close())
}

func TestADirectoryClosedUnderCallsIsClosedOnceAndLast(t *testing.T) {
	root, err := OpenRoot(t.TempDir())
	must(t, err)
	must(t, root.Mkdir("d", 0o777))
	rounds := 500
	if testing.Short() {
		rounds /= 5
	}
	for range rounds {
		d, err := root.OpenDir("d")
		must(t, err)
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				for {
					if st, err := d.Stat("."); err != nil {
						return
					} else if !st.Mode.IsDir() {
						t.Errorf("the descriptor became %v", st.Mode)
					}
				}
			})
		}
		wg.Go(func() {
			for range 3 {
				_ = d.Close() // all but the first fail
			}
		})
		wg.Wait()
	}
	must(t, root.Close())
	open, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	if len(open) > 100 {
		t.Errorf("%d descriptors are left open", len(open))
	}
}

func TestAMountBeneathTheRootIsRefused(t *testing.T) {
	d, err := OpenRoot("/")
	must(t, err)
	for _, name := range []string{"proc", "dev"} {
		_, open := d.Open(name)
		refused(t, open, unix.EXDEV)
		_, stat := d.Stat(name)
		refused(t, stat, unix.EXDEV)
	}
	_, err = d.Stat("proc/self")
	refused(t, err, unix.EXDEV)
	withoutOpenat2(d.(*osDir))
	_, err = d.OpenDir("proc")
	refused(t, err, unix.EXDEV)
	must(t, d.Close())
}

// TestWhatIsMovedAwayWhileItIsOpenedIsNoMount: the kernel says the same of both. It is there, or not.
func TestWhatIsMovedAwayWhileItIsOpenedIsNoMount(t *testing.T) {
	root, err := OpenRoot(t.TempDir())
	must(t, err)
	must(t, errors.Join(root.Mkdir("dir", 0o700), root.Mkdir("other", 0o700)))
	dir, err := root.OpenDir("dir")
	must(t, err)
	other, err := root.OpenDir("other")
	must(t, err)
	f, err := dir.Create("name", 0o600)
	must(t, errors.Join(err, f.Close()))
	stop, moved := make(chan struct{}), make(chan error, 1)
	go func() {
		var err error
		for err == nil {
			select {
			case <-stop:
				moved <- nil
				return
			default:
				err = errors.Join(dir.Rename("name", other, "name"), other.Rename("name", dir, "name"))
			}
		}
		moved <- err
	}()
	for range 20_000 {
		f, err := dir.Open("name")
		if err == nil {
			err = f.Close()
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("open what is moved: %v", err)
			break
		}
	}
	close(stop)
	must(t, errors.Join(<-moved, dir.Close(), other.Close(), root.Close()))
}

func FuzzDirents(f *testing.F) {
	f.Add([]byte("\x01\x00\x00\x00\x00\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x18\x00\x08abc\x00\x00"))
	f.Add([]byte{1, 2, 3})
	f.Fuzz(func(t *testing.T, p []byte) {
		entries, err := appendDirents(nil, string(p))
		if err != nil {
			return
		}
		for _, e := range entries {
			if e.Name == "." || e.Name == ".." || strings.IndexByte(e.Name, 0) >= 0 {
				t.Errorf("%q", e.Name)
			}
		}
	})
}

func BenchmarkHead(b *testing.B) {
	root, err := OpenRoot(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	if err := root.Mkdir("d", 0o777); err != nil {
		b.Fatal(err)
	}
	d, err := root.OpenDir("d")
	if err != nil {
		b.Fatal(err)
	}
	f, err := d.Create("object", 0o666)
	if err != nil {
		b.Fatal(err)
	}
	if err := f.Setxattr("user.shoal", make([]byte, 200)); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		g, err := root.Open("d/object")
		if err != nil {
			b.Fatal(err)
		}
		if _, err := g.Stat(); err != nil {
			b.Fatal(err)
		}
		if _, err := g.Getxattr("user.shoal"); err != nil {
			b.Fatal(err)
		}
		if err := g.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkReadDir100k(b *testing.B) {
	d, err := OpenRoot(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	f, err := d.Create("f", 0o666)
	if err != nil {
		b.Fatal(err)
	}
	if err := f.Close(); err != nil {
		b.Fatal(err)
	}
	for i := range 100_000 {
		if i%50_000 == 0 { // below the links that ext4 allows of one file
			if f, err = d.Create(fmt.Sprintf("base%d", i), 0o666); err != nil {
				b.Fatal(err)
			}
			if err := f.Close(); err != nil {
				b.Fatal(err)
			}
		}
		if err := d.Link(fmt.Sprintf("base%d", i/50_000*50_000), d, fmt.Sprintf("name-%07d.dat", i)); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		entries, err := d.ReadDir()
		if err != nil || len(entries) < 100_000 {
			b.Fatal(len(entries), err)
		}
	}
}

func TestThePathOfAnOpenDirectoryFollowsIt(t *testing.T) {
	top := t.TempDir()
	must(t, os.Mkdir(top+"/was", 0o700))
	must(t, os.WriteFile(top+"/was/file", []byte("content"), 0o600))
	d, err := OpenRoot(top + "/was")
	must(t, err)
	defer func() { must(t, d.Close()) }()
	path, err := PathOf(d)
	must(t, err)
	must(t, os.Rename(top+"/was", top+"/is"))
	must(t, os.Mkdir(top+"/was", 0o700))
	if b, err := os.ReadFile(path + "/file"); err != nil || string(b) != "content" {
		t.Errorf("it leads to %q, %v", b, err)
	}
}
