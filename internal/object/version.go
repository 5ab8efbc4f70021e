package object

import "time"

// Versioning says what becomes of an object that is overwritten or deleted
// (https://docs.aws.amazon.com/AmazonS3/latest/userguide/Versioning.html).
type Versioning uint8

// The states of a bucket. One that had versioning is never Unversioned again.
const (
	Unversioned Versioning = iota // it is replaced: there is only a null version
	Versioned                     // it is kept, and every write makes a version with an ID of its own
	Suspended                     // versions with an ID are kept, and a write replaces the null version
)

// shortestVersion is how long the ID of a version of some server is at least, in bytes.
const shortestVersion = 20

// PossibleVersion reports whether an ID can be that of a version: NullVersion, or one of this
// Store or of another server that a client may have it from.
func PossibleVersion(id string) bool {
	for i := range len(id) {
		if c := id[i]; c <= ' ' || c > '~' {
			return false
		}
	}
	return id == NullVersion || len(id) >= shortestVersion
}

// Marker describes a delete marker: a version that says that there is no object.
// As an error it is the cause where an operation met one.
type Marker struct {
	Version  string
	Modified time.Time
}

func (m *Marker) Error() string { return "delete marker " + m.Version }

// Deleted is what Delete did.
type Deleted struct {
	Version string // ID of the delete marker that was made, or of the version that was named; empty in a bucket without versioning
	Marker  bool   // that version is, or was, a delete marker
	// Sequence is greater, as text, than that of every change of the key that came
	// before; empty where the Store does not know. Only what a change returns has it.
	Sequence string
}

// VersionQuery selects a page of a listing of versions.
type VersionQuery struct {
	Bucket       string
	Prefix       string
	Delimiter    string
	AfterKey     string // with AfterVersion empty: only greater keys and common prefixes
	AfterVersion string // with AfterKey: also that key's versions that are older
	Limit        int    // versions and common prefixes together, 1 to MaxListLimit
}

// VersionPage is one page of versions.
type VersionPage struct {
	Versions    []VersionInfo
	Prefixes    []string
	More        bool
	NextKey     string // with More: AfterKey of the next page
	NextVersion string // with More: AfterVersion of the next page
}

// VersionInfo is one version in a listing.
type VersionInfo struct {
	Info        // as in Page; of a delete marker only names and Modified
	Latest bool // it is the current version
	Marker bool // it is a delete marker
}
