package protocol

import (
	"maps"
	"slices"
	"strings"
)

// State is what the log replicates: who is alive, who owns which slot, and the
// control plane's settings. Equal logs make equal States on every node.
type State struct {
	Applied  uint64 // index of the last entry
	Base     uint64 // what Revisions begin above: those of earlier generations are below
	Feature  uint32 // what all sessions understand and may be used
	Sessions map[SID]*Session
	Owners   [Slots]Ownership
	Settings map[string]Setting
}

// Session is the life of one gateway as the fleet sees it.
type Session struct {
	ID      SID
	Node    string // of the gateway: a UUID that lives as long as its log does
	Nonce   string // chosen by the gateway, so that opening can be repeated
	Address string // host:port of its cluster port
	Dir     string // of its own directory on the storage
	Feature uint32 // the newest that it understands
	Expired bool   // it was found dead: it owns and holds until it is fenced
	Caches  bool   // it may hold cache leases
}

// Ownership says who owns a slot, and since when.
type Ownership struct {
	Owner SID
	Epoch Epoch
}

// Setting is one value of the control plane.
type Setting struct {
	Value    []byte
	Revision uint64 // Base and the index of the entry that set it: it only grows
}

// NewState returns the State of an empty log.
func NewState() *State {
	return &State{Sessions: make(map[SID]*Session), Settings: make(map[string]Setting)}
}

// Outcome is what became of a command.
type Outcome uint8

// The outcomes.
const (
	Done         Outcome = iota
	Refused              // what it was about is not, or no longer, so
	Mismatch             // the setting has another revision than was expected
	Unsupported          // a later version's command: this node must leave
	SettingsFull         // the control plane is at its bounds
)

// Result is what Apply returns to who proposed the entry.
type Result struct {
	Outcome  Outcome
	Session  SID    // of OpenSession
	Revision uint64 // of the setting now
}

// Apply applies the entry of an index. Indexes grow, not always by one.
func (s *State) Apply(index uint64, c Command) Result {
	s.Applied = index
	switch c := c.(type) {
	case Tick:
		return Result{}
	case OpenSession:
		return s.openSession(index, c)
	case ExpireSession:
		return s.expire(c)
	case EndSession:
		return s.end(index, c)
	case StartCaching:
		return s.startCaching(c)
	case MoveSlots:
		return s.move(index, c)
	case UseFeature:
		s.Feature = max(s.Feature, c.Feature)
		return Result{}
	case SetSetting:
		return s.set(index, c)
	case RestoreSettings:
		return s.restore(c)
	}
	return Result{Outcome: Unsupported}
}

func (s *State) openSession(index uint64, c OpenSession) Result {
	for _, have := range s.Sessions {
		if have.Nonce == c.Nonce {
			return Result{Session: have.ID}
		}
	}
	if c.Feature < s.Feature {
		return Result{Outcome: Refused} // it would not understand the log
	}
	sid := SID(index)
	s.Sessions[sid] = &Session{ID: sid, Node: c.Node, Nonce: c.Nonce, Address: c.Address, Dir: c.Dir, Feature: c.Feature}
	s.assign(index, sid)
	return Result{Session: sid}
}

func (s *State) expire(c ExpireSession) Result {
	session := s.Sessions[c.Session]
	if session == nil {
		return Result{Outcome: Refused}
	}
	session.Expired = true
	return Result{Session: c.Session}
}

// startCaching notes that a session may hold cache leases. One that has expired
// may be past the moment at which that would have counted.
func (s *State) startCaching(c StartCaching) Result {
	if s.Standing(c.Session) != Live {
		return Result{Outcome: Refused}
	}
	s.Sessions[c.Session].Caches = true
	return Result{Session: c.Session}
}

// Caches reports whether a session may hold cache leases.
func (s *State) Caches(sid SID) bool {
	session := s.Sessions[sid]
	return session != nil && session.Caches
}

// end forgets a session and gives its slots to the others. A session that has
// not expired ends only by its own wish.
func (s *State) end(index uint64, c EndSession) Result {
	session := s.Sessions[c.Session]
	if session == nil || !session.Expired && !c.Own {
		return Result{Outcome: Refused}
	}
	delete(s.Sessions, c.Session)
	s.assign(index, 0)
	return Result{Session: c.Session}
}

