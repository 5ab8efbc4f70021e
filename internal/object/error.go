package object

import (
	"errors"
	"fmt"
	"strings"
)

// Kind classes an error by what the client of a Store may do about it. A Kind
// is itself an error, so errors.Is(err, object.NoSuchKey) holds for every error
// that carries it.
type Kind uint8

// The kinds. The zero Kind is Internal: what nobody classed is our fault.
const (
	Internal           Kind = iota
	Unknown                 // whether the change happened could not be found out
	Unavailable             // the storage did not answer; a retry may succeed
	Full                    // no space left
	ReadOnly                // the storage refuses changes
	AccessDenied            // the storage refuses this process the file
	BadName                 // the storage cannot hold such a key or bucket name
	NoSuchBucket            // the bucket does not exist
	NoSuchKey               // the object does not exist
	NoSuchVersion           // the version does not exist
	BadVersion              // no version can have such an ID
	DeleteMarker            // the named version is a delete marker
	NoSuchUpload            // the upload does not exist or has ended
	BucketExists            // a bucket of the name exists
	BucketNotEmpty          // the bucket holds objects
	Locked                  // the version is retained or held
	PreconditionFailed      // a Check refused
	Conflict                // a concurrent change was in the way; a retry may succeed
	InvalidPart             // a named part is not there, or is another
	InvalidPartOrder        // parts are not named in ascending order
	PartTooSmall            // a part other than the last is below MinPartSize
	TooLarge                // the object would exceed MaxObjectSize
	BadDigest               // a stated checksum or size is not that of the content
	InvalidRequest          // the request contradicts itself or the state it meets
	NotImplemented          // this Store cannot do it
	OverQuota               // the bucket may not hold so much
)

func (k Kind) Error() string {
	names := [...]string{
		Internal: "internal error", Unknown: "outcome unknown", Unavailable: "storage unavailable",
		Full: "no space left", ReadOnly: "storage is read-only", AccessDenied: "access denied by the storage",
		BadName: "name cannot be stored", NoSuchBucket: "no such bucket", NoSuchKey: "no such key",
		NoSuchVersion: "no such version", BadVersion: "not a version ID", DeleteMarker: "version is a delete marker",
		NoSuchUpload: "no such upload", BucketExists: "bucket exists", BucketNotEmpty: "bucket not empty",
		Locked: "version is locked", PreconditionFailed: "precondition failed", Conflict: "conflicting operation", InvalidPart: "invalid part",
		InvalidPartOrder: "invalid part order", PartTooSmall: "part too small", TooLarge: "object too large", BadDigest: "digest mismatch",
		InvalidRequest: "invalid request", NotImplemented: "not implemented",
		OverQuota: "quota exceeded",
	}
	if int(k) < len(names) {
		return names[k]
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// Error is an error of a Store: what was done, to what, of which Kind, and why.
type Error struct {
	Op   string // the operation, such as "put"
	Name string // bucket, bucket/key, or what else it was done to
	Kind Kind
	Err  error // the cause, or nil
}

// E returns an *Error, or nil if kind is Internal and cause is nil.
func E(op, name string, kind Kind, cause error) error {
	if kind == Internal && cause == nil {
		return nil
	}
	return &Error{Op: op, Name: name, Kind: kind, Err: cause}
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Op)
	if e.Name != "" {
		b.WriteString(" ")
		b.WriteString(e.Name)
	}
	if e.Kind != Internal || e.Err == nil {
		b.WriteString(": ")
		b.WriteString(e.Kind.Error())
	}
	if e.Err != nil {
		b.WriteString(": ")
		b.WriteString(e.Err.Error())
	}
	return b.String()
}

// Unwrap makes both the Kind and the cause visible to errors.Is and errors.As.
func (e *Error) Unwrap() []error {
	if e.Err == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Err}
}

// KindOf returns the Kind of the outermost error in err's tree that has one,
// or Internal.
func KindOf(err error) Kind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	if k, ok := errors.AsType[Kind](err); ok {
		return k
	}
	return Internal
}

// Obstacle is in the way of a change, and neither a bucket nor an object: somebody else has put
// it there. An AccessDenied, a BucketExists and a BucketNotEmpty that come of one hold it.
type Obstacle struct {
	Path string // from the root of what the Store is over
}

func (o *Obstacle) Error() string { return fmt.Sprintf("%q is in the way", o.Path) }
