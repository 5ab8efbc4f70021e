package vfs

import (
	"errors"
	"testing"
	"testing/synctest"

	"golang.org/x/sys/unix"
)

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
