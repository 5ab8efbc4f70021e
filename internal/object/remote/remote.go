// Package remote makes a Store that lives in another process an object.Store
// here: a Client calls, a Server answers from the Store. All that a Store
// promises holds through them. Contents stream both ways, a Check runs where its
// caller is while the lock is held where the Store is, and errors keep their Kind.
//
// Who is at the other end is the connection's business: both ends trust each
// other, and guard only against mistakes.
package remote

import (
	"errors"
	"fmt"
	"time"

	"github.com/shoal-storage/shoal/internal/object"
)

// ErrAgain is wrapped by errors of calls that nothing was begun of, and of whose
// body nothing was read: whoever asks once more, here or elsewhere, does no harm.
// A Store that is served may return it too.
var ErrAgain = errors.New("nothing was begun")

// message is what the ends of a link say; exactly one field is set.
type message struct {
	Call    *call    // of the Client
	Ask     *ask     // of the Server, during a call
	Verdict *verdict // of the Client, on an Ask
	Answer  *answer  // of the Server, ends a call
	Range   *extent  // of the Client, while a Handle is open
	End     *end     // behind the last piece of a content
	Word    word
}

// word is a message without content.
type word uint8

const (
	ready word = iota + 1 // of the Server: the body is wanted
	stop                  // of the Client: no more of this extent is wanted
	done                  // of the Client: the Handle is closed
)

// op says what is called.
type op uint8

const (
	createBucket op = iota + 1
	statBucket
	listBuckets
	updateBucket
	deleteBucket
	put
	open
	stat
	update
	remove
	list
	listVersions
	copyObject
	rename
	createUpload
	statUpload
	putPart
	listParts
	completeUpload
	abortUpload
	listUploads
)

// changes reports whether a call may change something, so that it is not known
// what became of it when its answer does not come.
func (o op) changes() bool {
	switch o {
	case statBucket, listBuckets, open, stat, list, listVersions, statUpload, listParts, listUploads:
		return false
	case createBucket, updateBucket, deleteBucket, put, update, remove, copyObject, rename, createUpload, putPart, completeUpload, abortUpload:
	}
	return true
}

func (o op) String() string {
	names := [...]string{
		createBucket: "create bucket", statBucket: "stat bucket", listBuckets: "list buckets", updateBucket: "update bucket",
		deleteBucket: "delete bucket", put: "put", open: "open", stat: "stat", update: "update", remove: "delete", list: "list",
		listVersions: "list versions",
		copyObject:   "copy", rename: "rename", createUpload: "create upload", statUpload: "stat upload", putPart: "put part",
		listParts: "list parts", completeUpload: "complete upload", abortUpload: "abort upload", listUploads: "list uploads",
	}
	if int(o) < len(names) {
		return names[o]
	}
	return fmt.Sprintf("operation %d", uint8(o))
}

// call is what a Client asks for. Of the parts that hold the arguments only
// those of the Op count.
type call struct {
	Op       op
	Patience time.Duration // how long the caller waits; 0: for ever

	Ref         object.Ref // what it is done to
	Source      object.Ref
	Bucket      object.Bucket
	Query       object.Query
	Versions    object.VersionQuery
	Upload      object.Upload
	UploadRef   object.UploadRef
	UploadQuery object.UploadQuery
	Complete    object.CompleteInput
	TypeStated  bool // Complete.Type is not nil: gob does not tell a pointer to 0 from none
	Meta        *object.Meta
	Files       object.Files
	Number      int
	After       int
	Limit       int
	Size        int64 // of the body
	Check       bool  // there is one
	SourceCheck bool  // there is one
}

// name is what the call is about, for errors.
func (q *call) name() string {
	ref := q.Ref
	if q.UploadRef.ID != "" {
		ref = q.UploadRef.Ref
	}
	if ref.Key == "" {
		return ref.Bucket
	}
	return ref.Bucket + "/" + ref.Key
}

// ask has the Client run one of its functions on what is there.
type ask struct {
	Source bool // the SourceCheck
	Info   *object.Info
	Bucket *object.Bucket
	Meta   *object.Meta
}

// verdict is what that came to.
type verdict struct {
	Refused bool
	Bucket  *object.Bucket
	Meta    *object.Meta
}

// answer is what a call came to.
type answer struct {
	Failure    *failure
	Info       object.Info
	Bucket     object.Bucket
	Buckets    []object.Bucket
	Page       object.Page
	Deleted    object.Deleted
	Versions   object.VersionPage
	Upload     object.Upload
	Part       object.Part
	Parts      []object.Part
	More       bool
	UploadPage object.UploadPage
	Whole      bool // the content follows, and there is no Handle to be closed
}

// extent is a part of a content.
type extent struct{ Offset, Length int64 }

// end is how a content ends.
type end struct {
	Failure *failure
	Digest  object.Digest // of a body
}

// failure is an error on its way.
type failure struct {
	Op, Name, Kind string
	Cause          string
	Part           *object.PartError
	Marker         *object.Marker
	Obstacle       *object.Obstacle
	Again          bool // it is an ErrAgain
	Refused        bool // it is what the Client's own function returned
	Body           bool // it is what the Client's own body returned
}

// What a function or the body of a Client returns at the Server when it has
// failed at the Client, which knows with what.
var (
	errRefused = errors.New("refused by the caller")
	errBody    = errors.New("the body cannot be read")
)

// failureOf takes an error apart.
func failureOf(err error) *failure {
	if err == nil {
		return nil
	}
	f := &failure{
		Kind: object.KindOf(err).Error(), Again: errors.Is(err, ErrAgain),
		Refused: errors.Is(err, errRefused), Body: errors.Is(err, errBody),
	}
	if e, ok := errors.AsType[*object.Error](err); ok {
		f.Op, f.Name = e.Op, e.Name
		if err = e.Err; err == nil {
			return f
		}
	}
	f.Cause = err.Error()
	f.Part, _ = errors.AsType[*object.PartError](err)
	f.Marker, _ = errors.AsType[*object.Marker](err)
	f.Obstacle, _ = errors.AsType[*object.Obstacle](err)
	return f
}

// err puts the error together again.
func (f *failure) err() error {
	if f == nil {
		return nil
	}
	cause := error(nil)
	switch {
	case f.Part != nil:
		cause = f.Part
	case f.Marker != nil:
		cause = f.Marker
	case f.Obstacle != nil:
		cause = f.Obstacle
	case f.Cause != "":
		cause = errors.New(f.Cause)
	}
	if f.Again {
		cause = errors.Join(ErrAgain, cause)
	}
	kind := kindNamed(f.Kind)
	if kind == object.Internal && cause == nil {
		cause = kind
	}
	return object.E(f.Op, f.Name, kind, cause)
}

// kindNamed returns the Kind that a text stands for: the numbers of Kinds may
// differ between versions.
func kindNamed(text string) object.Kind {
	for kind := object.Internal; kind <= object.OverQuota; kind++ {
		if kind.Error() == text {
			return kind
		}
	}
	return object.Internal
}
