// Package vfs is the only door to the disk. A Dir is an open directory, and
// every name is resolved beneath one, without following symbolic links: what
// a key says can neither leave the tree nor be led out of it, and what was
// opened stays what it was whatever is renamed meanwhile.
//
// OS is the real file system; Memory one that can lose everything that was not
// synced, for crash tests; Fault makes chosen calls of another file system
// fail; Limit bounds how much of the process a file system that hangs can take
// with it.
package vfs

import (
	"errors"
	"io"
	"io/fs"
	"syscall"
	"time"
)

// Errors that callers tell apart, beside those of package io/fs and the errno
// values of package syscall, which every error wraps where the system gave one.
var (
	// ErrUnsupported is returned where the file system lacks the operation.
	ErrUnsupported = errors.ErrUnsupported
	// ErrNoXattr is returned by Getxattr when the attribute is not set.
	ErrNoXattr = errors.New("no such attribute")
	// ErrHung is returned when a call was still inside the file system at the
	// caller's deadline, or could not be let in before it.
	ErrHung = errors.New("file system does not answer")
	// ErrNumbers is returned by NumbersHold.
	ErrNumbers = errors.New("the SMB client makes up inode numbers (noserverino): the share has to be remounted")
)

// Scarce reports whether an error is about this process or its host, which have no more open files or memory to
// give, and so says nothing of the file that a call was for.
func Scarce(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) || errors.Is(err, syscall.ENOMEM)
}

// CureNumbers is what cures ErrNumbers.
const CureNumbers = "mount -o remount,serverino MOUNTPOINT"

// Mode says how the gateways of a tree share it.
type Mode uint8

// The modes.
const (
	AutoMode Mode = iota // Direct where that can be had, otherwise Routed
	Direct               // each works on the tree itself
	Routed               // each part of the tree is worked on by one of them at a time
)

// Sharing is how OpenShared is to open a tree.
type Sharing struct {
	Mode Mode
	// Stale is for how long after a change another client may show what was before,
	// where the mount is routed; 0: as is known of such mounts.
	Stale time.Duration
	// ByTime tells, whenever it is called, whether any of the others SeesByTime;
	// nil says no.
	ByTime func() bool
	// Others, unless nil, has the other processes of this host that use the same mount let
	// go of a path below the root, as LetGo does, until done is called.
	Others func(path string) (done func())
	// Beside says that this process changes the tree through another mount of it.
	Beside bool
}

// IncoherentError is returned by OpenShared for a file system whose clients go on
// showing what others have changed, and cannot be made to ask.
type IncoherentError struct{ Why, Cure string }

// Error implements error.
func (e *IncoherentError) Error() string { return e.Why + ": " + e.Cure }

// Stat is what stat(2) tells.
type Stat struct {
	Dev, Ino, Nlink uint64
	Size            int64 // bytes
	Mode            fs.FileMode
	UID, GID        uint32
	Mtime, Ctime    time.Time
}

// Entry is one name in a directory.
type Entry struct {
	Name string
	Type fs.FileMode // type bits only; fs.ModeIrregular if the directory does not tell
}

// Usage is what statfs(2) tells.
type Usage struct {
	Type      string // "ext4", "nfs", "fuse", ... or the magic number in hex
	Total     uint64 // bytes
	Free      uint64 // bytes available to this process
	Inodes    uint64 // files that there can be; 0 where that is not told
	FreeNodes uint64 // of them, those that can still be made
	NameMax   int    // bytes of one name
	LocalDisk bool   // the file system is known to be a local one
}

