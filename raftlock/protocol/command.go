package protocol

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
)

// Command is an entry of the log. Encode gives its bytes, ParseCommand takes
// them back.
type Command interface {
	append(b []byte) []byte
}

// The commands.
type (
	// Tick changes nothing. That it was committed proves that its proposer was
	// the leader after it was proposed.
	Tick struct{}

	// OpenSession opens a session whose ID is the entry's index.
	OpenSession struct {
		Node, Nonce, Address, Dir string
		Feature                   uint32
	}

	// ExpireSession says that a session is dead. It keeps what it has until it
	// has been fenced.
	ExpireSession struct{ Session SID }

	// EndSession forgets a session: an expired one that has been fenced, or one
	// that closes itself and has nothing under way any more (Own).
	EndSession struct {
		Session SID
		Own     bool
	}

	// StartCaching says that a session may hold cache leases from now on: if it
	// is found dead it ends no sooner than it knows so itself.
	StartCaching struct{ Session SID }

	// MoveSlots gives slots to a session, each if it still has the epoch seen.
	MoveSlots struct {
		To    SID
		Slots []SlotSeen
	}

	// UseFeature lets all use what every session understands.
	UseFeature struct{ Feature uint32 }

	// SetSetting sets or deletes a value of the control plane; with Compare only
	// if its revision is the one expected, 0 where there must be none.
	SetSetting struct {
		Name    string
		Value   []byte
		Delete  bool
		Compare bool
		Expect  uint64
	}

	// RestoreSettings begins a generation with settings of the one before, whose
	// revisions are all up to Base.
	RestoreSettings struct {
		Base     uint64
		Settings []SettingChange
	}
)

// SlotSeen is a slot and the epoch that it had when a move was decided.
type SlotSeen struct {
	Slot Slot
	Seen Epoch
}

// The numbers of the commands. They are stored and must not change.
const (
	numTick byte = iota + 1
	numOpenSession
	numExpireSession
	numEndSession
	numMoveSlots
	numUseFeature
	numSetSetting
	numRestoreSettings
	numStartCaching
)

// ErrUnknown is returned for bytes of a later version: a node that skipped them
// would come to another State than the others, so it must leave.
var ErrUnknown = errors.New("raftlock: an entry of a later version")

// ErrMalformed is returned for bytes that nothing encodes to.
var ErrMalformed = errors.New("raftlock: malformed")

// Encode returns the bytes of a command, in a buffer of their own: the log
// keeps them.
func Encode(c Command) []byte { return c.append(nil) }

func (Tick) append(b []byte) []byte { return append(b, numTick) }

func (c OpenSession) append(b []byte) []byte {
	b = append(b, numOpenSession)
	for _, s := range []string{c.Node, c.Nonce, c.Address, c.Dir} {
		b = appendString(b, s)
	}
	return binary.AppendUvarint(b, uint64(c.Feature))
}

func (c ExpireSession) append(b []byte) []byte {
	return binary.AppendUvarint(append(b, numExpireSession), uint64(c.Session))
}

func (c EndSession) append(b []byte) []byte {
	return appendBool(binary.AppendUvarint(append(b, numEndSession), uint64(c.Session)), c.Own)
}

func (c StartCaching) append(b []byte) []byte {
	return binary.AppendUvarint(append(b, numStartCaching), uint64(c.Session))
}

func (c MoveSlots) append(b []byte) []byte {
	b = binary.AppendUvarint(append(b, numMoveSlots), uint64(c.To))
	b = binary.AppendUvarint(b, uint64(len(c.Slots)))
	for _, s := range c.Slots {
		b = binary.AppendUvarint(b, uint64(s.Slot))
		b = binary.AppendUvarint(b, uint64(s.Seen))
	}
	return b
}

func (c UseFeature) append(b []byte) []byte {
	return binary.AppendUvarint(append(b, numUseFeature), uint64(c.Feature))
}

func (c SetSetting) append(b []byte) []byte {
	b = appendString(append(b, numSetSetting), c.Name)
	b = appendString(b, string(c.Value))
	b = appendBool(appendBool(b, c.Delete), c.Compare)
	return binary.AppendUvarint(b, c.Expect)
}

