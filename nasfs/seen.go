package nasfs

import (
	"context"
	"strings"

	"github.com/shoal-storage/shoal/internal/lock"
	"github.com/shoal-storage/shoal/nasfs/keypath"
)

// What follows is for those who look for what other people do in the tree.

// LocalDisk reports whether the tree is on a disk of this machine, whose kernel so sees all
// that is done in it.
func (t *tree) LocalDisk() bool { return t.localDisk }

// Seen returns what a path below the root is about: a key, or a prefix of keys, which is ""
// or ends with "/", if it is or was a directory's. It is not ok for what is nobody's key.
func (t *tree) Seen(path string, dir bool) (bucket, name string, ok bool) {
	bucket, below, deeper := strings.Cut(path, "/")
	if bucket == keypath.SystemName {
		return "", "", false
	}
	if !deeper {
		return bucket, "", dir
	}
	var b strings.Builder
	for rest, more := below, true; more; {
		var name string
		name, rest, more = strings.Cut(rest, "/")
		if t.codec.IsLong(name) {
			return bucket, b.String(), true // it, and what else is in its directory
		}
		component, _, ok := t.codec.Decode(name)
		if !ok {
			return "", "", false
		}
		b.WriteString(component)
		if more || dir {
			b.WriteByte('/')
		}
	}
	return bucket, b.String(), true
}

// Touched returns the keys of a bucket that gateways have changed since a mark, or are about
// to, and the mark to ask from the next time. Where it is not known anything may have changed.
// What was removed before the call, and is not in the answer to it, was removed by somebody else.
func (s *Store) Touched(ctx context.Context, bucket, since string) (touched []string, next string, known bool) {
	if s.cfg.Feed == nil || !s.fleet {
		return nil, "", false
	}
	below, whole := keyLock(bucket, ""), bucketLock(bucket)
	c, err := s.cfg.Feed.Changes(ctx, bucket, lock.Mark(since), below, whole)
	if err != nil || isOver(s.locker.Session()) || s.fenced() {
		return nil, "", false
	}
	for _, name := range c.Names {
		if name == whole {
			return nil, string(c.Next), false
		}
		if key, within := strings.CutPrefix(name, below); within {
			touched = append(touched, key)
		}
	}
	return touched, string(c.Next), c.Known
}

// Touched is Store.Touched in the last session.
func (f *Fleet) Touched(ctx context.Context, bucket, since string) (touched []string, next string, known bool) {
	t := f.read()
	defer f.leave(t)
	return t.Touched(ctx, bucket, since)
}
