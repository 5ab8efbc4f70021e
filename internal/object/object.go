// Package object is the domain of Shoal: buckets, objects, uploads, the values
// that describe them, and the Store interface that keeps them. It knows neither
// HTTP nor disks, and imports only the standard library and the hashes that S3 has
// as checksums, so that the gateway in front and the stores behind can meet here
// without knowing one another.
package object

import (
	"io"
	"maps"
	"slices"
	"time"
)

// Ref names one version of one object.
type Ref struct {
	Bucket  string
	Key     string // any non-empty byte string of at most MaxKeyLen bytes
	Version string // a version's ID, or NullVersion; empty for the current version
}

// Limits of S3, in the units of its documentation
// (https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html).
const (
	MaxKeyLen     = 1024        // bytes
	MaxPartNumber = 10000       // the highest part number, and the most parts of one upload
	MinPartSize   = 5 << 20     // bytes, of every part but the last
	MaxPartSize   = 5 << 30     // bytes, of one part and of one PUT
	MaxObjectSize = 5 << 40     // bytes (5 TiB)
	MaxListLimit  = 1000        // entries of one page
	MaxSaltLen    = 32          // bytes
	NullVersion   = "null"      // the ID of the version that was made without versioning
	StorageClass  = "STANDARD"  // the default storage class
	DefaultRegion = "us-east-1" // the region whose location constraint is empty
)

// Tag is one entry of a tag set. A set is kept sorted by Key.
type Tag struct {
	Key, Value string
}

// Bucket is a bucket's own record.
type Bucket struct {
	Name       string
	ID         uint64 `json:"-"` // which of all buckets that had the name it is, as StatBucket says; 0: the Store does not know
	Created    time.Time
	Region     string
	Tags       []Tag
	Versioning Versioning
	Files      Files             // what new files of it are given
	Dir        Files             `json:"-"` // what its directory is given when it is created, before Files; it is not kept
	Documents  map[string]string // configurations that say nothing to a Store, by the names of their sub-resources
}

// Clone returns a copy that shares no map or slice with b.
func (b Bucket) Clone() Bucket {
	b.Tags = slices.Clone(b.Tags)
	b.Documents = maps.Clone(b.Documents)
	return b
}

// Meta is what the writer of an object says about it beside its bytes.
type Meta struct {
	ContentType        string
	ContentEncoding    string
	ContentDisposition string
	ContentLanguage    string
	CacheControl       string
	Expires            string
	StorageClass       string            // empty means StorageClass
	WebsiteRedirect    string            // x-amz-website-redirect-location
	User               map[string]string // names in lower case, without x-amz-meta-
	Tags               []Tag
	Retention          Retention
	LegalHold          LegalHold
	Seal               string // how the content is encrypted, for whoever reads it; empty: it is not
}

// Clone returns a copy that shares no map or slice with m.
func (m Meta) Clone() Meta {
	if m.User != nil {
		user := make(map[string]string, len(m.User))
		for k, v := range m.User {
			user[k] = v
		}
		m.User = user
	}
	m.Tags = append([]Tag(nil), m.Tags...)
	return m
}

// Info describes one stored version of an object. Of sealed content (Digest) ETag and
// checksums are what its Body made of them.
type Info struct {
	Bucket   string
	Key      string
	Version  string    // NullVersion for what was made without versioning
	Size     int64     // bytes, without the Overhead
	Overhead int64     // bytes that the Store holds beyond Size
	Modified time.Time // S3's Last-Modified: when the object was made, to the nanosecond
	ETag     string    // without quotes: hex MD5, "<hex>-<parts>", or a Store's own for foreign content
	Checksum Checksum  // zero if none is known
	Parts    []PartInfo
	Meta     Meta
	Sequence string // as in Deleted
}

// Held returns how many bytes the Store holds: what a Handle's ranges are of.
func (i *Info) Held() int64 { return i.Size + i.Overhead }

