package object

import "context"

// Person is somebody as a file system knows him.
type Person struct {
	UID, GID uint32
	Groups   []uint32 // supplementary ones
}

// Nobody is the number of the user and of the group of whom nothing is said.
const Nobody = 65534

// Access is what somebody wants of an object or a bucket.
type Access uint8

// The kinds of access.
const (
	Read    Access = iota // what the object is
	Change                // its metadata as it stands
	Replace               // to make, replace or remove it; without a key the bucket
	List                  // which keys begin with the key, of the directory that this leads to
)

// Judge is implemented by a Store whose objects are files, of which the file system says
// who may have what.
type Judge interface {
	// CanJudge returns nil if it can find that out: InvalidRequest, and why, if not.
	CanJudge(ctx context.Context) error
	// Permit returns AccessDenied if who may not have what of ref. To what is not there
	// everybody is let who may find that out: that it is not there is for the operation to
	// say.
	Permit(ctx context.Context, who Person, what Access, ref Ref) error
}

// Judged is implemented by the Handles of a Judge.
type Judged interface {
	// Permit returns AccessDenied if who may not read the very file that is open.
	Permit(who Person) error
}
