package vfs

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// made is a file system under test, with what only it can do.
type made struct {
	Dir
	symlink func(target, path string) error
	mkfifo  func(path string) error
}

// fileSystems are all that must keep the promises of Dir and File.
func fileSystems() map[string]func(t *testing.T) made {
	onDisk := func(t *testing.T) (*osDir, made) {
		path := t.TempDir()
		root, err := OpenRoot(path)
		if err != nil {
			t.Fatal(err)
		}
		d := root.(*osDir)
		return d, made{
			Dir:     d,
			symlink: func(target, name string) error { return os.Symlink(target, path+"/"+name) },
			mkfifo:  func(name string) error { return makeFIFO(path + "/" + name) },
		}
	}
	return map[string]func(t *testing.T) made{
		"OS": func(t *testing.T) made {
			_, m := onDisk(t)
			return m
		},
		"OS without openat2": func(t *testing.T) made {
			d, m := onDisk(t)
			withoutOpenat2(d)
			return m
		},
		"OS shared": func(t *testing.T) made {
			d, m := onDisk(t)
			d.root, d.tree.sharing = true, sharedAskTime
			return m
		},
		"Memory": func(*testing.T) made {
			m := NewMemory()
			return made{m.Root(), m.Symlink, m.Mkfifo}
		},
		"Fault over OS": func(t *testing.T) made {
			_, m := onDisk(t)
			m.Dir = NewFault(m.Dir).Root()
			return m
		},
	}
}

