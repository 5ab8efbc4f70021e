package nasfs

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"time"

	"github.com/shoal-storage/shoal/internal/lock"
	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/vfs"
)

// MetadataMode says where the records of objects are kept. It is a property of
// the tree: once chosen it stays.
type MetadataMode uint8

// The modes.
const (
	Auto    MetadataMode = iota // Xattr where the file system has user attributes, otherwise Sidecar
	Xattr                       // in an extended attribute of the object's file
	Sidecar                     // in a file of its own, named by the stamp of the object's file
)

// String returns the mode's name.
func (m MetadataMode) String() string {
	switch m {
	case Auto:
		return "auto"
	case Xattr:
		return "xattr"
	case Sidecar:
		return "sidecar"
	}
	return "unknown"
}

// Durability says what an answer means for a loss of power.
type Durability uint8

// The durabilities.
const (
	Strict  Durability = iota // what was answered survives it
	Relaxed                   // it survives the end of this process only
)

// Detach says whether file system calls are made by goroutines of their own,
// so that a request can leave at its deadline while the call hangs.
type Detach uint8

// The ways.
const (
	DetachAuto   Detach = iota // unless the file system is a local one
	DetachAlways               //
	DetachNever                // a call that hangs keeps its request
)

// Facts are what all gateways of a fleet know of their tree. A fact that holds
// holds for ever. Its methods may be called concurrently.
type Facts interface {
	// Holds reports whether a fact was established. It is asked often, and
	// touches neither storage nor network.
	Holds(fact string) bool
	// Establish returns when a fact holds on every gateway that may change
	// anything.
	Establish(ctx context.Context, fact string) error
	// Revision returns the number under which what a record says may be
	// remembered: another one after each change of it, and 0 where it may not be.
	// It touches neither storage nor network.
	Revision(record string) uint64
	// Change returns when the revision of a record is 0 on every gateway that may
	// change anything. done has the record remembered again, when it has changed;
	// if it is gone nobody needs to.
	Change(ctx context.Context, record string) (done func(ctx context.Context, gone bool) error, err error)
}

// Feed tells what the gateways of a fleet have changed. raftlock.Node is one. Its
// methods may be called concurrently.
type Feed interface {
	// Changes returns what has changed in a bucket since a mark, as far as the
	// names of locks begin with one of the prefixes. It is good as long as the
	// session has not been fenced that Sessions gave when it was called.
	Changes(ctx context.Context, bucket string, since lock.Mark, prefixes ...string) (lock.Changes, error)
}

// Config is what Open needs. Start from DefaultConfig.
type Config struct {
	Path string  // the directory to serve
	Root vfs.Dir // instead of Path; it stays the caller's to close, after the Store
	// ReadRoot is the root as another mount of the file server shows it, through
	// which what is read is opened, so that no file is open through Root; nil: as
	// through Root. It stays the caller's to close, after the Store.
	ReadRoot   vfs.Dir
	Logger     *slog.Logger // nil: slog.Default()
	Metadata   MetadataMode
	Durability Durability
	Detach     Detach
	Facts      Facts            // of a fleet; nil: its buckets cannot have versioning
	Feed       Feed             // of a fleet; nil: a directory that was changed is read anew for each page
	Now        func() time.Time // the time that objects are given as Modified
	LockNow    func() time.Time // the time by which they are retained; nil: Now
	// FoldedCase serves a file system that takes names for one that differ in upper and
	// lower case only, and with them keys.
	FoldedCase bool
	// Unswept leaves what other gateways of a fleet have left half done in a bucket
	// to Fleet.Sweep.
	Unswept bool

	Slots         int           // runs of metadata calls at a time
	DataSlots     int           // runs of calls that move content, and bodies being sent, at a time
	CacheEntries  int           // objects whose ETag is remembered for listings
	SnapshotBytes int64         // of memory for snapshots of directories
	FileMode      fs.FileMode   // permissions of objects, before the umask
	DirMode       fs.FileMode   // permissions of directories, before the umask
	Files         object.Files  // what new files of buckets are given that do not say so themselves
	ProbeInterval time.Duration // between two looks at the health of the file system
	ProbeTimeout  time.Duration // Healthy fails when the last success is older
	CloseTimeout  time.Duration // how long Close waits for the file system
}

// DefaultConfig returns the configuration for Path or Root to be set in.
func DefaultConfig() Config {
	return Config{
		Now:           time.Now,
		Slots:         256,
		DataSlots:     2048,
		CacheEntries:  1 << 18,
		SnapshotBytes: 256 << 20,
		FileMode:      0o664,
		DirMode:       0o775,
		ProbeInterval: 2500 * time.Millisecond,
		ProbeTimeout:  10 * time.Second,
		CloseTimeout:  5 * time.Second,
	}
}

// Validate returns what is wrong with c, or nil.
func (c Config) Validate() error {
	var errs []error
	if (c.Path == "") == (c.Root == nil) {
		errs = append(errs, errors.New("exactly one of path and root must be given"))
	}
	if c.Now == nil {
		errs = append(errs, errors.New("no clock"))
	}
	if c.Slots < 1 || c.DataSlots < 1 || c.Slots+c.DataSlots > 8000 {
		errs = append(errs, errors.New("slots must be at least 1, and 8000 together: each may come to hold a thread"))
	}
	if c.CacheEntries < 0 || c.SnapshotBytes < 0 {
		errs = append(errs, errors.New("cache sizes must not be negative"))
	}
	if c.FileMode&^fs.ModePerm != 0 || c.FileMode&0o600 != 0o600 || c.DirMode&^fs.ModePerm != 0 || c.DirMode&0o700 != 0o700 {
		errs = append(errs, errors.New("permissions must leave the owner in"))
	}
	errs = append(errs, c.Files.Validate())
	if c.ProbeInterval <= 0 || c.ProbeTimeout <= c.ProbeInterval {
		errs = append(errs, errors.New("the probe timeout must be longer than its interval"))
	}
	if c.CloseTimeout <= 0 {
		errs = append(errs, errors.New("the close timeout must be positive"))
	}
	if c.Metadata > Sidecar || c.Durability > Relaxed || c.Detach > DetachNever {
		errs = append(errs, errors.New("a mode is unknown"))
	}
	return errors.Join(errs...)
}
