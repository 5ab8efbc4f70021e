package object

import (
	"context"
	"time"
)

// UploadRef names a multipart upload.
type UploadRef struct {
	Ref
	ID string // opaque; 1 to 128 bytes of letters, digits, '-' and '_'
}

// Upload is a multipart upload in progress.
type Upload struct {
	UploadRef
	Initiated time.Time
	Meta      Meta
	Algorithm Algorithm    // of the checksums of its parts; never NoAlgorithm
	Type      ChecksumType // of the object's checksum
	Implied   bool         // the client named no algorithm: Algorithm is the default and need not be sent
}

// Part is one stored part of an upload.
type Part struct {
	Number   int
	Size     int64 // bytes, without overhead
	ETag     string
	Modified time.Time
	Checksum string // raw value in the upload's algorithm, as the part's Digest said
	Salt     string // of the part's Digest
}

// CompletedPart is what the client says of a part when it completes an upload.
type CompletedPart struct {
	Number   int
	ETag     string   // without quotes
	Checksum Checksum // zero where the client named none
}

// CompleteInput is what an upload is completed with. If its Meta has a Seal, the
// checksums are the caller's business: the Store can hold none against its bytes.
type CompleteInput struct {
	Parts    []CompletedPart
	Checksum Checksum      // of the whole object, as the client states it, or zero; of a sealed one what is kept
	Type     *ChecksumType // of the object's checksum, as the client states it, or nil
	Size     int64         // of the whole object in bytes, as the client states it, or -1
	Check    Check
	Files    Files // as PutInput has it
}

// UploadQuery selects a page of the uploads in progress.
type UploadQuery struct {
	Bucket    string
	Prefix    string
	Delimiter string
	AfterKey  string // with AfterID empty: only greater keys and common prefixes
	AfterID   string // with AfterKey: also that key's uploads that come later in order
	Limit     int    // uploads and common prefixes together
}

// UploadPage is one page of uploads, by key and then by time of initiation and
// ID.
type UploadPage struct {
	Uploads  []Upload
	Prefixes []string
	More     bool
	NextKey  string // with More: AfterKey of the next page
	NextID   string // with More: AfterID of the next page
}

// Uploads is the part of a Store that assembles an object from parts. Every
// method but CreateUpload and ListUploads answers NoSuchUpload where the
// upload is not, or no longer, in progress.
type Uploads interface {
	// CreateUpload begins an upload of the object up.Ref; the Store sets ID and
	// Initiated of what it returns.
	CreateUpload(ctx context.Context, up Upload) (Upload, error)
	// StatUpload returns the upload.
	StatUpload(ctx context.Context, ref UploadRef) (Upload, error)
	// PutPart stores a part, in place of one of the same number. It reads body
	// as Put does.
	PutPart(ctx context.Context, ref UploadRef, number int, body Body) (Part, error)
	// ListParts returns up to limit parts with numbers greater than after, and
	// whether there are more.
	ListParts(ctx context.Context, ref UploadRef, after, limit int) (parts []Part, more bool, err error)
	// CompleteUpload makes the named parts, in order, the current version, and
	// ends the upload. After it has succeeded it can be repeated with the same
	// parts, and answers the same, until the object is overwritten.
	CompleteUpload(ctx context.Context, ref UploadRef, in CompleteInput) (Info, error)
	// AbortUpload ends the upload and frees its parts.
	AbortUpload(ctx context.Context, ref UploadRef) error
	// ListUploads returns one page of the bucket's uploads.
	ListUploads(ctx context.Context, q UploadQuery) (UploadPage, error)
}
