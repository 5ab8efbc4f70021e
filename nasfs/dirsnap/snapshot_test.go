package dirsnap_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shoal-storage/shoal/internal/vfs"
	"github.com/shoal-storage/shoal/nasfs/dirsnap"
	"github.com/shoal-storage/shoal/nasfs/keypath"
)

// store makes the file of a component in a slot, with the directories of a
// long name.
func store(t *testing.T, root vfs.Dir, path string, dir bool) {
	t.Helper()
	parent := root
	for {
		name, rest, more := strings.Cut(path, "/")
		if !more {
			break
		}
		_ = parent.Mkdir(name, 0o777) // it may be there
		next, err := parent.OpenDir(name)
		must(t, err)
		parent, path = next, rest
	}
	if dir {
		must(t, parent.Mkdir(path, 0o777))
		return
	}
	touch(t, parent, path)
}

func TestASnapshotIsInTheOrderOfKeys(t *testing.T) {
	fs, codec := vfs.NewMemory(), keypath.Codec{}
	root := fs.Root()
	long := strings.Repeat("l", 700)
	for _, c := range []string{"a", "a-b", "a0", "", "b\x01", "\xff", "..", "z", long, long[:300], "=e=x"} {
		store(t, root, codec.Name(c), false)
	}
	for _, c := range []string{"d", "d\x01", long + "dir"} {
		store(t, root, codec.Name(c), true)
	}
	store(t, root, "=f=d", false) // file and directory d
	store(t, root, "=f=a", false) // an older a, which the plain one hides
	store(t, root, codec.Slot(long+"f", keypath.Alias), false)
	store(t, root, "=f=x", true) // a directory cannot be an alias
	store(t, root, codec.Name(long)[:255]+"/junk", false)
	store(t, root, ".snapshot", true)
	must(t, fs.Symlink("a", "link"))
	must(t, fs.Mkfifo("fifo"))
	s, err := dirsnap.Read(root, codec)
	must(t, err)
	var got []string
	for i := range s.Len() {
		e := s.At(i)
		got = append(got, fmt.Sprint(e.Key, " ", e.Slot))
		if e.IsDir() != strings.HasSuffix(e.Key, "/") || e.Component() != strings.TrimSuffix(e.Key, "/") {
			t.Errorf("%+v", e)
		}
	}
	want := []string{
		" 0", ".. 0", "=e=x 0", "a 0", "a-b 0", "a0 0", "b\x01 0", "d 1", "d\x01/ 0", "d/ 0", long[:300] + " 0", long + " 0", long + "dir/ 0", long + "f 1", "z 0", "\xff 0",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestSeek(t *testing.T) {
	root := vfs.NewMemory().Root()
	for _, name := range []string{"b", "d", "f"} {
		touch(t, root, name)
	}
	s, err := dirsnap.Read(root, keypath.Codec{})
	must(t, err)
	for _, tt := range []struct {
		key          string
		first, after int
	}{{"", 0, 0}, {"a", 0, 0}, {"b", 0, 1}, {"c", 1, 1}, {"d", 1, 2}, {"f", 2, 3}, {"g", 3, 3}} {
		if s.Seek(tt.key) != tt.first || s.SeekAfter(tt.key) != tt.after {
			t.Errorf("%q: %d, %d", tt.key, s.Seek(tt.key), s.SeekAfter(tt.key))
		}
	}
}

// untold is a file system that does not tell types in directories.
type untold struct{ vfs.Dir }

func (u untold) ReadDir() ([]vfs.Entry, error) {
	entries, err := u.Dir.ReadDir()
	for i := range entries {
		entries[i].Type = 1 << 19 // fs.ModeIrregular
	}
	return append(entries, vfs.Entry{Name: "gone", Type: 1 << 19}), err
}

func TestTypesThatADirectoryDoesNotTellAreAskedFor(t *testing.T) {
	fs := vfs.NewMemory()
	root := fs.Root()
	touch(t, root, "file")
	must(t, root.Mkdir("dir", 0o777))
	must(t, fs.Symlink("file", "link"))
	s, err := dirsnap.Read(untold{root}, keypath.Codec{})
	must(t, err)
	if s.Len() != 2 || s.At(0).Key != "dir/" || s.At(1).Key != "file" {
		t.Errorf("%d entries", s.Len())
	}
}

// listed is a directory of fixed entries.
type listed struct {
	vfs.Dir
	entries []vfs.Entry
}

func (l listed) ReadDir() ([]vfs.Entry, error) { return l.entries, nil }

func many(n int) listed {
	l := listed{Dir: vfs.NewMemory().Root()}
	for i := range n {
		l.entries = append(l.entries, vfs.Entry{Name: fmt.Sprintf("photo-%08x.jpg", uint32(i)*2654435761)})
	}
	return l
}

func BenchmarkRead100k(b *testing.B) {
	d := many(100_000)
	b.ReportAllocs()
	for b.Loop() {
		s, err := dirsnap.Read(d, keypath.Codec{})
		must(b, err)
		b.ReportMetric(float64(s.Size())/float64(s.Len()), "B/entry")
	}
}

func BenchmarkSeekAndPageOf1000(b *testing.B) {
	d := many(100_000)
	cache := dirsnap.NewCache(dirsnap.Config{})
	b.ReportAllocs()
	for b.Loop() {
		v, err := cache.Get(b.Context(), "d", d, nil)
		must(b, err)
		n := 0
		for range v.From("photo-8", true) {
			if n++; n == 1000 {
				break
			}
		}
	}
}

// BenchmarkFollowedChange gets a view after one change that others tell of.
func BenchmarkFollowedChange(b *testing.B) {
	d := many(100_000)
	cache := dirsnap.NewCache(dirsnap.Config{Shared: true, Reread: time.Hour})
	changes := func(string) ([]string, string, bool) { return []string{"photo-x"}, "mark", true }
	for range 2 { // the first tells that it is large, the second gets a mark
		_, err := cache.Get(b.Context(), "d", d, changes)
		must(b, err)
	}
	b.ReportAllocs()
	for b.Loop() {
		_, err := cache.Get(b.Context(), "d", d, changes)
		must(b, err)
	}
}

func BenchmarkNote(b *testing.B) {
	d := many(100_000)
	cache := dirsnap.NewCache(dirsnap.Config{})
	_, err := cache.Get(b.Context(), "d", d, nil)
	must(b, err)
	b.ReportAllocs()
	for b.Loop() {
		cache.Note("d", dirsnap.Entry{Key: "photo-x"}, true)
	}
}
