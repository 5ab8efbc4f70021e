package register

// Null is the name of the register of what was made without versioning. The others are
// named after the token by which they were made, which finds them.
const Null = "null"

// Change is what a drive is asked to commit.
type Change struct {
	Key     Key
	Record  Record
	Inline  []byte // the shard of the record's only Data, if it is a small one
	Strict  bool   // it is taken only with the shards of all its Data
	Settles bool   // it makes an end of states that are not decided
	Session string // that it is made in
	Placed  uint64 // the epoch of the placement by which the key is in this set
}

// Query asks for registers of a key.
type Query struct {
	Key     Key
	Version string // that one; empty: the newest ones
	Made    Token  // of Version, unless that is Null
	Below   Token  // if not zero, only those made before
	NotNull bool   // without that one
	Inline  bool   // with the shard of the last one, if that is a small one
}

// View is what a drive holds of a key: the newest registers, down to one that is no
// Tombstone.
type View struct {
	Entries []Entry // newest first
	More    bool    // there are older ones
	Inline  []byte  // the shard of the only Data of the last one, if it was asked for and is in the store; else nil
}

// ShardWriter writes the shard of a content on a drive. It is used by one goroutine, but for
// Abort.
type ShardWriter interface {
	Write(p []byte) (int, error)
	// Finish makes the shard durable, once a register refers to it.
	Finish() error
	// Abort removes it, unless it was finished.
	Abort()
}

// Decision tells a drive that a state is committed.
type Decision struct {
	Key        Key
	Version    string
	Made       Token
	Changed    Token
	Everywhere bool // every drive of the set holds the state, or a newer one
	Forget     bool // every drive of the set knows that: a tombstone is not needed any more
}

// PendingQuery asks for registers that are pending: another drive of the set may hold an older
// state of them, or none, as far as the drive knows.
type PendingQuery struct {
	Space Space  // only those; 0: all
	From  string // the first Place that may come
	Every bool   // of the Space also those that are not pending
	Limit int    // registers, at most
}

// ScanQuery asks for the registers of several keys, in the order of their names.
type ScanQuery struct {
	Space     Space
	Bucket    uint64
	Prefix    string
	Delimiter string // names that share what is up to it, behind the prefix, come as one
	From      string // the first name, or common prefix, that may come
	Below     Token  // if not zero, of From only what was made before
	Versions  bool   // all registers, and not only down to one that is no Tombstone
	Limit     int    // entries and common prefixes together, about
}

// ScanItem is one name, or several with a common prefix: then the View is of the first of
// them that has more than tombstones.
type ScanItem struct {
	Name  string
	First string // that name; empty if Name is no common prefix
	View
}

// ScanPage is an answer to a ScanQuery.
type ScanPage struct {
	Items []ScanItem
	More  bool // there is more, from the next name on
}
