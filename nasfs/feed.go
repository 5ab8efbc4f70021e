package nasfs

import (
	"context"
	"slices"
	"strings"

	"github.com/shoal-storage/shoal/internal/lock"
	"github.com/shoal-storage/shoal/nasfs/dirsnap"
)

// changesIn tells what gateways have changed in the directory of the keys that
// begin with prefix, where anybody can tell: every change of it is made under an
// exclusive lease on a key below it, or on the bucket as a whole.
func (s *Store) changesIn(ctx context.Context, bucket, prefix string) dirsnap.Changes {
	if s.cfg.Feed == nil || !s.fleet {
		return nil
	}
	below := keyLock(bucket, prefix)
	return func(since string) (changed []string, next string, known bool) {
		c, err := s.cfg.Feed.Changes(ctx, bucket, lock.Mark(since), below, bucketLock(bucket))
		if err != nil || isOver(s.locker.Session()) || s.fenced() {
			// A gateway that is not of the fleet any more is told of nothing.
			return nil, "", false
		}
		changed, known = components(c.Names, below, bucketLock(bucket))
		return changed, string(c.Next), known && c.Known
	}
}

// components returns the components below a prefix that the names of locks are
// about. It is not ok if one is on all of the bucket.
func components(names []string, below, whole string) (changed []string, ok bool) {
	for _, name := range names {
		if name == whole {
			return nil, false
		}
		if key, within := strings.CutPrefix(name, below); within {
			component, _, _ := strings.Cut(key, "/")
			changed = append(changed, component)
		}
	}
	slices.Sort(changed)
	return slices.Compact(changed), true
}
