package vfs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// sharing is what it takes, on a file system that other clients change too, to
// see what they have done, and to let them see what was done here.
type sharing uint8

const (
	sharedKernel sharing = iota // nothing: all see one state
	// A client believes the names it knows as long as it believes that their
	// directory has not changed; it is made to ask the server for that first.
	sharedAsk
	// The same, and how a client tells that a directory has changed is the time of
	// its last change: Sync waits until that shows a time that nobody has seen.
	sharedAskTime
)

// OpenShared is OpenRoot for a tree that other clients of its file server change
// at the same time. A path from the root names what the server has there when it
// is called; of the directory that OpenDir returned, the names are those since
// then, until Stat(".") asks anew. Sync also makes what was changed in the
// directory visible to other clients that opened the tree so.
//
// A tree on which that cannot be had is refused with an IncoherentError, unless
// how allows it to be Routed, and one whose inode numbers do not hold with ErrNumbers.
func OpenShared(path string, how Sharing) (Dir, error) {
	d, err := openRoot(path)
	if err != nil {
		return nil, err
	}
	m, err := d.mountPoint()
	if err == nil {
		d.tree.sharing, err = m.sharing()
	}
	d.tree.routed, d.tree.stale, err = m.routing(how, err)
	if err != nil {
		_ = d.Close() // opened for reading: there is nothing to lose
		return nil, pathError("open root", path, err)
	}
	if err := m.numbersHold(); err != nil {
		_ = d.Close() // as above
		return nil, pathError("open root", path, err)
	}
	d.root, d.tree.byTime, d.tree.mine = true, how.ByTime, how.Beside && d.tree.sharing == sharedAsk
	if how.Beside {
		d.tree.guard = nil // nothing is replaced through it
	}
	if g, ok := d.tree.guard.(*nfsGuard); ok {
		g.others = how.Others
	}
	return d, nil
}

// IsRouted reports whether a root that OpenShared opened is to be Routed, and for
// how long after a change another client of it may show what was before.
func IsRouted(root Dir) (stale time.Duration, routed bool) {
	d, ok := root.(*osDir)
	if !ok {
		return 0, false
	}
	return d.tree.stale, d.tree.routed
}

// NumbersHold returns ErrNumbers if the inode numbers of a root are not the server's. A
// client of SMB takes those no more, until it is mounted anew, when it has met a directory
// under a new name while it remembered the old one (cifs_autodisable_serverino in Linux).
func NumbersHold(root Dir) error {
	d, ok := root.(*osDir)
	if !ok || !d.tree.smb {
		return nil
	}
	m, err := d.mountPoint()
	if err != nil {
		return err
	}
	return m.numbersHold()
}

func (m mountPoint) numbersHold() error {
	if (m.kind == "cifs" || m.kind == "smb3") && !m.has("serverino") {
		return ErrNumbers
	}
	return nil
}

// seesByTime is SeesByTime.
func (d *osDir) seesByTime() bool { return d.tree.sharing == sharedAskTime }

// sharing returns how what m shows can be shared.
func (m mountPoint) sharing() (sharing, error) {
	refuse := func(why, cure string) (sharing, error) {
		return 0, &IncoherentError{why, cure}
	}
	switch {
	case m.kind == "nfs" || m.kind == "nfs4":
		if m.has("nocto") {
			return refuse("an NFS client with the option nocto does not ask the server when a file is opened", "mount it without nocto")
		}
		switch {
		case m.kind == "nfs4":
			return sharedAsk, nil
		case m.has("vers=3"):
			return sharedAskTime, nil
		}
		return refuse("an NFS client before version 3 cannot be made to ask the server", "mount it with vers=4.2")
	case m.kind == "cifs" || m.kind == "smb3":
		return refuse("an SMB client goes on showing a replaced file while anybody here has it open, whatever it is asked",
			"mount the server by NFS, or have the gateways route (--mount-mode auto)")
	case strings.HasPrefix(m.kind, "fuse"):
		cure := "mount the server by NFS, or have the gateways route (--mount-mode auto)"
		if !m.expires() {
			cure = "mount the server by NFS, or say for how long, and have the gateways route (--mount-mode routed --mount-stale 10s)"
		}
		return refuse("a FUSE client ("+m.kind+") shows names and files as they were, for a time that cannot be asked for", cure)
	case m.kind == "9p" && !m.has("cache=none"):
		return refuse("a 9P client with a cache shows names as they were", "mount it with cache=none")
	}
	return sharedKernel, nil
}

