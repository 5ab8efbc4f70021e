package nasfs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/vfs"
	"github.com/shoal-storage/shoal/nasfs/keypath"
)

const opPermit = "permit"

// CanJudge implements object.Judge. Of our own directory, which is nobody else's, nobody
// may be let in: where he is, the kernel does not take us for him.
func (s *Store) CanJudge(ctx context.Context) error {
	err := s.phase(ctx, s.calls, func() error {
		err := vfs.Permit(s.root, systemDir, vfs.Person{UID: object.Nobody, GID: object.Nobody}, vfs.Read)
		switch {
		case errors.Is(err, fs.ErrPermission) && !errors.Is(err, vfs.ErrUnsupported):
			return nil
		case err == nil:
			err = errors.New("permissions do not count for who is made somebody else")
		case !errors.Is(err, vfs.ErrUnsupported):
			return err
		}
		return object.E(opPermit, "", object.InvalidRequest, fmt.Errorf("%w: gateways must run as root, or with CAP_SETUID and CAP_SETGID, on Linux 5.8 or later, and on a mount that has owners and does not squash root", err))
	}, nil)
	return fail(opPermit, "", err)
}

// Permit implements object.Judge.
func (s *Store) Permit(ctx context.Context, who object.Person, what object.Access, ref object.Ref) error {
	p := vfs.Person(who)
	err := s.phase(ctx, s.calls, func() error {
		switch what {
		case object.Read:
			return s.permitFile(p, ref, vfs.Read)
		case object.Change:
			return s.permitFile(p, ref, vfs.Write)
		case object.List:
			return s.permitDir(p, parentOf(s.path(object.Ref{Bucket: ref.Bucket, Key: ref.Key + "x"}, keypath.Plain)), vfs.Read|vfs.Search)
		case object.Replace:
		}
		return s.permitReplace(p, ref)
	}, nil)
	return fail(opPermit, ref.Bucket+"/"+ref.Key, err)
}

// permitFile asks for the file of an object and the way to it. The file is opened as it is
// for everybody, and asked about itself: what a client of NFS knows under its name may be
// another one.
func (s *Store) permitFile(p vfs.Person, ref object.Ref, wanted vfs.Permission) error {
	if err := s.permitDir(p, parentOf(s.path(ref, keypath.Plain)), vfs.Search); err != nil {
		return err
	}
	o, err := s.find(ref, true)
	if isNothing(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer closeFile(o.file)
	return vfs.PermitFile(o.file, p, wanted)
}

// isNothing reports whether an error of find says that there is no object.
func isNothing(err error) bool {
	kinds := []error{errNoKey, object.NoSuchKey, object.NoSuchVersion, object.NoSuchBucket, object.DeleteMarker, object.BadVersion}
	return slices.ContainsFunc(kinds, func(kind error) bool { return errors.Is(err, kind) })
}

// permitDir asks for a directory. One that is not there holds nothing.
func (s *Store) permitDir(p vfs.Person, path string, wanted vfs.Permission) error {
	err := vfs.Permit(s.root, path, p, wanted)
	if isAbsent(err) {
		return nil
	}
	return err
}

// permitReplace asks for the directory that an object's file is in, or the lowest one that
// is there, as for mkdir(2). In a sticky one only its owner and the file's may.
func (s *Store) permitReplace(p vfs.Person, ref object.Ref) error {
	path := ref.Bucket
	if ref.Key != "" {
		path = s.path(ref, keypath.Plain)
	}
	parent := dirOf(path)
	err := vfs.Permit(s.root, parent, p, vfs.Write|vfs.Search)
	for isAbsent(err) && parent != "." && parent != ref.Bucket {
		parent = dirOf(parent)
		err = vfs.Permit(s.root, parent, p, vfs.Write|vfs.Search)
	}
	switch {
	case isAbsent(err): // the bucket is missing
		return nil
	case err != nil:
		return err
	}
	dir, err := s.root.Stat(parent)
	if err != nil || dir.Mode&fs.ModeSticky == 0 || dir.UID == p.UID || p.UID == 0 {
		return err
	}
	file, err := s.root.Stat(path)
	switch {
	case isAbsent(err):
		return nil
	case err != nil:
		return err
	case file.UID != p.UID:
		return fmt.Errorf("it is in a sticky directory, and of another user: %w", fs.ErrPermission)
	}
	return nil
}

// dirOf returns the path of the directory that a file of the tree is in.
func dirOf(path string) string {
	if !strings.Contains(path, "/") {
		return "."
	}
	return parentOf(path)
}

// Permit implements object.Judged.
func (h *handle) Permit(who object.Person) error {
	err := h.store.phase(h.ctx, h.store.calls, func() error { return vfs.PermitFile(h.opened.file, vfs.Person(who), vfs.Read) }, nil)
	return fail(opPermit, h.info.Key, err)
}

// CanJudge implements object.Judge.
func (f *Fleet) CanJudge(ctx context.Context) error {
	t := f.read()
	defer f.leave(t)
	return t.CanJudge(ctx)
}

// Permit implements object.Judge.
func (f *Fleet) Permit(ctx context.Context, who object.Person, what object.Access, ref object.Ref) error {
	t := f.read()
	defer f.leave(t)
	return t.Permit(ctx, who, what, ref)
}
