package vfs

import (
	"strconv"

	"golang.org/x/sys/unix"
)

// LinkTo implements Linker. It goes by the descriptor's name below /proc, since to link the
// descriptor itself (AT_EMPTY_PATH) is for those who may read everything.
func (f *osFile) LinkTo(dir Dir, name string) error {
	into, ok := dir.(*osDir)
	if !ok {
		return f.fail("link", unix.EXDEV)
	}
	return into.name("link", name, func(fd int) error {
		release, err := f.use()
		if err != nil {
			return err
		}
		defer release()
		return into.changing(fd, func() error {
			return unix.Linkat(unix.AT_FDCWD, "/proc/self/fd/"+strconv.Itoa(f.fd), fd, name, unix.AT_SYMLINK_FOLLOW)
		})
	})
}
