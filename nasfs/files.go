package nasfs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"

	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/vfs"
)

// belonging is a file or directory that can be given to somebody.
type belonging interface {
	Chown(uid, gid int) error
	Chmod(mode fs.FileMode) error
}

// filesOf returns what new files of a bucket are given.
func (s *Store) filesOf(bucket string) (object.Files, error) {
	if !s.Configured() {
		return s.cfg.Files, nil
	}
	r, err := s.recordOf(bucket)
	return r.Files.Or(s.cfg.Files), err
}

// giveFile gives a new file what files says.
func giveFile(f belonging, files object.Files) error { return give(f, files, files.FileMode) }

// giveDir gives a new directory, at a path below parent, what files says.
func giveDir(parent vfs.Dir, path string, files object.Files) error {
	if files.UID == nil && files.GID == nil && files.DirMode == nil {
		return nil
	}
	dir, err := parent.OpenDir(path)
	if err != nil {
		return err
	}
	defer closeDir(dir)
	return give(dir, files, files.DirMode)
}

// give sets the permissions first: who has given a file away may not any more.
func give(b belonging, files object.Files, mode *object.Permissions) error {
	if mode != nil {
		if err := b.Chmod(permissions(*mode)); err != nil {
			return fmt.Errorf("set permissions: %w", err)
		}
	}
	if files.UID == nil && files.GID == nil {
		return nil
	}
	if err := b.Chown(idOf(files.UID), idOf(files.GID)); err != nil {
		return fmt.Errorf("give the file to its owner: %w", err)
	}
	return nil
}

func idOf(id *uint32) int {
	if id == nil {
		return -1
	}
	return int(*id)
}

// permissions translates the bits of chmod(2).
func permissions(p object.Permissions) fs.FileMode {
	mode := fs.FileMode(p).Perm()
	if p&0o2000 != 0 {
		mode |= fs.ModeSetgid
	}
	if p&0o1000 != 0 {
		mode |= fs.ModeSticky
	}
	return mode
}

// Prove implements object.Giver.
func (s *Store) Prove(ctx context.Context, files object.Files) error {
	const op = "set up files"
	return fail(op, "", s.phase(ctx, s.calls, func() error { return s.proveFiles(files) }, nil))
}

// proveFiles finds out whether files can be given what they are to be.
func (s *Store) proveFiles(files object.Files) error {
	if files.IsZero() {
		return nil
	}
	if err := files.Validate(); err != nil {
		return object.E("set up files", "", object.InvalidRequest, err)
	}
	name := s.tempName("probe")
	f, err := s.session.Create(name, s.cfg.FileMode)
	if err != nil {
		return s.ofSession(err)
	}
	defer s.removeTemp(name)
	if err = giveFile(f, files); err == nil {
		err = isGiven(f, files)
	}
	err = errors.Join(err, f.Close())
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, vfs.ErrUnsupported) {
		return object.E("set up files", "", object.InvalidRequest,
			fmt.Errorf("%w: gateways must run as root, or with CAP_CHOWN and CAP_FOWNER, and an NFS export must not squash that", err))
	}
	return err
}

// isGiven returns an error if a file is not what it was given: clients of SMB take
// what they do not pass on.
func isGiven(f vfs.File, files object.Files) error {
	st, err := f.Stat()
	if err != nil {
		return err
	}
	if files.UID != nil && st.UID != *files.UID || files.GID != nil && st.GID != *files.GID ||
		files.FileMode != nil && st.Mode != permissions(*files.FileMode) {
		return fmt.Errorf("a file stays what it was: %w", vfs.ErrUnsupported)
	}
	return nil
}

// inherit gives a staged file what it has to have of the directory that it goes to: a
// rename, unlike a create, does not. That is the group, if the directory is setgid
// (chmod(1)) and the bucket has no other, and what its access control list says
// of files. A file that had another place before has its own.
func (s *Store) inherit(dir vfs.Dir, above vfs.Stat, st *staged) error {
	group := above.Mode&fs.ModeSetgid != 0 && above.GID != st.stat.GID && st.files.GID == nil
	var acl vfs.ACL
	var err error
	if !st.linked {
		acl, err = s.inheritedACL(dir, above)
	}
	if err != nil || !group && acl.IsZero() {
		return err
	}
	f, err := s.session.Open(st.name)
	if err != nil {
		return s.ofSession(err)
	}
	defer closeFile(f)
	if group {
		if err := f.Chown(-1, int(above.GID)); !forgivable(err) {
			return fmt.Errorf("give the file the group of its directory: %w", err)
		}
	}
	perm := s.cfg.FileMode
	if st.files.FileMode != nil {
		perm = permissions(*st.files.FileMode)
	}
	if err := acl.Inherit(f, perm); !forgivable(err) {
		return fmt.Errorf("give the file what its directory's list says: %w", err)
	}
	return nil
}

// forgivable reports whether an inheritance came to pass, or cannot.
func forgivable(err error) bool {
	return err == nil || errors.Is(err, fs.ErrPermission) || errors.Is(err, vfs.ErrUnsupported)
}

// aclMemory is how long the list of a directory of a file server is remembered: as
// long as its clients remember the rest of what a directory is.
const aclMemory = time.Minute

// maxACLs bounds how many are remembered.
const maxACLs = 4096

// knownACLs are the lists of directories, by their inodes.
type knownACLs struct {
	mu    sync.Mutex
	byIno map[uint64]knownACL
}

type knownACL struct {
	acl vfs.ACL
	at  int64 // ticks
}

// inheritedACL returns what files inherit in a directory. To ask a file server costs
// a call, so the answer is remembered for a while.
func (s *Store) inheritedACL(dir vfs.Dir, st vfs.Stat) (vfs.ACL, error) {
	if s.localDisk {
		return vfs.InheritedACL(dir)
	}
	now := s.ticks()
	s.acls.mu.Lock()
	known, ok := s.acls.byIno[st.Ino]
	s.acls.mu.Unlock()
	if ok && now-known.at < int64(aclMemory) {
		return known.acl, nil
	}
	acl, err := vfs.InheritedACL(dir)
	if err != nil {
		return acl, err
	}
	s.acls.mu.Lock()
	defer s.acls.mu.Unlock()
	if s.acls.byIno == nil || len(s.acls.byIno) >= maxACLs {
		s.acls.byIno = make(map[uint64]knownACL)
	}
	s.acls.byIno[st.Ino] = knownACL{acl, now}
	return acl, nil
}