// assign gives every slot without an owner to the session that draws it, and a
// session that has just been opened those slots that it draws from all. Slots
// of a session that has expired stay: they pass on when it is fenced.
func (s *State) assign(index uint64, opened SID) {
	live := s.live()
	for slot := range s.Owners {
		have := &s.Owners[slot]
		if _, owned := s.Sessions[have.Owner]; owned {
			if owner := s.Sessions[have.Owner]; opened == 0 || owner.Expired {
				continue
			}
			if draw(Slot(slot), live) != opened { //nolint:gosec // below Slots
				continue
			}
			*have = Ownership{Owner: opened, Epoch: Epoch(index)}
			continue
		}
		if have.Owner == 0 && len(live) == 0 {
			continue
		}
		*have = Ownership{Owner: draw(Slot(slot), live), Epoch: Epoch(index)} //nolint:gosec // below Slots
	}
}

// live returns the sessions that may own slots, ascending.
func (s *State) live() []SID {
	var live []SID
	for sid, session := range s.Sessions {
		if !session.Expired {
			live = append(live, sid)
		}
	}
	slices.Sort(live)
	return live
}

// draw returns the session that a slot falls to, 0 of none: the one with the
// highest hash of slot and session (rendezvous hashing), so that a session that
// comes or goes moves no more slots than it must.
func draw(slot Slot, live []SID) SID {
	var winner SID
	var highest uint64
	for _, sid := range live {
		if h := mix(uint64(slot)<<48 ^ mix(uint64(sid))); winner == 0 || h > highest {
			winner, highest = sid, h
		}
	}
	return winner
}

// move moves slots that still have the epoch that was seen when it was decided.
func (s *State) move(index uint64, c MoveSlots) Result {
	to := s.Sessions[c.To]
	if to == nil || to.Expired {
		return Result{Outcome: Refused}
	}
	for _, m := range c.Slots {
		if int(m.Slot) < Slots && s.Owners[m.Slot].Epoch == m.Seen {
			s.Owners[m.Slot] = Ownership{Owner: c.To, Epoch: Epoch(index)}
		}
	}
	return Result{}
}

// Bounds of the control plane.
const (
	MaxSettings     = 1 << 20 // how many
	MaxSettingName  = 1 << 10 // bytes
	MaxSettingValue = 1 << 20 // bytes
)

func (s *State) set(index uint64, c SetSetting) Result {
	have, there := s.Settings[c.Name]
	if c.Compare && have.Revision != c.Expect {
		return Result{Outcome: Mismatch, Revision: have.Revision}
	}
	if !c.Delete && (!there && len(s.Settings) >= MaxSettings || len(c.Name) > MaxSettingName || len(c.Value) > MaxSettingValue) {
		return Result{Outcome: SettingsFull, Revision: have.Revision}
	}
	revision := s.Base + index
	SettingChange{Revision: revision, Name: c.Name, Value: c.Value, Delete: c.Delete}.ApplyTo(s.Settings)
	return Result{Revision: revision}
}

// restore takes over settings of an earlier generation.
func (s *State) restore(c RestoreSettings) Result {
	s.Base = max(s.Base, c.Base)
	for _, change := range c.Settings {
		change.ApplyTo(s.Settings)
	}
	return Result{}
}

// Standing says what a session is to somebody who has applied this State.
type Standing uint8

// The standings.
const (
	Live    Standing = iota
	Expired          // dead, and not fenced yet
	Gone             // ended: nothing of it counts any more
	NotYet           // opened by an entry that is not applied here
)

// Standing returns what a session is.
func (s *State) Standing(sid SID) Standing {
	session := s.Sessions[sid]
	switch {
	case session == nil && uint64(sid) > s.Applied:
		return NotYet
	case session == nil:
		return Gone
	case session.Expired:
		return Expired
	}
	return Live
}

// SessionIDs returns all sessions, ascending.
func (s *State) SessionIDs() []SID { return slices.Sorted(maps.Keys(s.Sessions)) }

// SlotsOf returns the slots that a session owns, by the epoch since when.
func (s *State) SlotsOf(sid SID) map[Epoch][]Slot {
	owned := make(map[Epoch][]Slot)
	for slot := range s.Owners {
		if o := s.Owners[slot]; o.Owner == sid {
			owned[o.Epoch] = append(owned[o.Epoch], Slot(slot)) //nolint:gosec // below Slots
		}
	}
	return owned
}

// SettingNames returns the names that begin with prefix, sorted.
func (s *State) SettingNames(prefix string) []string {
	var names []string
	for name := range s.Settings {
		if strings.HasPrefix(name, prefix) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}