// routing reports whether m is to be Routed, as how says, and for how long it
// may show what was before. refused is why it cannot be had otherwise, or nil.
func (m mountPoint) routing(how Sharing, refused error) (routed bool, stale time.Duration, err error) {
	stale, known := m.stale()
	if refused == nil && !known {
		known = true // nothing is stale that is asked for
	}
	if how.Stale > 0 {
		stale, known = how.Stale, true
	}
	switch {
	case how.Mode == Routed && !known:
		return false, 0, &IncoherentError{"it is not known for how long a client of " + m.kind + " shows what was before", "say so with --mount-stale"}
	case how.Mode == Routed:
		return true, stale, nil
	case refused != nil && how.Mode == AutoMode && m.expires():
		return true, stale, nil
	}
	return false, 0, refused
}

// expires reports whether it is known when a client of m forgets what it cannot be
// made to ask about.
func (m mountPoint) expires() bool {
	_, known := m.stale()
	return known
}

// stale returns for how long after a change a client of m may show what was
// before, if that is known. There is a second more than each of its parts keeps
// what it knows, because they fill one another.
func (m mountPoint) stale() (time.Duration, bool) {
	switch m.kind {
	case "cifs", "smb3":
		longest := 1 // s: for names that are not there, whatever the options say
		for _, option := range []string{"actimeo", "acregmax", "acdirmax", "closetimeo"} {
			longest = max(longest, m.number(option))
		}
		return time.Duration(longest+1) * time.Second, true
	case "fuse.glusterfs":
		return 3 * time.Second, true // the kernel, and the translators behind it, a second each
	}
	return 0, false
}

// number returns the value of an option, 0 if there is none.
func (m mountPoint) number(option string) int {
	for _, o := range m.options {
		if name, value, _ := strings.Cut(o, "="); name == option {
			n, _ := strconv.Atoi(value) // not a number: not there
			return n
		}
	}
	return 0
}

// openToRead opens a file for reading. A server of NFSv4 may delegate the file to the
// client, which then believes in its name without asking, as the server tells it
// when another client takes the name away. But if this client does so itself, through
// another mount, nobody tells it: two mounts of one host are one client to the
// server. There is no delegation for who opens for direct I/O, which nobody means to do.
// Nor should there be one where others have mounted the tree by NFSv3: a client of that which
// takes the name away is told to come back, and does so after 5 s.
func (d *osDir) openToRead(path string, open opener) (int, error) {
	const flags = unix.O_RDONLY | unix.O_NONBLOCK
	if !d.tree.mine && (d.tree.sharing != sharedAsk || !d.tree.tells()) {
		return open(path, flags, 0)
	}
	fd, err := open(path, flags|unix.O_DIRECT, 0)
	if err == unix.EINVAL { //nolint:errorlint // a bare errno
		return open(path, flags, 0) // what is no plain file is not delegated
	}
	if err != nil {
		return -1, err
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFL, unix.O_NONBLOCK); err != nil {
		closePath(fd)
		return -1, err
	}
	return fd, nil
}

// opener is osDir.open, or glanceAt.
type opener func(path string, flags int, perm uint32) (int, error)

// glance is Glance.
func (d *osDir) glance(path string) (File, error) { return d.openFile(path, d.glanceAt) }

