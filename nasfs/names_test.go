package nasfs_test

import (
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/vfs"
	"github.com/shoal-storage/shoal/nasfs"
)

// folding is a file system that takes a name for the one in lower case.
type folding struct{ vfs.Dir }

func (f folding) OpenDir(path string) (vfs.Dir, error) {
	d, err := f.Dir.OpenDir(path)
	if err != nil {
		return nil, err
	}
	return folding{d}, nil
}

func (f folding) Stat(path string) (vfs.Stat, error) {
	st, err := f.Dir.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		st, err = f.Dir.Stat(strings.ToLower(path))
	}
	return st, err
}

// TestWhereTwoKeysWouldBeOneFileNothingIsServed, unless that is accepted.
func TestWhereTwoKeysWouldBeOneFileNothingIsServed(t *testing.T) {
	cfg := config(t, folding{vfs.NewMemory().Root()})
	if _, err := nasfs.Open(cfg); !errors.Is(err, nasfs.ErrFoldsCase) {
		t.Errorf("alone: %v", err)
	}
	memory := vfs.NewMemory()
	w := newWorld(t, 1, func() nasfs.Config { return config(t, memory.Root()) })
	cfg = config(t, folding{memory.Root()})
	if _, err := nasfs.OpenFleet(t.Context(), cfg, w.members[0]); !errors.Is(err, nasfs.ErrFoldsCase) {
		t.Errorf("in a fleet: %v", err)
	}
}

// onServer is a file system of the given type.
type onServer struct {
	vfs.Dir
	kind string
}

func (o onServer) Usage() (vfs.Usage, error) {
	u, err := o.Dir.Usage()
	u.Type = o.kind
	return u, err
}

// TestATreeOnSMBHasNamesThatSMBTakes from its first day on, however it is mounted later.
func TestATreeOnSMBHasNamesThatSMBTakes(t *testing.T) {
	for first, escaped := range map[string]bool{"smb": true, "nfs": false} {
		memory := vfs.NewMemory()
		odd := []string{`a\b`, "aux.txt", "con", "dot.", "plain", "space "}
		for _, kind := range []string{first, "nfs", "smb"} {
			s, err := nasfs.Open(config(t, onServer{memory.Root(), kind}))
			must(t, err)
			if kind == first {
				if err := s.CreateBucket(t.Context(), object.Bucket{Name: bucket}); err != nil && !errors.Is(err, object.BucketExists) {
					t.Fatal(err)
				}
				for _, key := range odd {
					must(t, putIn(t.Context(), s, key, key, nil))
				}
			}
			if got, err := keys(t.Context(), s, object.Query{}); err != nil || !slices.Equal(got, odd) {
				t.Errorf("made on %s, now on %s: listed %q, %v", first, kind, got, err)
			}
			for _, key := range odd {
				if got, _, err := read(t.Context(), s, key); err != nil || got != key {
					t.Errorf("made on %s, now on %s: %q holds %q, %v", first, kind, key, got, err)
				}
			}
			must(t, s.Close())
		}
		files := filesBelow(t, memory.Root(), bucket, 0)
		if isEscaped := strings.Contains(strings.Join(files, " "), "/=e="); isEscaped != escaped || !slices.Contains(files, bucket+"/plain") {
			t.Errorf("made on %s: %q", first, files)
		}
	}
}
