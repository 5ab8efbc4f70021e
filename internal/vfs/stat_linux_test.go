package vfs

import (
	"errors"
	"os"
	"strings"
	"testing"
	"testing/synctest"

	"golang.org/x/sys/unix"
)

// TestWhatWasJustClosedAndMovedIsThere: a client of GlusterFS asks for a file by any
// descriptor that is open of it, and may take one that is just being closed.
func TestWhatWasJustClosedAndMovedIsThere(t *testing.T) {
	mount, _, _ := strings.Cut(os.Getenv("SHOAL_TEST_MOUNTS"), ":")
	rounds := 100
	if mount == "" {
		mount = t.TempDir()
	} else {
		rounds = 1000
	}
	path, err := os.MkdirTemp(mount, "closed-")
	must(t, err)
	root, err := OpenRoot(path)
	must(t, err)
	must(t, errors.Join(root.Mkdir("dir", 0o700), root.Mkdir("stage", 0o700)))
	dir, err := root.OpenDir("dir")
	must(t, err)
	stage, err := root.OpenDir("stage")
	must(t, err)
	failed := 0
	for range rounds {
		f, err := stage.Create("new", 0o600)
		must(t, err)
		_, err = f.Write([]byte("content"))
		must(t, errors.Join(err, f.Sync(), f.Close(), stage.Rename("new", dir, "name")))
		f, err = dir.Open("name")
		must(t, err)
		_, err = f.Stat()
		_, _ = f.Getxattr("user.none") // which is asked for, whatever the answer
		must(t, errors.Join(err, f.Close()))
		must(t, dir.Rename("name", stage, "taken"))
		if _, err := stage.Stat("taken"); err != nil {
			t.Logf("stat: %v", err)
			failed++
		}
		must(t, stage.Remove("taken"))
	}
	if failed > 0 {
		t.Errorf("%d of %d were not there", failed, rounds)
	}
	must(t, errors.Join(dir.Close(), stage.Close(), root.Close()))
}

// TestAFileIsLookedAtAgainWhereADescriptorWasBad: but not for ever.
func TestAFileIsLookedAtAgainWhereADescriptorWasBad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		looks := 0
		must(t, lookAgain(func() error {
			if looks++; looks < lookTries {
				return unix.EBADFD
			}
			return nil
		}))
		if err := lookAgain(func() error { return unix.EBADFD }); !errors.Is(err, unix.EBADFD) {
			t.Errorf("a descriptor that stays bad: %v", err)
		}
		if err := lookAgain(func() error { return unix.ENOENT }); !errors.Is(err, unix.ENOENT) {
			t.Errorf("what is not there: %v", err)
		}
	})
}
