package vfs

import (
	"errors"
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// Permit returns nil if the file system lets somebody search the way to a directory
// beneath root and have wanted of it, an error that wraps fs.ErrPermission if not. It is the
// kernel, and for a network the file server, that decides, so lists of any kind count.
func Permit(root Dir, path string, who Person, wanted Permission) error {
	d, ok := root.(*osDir)
	if !ok {
		return pathError("permit", path, ErrUnsupported)
	}
	err := who.do(func() error {
		fd, err := d.open(path, unix.O_PATH|unix.O_DIRECTORY, 0)
		if err != nil {
			return err
		}
		defer closePath(fd)
		return permitted(fd, wanted)
	})
	if err != nil {
		return pathError("permit", path, err)
	}
	return nil
}

// PermitFile does the same for an open file, whatever the way to it.
func PermitFile(f File, who Person, wanted Permission) error {
	file, ok := f.(*osFile)
	if !ok {
		return fmt.Errorf("permit: %w", ErrUnsupported)
	}
	release, err := file.use()
	if err != nil {
		return file.fail("permit", err)
	}
	defer release()
	if err := who.do(func() error { return permitted(file.fd, wanted) }); err != nil {
		return file.fail("permit", err)
	}
	return nil
}

// permitted asks as who the thread is to the file system (Linux 5.8).
func permitted(fd int, wanted Permission) error {
	return retryErr(func() error {
		return unix.Faccessat2(fd, "", uint32(wanted), unix.AT_EMPTY_PATH|unix.AT_EACCESS)
	})
}

// do runs ask on a thread that is somebody else to the file system meanwhile: of the
// thread alone, which runs nothing else (setfsuid(2)). It is for questions only. Who is not
// the root user there has none of the capabilities that pass over permissions.
func (p Person) do(ask func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	own, err := oneself()
	if err != nil {
		return err
	}
	defer func() {
		if err := own.become(); err != nil {
			panic(err) // nothing may run on this thread any more
		}
	}()
	if err := p.become(); err != nil {
		return err
	}
	return ask()
}

// noID changes nothing: the calls return who one is.
const noID = -1

// oneself returns who the thread is to the file system.
func oneself() (Person, error) {
	uid, uidErr := unix.SetfsuidRetUid(noID)
	gid, gidErr := unix.SetfsgidRetGid(noID)
	groups, err := unix.Getgroups()
	p := Person{UID: uint32(uid), GID: uint32(gid)} //nolint:gosec // numbers of 32 bits
	for _, g := range groups {
		p.Groups = append(p.Groups, uint32(g)) //nolint:gosec // numbers of 32 bits
	}
	return p, errors.Join(uidErr, gidErr, err)
}

// become makes the thread somebody to the file system. Who the calls do not make one of
// is found out by asking, since two of them do not tell.
func (p Person) become() error {
	groups := make([]int, len(p.Groups))
	for i, g := range p.Groups {
		groups[i] = int(g)
	}
	if err := unix.Setgroups(groups); err != nil {
		return fmt.Errorf("%w: become a member of groups: %w", ErrUnsupported, err)
	}
	if err := errors.Join(unix.Setfsgid(int(p.GID)), unix.Setfsuid(int(p.UID))); err != nil {
		return fmt.Errorf("%w: become another user: %w", ErrUnsupported, err)
	}
	now, err := oneself()
	if err != nil || now.UID != p.UID || now.GID != p.GID {
		return fmt.Errorf("%w: become user %d of group %d: %w", ErrUnsupported, p.UID, p.GID, errors.Join(unix.EPERM, err))
	}
	return nil
}
