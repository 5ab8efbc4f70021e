package vfs_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/shoal-storage/shoal/internal/vfs"
)

// TestWhoPassesOverPermissionsWithoutBeingRootCanAskForOthers has a thread that is not root and
// reads and writes all files none the less.
func TestWhoPassesOverPermissionsWithoutBeingRootCanAskForOthers(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	const own, ann, bob = 4321, 1001, 1002
	dir := t.TempDir()
	private := filepath.Join(dir, "private")
	if err := errors.Join(os.Chmod(filepath.Dir(dir), 0o755), os.Chmod(dir, 0o755), os.Mkdir(private, 0o700), os.Chown(private, ann, ann)); err != nil { //nolint:gosec // others must be let in
		t.Fatal(err)
	}
	root, err := vfs.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := root.Close(); err != nil {
			t.Error(err)
		}
	}()
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and it ends with this function
		if err := becomeOther(own, unix.CAP_DAC_OVERRIDE, unix.CAP_DAC_READ_SEARCH, unix.CAP_SETUID, unix.CAP_SETGID); err != nil {
			t.Error(err)
			return
		}
		for _, tt := range []struct {
			who uint32
			let bool
		}{{bob, false}, {ann, true}, {0, true}, {own, false}, {bob, false}} {
			err := vfs.Permit(root, "private", vfs.Person{UID: tt.who, GID: tt.who}, vfs.Read|vfs.Search)
			if tt.let != (err == nil) || err != nil && !errors.Is(err, fs.ErrPermission) {
				t.Errorf("%d: %v", tt.who, err)
			}
			fd, err := unix.Open(private, unix.O_RDONLY|unix.O_DIRECTORY, 0)
			if err != nil {
				t.Errorf("after %d was asked for, who asks is refused himself: %v", tt.who, err)
				return
			}
			_ = unix.Close(fd)
		}
	}()
	<-done
}

// TestWhoCannotBeOthersIsToldSo has threads that lack one power, or both.
func TestWhoCannotBeOthersIsToldSo(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	root, err := vfs.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := root.Close(); err != nil {
			t.Error(err)
		}
	}()
	for _, powers := range [][]uint{{unix.CAP_DAC_OVERRIDE}, {unix.CAP_DAC_OVERRIDE, unix.CAP_SETUID}, {unix.CAP_DAC_OVERRIDE, unix.CAP_SETGID}} {
		asked := make(chan error)
		go func() {
			runtime.LockOSThread() // and it ends with this function
			err := becomeOther(4321, powers...)
			if err == nil {
				err = vfs.Permit(root, ".", vfs.Person{UID: 1001, GID: 1001}, vfs.Read)
			}
			asked <- err
		}()
		if err := <-asked; !errors.Is(err, vfs.ErrUnsupported) {
			t.Errorf("with %v: %v", powers, err)
		}
	}
}

// becomeOther makes the thread, and no other, a user with these capabilities alone.
func becomeOther(uid uintptr, powers ...uint) error {
	if err := unix.Prctl(unix.PR_SET_KEEPCAPS, 1, 0, 0, 0); err != nil {
		return err
	}
	if _, _, wrong := unix.RawSyscall(unix.SYS_SETRESUID, uid, uid, uid); wrong != 0 {
		return wrong
	}
	var set [2]unix.CapUserData
	for _, p := range powers {
		set[p/32].Permitted |= 1 << (p % 32)
		set[p/32].Effective |= 1 << (p % 32)
	}
	return unix.Capset(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &set[0])
}
