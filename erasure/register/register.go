// Package register holds the rules by which the drives of a set keep a version of an
// object as one register, whatever drives, gateways and messages do: pure functions
// without I/O or clock, which drives, coordinators and simulations share. What they rest
// on, and why they are right, is in DESIGN.md.
package register

import (
	"cmp"
	"encoding/binary"
	"errors"
	"slices"

	"github.com/shoal-storage/shoal/internal/lock"
)

// Token orders the changes of a key: that of the lease, and within one lease a number,
// since whoever has to finish what another one began needs tokens of his own.
type Token struct {
	Lease lock.Token
	Minor uint32
}

// TokenSize is the length of an encoded Token in bytes.
const TokenSize = lock.TokenSize + 4

// IsZero reports whether t is before all others.
func (t Token) IsZero() bool { return t == Token{} }

// Compare returns -1, 0 or +1 as t is before o, the same, or after it.
func (t Token) Compare(o Token) int {
	return cmp.Or(t.Lease.Compare(o.Lease), cmp.Compare(t.Minor, o.Minor))
}

// Less reports whether t is before o.
func (t Token) Less(o Token) bool { return t.Compare(o) < 0 }

// Next returns the next token of the same lease.
func (t Token) Next() Token {
	t.Minor++
	return t
}

// Append appends t in TokenSize bytes whose byte order is the order of tokens.
func (t Token) Append(b []byte) []byte {
	return binary.BigEndian.AppendUint32(t.Lease.Append(b), t.Minor)
}

// ParseToken is the inverse of Append.
func ParseToken(b []byte) (Token, error) {
	if len(b) != TokenSize {
		return Token{}, errors.New("register: a token has 24 bytes")
	}
	lease, err := lock.ParseToken(b[:lock.TokenSize])
	return Token{Lease: lease, Minor: binary.BigEndian.Uint32(b[lock.TokenSize:])}, err
}

// DataID names the content of a version, or of a part of one: its shards on all drives.
// The zero DataID is none.
type DataID [16]byte

// IsZero reports whether there is no content.
func (d DataID) IsZero() bool { return d == DataID{} }

// Kind says what a Record is. Its values are stored and must not change.
type Kind uint8

// The kinds.
const (
	Object    Kind = 1 // a version with content
	Marker    Kind = 2 // a delete marker
	Tombstone Kind = 3 // there is no such version, any more
)

// Record is the state of a register.
type Record struct {
	Version string // names the register among those of the key
	Kind    Kind
	Made    Token // orders the versions of a key
	Changed Token // orders the states of the register
	Quorum  int   // of so many drives that hold it, it is committed
	Need    int   // so many drives with the shards of Data give it; 0: there is none, or it is another state's that was committed
	Data    []DataID
	Value   []byte // what it says, which the rules do not look at
}

// Past is a state that was replaced by one that is not decided.
type Past struct {
	Record
	Decided bool
	Shard   bool // the drive has the shards of its Data
}

// Entry is what a drive holds of a register.
type Entry struct {
	Past
	Before []Past // newest first, down to one that is decided
}

// Head is what a drive holds of a key as a whole.
type Head struct {
	Last     Token // of the last change to any of its registers
	Promised Token // nothing older is taken any more
}

// Why a drive does not do what it was asked.
var (
	// ErrStale says that the drive has promised, or holds, something newer.
	ErrStale = errors.New("register: the token is stale")
	// ErrNoShard says that the drive does not have the shard that the record is about.
	ErrNoShard = errors.New("register: the shard is not there")
	// ErrFenced says that the drive takes nothing in the session: it is over, or of a fleet
	// that the drive was not told of.
	ErrFenced = errors.New("register: the session cannot commit")
	// ErrCrowded says that the drive holds so many states that are not decided that it takes
	// none but one that settles them.
	ErrCrowded = errors.New("register: too many states are not decided")
	// ErrFull says that the drive has no room for more contents.
	ErrFull = errors.New("register: the drive is full")
	// ErrUnknown says that the drive cannot vouch for what it does not hold: it is new,
	// or has forgotten something.
	ErrUnknown = errors.New("register: the drive is not in sync")
	// ErrNoLog says that the drive has no log of what others may have missed, or not yet.
	ErrNoLog = errors.New("register: the drive has no log of what others may have missed")
	// ErrClaimed says that somebody else is writing the file of a content's shard.
	ErrClaimed = errors.New("register: the shard is being written by another one")
)

