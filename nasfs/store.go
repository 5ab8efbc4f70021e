// Package nasfs keeps objects as plain files of one shared file tree: the key
// is the path, the content is the file, and what else S3 knows of an object
// travels with the inode. People go on using the same files; what they make is
// an object at once, and what they change has another ETag.
//
// It knows nothing of HTTP, and of the disk only what package vfs offers.
// DESIGN.md has the format on disk and the order of every step.
package nasfs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shoal-storage/shoal/internal/lock"
	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/vfs"
	"github.com/shoal-storage/shoal/nasfs/dirsnap"
	"github.com/shoal-storage/shoal/nasfs/keypath"
)

// Store is an object.Store over one tree, and a Copier, Renamer and Health as
// well. It lives in one session of its Locker. Its methods may be called
// concurrently, but for Close.
type Store struct {
	*tree
	locker  lock.Locker // grants leases of one session only
	session vfs.Dir     // the session's own directory: every commit has one side in it
	base    uint32      // what the generations of the fleet's tokens are counted from
	local   *lock.Local // locker, if it is this Store's own
	claim   vfs.File    // locked while the Store is open; nil where there are no locks
	closed  sync.Once
}

// tree is what does not depend on the session: of the tree on disk, and of
// this process.
type tree struct {
	cfg        Config
	log        *slog.Logger
	root       vfs.Dir
	bare       vfs.Dir      // root without leases on directories: for those that nobody else changes
	making     makingLeases // of a fleet
	reads      vfs.Dir      // root, or another mount of it: where what is read is opened
	trash      vfs.Dir      // what is to be removed
	stamps     stampDirs
	readStamps stampDirs // the same in reads
	codec      keypath.Codec
	deployment string
	sidecars   bool // Metadata is Sidecar
	strict     bool // Durability is Strict
	localDisk  bool
	fleet      bool // others serve the tree at the same time
	smb        bool // the file system is an SMB server's
	gaps       bool // a key may be missing for a moment while its file is replaced
	stateless  bool // a file that another gateway replaces is gone, whoever has it open

	calls   *limit        // metadata
	data    *limit        // content
	streams chan struct{} // bodies being sent
	linger  lingering
	buffers buffers

	temps                 atomic.Uint64 // names given out in sessions
	batches               atomic.Uint64 // names given out in the journal
	versioned, configured fact
	haveMeta              haveBins
	haveTags              haveBins
	stamped               fact // one of haveMeta and haveTags is set; in a fleet, which has them all set, that there are such files
	aliased               fact // a file may be in an alias slot
	fresh                 freshDirs
	stripes               [64]sync.Mutex // of directories being made and removed

	acls      knownACLs
	etags     *etagCache
	snaps     *dirsnap.Cache // of the buckets
	histories *dirsnap.Cache // of versionsDir
	segments  int            // segmentSize, but in tests
	buckets   bucketRecords
	obstacles sync.Map // names that a warning told of, of what is no bucket
	uploads   uploadIndex

	raising  sync.Mutex
	unraised atomic.Pointer[[]byte] // the format with the generation that this process has raised; nil: it is written

	started time.Time
	numbers numbers
	lastUse atomic.Int64 // ticks of the last phase
	health  health
	reaper  reaper
}

var (
	_ object.Store   = (*Store)(nil)
	_ object.Copier  = (*Store)(nil)
	_ object.Renamer = (*Store)(nil)
	_ object.Health  = (*Store)(nil)
	_ object.Giver   = (*Store)(nil)
	_ object.Judge   = (*Store)(nil)

	_ object.Configured = (*Store)(nil)
)

// ticks is the time on this process's own clock, in ns.
func (t *tree) ticks() int64 { return int64(time.Since(t.started)) }

// tempName returns a name that was not used in the session's directory before.
func (s *Store) tempName(kind string) string {
	return kind + "." + strconv.FormatUint(s.temps.Add(1), 36)
}

// Close frees the tree for the next process. The caller sees to it that no
// other method runs. It waits for what is being cleaned up, but no longer than
// Config.CloseTimeout, as for a file system that hangs: what is left then the
// next Open removes.
func (s *Store) Close() error {
	var err error
	s.closed.Do(func() { err = s.shut() })
	return err
}

func (s *Store) shut() error {
	s.health.stop()
	if s.local != nil {
		s.local.Close()
	}
	done := make(chan error, 1)
	go func() {
		s.reaper.stop()
		<-s.health.done
		done <- s.endSession()
	}()
	return s.await(done)
}

// await waits for what closes the tree.
func (t *tree) await(done <-chan error) error {
	timer := time.NewTimer(t.cfg.CloseTimeout)
	defer timer.Stop()
	select {
	case err := <-done:
		return err
	case <-timer.C:
		return object.E("close", "", object.Unavailable, vfs.ErrHung)
	}
}

// held are the leases of one operation.
type held struct{ bucket, names lock.Lease }

// Release gives the leases back, the last one first.
func (h held) Release() {
	if h.names != nil {
		h.names.Release()
	}
	if h.bucket != nil {
		h.bucket.Release()
	}
}

// valid returns an error if a lease is lost or the operation's context over.
func (h held) valid() error {
	if h.names == nil {
		return nil
	}
	if ctx := h.names.Context(); ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// lockNames takes a shared lease on the bucket, so that it is not deleted
// meanwhile, and exclusive ones on the names.
func (s *Store) lockNames(ctx context.Context, bucket string, names ...string) (held, error) {
	return s.lockIn(ctx, lock.Shared, bucket, names...)
}

// lockIn is lockNames with a lease on the bucket in the given mode.
func (s *Store) lockIn(ctx context.Context, mode lock.Mode, bucket string, names ...string) (held, error) {
	var h held
	var err error
	if h.bucket, err = s.locker.Acquire(ctx, mode, bucketLock(bucket)); err != nil {
		return held{}, err
	}
	if h.names, err = s.locker.Acquire(ctx, lock.Exclusive, names...); err != nil {
		h.bucket.Release()
		return held{}, err
	}
	return h, nil
}

// token returns the fencing token of a lease as it is kept on disk: greater than
// those of all leases, of a fleet or not, that excluded this one before.
func (s *Store) token(l lock.Lease) lock.Token {
	t := l.Token()
	t.Generation += s.base
	return t
}

// sequence is the token of a lease on a key as object.Deleted has it.
func (s *Store) sequence(l lock.Lease) string {
	return fmt.Sprintf("%X", s.token(l).Append(nil))
}

func bucketLock(bucket string) string     { return "b/" + bucket }
func keyLock(bucket, key string) string   { return "o/" + bucket + "/" + key }
func uploadLock(bucket, id string) string { return "u/" + bucket + "/" + id }
func partLock(bucket, id string, number int) string {
	return "p/" + bucket + "/" + id + "/" + strconv.Itoa(number)
}

// locked runs fn as one phase under leases that it gives back when fn has
// returned, even if the caller has left by then: nobody else may change what a
// hung rename could still change.
func (s *Store) locked(ctx context.Context, h held, fn func() error, late func()) error {
	err := s.phase(ctx, s.calls, func() error {
		defer h.Release()
		if err := h.valid(); err != nil {
			return err
		}
		return fn()
	}, late)
	if errors.Is(err, errNotStarted) {
		h.Release()
	}
	return outcome(err)
}