// Dir is an open directory. Its methods may be called concurrently; after
// Close they fail.
//
// A path is one or more names joined by '/', never empty, absolute, or with
// empty, "." or ".." elements, of any length in all; "." alone is the directory
// itself. No element may be a symbolic link (ELOOP) nor lie on another mount
// (EXDEV). A name is a path of one element.
type Dir interface {
	// OpenDir opens a directory.
	OpenDir(path string) (Dir, error)
	// Open opens a file for reading. It never blocks, not even on a FIFO; the
	// caller must look at the mode before it reads.
	Open(path string) (File, error)
	// Create makes an empty file for writing, or truncates the one there. Callers
	// use names that are unique. Whether it can be read too is not promised: to
	// those who may read, an NFS server delegates a file and takes it back again.
	Create(name string, perm fs.FileMode) (File, error)
	// Mkdir makes a directory; fs.ErrExist if the name is taken.
	Mkdir(path string, perm fs.FileMode) error
	// Rename moves oldname to newname in dir "to", in place of a file there. If
	// both are links to one file it does nothing (rename(2)).
	Rename(oldname string, to Dir, newname string) error
	// Link makes newname in dir "to" a link to oldname; fs.ErrExist if taken.
	Link(oldname string, to Dir, newname string) error
	// Remove removes a name that is not a directory.
	Remove(name string) error
	// Rmdir removes an empty directory.
	Rmdir(name string) error
	// Stat describes what path names, a symbolic link itself and not its target.
	// For "." it asks the server, whatever a network client has cached: that is
	// also what makes an NFSv4 client look names in the directory up anew.
	Stat(path string) (Stat, error)
	// ReadDir returns all names but "." and "..", in no order.
	ReadDir() ([]Entry, error)
	// Usage describes the file system.
	Usage() (Usage, error)
	// Chown and Chmod are those of the directory itself, as File has them.
	Chown(uid, gid int) error
	Chmod(mode fs.FileMode) error
	// Sync makes the names in the directory durable.
	Sync() error
	// Close frees the handle.
	Close() error
}

// File is an open file. ReadAt, Send, Stat and Getxattr may run concurrently,
// and Sync beside a Write; the others not; Close only when nothing else runs.
type File interface {
	io.ReaderAt
	// Write appends to what this File has written.
	io.Writer
	// Send writes n bytes from offset off to w, by sendfile(2) where w is, or
	// hands on to, a connection that can; at the end of the file it stops with
	// io.ErrUnexpectedEOF. At most one Send may run at a time.
	Send(w io.Writer, off, n int64) (int64, error)
	// CopyFrom appends n bytes of src from offset off to what this File has
	// written, inside the file system (clone or copy_file_range(2)). It returns
	// how much it copied, and with less than n always an error:
	// io.ErrUnexpectedEOF where src ends, ErrUnsupported where the file system
	// cannot do it or not go on, so that the rest must be read and written.
	CopyFrom(src File, off, n int64) (int64, error)
	// Stat describes the open file. Of one that was written here, its Mtime is
	// what it stays when the file is closed.
	Stat() (Stat, error)
	// Getxattr returns the value of a user attribute, whose name begins with
	// "user." (xattr(7)): ErrNoXattr if it is not set, ErrUnsupported if there
	// are none here.
	Getxattr(name string) ([]byte, error)
	// Setxattr sets the value of a user attribute, or of one that package vfs has
	// the name of.
	Setxattr(name string, value []byte) error
	// Chown gives the file to a user and a group; -1 leaves it where it is
	// (chown(2)).
	Chown(uid, gid int) error
	// Chmod sets the permissions, and of further bits setgid and sticky.
	Chmod(mode fs.FileMode) error
	// Sync makes content and attributes durable that were there when it began. After an error the content is
	// lost: the caller must not call it again and believe the answer.
	Sync() error
	// Close frees the handle. A file that was written reports here what the
	// file system noticed last.
	Close() error
}

// Glance opens a file below root as Dir.Open does. Where others change the tree it
// asks only one question, and that a file is not there says no more than that it is
// not in the directory that the path led to before.
func Glance(root Dir, path string) (File, error) {
	if d, ok := root.(interface {
		glance(path string) (File, error)
	}); ok {
		return d.glance(path)
	}
	return root.Open(path)
}