// glanceAt opens path in the directory that it led to before, if it is there.
func (d *osDir) glanceAt(path string, flags int, perm uint32) (int, error) {
	i := strings.LastIndexByte(path, '/')
	if i < 0 || d.tree.sharing == sharedKernel {
		return d.open(path, flags, perm)
	}
	if err := checkPath(path); err != nil {
		return -1, err
	}
	if err := d.enter(); err != nil {
		return -1, err
	}
	defer func() { _ = d.leave() }() // a directory open for reading has nothing to lose
	fd, _, err := d.openKnown(path[:i], path[i+1:], flags, perm)
	return fd, err
}

// statKnown is StatKnown.
func (d *osDir) statKnown(path string) (Stat, error) {
	if d.tree.sharing == sharedKernel {
		return d.Stat(path)
	}
	if lock := d.look(path); lock != nil {
		defer lock.RUnlock()
	}
	if err := d.enter(); err != nil {
		return Stat{}, err
	}
	defer func() { _ = d.leave() }() // a directory open for reading has nothing to lose
	fd, err := d.tree.openRun(d.fd, path, unix.O_PATH, 0)
	if err != nil {
		return Stat{}, pathError("stat", path, err)
	}
	defer closePath(fd)
	st, err := statKnown(fd)
	if err != nil {
		return Stat{}, pathError("stat", path, err)
	}
	return st, nil
}

// openTarget is OpenTarget.
func (d *osDir) openTarget(path string) (Dir, Stat, error) {
	if d.tree.sharing == sharedKernel {
		return openTarget(d, path)
	}
	fd, err := d.open(path, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, Stat{}, pathError("open directory", path, err)
	}
	st, err := statKnown(fd)
	if err != nil {
		closePath(fd)
		return nil, Stat{}, pathError("stat", path, err)
	}
	return &osDir{tree: d.tree, fd: fd, path: d.pathTo(path), mere: true, lease: d.lease}, st, nil
}

// ask makes the kernel ask the server what the directory at fd is now.
func ask(fd int) error {
	_, err := statAt(fd, "", unix.AT_EMPTY_PATH|unix.AT_STATX_FORCE_SYNC)
	return err
}

// openShared is openRun where other clients change the tree: it opens what path
// names at the server now.
//
// A name that is found in a directory that was asked about just now is there,
// but of the directories above it the client may know how they were: a directory
// that was removed is noticed, one that was moved away is not. So what is only
// read is looked for in the directory that the path led to before, at the price
// of one question. If it is not there it is asked, for each name above it, whether
// that is the directory still. What is a directory, and thus may be written to, is
// looked for with a question for each name.
func (d *osDir) openShared(path string, flags int, perm uint32) (int, error) {
	i := strings.LastIndexByte(path, '/')
	if i < 0 && !d.root || path == "." {
		return d.tree.openRun(d.fd, path, flags, perm)
	}
	if i >= 0 && flags&unix.O_DIRECTORY == 0 && (d.root || strings.IndexByte(path, '/') < i) {
		fd, without, err := d.openKnown(path[:i], path[i+1:], flags, perm)
		if err == nil || without != 0 && d.inodeOf(path[:i]) == without {
			return fd, err
		}
	}
	return d.openAsking(path, func(at int, name string) (int, error) { return d.tree.openRun(at, name, flags, perm) })
}

// openKnown opens a name in the directory that the client knows parent to be. If it
// is not there, without is the inode of that directory.
func (d *osDir) openKnown(parent, name string, flags int, perm uint32) (fd int, without uint64, err error) {
	at, err := d.tree.openRun(d.fd, parent, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return -1, 0, err
	}
	defer closePath(at)
	st, err := statAt(at, "", unix.AT_EMPTY_PATH|unix.AT_STATX_FORCE_SYNC)
	if err != nil {
		return -1, 0, err
	}
	fd, err = d.tree.openRun(at, name, flags, perm)
	if err == unix.ENOENT { //nolint:errorlint // a bare errno
		without = st.Ino
	}
	return fd, without, err
}