// PartInfo is what an object remembers of a part it was assembled from.
type PartInfo struct {
	Number   int
	Size     int64  // bytes, without overhead
	Checksum string // raw value in the object's algorithm, or empty
	Salt     string // of the part's Digest
}

// Body is the content of a Put or of a part.
//
// Read returns io.EOF only when all of the content came and every declared
// length, checksum and signature held; a Store must commit on io.EOF and on
// nothing else.
type Body interface {
	io.Reader
	// Size is the declared length in bytes, -1 if it is not known.
	Size() int64
	// Digest describes the bytes read; it is valid only after io.EOF.
	Digest() Digest
}

// ContentSize returns the declared length in bytes of what a body is the content of,
// without what a Body adds that seals, and so has a method of this name; -1 if it is
// not known.
func ContentSize(b Body) int64 {
	if sealing, ok := b.(interface{ ContentSize() int64 }); ok {
		return sealing.ContentSize()
	}
	return b.Size()
}

// MostSize returns how many bytes ContentSize will turn out to be at most: where it is not known, what the
// Body can tell by a method of this name, or what no Body is longer than.
func MostSize(b Body) int64 {
	if n := ContentSize(b); n >= 0 {
		return n
	}
	if bounded, ok := b.(interface{ MostSize() int64 }); ok {
		return bounded.MostSize()
	}
	return MaxPartSize
}

// Digest is what a Body found out about its bytes. A Body that seals gives other
// bytes than it was made of: more of them, whose digest says nothing. A Store keeps
// the bytes as they come, and what the Digest says of them as it is said.
type Digest struct {
	MD5      [16]byte
	Checksum Checksum // over the whole body, of type FullObject; zero if none was computed
	Overhead int64    // how many of the bytes are none of the content
	Salt     string   // that a part was sealed with; at most MaxSaltLen bytes
}

// PutInput is what Put makes an object from.
type PutInput struct {
	Body  Body
	Meta  Meta
	Check Check // nil allows
	Files Files // what its file is given, before what the bucket says of files
}

// CopyInput says what becomes of a copied object.
type CopyInput struct {
	SourceCheck Check // called with the source as it is when it is opened; nil allows
	Check       Check // called with the current destination under its lock; nil allows
	Meta        *Meta // nil keeps the source's; the Seal is always the source's, as the bytes are
	Files       Files // as PutInput has it; the file of an object that is renamed keeps what it has
}

// Check decides whether an operation may go on. A Store calls it under the
// key's lock with the current version, or nil if there is none, so that
// check and change are one step; its error is returned as it is and nothing
// changes. It must be quick, must not call the Store, and may run more than
// once. A nil Check allows.
type Check func(current *Info) error

// Handle is one open version of an object. It never mixes two versions: when
// the key is overwritten meanwhile it goes on with the old bytes or fails.
// It is used by one goroutine at a time.
type Handle interface {
	Info() Info
	// Range returns a reader of length bytes from offset, of Info.Held. Only the newest
	// reader of a Handle may be used. If it is an io.WriterTo, that is the
	// faster way, and the way that keeps bytes out of user space.
	Range(offset, length int64) io.Reader
	io.Closer
}

// Prefetcher is a reader of a Range that can read the beginning before it gives anything, so that who
// answers with it learns in time that it cannot be read. Prefetch is called once at most, and first.
type Prefetcher interface {
	Prefetch() error
}

// Query selects a page of a listing.
type Query struct {
	Bucket    string
	Prefix    string
	Delimiter string // any string; keys that share the part up to its first place after Prefix become one common prefix
	After     string // only keys and common prefixes that are greater in byte order
	Limit     int    // keys and common prefixes together, 1 to MaxListLimit
}

// Page is one page of a listing in ascending byte order.
type Page struct {
	Objects  []Info // without Version and Parts, and of Meta with the StorageClass alone
	Prefixes []string
	More     bool   // there is at least one more key or common prefix
	Next     string // with More: the After of the next page
}