func (c RestoreSettings) append(b []byte) []byte {
	b = binary.AppendUvarint(append(b, numRestoreSettings), c.Base)
	return appendChanges(b, c.Settings)
}

// ParseCommand is the inverse of Encode: ErrUnknown for a command of a later
// version, ErrMalformed for what is none.
func ParseCommand(b []byte) (Command, error) {
	if len(b) == 0 {
		return nil, ErrMalformed
	}
	r := &reader{b: b[1:]}
	var c Command
	switch b[0] {
	case numTick:
		c = Tick{}
	case numOpenSession:
		c = OpenSession{Node: r.string(), Nonce: r.string(), Address: r.string(), Dir: r.string(), Feature: r.uint32()}
	case numExpireSession:
		c = ExpireSession{Session: SID(r.uint())}
	case numEndSession:
		c = EndSession{Session: SID(r.uint()), Own: r.bool()}
	case numStartCaching:
		c = StartCaching{Session: SID(r.uint())}
	case numMoveSlots:
		m := MoveSlots{To: SID(r.uint())}
		for range r.count(2) {
			m.Slots = append(m.Slots, SlotSeen{Slot: r.slot(), Seen: Epoch(r.uint())})
		}
		c = m
	case numUseFeature:
		c = UseFeature{Feature: r.uint32()}
	case numSetSetting:
		c = SetSetting{Name: r.string(), Value: r.bytes(), Delete: r.bool(), Compare: r.bool(), Expect: r.uint()}
	case numRestoreSettings:
		c = RestoreSettings{Base: r.uint(), Settings: r.changes()}
	default:
		return nil, ErrUnknown
	}
	return c, r.end()
}

// stateVersion is the first byte of a snapshot.
const stateVersion = 1

// AppendSnapshot appends the State, in a form that is the same for equal States,
// and a checksum.
func (s *State) AppendSnapshot(b []byte) []byte {
	start := len(b)
	b = append(b, stateVersion)
	b = binary.AppendUvarint(b, s.Applied)
	b = binary.AppendUvarint(b, s.Base)
	b = binary.AppendUvarint(b, uint64(s.Feature))
	b = binary.AppendUvarint(b, uint64(len(s.Sessions)))
	for _, sid := range s.SessionIDs() {
		x := s.Sessions[sid]
		b = binary.AppendUvarint(b, uint64(sid))
		for _, v := range []string{x.Node, x.Nonce, x.Address, x.Dir} {
			b = appendString(b, v)
		}
		b = appendBool(appendBool(binary.AppendUvarint(b, uint64(x.Feature)), x.Expired), x.Caches)
	}
	for _, o := range s.Owners {
		b = binary.AppendUvarint(b, uint64(o.Owner))
		b = binary.AppendUvarint(b, uint64(o.Epoch))
	}
	b = appendChanges(b, ChangesOf(s.Settings))
	return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b[start:]))
}

// ParseSnapshot is the inverse of AppendSnapshot.
func ParseSnapshot(b []byte) (*State, error) {
	if len(b) < 5 {
		return nil, ErrMalformed
	}
	if b[0] != stateVersion {
		return nil, ErrUnknown
	}
	body, sum := b[:len(b)-4], binary.BigEndian.Uint32(b[len(b)-4:])
	if crc32.ChecksumIEEE(body) != sum {
		return nil, ErrMalformed
	}
	r := &reader{b: body[1:]}
	s := NewState()
	s.Applied, s.Base, s.Feature = r.uint(), r.uint(), r.uint32()
	for range r.count(8) {
		x := &Session{
			ID: SID(r.uint()), Node: r.string(), Nonce: r.string(), Address: r.string(), Dir: r.string(),
			Feature: r.uint32(), Expired: r.bool(), Caches: r.bool(),
		}
		s.Sessions[x.ID] = x
	}
	for slot := range s.Owners {
		s.Owners[slot] = Ownership{Owner: SID(r.uint()), Epoch: Epoch(r.uint())}
	}
	for _, change := range r.changes() {
		change.ApplyTo(s.Settings)
	}
	return s, r.end()
}