// inodeOf returns the inode of the directory that path leads to at the server now; 0
// if there is none.
func (d *osDir) inodeOf(path string) uint64 {
	fd, err := d.openAsking(path, d.tree.openPath)
	if err != nil {
		return 0
	}
	defer closePath(fd)
	st, err := statKnown(fd)
	if err != nil {
		return 0
	}
	return st.Ino
}

// openAsking opens path with a question before each name, the last one by open.
func (d *osDir) openAsking(path string, open func(at int, name string) (int, error)) (int, error) {
	if d.root {
		if err := ask(d.fd); err != nil {
			return -1, err
		}
	}
	at, opened := d.fd, -1
	for {
		name, rest, more := strings.Cut(path, "/")
		step := open
		if more {
			step = d.tree.openAsked
		}
		fd, err := step(at, name)
		closePath(opened)
		if err != nil || !more {
			return fd, err
		}
		at, opened, path = fd, fd, rest
	}
}

// openAsked opens a directory as a mere path, and makes the kernel ask the server
// what it is now.
//
// Where that has been removed and another one made under the name, the client may
// go on taking the name for the first: as long as the time of the last change of the
// directory above is what it was. If it is asked by the name, it looks it up anew.
func (t *tree) openAsked(at int, name string) (int, error) {
	fd, err := t.tryAsked(at, name)
	if err != unix.ESTALE { //nolint:errorlint // a bare errno
		return fd, err
	}
	if _, err := statAt(at, name, unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT|unix.AT_STATX_FORCE_SYNC); err != nil {
		return -1, err
	}
	return t.tryAsked(at, name)
}

func (t *tree) tryAsked(at int, name string) (int, error) {
	fd, err := t.openPath(at, name)
	if err != nil {
		return -1, err
	}
	if err := ask(fd); err != nil {
		closePath(fd)
		return -1, err
	}
	return fd, nil
}

// openPath opens a directory as a mere path.
func (t *tree) openPath(at int, name string) (int, error) {
	return t.openRun(at, name, unix.O_PATH|unix.O_DIRECTORY, 0)
}

// pinned is rename for a client of a file server, which is told that there is nothing if
// the directory is gone that the file was to be moved to. One of NFS takes that for the
// file, and does not ask for its name again before the directory changes that it is in;
// but a name that is held open it forgets instead.
func (d *osDir) pinned(from int, oldname string, rename func() error) error {
	if d.tree.sharing != sharedKernel {
		if fd, err := unix.Openat(from, oldname, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0); err == nil {
			defer closePath(fd)
		}
	}
	return rename()
}

// mountPoint is a line of /proc/self/mountinfo (proc(5)).
type mountPoint struct {
	kind    string   // "ext4", "nfs4", "cifs", "fuse.glusterfs", ...
	options []string // of the mount and of the file system
}

func (m mountPoint) has(option string) bool { return slices.Contains(m.options, option) }

// mountPoint returns the mount that d is on; one that says nothing where the
// kernel does not tell.
func (d *osDir) mountPoint() (mountPoint, error) {
	table, err := os.ReadFile("/proc/self/mountinfo")
	if errors.Is(err, fs.ErrNotExist) {
		return mountPoint{}, nil
	}
	if err != nil {
		return mountPoint{}, err
	}
	device := fmt.Sprintf("%d:%d", unix.Major(d.tree.dev), unix.Minor(d.tree.dev))
	return findMount(string(table), device), nil
}

// findMount returns the last mount of a device in a table; all of one device show
// one file system, with the same options.
func findMount(table, device string) mountPoint {
	var found mountPoint
	for line := range strings.Lines(table) {
		fields := strings.Fields(line)
		// id, parent, device, root, mount point, options, any number of optional
		// fields, "-", type, source, options of the file system
		if len(fields) < 10 || fields[2] != device {
			continue
		}
		for i, f := range fields[:len(fields)-2] {
			if f == "-" {
				found = mountPoint{kind: fields[i+1], options: strings.Split(fields[5]+","+fields[len(fields)-1], ",")}
				break
			}
		}
	}
	return found
}