func onAll(t *testing.T, test func(t *testing.T, d made)) {
	for name, make := range fileSystems() {
		t.Run(name, func(t *testing.T) {
			d := make(t)
			test(t, d)
			if err := d.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func refused(t *testing.T, err error, want ...error) {
	t.Helper()
	for _, w := range want {
		if !errors.Is(err, w) {
			t.Errorf("got %v, want %v", err, w)
		}
	}
	var pe *fs.PathError
	if !errors.As(err, &pe) {
		t.Errorf("%v is no PathError", err)
	}
}

func put(t *testing.T, d Dir, name, content string) {
	t.Helper()
	f, err := d.Create(name, 0o666)
	must(t, err)
	_, err = f.Write([]byte(content))
	must(t, err)
	must(t, f.Sync())
	must(t, f.Close())
}

func get(t *testing.T, f File) string {
	t.Helper()
	st, err := f.Stat()
	must(t, err)
	p := make([]byte, st.Size)
	if n, err := f.ReadAt(p, 0); err != nil || n != len(p) {
		t.Fatalf("read %d of %d: %v", n, len(p), err)
	}
	return string(p)
}

func readAll(t *testing.T, d Dir, path string) string {
	t.Helper()
	f, err := d.Open(path)
	must(t, err)
	defer func() { must(t, f.Close()) }()
	return get(t, f)
}

func names(t *testing.T, d Dir) []string {
	t.Helper()
	entries, err := d.ReadDir()
	must(t, err)
	list := []string{}
	for _, e := range entries {
		list = append(list, e.Name)
	}
	slices.Sort(list)
	return list
}

func TestANameMayHoldEveryByteButNULAndSlash(t *testing.T) {
	onAll(t, func(t *testing.T, d made) {
		var all []string
		for b := 1; b < 256; b++ {
			name := "n" + string([]byte{byte(b)})
			if b == '/' {
				continue
			}
			all = append(all, name)
			put(t, d, name, name)
		}
		slices.Sort(all)
		if got := names(t, d); !slices.Equal(got, all) {
			t.Errorf("got %q", got)
		}
		for _, name := range all {
			if got := readAll(t, d, name); got != name {
				t.Errorf("%q holds %q", name, got)
			}
		}
	})
}

func TestAPathMayBeLongerThanPathMax(t *testing.T) {
	onAll(t, func(t *testing.T, d made) {
		name := strings.Repeat("x", 255)
		path := name
		must(t, d.Mkdir(path, 0o777))
		for len(path) < 3*4096 {
			path += "/" + name
			must(t, d.Mkdir(path, 0o777))
		}
		sub, err := d.OpenDir(path)
		must(t, err)
		put(t, sub, "f", "deep")
		must(t, sub.Close())
		if got := readAll(t, d, path+"/f"); got != "deep" {
			t.Errorf("got %q", got)
		}
		if st, err := d.Stat(path + "/f"); err != nil || st.Size != 4 {
			t.Errorf("%+v, %v", st, err)
		}
		_, err = d.Open(strings.Repeat("y", 5000))
		refused(t, err, syscall.ENAMETOOLONG)
		_, err = d.Open(path + "/" + strings.Repeat("y", 5000) + "/z")
		refused(t, err, syscall.ENAMETOOLONG)
	})
}

func TestASymbolicLinkIsRefusedWhereverItStands(t *testing.T) {
	onAll(t, func(t *testing.T, d made) {
		must(t, d.Mkdir("dir", 0o777))
		sub, err := d.OpenDir("dir")
		must(t, err)
		put(t, sub, "f", "x")
		must(t, d.symlink("dir", "link"))
		must(t, d.symlink("dir/f", "leaf"))
		must(t, d.symlink("/etc", "out"))
		for _, path := range []string{"link/f", "leaf", "out/passwd", "out"} {
			_, err := d.Open(path)
			refused(t, err, syscall.ELOOP)
		}
		_, err = d.OpenDir("link")
		refused(t, err, syscall.ELOOP)
		_, err = d.Stat("link/f")
		refused(t, err, syscall.ELOOP)
		refused(t, d.Mkdir("link/new", 0o777), syscall.ELOOP)
		_, err = d.Create("leaf", 0o666)
		refused(t, err, syscall.ELOOP)
		for _, path := range []string{"link", "leaf"} {
			st, err := d.Stat(path)
			if err != nil || st.Mode.Type() != fs.ModeSymlink {
				t.Errorf("%+v, %v", st, err)
			}
		}
		must(t, d.symlink("f", "dir/inner"))
		if st, err := d.Stat("dir/inner"); err != nil || st.Mode.Type() != fs.ModeSymlink {
			t.Errorf("%+v, %v", st, err)
		}
		must(t, sub.Close())
	})
}

func TestWhatIsNoPathIsRefused(t *testing.T) {
	onAll(t, func(t *testing.T, d made) {
		must(t, d.Mkdir("a", 0o777))
		for _, path := range []string{"", "..", "/", "/a", "a/", "a//b", "a/..", "../a", "a/../a", "./a", "a/.", "a\x00", "a\x00/b"} {
			_, err := d.Open(path)
			refused(t, err, syscall.EINVAL)
			_, err = d.OpenDir(path)
			refused(t, err, syscall.EINVAL)
			_, err = d.Stat(path)
			refused(t, err, syscall.EINVAL)
			refused(t, d.Mkdir(path, 0o777), syscall.EINVAL)
		}
		for _, name := range []string{"", ".", "..", "a/b", "/", "a\x00"} {
			_, err := d.Create(name, 0o666)
			refused(t, err, syscall.EINVAL)
			refused(t, d.Remove(name), syscall.EINVAL)
			refused(t, d.Rmdir(name), syscall.EINVAL)
			refused(t, d.Rename(name, d.Dir, "x"), syscall.EINVAL)
			refused(t, d.Rename("a", d.Dir, name), syscall.EINVAL)
			refused(t, d.Link("a", d.Dir, name), syscall.EINVAL)
		}
	})
}

func TestOpeningAFIFODoesNotBlock(t *testing.T) {
	onAll(t, func(t *testing.T, d made) {
		must(t, d.mkfifo("fifo"))
		f, err := d.Open("fifo")
		must(t, err)
		st, err := f.Stat()
		if err != nil || st.Mode.Type() != fs.ModeNamedPipe {
			t.Errorf("%+v, %v", st, err)
		}
		must(t, f.Close())
	})
}

func TestARenameOverAnOpenFileLeavesItsContentReadable(t *testing.T) {
	onAll(t, func(t *testing.T, d made) {
		must(t, d.Mkdir("session", 0o777))
		s, err := d.OpenDir("session")
		must(t, err)
		put(t, d, "key", "old")
		put(t, s, "temp", "new!")
		f, err := d.Open("key")
		must(t, err)
		must(t, s.Rename("temp", d.Dir, "key"))
		if got := get(t, f); got != "old" {
			t.Errorf("the open file reads %q", got)
		}
		if got := readAll(t, d, "key"); got != "new!" {
			t.Errorf("the name reads %q", got)
		}
		must(t, d.Remove("key"))
		if got := get(t, f); got != "old" {
			t.Errorf("after the removal it reads %q", got)
		}
		must(t, f.Close())
		if got := names(t, s); len(got) != 0 {
			t.Errorf("the session still holds %q", got)
		}
		must(t, s.Close())
	})
}

func TestADirectoryHandleSurvivesItsRename(t *testing.T) {
	onAll(t, func(t *testing.T, d made) {
		must(t, d.Mkdir("a", 0o777))
		a, err := d.OpenDir("a")
		must(t, err)
		must(t, d.Rename("a", d.Dir, "b"))
		put(t, a, "f", "x")
		if got := readAll(t, d, "b/f"); got != "x" {
			t.Errorf("got %q", got)
		}
		must(t, a.Remove("f"))
		must(t, d.Rmdir("b"))
		_, err = a.Create("f", 0o666)
		refused(t, err, fs.ErrNotExist)
		must(t, a.Close())
	})
}

func TestErrorsOfTheNamespace(t *testing.T) {
	onAll(t, func(t *testing.T, d made) {
		put(t, d, "file", "x")
		put(t, d, "other", "y")
		must(t, d.Mkdir("dir", 0o777))
		must(t, d.Mkdir("dir/sub", 0o777))
		_, open := d.Open("none")
		_, below := d.Open("file/x")
		_, dir := d.OpenDir("file")
		_, create := d.Create("dir", 0o666)
		for _, tt := range []struct {
			name string
			err  error
			want []error
		}{
			{"open what is not there", open, []error{fs.ErrNotExist, syscall.ENOENT}},
			{"open below a file", below, []error{syscall.ENOTDIR}},
			{"open a file as a directory", dir, []error{syscall.ENOTDIR}},
			{"create over a directory", create, []error{syscall.EISDIR}},
			{"link to a name that is taken", d.Link("file", d.Dir, "other"), []error{fs.ErrExist, syscall.EEXIST}},
			{"link what is not there", d.Link("none", d.Dir, "x"), []error{fs.ErrNotExist}},
			{"link a directory", d.Link("dir", d.Dir, "x"), []error{fs.ErrPermission}},
			{"make a directory that is there", d.Mkdir("dir", 0o777), []error{fs.ErrExist}},
			{"make a directory over a file", d.Mkdir("file", 0o777), []error{fs.ErrExist}},
			{"remove a directory that is not empty", d.Rmdir("dir"), []error{syscall.ENOTEMPTY}},
			{"remove a file as a directory", d.Rmdir("file"), []error{syscall.ENOTDIR}},
			{"remove a directory as a file", d.Remove("dir"), []error{syscall.EISDIR}},
			{"remove what is not there", d.Remove("none"), []error{fs.ErrNotExist}},
			{"rename what is not there", d.Rename("none", d.Dir, "x"), []error{fs.ErrNotExist}},
			{"rename a file over a directory", d.Rename("file", d.Dir, "dir"), []error{syscall.EISDIR}},
			{"rename a directory over a file", d.Rename("dir", d.Dir, "file"), []error{syscall.ENOTDIR}},
		} {
			t.Run(tt.name, func(t *testing.T) { refused(t, tt.err, tt.want...) })
		}
		if got := names(t, d); !slices.Equal(got, []string{"dir", "file", "other"}) {
			t.Errorf("the failed calls left %q", got)
		}
	})
}

func TestALinkIsTheSameFile(t *testing.T) {
	onAll(t, func(t *testing.T, d made) {
		put(t, d, "a", "x")
		must(t, d.Link("a", d.Dir, "b"))
		a, errA := d.Stat("a")
		b, errB := d.Stat("b")
		if errA != nil || errB != nil || a.Ino != b.Ino || a.Dev != b.Dev || a.Nlink != 2 {
			t.Errorf("%+v, %+v, %v, %v", a, b, errA, errB)
		}
		f, err := d.Open("a")
		must(t, err)
		if st, err := f.Stat(); err != nil || st != a {
			t.Errorf("the open file is %+v, the name %+v, %v", st, a, err)
		}
		must(t, f.Close())
		must(t, d.Rename("a", d.Dir, "b"))
		if got := names(t, d); !slices.Equal(got, []string{"a", "b"}) {
			t.Errorf("a rename onto a link of the same file left %q", got)
		}
	})
}

func TestAnOpenFileIsGivenANameWhateverBecameOfItsOwn(t *testing.T) {
	onAll(t, func(t *testing.T, d made) {
		must(t, d.Mkdir("session", 0o777))
		s, err := d.OpenDir("session")
		must(t, err)
		put(t, d, "a", "old")
		must(t, d.Link("a", s, "kept"))
		f, err := d.Open("a")
		must(t, err)
		put(t, d, "b", "new")
		must(t, d.Rename("b", d.Dir, "a"))
		linker := f.(Linker)
		must(t, linker.LinkTo(s, "held"))
		if got := readAll(t, s, "held"); got != "old" {
			t.Errorf("its new name reads %q", got)
		}
		refused(t, linker.LinkTo(s, "kept"), fs.ErrExist)
		refused(t, linker.LinkTo(s, "../x"), syscall.EINVAL)
		must(t, s.Remove("kept"))
		must(t, s.Remove("held"))
		refused(t, linker.LinkTo(s, "late"), fs.ErrNotExist)
		must(t, f.Close())
		refused(t, linker.LinkTo(s, "closed"), fs.ErrClosed)
		must(t, s.Close())
	})
}

func TestNamespaceChangesMoveTheTimesOfTheDirectory(t *testing.T) {
	onAll(t, func(t *testing.T, d made) {
		old := time.Now().Add(-time.Hour)
		before, err := d.Stat(".")
		must(t, err)
		if !before.Mtime.After(old) || !before.Mode.IsDir() || before.Ino == 0 {
			t.Errorf("%+v", before)
		}
		put(t, d, "a", "x")
		after, err := d.Stat(".")
		must(t, err)
		if after.Ino != before.Ino || after.Mtime.Before(before.Mtime) || after.Ctime.Before(before.Ctime) {
			t.Errorf("%+v, then %+v", before, after)
		}
	})
}

func TestReadDirTellsTypes(t *testing.T) {
	onAll(t, func(t *testing.T, d made) {
		put(t, d, "file", "")
		must(t, d.Mkdir("dir", 0o777))
		must(t, d.symlink("x", "link"))
		must(t, d.mkfifo("fifo"))
		entries, err := d.ReadDir()
		must(t, err)
		want := map[string]fs.FileMode{"file": 0, "dir": fs.ModeDir, "link": fs.ModeSymlink, "fifo": fs.ModeNamedPipe}
		for _, e := range entries {
			if w, ok := want[e.Name]; !ok || w != e.Type {
				t.Errorf("%+v", e)
			}
			delete(want, e.Name)
		}
		if len(want) > 0 {
			t.Errorf("missing %v", want)
		}
	})
}

func TestCreateTruncatesWhatIsThere(t *testing.T) {
	onAll(t, func(t *testing.T, d made) {
		put(t, d, "f", "long content")
		put(t, d, "f", "short")
		if got := readAll(t, d, "f"); got != "short" {
			t.Errorf("got %q", got)
		}
		f, err := d.Open("f")
		must(t, err)
		if _, err := f.Write([]byte("x")); err == nil {
			t.Error("a file opened for reading was written")
		}
		p := make([]byte, 10)
		if n, err := f.ReadAt(p, 2); n != 3 || !errors.Is(err, io.EOF) || string(p[:n]) != "ort" {
			t.Errorf("%d, %v, %q", n, err, p[:n])
		}
		must(t, f.Close())
	})
}

func TestXattrsComeBackAsTheyWereSet(t *testing.T) {
	onAll(t, func(t *testing.T, d made) {
		f, err := d.Create("f", 0o666)
		must(t, err)
		_, err = f.Getxattr("user.shoal.test")
		refused(t, err, ErrNoXattr)
		for _, size := range []int{0, 1, 1023, 1024, 1025, 3000} {
			value := bytes.Repeat([]byte{byte(size), 0}, size)[:size]
			must(t, f.Setxattr("user.shoal.test", value))
			got, err := f.Getxattr("user.shoal.test")
			if err != nil || !bytes.Equal(got, value) {
				t.Errorf("of %d bytes: got %d, %v", size, len(got), err)
			}
		}
		must(t, f.Close())
	})
}

func TestCopyFromAppendsAPartOfAnotherFile(t *testing.T) {
	onAll(t, func(t *testing.T, d made) {
		put(t, d, "src", "0123456789")
		src, err := d.Open("src")
		must(t, err)
		dst, err := d.Create("dst", 0o666)
		must(t, err)
		_, err = dst.Write([]byte("<"))
		must(t, err)
		if n, err := dst.CopyFrom(src, 2, 5); n != 5 || err != nil {
			t.Fatalf("%d, %v", n, err)
		}
		_, err = dst.Write([]byte(">"))
		must(t, err)
		n, err := dst.CopyFrom(src, 8, 5)
		if n != 2 {
			t.Errorf("copied %d of the 2 that there are", n)
		}
		refused(t, err, io.ErrUnexpectedEOF)
		must(t, errors.Join(src.Close(), dst.Close()))
		copied, err := d.Open("dst")
		must(t, err)
		if got := get(t, copied); got != "<23456>89" {
			t.Errorf("got %q", got)
		}
		must(t, copied.Close())
	})
}

// tcpPair returns both ends of a TCP connection.
func tcpPair(t *testing.T) (client, server *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer func() { must(t, l.Close()) }()
	c, err := net.Dial("tcp", l.Addr().String())
	must(t, err)
	s, err := l.Accept()
	must(t, err)
	return c.(*net.TCPConn), s.(*net.TCPConn)
}

func TestSendWritesARangeToAConnectionAndToAWriter(t *testing.T) {
	onAll(t, func(t *testing.T, d made) {
		all := strings.Repeat("0123456789abcdef", 1<<16)
		put(t, d, "f", all)
		f, err := d.Open("f")
		must(t, err)
		for _, tt := range []struct{ off, n, want int64 }{
			{0, 10, 10},
			{5, 1000, 1000},
			{0, int64(len(all)), int64(len(all))},
			{3, 0, 0},
			{int64(len(all)) - 5, 10, 5},
			{int64(len(all)) + 5, 10, 0},
		} {
			want := all[min(tt.off, int64(len(all))):][:tt.want]
			check := func(kind, got string, n int64, err error) {
				if got != want || n != tt.want {
					t.Errorf("%s %+v: %d bytes said, %d arrived", kind, tt, n, len(got))
				}
				if tt.want < tt.n {
					refused(t, err, io.ErrUnexpectedEOF)
				} else if err != nil {
					t.Errorf("%s %+v: %v", kind, tt, err)
				}
			}
			client, server := tcpPair(t)
			arrived := make(chan string)
			go func() {
				b, _ := io.ReadAll(client) // what is short fails the comparison
				arrived <- string(b)
			}()
			n, err := f.Send(server, tt.off, tt.n)
			must(t, server.Close())
			check("connection", <-arrived, n, err)
			must(t, client.Close())
			var buf bytes.Buffer
			n, err = f.Send(struct{ io.Writer }{&buf}, tt.off, tt.n)
			check("writer", buf.String(), n, err)
		}
		_, err = f.Send(io.Discard, -1, 1)
		refused(t, err, syscall.EINVAL)
		must(t, f.Close())
	})
}

func TestAfterCloseEveryMethodFailsAndNothingIsClosedTwice(t *testing.T) {
	onAll(t, func(t *testing.T, d made) {
		put(t, d, "f", "x")
		must(t, d.Mkdir("d", 0o777))
		sub, err := d.OpenDir("d")
		must(t, err)
		f, err := d.Open("f")
		must(t, err)
		must(t, sub.Close())
		must(t, f.Close())
		put(t, d, "next", "y") // takes the descriptor's number
		g, err := d.Open("next")
		must(t, err)
		_, err = f.ReadAt(make([]byte, 1), 0)
		refused(t, err, fs.ErrClosed)
		_, err = f.Stat()
		refused(t, err, fs.ErrClosed)
		_, err = f.Send(io.Discard, 0, 1)
		refused(t, err, fs.ErrClosed)
		refused(t, f.Close(), fs.ErrClosed)
		_, err = sub.Open("f")
		refused(t, err, fs.ErrClosed)
		_, err = sub.Stat(".")
		refused(t, err, fs.ErrClosed)
		_, err = sub.ReadDir()
		refused(t, err, fs.ErrClosed)
		refused(t, sub.Sync(), fs.ErrClosed)
		refused(t, d.Rename("f", sub, "f"), fs.ErrClosed)
		refused(t, sub.Close(), fs.ErrClosed)
		if got := get(t, g); got != "y" {
			t.Errorf("got %q", got)
		}
		must(t, g.Close())
	})
}

func TestUsageKnowsTheNameMax(t *testing.T) {
	onAll(t, func(t *testing.T, d made) {
		u, err := d.Usage()
		if err != nil || u.NameMax < 64 || u.Type == "" || u.Total == 0 {
			t.Errorf("%+v, %v", u, err)
		}
		must(t, d.Sync())
	})
}
