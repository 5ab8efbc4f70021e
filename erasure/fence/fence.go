// Package fence holds the rules by which drives decide which generation of a fleet may act,
// and end its sessions for good: pure functions without I/O or clock. Every drive keeps a
// State and obeys; what a majority of the drives of a set has taken is so. Why that is
// enough is in DESIGN.md.
package fence

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// State is what a drive knows of the fleet that may commit on it.
type State struct {
	Generation uint32   `json:"generation"`         // the newest that was claimed; 0: it was told of none
	Claimant   string   `json:"claimant,omitempty"` // the node that claimed it
	Closed     bool     `json:"closed,omitempty"`   // it was ended cleanly
	Sealed     []string `json:"sealed,omitempty"`   // sessions of it that are over, sorted
	Pulse      uint64   `json:"-"`                  // raised with every renewal, and kept in memory only
	Blank      bool     `json:"-"`                  // it stands for another drive, and was told nothing yet of what that one knew
}

// The errors of Apply and Admits.
var (
	// ErrTaken says that the number, or a later one, was claimed before.
	ErrTaken = errors.New("fence: the generation was claimed by another node")
	// ErrOver says that the generation, or the session in it, has ended.
	ErrOver = errors.New("fence: the generation or session is over")
	// ErrBehind says that the drive has not been told of the generation yet.
	ErrBehind = errors.New("fence: the drive was not told of the generation")
)

// Op is what is asked of a drive. Its values are spoken between nodes and must not change.
type Op byte

// The operations.
const (
	Look  Op = 0 // returns the State
	Claim Op = 1 // Node makes Generation the newest
	Renew Op = 2 // Generation is alive; Pulse is a number that grows
	Check Op = 3 // are Generation and Session in it not over
	Seal  Op = 4 // ends Session of Generation
	End   Op = 5 // ends Generation
	Adopt Op = 6 // take over what the other drives know, in State
)

// Order asks something of a drive.
type Order struct {
	Op         Op     `json:"op"`
	Generation uint32 `json:"generation,omitempty"`
	Node       string `json:"node,omitempty"`
	Session    string `json:"session,omitempty"`
	Pulse      uint64 `json:"pulse,omitempty"`
	State      State  `json:"state,omitzero"`
}

// maxSealed bounds how many sessions a drive remembers as over. A generation that has ended
// more is to end itself.
const maxSealed = 1 << 16

// Apply is what a drive does with an Order. What it returns is kept before the answer is
// given, if durable is set.
func (s State) Apply(o Order) (next State, durable bool, err error) {
	if s.Blank && o.Op != Adopt {
		return s, false, ErrBehind
	}
	switch o.Op {
	case Look:
		return s, false, nil
	case Claim:
		if o.Generation <= s.Generation {
			return s, false, ErrTaken
		}
		return State{Generation: o.Generation, Claimant: o.Node}, true, nil
	case Adopt:
		next = s.merge(o.State)
		next.Blank = false
		return next, s.Blank || !next.equal(s), nil
	case Renew, Check, Seal, End:
	default:
		return s, false, fmt.Errorf("fence: the order %d is not known", o.Op)
	}
	switch {
	case o.Generation > s.Generation:
		return s, false, ErrBehind
	case o.Generation < s.Generation && o.Op == Seal:
		return s, false, nil // it is over with its generation
	case o.Generation < s.Generation:
		return s, false, ErrOver
	}
	return s.obey(o)
}

// obey is Apply for orders about the State's own generation.
func (s State) obey(o Order) (next State, durable bool, err error) {
	switch o.Op {
	case Renew:
		if s.Closed {
			return s, false, ErrOver
		}
		s.Pulse = max(s.Pulse+1, o.Pulse)
		return s, false, nil
	case Check:
		if s.over(o.Session) {
			return s, false, ErrOver
		}
		return s, false, nil
	case Seal:
		at, sealed := slices.BinarySearch(s.Sealed, o.Session)
		if sealed {
			return s, false, nil
		}
		if len(s.Sealed) >= maxSealed {
			return s, false, errors.New("fence: too many sessions have ended in this generation")
		}
		s.Sealed = slices.Insert(slices.Clone(s.Sealed), at, o.Session)
		return s, true, nil
	case End:
		if s.Closed {
			return s, false, ErrOver
		}
		s.Closed = true
		return s, true, nil
	case Look, Claim, Adopt: // see Apply
	}
	return s, false, nil
}

// over reports whether a session of the State's generation is.
func (s State) over(session string) bool {
	_, sealed := slices.BinarySearch(s.Sealed, session)
	return s.Closed || sealed
}

// merge returns what both States say together.
func (s State) merge(o State) State {
	switch {
	case o.Generation > s.Generation:
		o.Pulse = 0
		return o
	case o.Generation < s.Generation:
		return s
	}
	s.Closed = s.Closed || o.Closed
	if s.Claimant == "" {
		s.Claimant = o.Claimant
	}
	if len(o.Sealed) > 0 {
		s.Sealed = slices.Concat(s.Sealed, o.Sealed)
		slices.Sort(s.Sealed)
		s.Sealed = slices.Compact(s.Sealed)
	}
	return s
}

func (s State) equal(o State) bool {
	return s.Generation == o.Generation && s.Closed == o.Closed && s.Claimant == o.Claimant && slices.Equal(s.Sealed, o.Sealed)
}

// Merge returns what several drives say together.
func Merge(states ...State) State {
	var all State
	for _, s := range states {
		pulse := all.Pulse
		if s.Generation > all.Generation {
			pulse = 0
		}
		if s.Generation >= all.Generation {
			pulse = max(pulse, s.Pulse)
		}
		all = all.merge(s)
		all.Pulse = pulse
	}
	return all
}

// Admits returns nil if what is done in a session may be committed. The session is named as
// package lock names them: by the generation in eight hex digits, a dash, and a name.
func (s State) Admits(session string) error {
	generation, name, err := split(session)
	switch {
	case err != nil:
		return err
	case generation > s.Generation:
		return ErrBehind
	case generation < s.Generation, s.over(name):
		return ErrOver
	}
	return nil
}

// Session returns the name of a session of a generation, as Admits takes it.
func Session(generation uint32, name string) string { return fmt.Sprintf("%08x-%s", generation, name) }

func split(session string) (generation uint32, name string, err error) {
	digits, name, ok := strings.Cut(session, "-")
	n, err := strconv.ParseUint(digits, 16, 32)
	if !ok || err != nil || len(digits) != 8 {
		return 0, "", fmt.Errorf("%w: %.40q is no session of a fleet", ErrOver, session)
	}
	return uint32(n), name, nil
}

// Encode returns the State as a drive keeps it: JSON, whose fields later versions may add to.
func (s State) Encode() ([]byte, error) {
	b, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("fence: encode: %w", err)
	}
	return b, nil
}

// Decode is the inverse of Encode.
func Decode(b []byte) (s State, err error) {
	if err := json.Unmarshal(b, &s); err != nil {
		return State{}, fmt.Errorf("fence: not a state, or a damaged one: %w", err)
	}
	if !slices.IsSorted(s.Sealed) {
		return State{}, errors.New("fence: not a state: its sessions are not sorted")
	}
	return s, nil
}
