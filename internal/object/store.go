package object

import (
	"context"
	"io"
)

// Store keeps buckets and objects. nasfs and erasure implement it; package
// objecttest holds the behaviour that every Store must show.
//
// All methods are safe for concurrent use, honour ctx, and return errors that
// carry a Kind. A method that returns an error has changed nothing that a
// later call can see, unless its comment says otherwise or the Kind is
// Unknown. Bucket names and keys are taken as valid by S3's rules.
type Store interface {
	Buckets
	Objects
	Uploads
	io.Closer
}

// Buckets is the part of a Store that holds the buckets themselves.
type Buckets interface {
	// CreateBucket makes a bucket: BucketExists if there is one of the name.
	CreateBucket(ctx context.Context, b Bucket) error
	// StatBucket returns the bucket's record, or NoSuchBucket.
	StatBucket(ctx context.Context, name string) (Bucket, error)
	// ListBuckets returns all buckets, sorted by name.
	ListBuckets(ctx context.Context) ([]Bucket, error)
	// UpdateBucket runs fn on the bucket's record under its lock and keeps what
	// fn leaves there. It serves every bucket sub-resource. If fn fails its
	// error is returned and nothing changes.
	UpdateBucket(ctx context.Context, name string, fn func(*Bucket) error) error
	// DeleteBucket removes an empty bucket and aborts its uploads:
	// NoSuchBucket, or BucketNotEmpty while it holds an object.
	DeleteBucket(ctx context.Context, name string) error
}

// Objects is the part of a Store that holds objects. Every method answers
// NoSuchBucket where the bucket is not there.
//
// A Ref with a Version names that version, for Open, Stat, Update, Delete and
// the source of a copy; the others make or take current versions and ignore it.
// A version that does not exist is NoSuchVersion, an ID that is no PossibleVersion
// BadVersion, a delete marker DeleteMarker. Where the current version is a
// delete marker the object does not exist. Errors about a delete marker hold a
// *Marker.
type Objects interface {
	// Put makes in.Body the current version of ref. It reads Body to io.EOF
	// and commits only then: any other error from Body is returned wrapped and
	// leaves no trace. What was current before is kept or replaced as the
	// bucket's Versioning says.
	Put(ctx context.Context, ref Ref, in PutInput) (Info, error)
	// Open returns the object for reading, or NoSuchKey; the caller closes it.
	Open(ctx context.Context, ref Ref) (Handle, error)
	// Stat returns what Open's Handle would, without holding it.
	Stat(ctx context.Context, ref Ref) (Info, error)
	// Update runs fn on the object's mutable metadata under its lock: its tags,
	// retention, legal hold, and Seal if it has one; NoSuchKey without an object. Bytes, ETag and
	// Modified do not change. An error of fn is returned as it is.
	Update(ctx context.Context, ref Ref, fn func(*Meta) error) (Info, error)
	// Delete removes ref. That it does not exist is not an error, but check is
	// called with nil then and may make it one. Without a Version, in a bucket
	// with versioning, it makes a delete marker the current version, even where
	// there is no object. With one it removes that version for good; if it was
	// the current one, the newest that is left becomes current. Check is called
	// with the version that is to be removed, nil for a delete marker. A version
	// that is Protected is Locked.
	Delete(ctx context.Context, ref Ref, check Check) (Deleted, error)
	// List returns one page of the current versions in ascending byte order of
	// the key. Its cost follows the page, not the bucket.
	List(ctx context.Context, q Query) (Page, error)
	// ListVersions returns one page of all versions, in ascending byte order of
	// the key and of each key the newest first.
	ListVersions(ctx context.Context, q VersionQuery) (VersionPage, error)
}

// Copier is implemented by a Store that can copy an object without its bytes
// passing through the gateway. The copy has the source's ETag and checksum, so
// the gateway uses it only where those are what S3 demands of a copy. It returns
// NotImplemented where it cannot copy from the one place to the other.
type Copier interface {
	Copy(ctx context.Context, src, dst Ref, in CopyInput) (Info, error)
}

// Renamer is implemented by a Store that can rename an object within its
// bucket. The object keeps bytes, metadata, ETag and Modified, and is at no
// moment missing under both names.
type Renamer interface {
	Rename(ctx context.Context, src, dst Ref, in CopyInput) error
}

// Giver is implemented by a Store whose objects are files that can be given to somebody.
type Giver interface {
	// Prove finds out whether new files can be given what f says: InvalidRequest if not.
	Prove(ctx context.Context, f Files) error
}

// Configured is implemented by a Store that may know of its buckets without asking
// anybody. Its methods touch neither storage nor network.
type Configured interface {
	// Configured reports whether a bucket may have Documents.
	Configured() bool
	// Known returns the record of a bucket, if what it says is known to be so
	// still. The bucket may be gone all the same. The caller must not change what
	// it holds.
	Known(bucket string) (Bucket, bool)
}

// Health is implemented by a Store whose storage may be out of reach while
// the process lives.
type Health interface {
	// Healthy returns nil, or why requests cannot be served now. It never
	// touches the storage and never blocks.
	Healthy() error
}
