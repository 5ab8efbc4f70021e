package nasfs_test

import (
	"errors"
	"path"
	"strings"
	"syscall"
	"testing"

	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/vfs"
	"github.com/shoal-storage/shoal/nasfs"
)

// fill has a file system take nothing more, but what is there already: a claim, and the directory of a session.
func fill(fault *vfs.Fault, errno syscall.Errno) (empty func()) {
	return fault.Inject(func(c vfs.OpCall) error {
		opened := c.Op == vfs.OpCreate && path.Base(c.Path) == "claim"
		if c.Op == vfs.OpWrite || c.Op == vfs.OpSetxattr || c.Op == vfs.OpCreate && !opened {
			return &injected{errno}
		}
		return nil
	})
}

// TestATreeOpensOnAFullFileSystem: whoever deletes makes room.
func TestATreeOpensOnAFullFileSystem(t *testing.T) {
	t.Parallel()
	for _, metadata := range []nasfs.MetadataMode{nasfs.Xattr, nasfs.Sidecar} {
		for _, errno := range []syscall.Errno{syscall.ENOSPC, syscall.EDQUOT} {
			t.Run(metadata.String()+" "+errno.Error(), func(t *testing.T) {
				t.Parallel()
				fault := vfs.NewFault(vfs.NewMemory().Root())
				cfg := config(t, fault.Root())
				cfg.Metadata = metadata
				s := open(t, cfg)
				_, err := setUp(t.Context(), s)
				must(t, err)
				must(t, s.Close())

				empty := fill(fault, errno)
				cfg.Metadata = nasfs.Auto
				s = open(t, cfg)
				if got, err := content(t.Context(), s, ref("file")); err != nil || got != "old file" {
					t.Errorf("read %q, %v", got, err)
				}
				if err := (&scene{Store: s}).put(t.Context(), "new", "new", nil); !errors.Is(err, object.Full) {
					t.Errorf("put: %v", err)
				}
				if _, err := s.Delete(t.Context(), ref("file"), nil); err != nil {
					t.Errorf("delete: %v", err)
				}
				empty()
				if err := (&scene{Store: s}).put(t.Context(), "new", "new", nil); err != nil {
					t.Errorf("put when there is room: %v", err)
				}
			})
		}
	}
}

// TestANewTreeDoesNotOpenOnAFullFileSystem: nothing says how it is to be kept.
func TestANewTreeDoesNotOpenOnAFullFileSystem(t *testing.T) {
	fault := vfs.NewFault(vfs.NewMemory().Root())
	fill(fault, syscall.ENOSPC)
	if _, err := nasfs.Open(config(t, fault.Root())); !errors.Is(err, object.Full) {
		t.Errorf("it gets %v", err)
	}
}

// TestTokensGrowAcrossProcessesOfAFullFileSystem keeps the generation of some from being written.
func TestTokensGrowAcrossProcessesOfAFullFileSystem(t *testing.T) {
	fault := vfs.NewFault(vfs.NewMemory().Root())
	cfg := config(t, fault.Root())
	s := open(t, cfg)
	sc, err := setUp(t.Context(), s)
	must(t, err)
	var last string
	update := func(s *nasfs.Store) error {
		info, err := s.Update(t.Context(), ref("file"), func(m *object.Meta) error { m.Tags = nil; return nil })
		if err == nil && info.Sequence <= last {
			t.Errorf("%q comes after %q", info.Sequence, last)
		}
		if err == nil {
			last = info.Sequence
		}
		return err
	}
	must(t, update(s))
	for range 3 {
		must(t, s.Close())
		empty := fault.Inject(func(c vfs.OpCall) error {
			if c.Op == vfs.OpWrite && strings.HasPrefix(path.Base(c.Path), "s.") {
				return &injected{syscall.ENOSPC}
			}
			return nil
		})
		s = open(t, cfg)
		if err := update(s); !errors.Is(err, object.Full) {
			t.Errorf("a token whose generation is not written is used: %v", err)
		}
		if _, err := s.PutPart(t.Context(), sc.up.UploadRef, 1, body("part")); !errors.Is(err, object.Full) {
			t.Errorf("a token whose generation is not written names a part: %v", err)
		}
		if gone, err := s.Delete(t.Context(), ref("no such"), nil); err != nil || gone.Sequence != "" {
			t.Errorf("a deletion is %q, %v", gone.Sequence, err)
		}
		empty()
		must(t, update(s))
	}
}