// Promise is what a drive does before it answers who is about to change a key: nothing
// older than t is taken any more. It is kept before the answer is given.
func (h Head) Promise(t Token) (Head, error) {
	if t.Less(h.Promised) || t.Less(h.Last) {
		return h, ErrStale
	}
	h.Promised = t
	return h, nil
}

// Commit is what a drive does to take a state of a register; cur is what it holds of that,
// or nil, shard whether it has the shard of what it is to take, and settles that this is to
// make an end of states that are not decided. done says that it holds it already. What it returns is kept before the answer is given.
func (h Head) Commit(cur *Entry, r Record, shard, settles bool) (head Head, e Entry, done bool, err error) {
	t := r.Changed
	switch {
	case cur != nil && cur.Changed == t:
		return h, *cur, true, nil
	case t.Less(h.Promised), t.Less(h.Last), cur != nil && t.Less(cur.Changed):
		return h, e, false, ErrStale
	}
	e = Entry{Past: Past{Record: r, Shard: shard}}
	if cur != nil {
		e.Before = append(e.Before, cur.Past)
		if !cur.Decided {
			e.Before = append(e.Before, cur.Before...)
		}
	}
	if n := len(e.Before); n > maxBefore || n > maxUndecided && !settles {
		return h, e, false, ErrCrowded
	}
	return Head{Last: t, Promised: t}, e, false, nil
}

// Install is what a drive does with a state that is known to be committed, and was before
// whoever brings it got the key's lock with a token: it takes it unless it holds a newer one. Where
// it has promised or taken something under a later token it comes too late: the state may be
// gone, and be forgotten. A zero token, of whoever brings a tombstone, does not come too late. shard says whether it has the
// shards of its Data.
func (h Head) Install(cur *Entry, r Record, shard bool, t Token) (head Head, e Entry, changed bool, err error) {
	switch {
	case (r.Kind != Tombstone || !t.IsZero()) && (t.Less(h.Promised) || t.Less(h.Last)):
		return h, e, false, ErrStale
	case cur != nil && r.Changed.Less(cur.Changed):
		return h, *cur, false, nil
	case cur == nil && r.Kind == Tombstone && !h.Last.Less(r.Changed):
		return h, e, false, nil // it has forgotten it, or never had what went
	}
	if h.Last.Less(r.Changed) {
		h.Last = r.Changed
	}
	e = Entry{Past: Past{Record: r, Shard: shard, Decided: true}}
	return h, e, cur == nil || cur.Changed != r.Changed || !cur.Decided || cur.Shard != shard, nil
}

// Decide is what a drive does when it hears that a state is committed: what that replaced
// is not needed any more. freed are contents that those states referred to. It changes
// nothing if the drive holds another state.
func (e Entry) Decide(t Token) (after Entry, freed []DataID, changed bool) {
	if e.Changed != t || e.Decided {
		return e, nil, false
	}
	for _, p := range e.Before {
		freed = append(freed, p.Data...)
	}
	e.Decided, e.Before = true, nil
	return e, freed, true
}

// Lose is what a drive does that finds the shard of a content to be damaged or gone: it has not the
// shards any more of the states that refer to it.
func (e *Entry) Lose(id DataID) {
	if slices.Contains(e.Data, id) {
		e.Shard = false
	}
	for i := range e.Before {
		if slices.Contains(e.Before[i].Data, id) {
			e.Before[i].Shard = false
		}
	}
}

// hasShards reports whether the drive has the shards of a state that it holds, or held.
func (e *Entry) hasShards(t Token) bool {
	if e.Changed == t {
		return e.Shard
	}
	for _, p := range e.Before {
		if p.Changed == t {
			return p.Shard
		}
	}
	return false
}