// StatKnown is Dir.Stat without a question where others change the tree: for names
// that another call has just asked for. Only inode, mode and owner count.
func StatKnown(root Dir, path string) (Stat, error) {
	if d, ok := root.(interface {
		statKnown(path string) (Stat, error)
	}); ok {
		return d.statKnown(path)
	}
	return root.Stat(path)
}

// StatNow is dir.Stat of a name, for whom the number of links has to be true: to an SMB
// client what it knows from a listing has one.
func StatNow(dir Dir, name string) (Stat, error) {
	if d, ok := dir.(interface {
		statNow(name string) (Stat, error)
	}); ok {
		return d.statNow(name)
	}
	return dir.Stat(name)
}

// Touch changes a directory's times, which the server of SMB does by the directory's path, and
// only while it has that. Elsewhere it is ErrUnsupported.
func Touch(dir Dir) error {
	if d, ok := dir.(interface{ touch() error }); ok {
		return d.touch()
	}
	return ErrUnsupported
}

// LetGo has this process not use what is at path below root, where that matters to
// another one of this host which is about to replace it (Sharing.Others), until done is
// called. Who has it open goes on by a link in the directory in, whose name begins with
// name.
func LetGo(root Dir, path string, in Dir, name string) (done func()) {
	if d, ok := root.(interface {
		letGo(path string, in Dir, name string) func()
	}); ok {
		return d.letGo(path, in, name)
	}
	return func() {}
}

// Lease waits until a lease of the fleet is held on directories, which their inodes
// name: alone, or together with all who do not ask to be alone. giveBack gives it back;
// its error says that it was lost before, so that others may not have been kept out.
type Lease func(alone bool, dirs ...uint64) (giveBack func() error, err error)

// Leased returns a handle of a root that OpenShared opened, to be closed as well, for
// directories that other gateways change too. Where clients know a directory by the time
// of its last change, a directory opened beneath it is changed under a lease, and its Sync
// makes that visible under one that nobody else has: or a client that changes it at the same
// time could miss what others have done. It returns root itself where nobody needs that.
func Leased(root Dir, lease Lease) (Dir, error) {
	if d, ok := root.(interface {
		leased(lease Lease) (Dir, error)
	}); ok {
		return d.leased(lease)
	}
	return root, nil
}

// SeesByTime reports whether a root that OpenShared opened shows a change of a
// directory only if the time of its last change shows it too, as on NFSv3. Its file server
// does not know who has a file open: one that another client removes is gone.
func SeesByTime(root Dir) bool {
	d, ok := root.(interface{ seesByTime() bool })
	return ok && d.seesByTime()
}

// TellsByTime reports whether Sync of what is beneath root makes changes visible by the time
// of a directory's last change, before which another gateway may see them or not.
func TellsByTime(root Dir) bool {
	d, ok := root.(interface{ tellsByTime() bool })
	return ok && d.tellsByTime()
}

// OpenTarget opens a directory for new files, which have no other name, to be
// renamed into it. Where others change the tree it costs a question less than
// OpenDir: of what it shows, and of the Stat, in which only mode and owner count, it
// may be known how it was up to a minute ago, until Stat(".") is called.
func OpenTarget(root Dir, path string) (Dir, Stat, error) {
	if d, ok := root.(interface {
		openTarget(path string) (Dir, Stat, error)
	}); ok {
		return d.openTarget(path)
	}
	return openTarget(root, path)
}

// openTarget is OpenTarget where nothing is to be saved.
func openTarget(root Dir, path string) (Dir, Stat, error) {
	dir, err := root.OpenDir(path)
	if err != nil {
		return nil, Stat{}, err
	}
	st, err := dir.Stat(".")
	if err != nil {
		_ = dir.Close() // opened for reading: there is nothing to lose
		return nil, Stat{}, err
	}
	return dir, st, nil
}
