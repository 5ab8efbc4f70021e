package gateway

import (
	"cmp"
	"context"
	"errors"
	"strings"

	"github.com/shoal-storage/shoal/internal/iam"
	"github.com/shoal-storage/shoal/internal/object"
)

// personOf returns who somebody is to the file system, and whether what he may do there
// counts. Of what is not said of him he is nobody.
func (s *Server) personOf(who iam.Identity) (object.Person, bool) {
	p := who.POSIX
	if s.Permissions == nil || p == nil || p.UID == nil && p.GID == nil && len(p.Supplementary) == 0 {
		return object.Person{}, false
	}
	nobody := uint32(object.Nobody)
	return object.Person{UID: *cmp.Or(p.UID, &nobody), GID: *cmp.Or(p.GID, &nobody), Groups: p.Supplementary}, true
}

// permit asks the file system whether the sender may do action to an object or bucket.
func (s *Server) permit(r *request, action string, ref object.Ref) error {
	who, counts := s.personOf(r.identity)
	if !counts {
		return nil
	}
	what, asked := accessOf(action, ref)
	switch {
	case action == "s3:ListenBucketNotification", action == "s3:ListenNotification":
		return errAccessDenied.with("Events are of all directories, and are not told to those whose permissions on the file system count.")
	case !asked:
		return nil
	case what == object.List:
		ref.Key = cmp.Or(r.key, r.query.get("prefix")) // of a key: whether one may know that it is not there
	}
	ctx, cancel := context.WithTimeoutCause(s.root, s.QuickTimeout, errStalled)
	defer cancel()
	return s.Permissions.Permit(ctx, who, what, ref)
}

// accessOf returns what an action wants of the file system, if anything. What configures
// a bucket is not the file system's; of an object it is a change of the file unless it is
// known to be less.
func accessOf(action string, ref object.Ref) (what object.Access, asked bool) {
	name, ok := strings.CutPrefix(action, "s3:")
	switch {
	case !ok:
		return 0, false
	case name == "ListBucket", name == "ListBucketVersions", name == "ListBucketMultipartUploads":
		return object.List, true
	case name == "CreateBucket", name == "DeleteBucket", name == "ForceDeleteBucket":
		return object.Replace, true
	case ref.Key == "":
		return 0, false
	case strings.HasPrefix(name, "GetObject"):
		return object.Read, true
	case name == "PutObject", name == "DeleteObject", name == "DeleteObjectVersion", name == "AbortMultipartUpload", name == "ListMultipartUploadParts":
		return object.Replace, true
	}
	return object.Change, true
}

// openPermitted opens an object that somebody may read. What is asked again is about the very
// file that was opened: another one may have come in its place since the sender was
// allowed to read it.
func (s *Server) openPermitted(ctx context.Context, who iam.Identity, ref object.Ref) (object.Handle, error) {
	h, err := s.Store.Open(ctx, ref)
	if err != nil {
		return nil, err
	}
	p, counts := s.personOf(who)
	if !counts {
		return h, nil
	}
	judged, ok := h.(object.Judged)
	if !ok {
		return nil, errors.Join(errAccessDenied, h.Close())
	}
	if err := judged.Permit(p); err != nil {
		return nil, errors.Join(err, h.Close())
	}
	return h, nil
}

// isJudged reports whether what the sender may do on the file system counts.
func (s *Server) isJudged(r *request) bool {
	_, counts := s.personOf(r.identity)
	return counts
}

// visible returns a question whether the sender sees a name in a listing of what begins
// with prefix: if he may read each directory below that of the prefix, which he has been
// allowed to list. What is known of a directory is remembered.
func (s *Server) visible(ctx context.Context, r *request, prefix string) func(name string) (bool, error) {
	who, _ := s.personOf(r.identity)
	known := make(map[string]bool)
	return func(name string) (bool, error) {
		name = strings.TrimSuffix(name, "/") // of a common prefix
		for i := strings.LastIndexByte(prefix, '/') + 1; i < len(name); i++ {
			if name[i] != '/' {
				continue
			}
			dir := name[:i+1]
			if _, asked := known[dir]; !asked {
				err := s.Permissions.Permit(ctx, who, object.List, object.Ref{Bucket: r.bucket, Key: dir})
				if err != nil && !errors.Is(err, object.AccessDenied) {
					return false, err
				}
				known[dir] = err == nil
			}
			if !known[dir] {
				return false, nil
			}
		}
		return true, nil
	}
}

// itself is the name of a common prefix.
func itself(prefix *string) string { return *prefix }

// seen returns those of a listing whose names are visible.
func seen[T any](all []T, name func(*T) string, visible func(name string) (bool, error)) ([]T, error) {
	var left []T
	for i := range all {
		ok, err := visible(name(&all[i]))
		if err != nil {
			return nil, err
		}
		if ok {
			left = append(left, all[i])
		}
	}
	return left, nil
}
