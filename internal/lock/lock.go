// Package lock says what a Store needs of a lock service: leases on names,
// fencing tokens that order everything done under them, and the session that
// a holder lives in. Local serves one process; package raftlock serves a fleet.
// It imports only the standard library.
package lock

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
)

// ErrLost is the cause of a Lease's context when the lease, or the session it
// was granted in, was lost.
var ErrLost = errors.New("lock: lease lost")

// Mode says with whom a lease may be shared.
type Mode uint8

// The modes.
const (
	Shared Mode = iota + 1
	Exclusive
)

// Token is a fencing token. Tokens of leases that excluded one another are
// ordered as the leases were, over restarts and changes of the lock service.
type Token struct {
	Generation uint32 // of the lock service as a whole
	Epoch      uint64 // of the owner of the names within the generation
	Sequence   uint64 // of the grant within the epoch
}

// TokenSize is the length of an encoded Token in bytes.
const TokenSize = 20

// Compare returns -1, 0 or +1 as t was granted before, is, or was granted
// after o.
func (t Token) Compare(o Token) int {
	return cmp.Or(cmp.Compare(t.Generation, o.Generation), cmp.Compare(t.Epoch, o.Epoch), cmp.Compare(t.Sequence, o.Sequence))
}

// Append appends t in TokenSize bytes whose byte order is the order of tokens.
func (t Token) Append(b []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, t.Generation)
	b = binary.BigEndian.AppendUint64(b, t.Epoch)
	return binary.BigEndian.AppendUint64(b, t.Sequence)
}

// ParseToken is the inverse of Append.
func ParseToken(b []byte) (Token, error) {
	if len(b) != TokenSize {
		return Token{}, errors.New("lock: a token has 20 bytes")
	}
	return Token{
		Generation: binary.BigEndian.Uint32(b),
		Epoch:      binary.BigEndian.Uint64(b[4:]),
		Sequence:   binary.BigEndian.Uint64(b[12:]),
	}, nil
}

// Locker grants leases on names, such as "b/bucket" or "o/bucket/key".
type Locker interface {
	// Acquire waits until all names are granted or ctx ends. It takes them in
	// sorted order, so that callers cannot deadlock one another; a name given
	// twice counts once. A holder must not acquire a name again.
	Acquire(ctx context.Context, mode Mode, names ...string) (Lease, error)
	// Session returns the session that new leases are granted in.
	Session() Session
}

// Session is the life of one holder as the lock service sees it. When it ends,
// nothing that was begun in it may be committed; the storage sees to that.
type Session interface {
	// ID is unique over all sessions ever: 1 to 64 letters, digits, '-' and '.'.
	ID() string
	// Done is closed when the session has ended.
	Done() <-chan struct{}
}

// Lease is what Acquire granted.
type Lease interface {
	// Context is done when the lease is lost (cause ErrLost) or the context
	// given to Acquire ends. What is done under the lease uses it.
	Context() context.Context
	// Token is the fencing token of the first of the names: greater than that of
	// every earlier lease that excluded this one and whose first name it was.
	Token() Token
	// Session returns the session that the lease was granted in. It is lost with
	// that one, whichever session new leases are granted in by then.
	Session() Session
	// Release gives the lease back. It can be called twice and never blocks.
	Release()
}
