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
// the root user there has none of the capabilities that pass over permissions: the kernel
// takes them from a thread that was root, and we from one that was not.
func (p Person) do(ask func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	own, err := oneself()
	if err != nil {
		return err
	}
	var powers capabilities
	if own.UID != 0 {
		if powers, err = ownCapabilities(); err != nil {
			return err
		}
	}
	if err := p.join(); err != nil { // and nothing is other than it was
		return err
	}
	defer func() {
		err := errors.Join(own.join(), own.become())
		if own.UID != 0 {
			err = errors.Join(err, powers.take()) // of who was root meanwhile the kernel has taken some
		}
		if err != nil {
			panic(err) // nothing may run on this thread any more
		}
	}()
	if err := p.become(); err != nil {
		return err
	}
	if own.UID != 0 && p.UID != 0 {
		if err := powers.ordinary().take(); err != nil {
			return err
		}
	}
	return ask()
}

// capabilities are those of a thread (capabilities(7)), as the calls have them.
type capabilities [2]unix.CapUserData

func ownCapabilities() (c capabilities, err error) {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	if err := unix.Capget(&header, &c[0]); err != nil {
		return c, fmt.Errorf("find out capabilities: %w", err)
	}
	return c, nil
}

// take has them be those of the thread.
func (c capabilities) take() error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	if err := unix.Capset(&header, &c[0]); err != nil {
		return fmt.Errorf("take capabilities: %w", err)
	}
	return nil
}

// ordinary returns them without those in force that pass over permissions of files: what the
// kernel takes from who is root no more.
func (c capabilities) ordinary() capabilities {
	const passing = 1<<unix.CAP_CHOWN | 1<<unix.CAP_DAC_OVERRIDE | 1<<unix.CAP_DAC_READ_SEARCH | 1<<unix.CAP_FOWNER | 1<<unix.CAP_FSETID |
		1<<unix.CAP_LINUX_IMMUTABLE | 1<<unix.CAP_MKNOD
	c[0].Effective &^= passing
	c[1].Effective &^= 1 << (unix.CAP_MAC_OVERRIDE - 32)
	return c
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

// join makes the thread a member of somebody's groups, and no others.
func (p Person) join() error {
	groups := make([]int, len(p.Groups))
	for i, g := range p.Groups {
		groups[i] = int(g)
	}
	if err := unix.Setgroups(groups); err != nil {
		return fmt.Errorf("%w: become a member of groups: %w", ErrUnsupported, err)
	}
	return nil
}

// become makes the thread somebody to the file system, but for his groups. Whether the calls
// have done so is found out by asking, since they do not tell.
func (p Person) become() error {
	if err := errors.Join(unix.Setfsgid(int(p.GID)), unix.Setfsuid(int(p.UID))); err != nil {
		return fmt.Errorf("%w: become another user: %w", ErrUnsupported, err)
	}
	now, err := oneself()
	if err != nil || now.UID != p.UID || now.GID != p.GID {
		return fmt.Errorf("%w: become user %d of group %d: %w", ErrUnsupported, p.UID, p.GID, errors.Join(unix.EPERM, err))
	}
	return nil
}
