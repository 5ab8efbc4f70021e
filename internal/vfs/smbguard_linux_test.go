package vfs

import (
	"errors"
	"io"
	"io/fs"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

// guardedRoot returns a directory as it would be on an SMB mount, with a file.
func guardedRoot(t *testing.T, content string) Dir {
	t.Helper()
	d, err := openRoot(t.TempDir())
	must(t, err)
	d.tree.smb, d.tree.guard = true, newSMBGuard()
	t.Cleanup(func() { must(t, d.Close()) })
	fill(t, d, "file", content)
	return d
}

func fill(t *testing.T, d Dir, name, content string) {
	t.Helper()
	f, err := d.Create(name, 0o600)
	must(t, err)
	_, err = f.Write([]byte(content))
	must(t, err)
	must(t, f.Close())
}

func contentOf(t *testing.T, d Dir, name string) string {
	t.Helper()
	f, err := d.Open(name)
	must(t, err)
	defer f.Close()
	b, err := io.ReadAll(io.NewSectionReader(f, 0, 100))
	must(t, err)
	return string(b)
}

// unused fails the test if the guard has not forgotten everything.
func unused(t *testing.T, d Dir) {
	t.Helper()
	if g := d.(*osDir).tree.guard.(*smbGuard); len(g.files) > 0 {
		t.Errorf("the guard still knows %d files", len(g.files))
	}
}

func TestAFileIsReplacedWhenItIsNotOpenAnyMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := guardedRoot(t, "old")
		fill(t, d, "next", "new")
		reader, err := d.Open("file")
		must(t, err)
		replaced := make(chan error, 1)
		go func() { replaced <- d.Rename("next", d, "file") }()
		time.Sleep(guardPatience / 2)
		opened := make(chan string, 1)
		go func() { opened <- contentOf(t, d, "file") }()
		synctest.Wait()
		select {
		case <-replaced:
			t.Fatal("it was replaced while it was open")
		case <-opened:
			t.Fatal("it was opened while it was to be replaced")
		default:
		}
		b := make([]byte, 3)
		if _, err := reader.ReadAt(b, 0); err != nil || string(b) != "old" {
			t.Errorf("the reader has %q, %v", b, err)
		}
		must(t, reader.Close())
		must(t, <-replaced)
		if got := <-opened; got != "new" {
			t.Errorf("who waited has %q", got)
		}
		unused(t, d)
	})
}

func TestAReaderThatTakesLongMakesWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := guardedRoot(t, "old")
		fill(t, d, "next", "new")
		reader, err := d.Open("file")
		must(t, err)
		began := time.Now()
		must(t, d.Rename("next", d, "file"))
		if waited := time.Since(began); waited != guardPatience {
			t.Errorf("it waited %v", waited)
		}
		if _, err := reader.ReadAt(make([]byte, 1), 0); !errors.Is(err, errReplaced) {
			t.Errorf("the reader gets %v", err)
		}
		if _, err := reader.Send(io.Discard, 0, 1); !errors.Is(err, errReplaced) {
			t.Errorf("who sends it gets %v", err)
		}
		must(t, reader.Close())
		if got := contentOf(t, d, "file"); got != "new" {
			t.Errorf("it holds %q", got)
		}
		unused(t, d)
	})
}

// refusing opens "other", which is "file" too, as a server of SMB does that has a file
// open under another name: not at all for the first so many times.
func refusing(d Dir, times int) (File, error) {
	dir := d.(*osDir)
	open := func() (*osFile, error) {
		if times--; times >= 0 {
			return nil, unix.EINVAL
		}
		fd, err := dir.openToRead("other", dir.open)
		return &osFile{tree: dir.tree, fd: fd, name: "other"}, err
	}
	f, err := dir.tree.guard.open("other", open, func() (Stat, error) { return dir.stat("other") })
	if err != nil {
		return nil, err
	}
	return f, nil
}

func TestAFileThatIsOpenUnderAnotherNameIsRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := guardedRoot(t, "old")
		fill(t, d, "next", "new")
		must(t, d.Link("file", d, "other"))
		first, err := d.Open("file")
		must(t, err)
		second, err := refusing(d, math.MaxInt)
		must(t, err)
		must(t, first.Close())
		b := make([]byte, 3)
		if _, err := second.ReadAt(b, 0); err != nil || string(b) != "old" {
			t.Errorf("the second reader has %q, %v", b, err)
		}
		replaced := make(chan error, 1)
		go func() { replaced <- d.Rename("next", d, "other") }()
		synctest.Wait()
		select {
		case <-replaced:
			t.Error("it was replaced while the second reader had it open")
		default:
		}
		must(t, second.Close())
		must(t, <-replaced)
		unused(t, d)
	})
}

func TestAFileThatTheClientHasOpenUnderAnotherNameIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := guardedRoot(t, "old")
		must(t, d.Link("file", d, "other"))
		f, err := refusing(d, 10)
		must(t, err)
		must(t, f.Close())
		start := time.Now()
		if _, err = refusing(d, math.MaxInt); !errors.Is(err, unix.ETIMEDOUT) {
			t.Errorf("of one that stays open: %v", err)
		}
		if waited := time.Since(start); waited < guardPatience || waited > 2*guardPatience {
			t.Errorf("it was waited for %v", waited)
		}
		must(t, d.Remove("other"))
		start = time.Now()
		if _, err = refusing(d, math.MaxInt); !errors.Is(err, fs.ErrNotExist) || time.Since(start) > 0 {
			t.Errorf("of one that is not there: %v after %v", err, time.Since(start))
		}
		unused(t, d)
	})
}

// A real server of SMB is in test/beds; here the file system takes the time that
// it is given, which is one that SMB can tell.
func TestAFileThatWasWrittenKeepsItsTime(t *testing.T) {
	d := guardedRoot(t, "")
	f, err := d.Create("new", 0o600)
	must(t, err)
	for range 3 {
		_, err = f.Write([]byte("content"))
		must(t, err)
		st, err := f.Stat()
		must(t, err)
		again, err := f.Stat()
		must(t, err)
		if st.Mtime.Nanosecond()%100 != 0 || !again.Mtime.Equal(st.Mtime) {
			t.Errorf("%v, and then %v", st.Mtime, again.Mtime)
		}
	}
	if err := f.Setxattr("user.shoal", []byte("record")); !errors.Is(err, ErrUnsupported) {
		t.Errorf("an attribute, which would make its time uncertain: %v", err)
	}
	must(t, f.Close())
}

func TestWhatIsOpenCanBeMovedAway(t *testing.T) {
	d := guardedRoot(t, "old")
	reader, err := d.Open("file")
	must(t, err)
	must(t, d.Rename("file", d, "elsewhere"))
	b := make([]byte, 3)
	if _, err := reader.ReadAt(b, 0); err != nil || string(b) != "old" {
		t.Errorf("the reader has %q, %v", b, err)
	}
	must(t, reader.Close())
	unused(t, d)
}
