package protocol

import (
	"cmp"
	"encoding/binary"
	"time"

	"github.com/shoal-storage/shoal/internal/lock"
)

// Message is what one session says to another. Messages between two sessions
// arrive in order or, when their connection breaks, not at all; after that both
// compare notes (Resync).
type Message interface {
	append(b []byte) []byte
}

// The messages.
type (
	// Acquire asks the owner of a slot for locks. Waited is how long the request
	// has been waiting, which is what its place in the queue goes by.
	Acquire struct {
		Slot    Slot
		Request uint64
		Items   []Item
		Waited  time.Duration
		Try     bool
		Cache   bool
	}

	// Answer tells what became of a request, and with Granted its grant. Recalled
	// asks for that grant back.
	Answer struct {
		Slot     Slot
		Request  uint64
		Verdict  Verdict
		Epoch    Epoch
		Sequence uint64
	}

	// Release gives locks back, or takes back a request.
	Release struct {
		Slot    Slot
		Request uint64
	}

	// Refuse gives back one grant that was not accepted. The request itself may
	// be under way again, and be granted by the same session in a later epoch.
	Refuse struct {
		Slot     Slot
		Request  uint64
		Epoch    Epoch
		Sequence uint64
	}

	// Assert is a new owner's question for all that is held of its slots.
	Assert struct {
		Epoch Epoch
		Slots []Slot
	}

	// Holds answers Assert.
	Holds struct {
		Epoch Epoch
		Held  map[Slot][]Held
	}

	// AssertFrom is an Assert that is answered in parts: the next is to begin at a
	// place. It is for sessions of FeatureParts; earlier ones do not know it.
	AssertFrom struct {
		Epoch Epoch
		Slots []Slot // ascending
		From  Place
	}

	// HoldsPart answers AssertFrom with what is held from the place on, as far as
	// one message has room. With More there is more, from Next on.
	HoldsPart struct {
		Epoch      Epoch
		From, Next Place
		More       bool
		Held       map[Slot][]Held
	}

	// Resync lists, for every slot that its sender takes the receiver for the
	// owner of, the requests that it still wants of those up to Last. So it says
	// nothing about a request that was made later and overtook it.
	Resync struct {
		Last  uint64
		Slots []Listing
	}

	// Inquire asks for the names with one of the prefixes that have changed in
	// slots of the receiver, in each since a mark.
	Inquire struct {
		Inquiry  uint64
		Prefixes []string
		Since    []Mark
	}

	// Changes answers Inquire, with the new mark of each slot that the sender is
	// the owner of. Names are all that have changed if that is Known.
	Changes struct {
		Inquiry uint64
		Known   bool
		Marks   []Mark
		Names   []string
	}
)

// Place is one in the order of all that a session holds: by slot and request.
type Place struct {
	Slot    Slot
	Request uint64
}

func (p Place) compare(q Place) int {
	return cmp.Or(cmp.Compare(p.Slot, q.Slot), cmp.Compare(p.Request, q.Request))
}

// Listing is one slot in a Resync.
type Listing struct {
	Slot     Slot
	Epoch    Epoch
	Requests []uint64
}

// The numbers of the messages.
const (
	numAcquire byte = iota + 1
	numAnswer
	numRelease
	numAssert
	numHolds
	numResync
	numRefuse
	numInquire
	numChanges
	numAssertFrom
	numHoldsPart
)

// AppendMessage appends the bytes of a message.
func AppendMessage(b []byte, m Message) []byte { return m.append(b) }

func (m Acquire) append(b []byte) []byte {
	b = appendSlot(append(b, numAcquire), m.Slot)
	b = binary.AppendUvarint(b, m.Request)
	b = appendItems(b, m.Items)
	b = binary.AppendUvarint(b, uint64(max(m.Waited, 0)))
	return appendBool(appendBool(b, m.Try), m.Cache)
}

func (m Answer) append(b []byte) []byte {
	b = appendSlot(append(b, numAnswer), m.Slot)
	b = binary.AppendUvarint(b, m.Request)
	b = append(b, byte(m.Verdict))
	b = binary.AppendUvarint(b, uint64(m.Epoch))
	return binary.AppendUvarint(b, m.Sequence)
}

func (m Release) append(b []byte) []byte {
	return binary.AppendUvarint(appendSlot(append(b, numRelease), m.Slot), m.Request)
}

func (m Refuse) append(b []byte) []byte {
	b = binary.AppendUvarint(appendSlot(append(b, numRefuse), m.Slot), m.Request)
	b = binary.AppendUvarint(b, uint64(m.Epoch))
	return binary.AppendUvarint(b, m.Sequence)
}

func (m Assert) append(b []byte) []byte {
	return appendSlots(binary.AppendUvarint(append(b, numAssert), uint64(m.Epoch)), m.Slots)
}

func (m AssertFrom) append(b []byte) []byte {
	b = appendSlots(binary.AppendUvarint(append(b, numAssertFrom), uint64(m.Epoch)), m.Slots)
	return appendPlace(b, m.From)
}

func (m Holds) append(b []byte) []byte {
	return appendAllHeld(binary.AppendUvarint(append(b, numHolds), uint64(m.Epoch)), m.Held)
}

func (m HoldsPart) append(b []byte) []byte {
	b = binary.AppendUvarint(append(b, numHoldsPart), uint64(m.Epoch))
	b = appendBool(appendPlace(appendPlace(b, m.From), m.Next), m.More)
	return appendAllHeld(b, m.Held)
}

func appendPlace(b []byte, p Place) []byte {
	return binary.AppendUvarint(appendSlot(b, p.Slot), p.Request)
}

func appendSlots(b []byte, slots []Slot) []byte {
	b = binary.AppendUvarint(b, uint64(len(slots)))
	for _, s := range slots {
		b = appendSlot(b, s)
	}
	return b
}

func appendAllHeld(b []byte, all map[Slot][]Held) []byte {
	b = binary.AppendUvarint(b, uint64(len(all)))
	for slot, held := range all {
		b = appendSlot(b, slot)
		b = binary.AppendUvarint(b, uint64(len(held)))
		for _, h := range held {
			b = binary.AppendUvarint(b, uint64(h.ID.Session))
			b = binary.AppendUvarint(b, h.ID.Request)
			b = appendItems(b, h.Items)
			b = binary.AppendUvarint(b, uint64(h.Epoch))
			b = appendBool(binary.AppendUvarint(b, h.Sequence), h.Cache)
		}
	}
	return b
}

func (m Resync) append(b []byte) []byte {
	b = binary.AppendUvarint(append(b, numResync), m.Last)
	b = binary.AppendUvarint(b, uint64(len(m.Slots)))
	for _, l := range m.Slots {
		b = appendSlot(b, l.Slot)
		b = binary.AppendUvarint(b, uint64(l.Epoch))
		b = binary.AppendUvarint(b, uint64(len(l.Requests)))
		for _, id := range l.Requests {
			b = binary.AppendUvarint(b, id)
		}
	}
	return b
}

func (m Inquire) append(b []byte) []byte {
	b = binary.AppendUvarint(append(b, numInquire), m.Inquiry)
	return appendMarks(appendStrings(b, m.Prefixes), m.Since)
}

func (m Changes) append(b []byte) []byte {
	b = binary.AppendUvarint(append(b, numChanges), m.Inquiry)
	return appendStrings(appendMarks(appendBool(b, m.Known), m.Marks), m.Names)
}

func appendMarks(b []byte, marks []Mark) []byte {
	b = binary.AppendUvarint(b, uint64(len(marks)))
	for _, m := range marks {
		b = appendSlot(b, m.Slot)
		b = binary.AppendUvarint(b, uint64(m.Epoch))
		b = binary.AppendUvarint(b, m.Number)
	}
	return b
}

func appendStrings(b []byte, list []string) []byte {
	b = binary.AppendUvarint(b, uint64(len(list)))
	for _, s := range list {
		b = appendString(b, s)
	}
	return b
}

func appendSlot(b []byte, s Slot) []byte { return binary.AppendUvarint(b, uint64(s)) }

func appendItems(b []byte, items []Item) []byte {
	b = binary.AppendUvarint(b, uint64(len(items)))
	for _, item := range items {
		b = append(appendString(b, item.Name), byte(item.Mode))
	}
	return b
}

// ParseMessage is the inverse of AppendMessage: ErrUnknown for a message of a
// later version, ErrMalformed for what is none.
func ParseMessage(b []byte) (Message, error) {
	if len(b) == 0 {
		return nil, ErrMalformed
	}
	r := &reader{b: b[1:]}
	var m Message
	switch b[0] {
	case numAcquire:
		m = Acquire{Slot: r.slot(), Request: r.uint(), Items: r.items(), Waited: r.duration(), Try: r.bool(), Cache: r.bool()}
	case numAnswer:
		m = Answer{Slot: r.slot(), Request: r.uint(), Verdict: r.verdict(), Epoch: Epoch(r.uint()), Sequence: r.uint()}
	case numRelease:
		m = Release{Slot: r.slot(), Request: r.uint()}
	case numRefuse:
		m = Refuse{Slot: r.slot(), Request: r.uint(), Epoch: Epoch(r.uint()), Sequence: r.uint()}
	case numAssert:
		m = Assert{Epoch: Epoch(r.uint()), Slots: r.slots()}
	case numAssertFrom:
		m = AssertFrom{Epoch: Epoch(r.uint()), Slots: r.slots(), From: r.place()}
	case numHolds:
		m = Holds{Epoch: Epoch(r.uint()), Held: r.allHeld()}
	case numHoldsPart:
		m = HoldsPart{Epoch: Epoch(r.uint()), From: r.place(), Next: r.place(), More: r.bool(), Held: r.allHeld()}
	case numResync:
		m = r.resync()
	case numInquire:
		m = Inquire{Inquiry: r.uint(), Prefixes: r.strings(MaxPrefixes), Since: r.marks()}
	case numChanges:
		m = Changes{Inquiry: r.uint(), Known: r.bool(), Marks: r.marks(), Names: r.strings(maxTold)}
	default:
		return nil, ErrUnknown
	}
	return m, r.end()
}

func (r *reader) place() Place { return Place{Slot: r.slot(), Request: r.uint()} }

func (r *reader) slots() (slots []Slot) {
	for range r.count(1) {
		slots = append(slots, r.slot())
	}
	return slots
}

func (r *reader) allHeld() (all map[Slot][]Held) {
	for range r.count(2) {
		slot := r.slot()
		for range r.count(6) {
			held := Held{
				ID: ReqID{Session: SID(r.uint()), Request: r.uint()}, Items: r.items(),
				Epoch: Epoch(r.uint()), Sequence: r.uint(), Cache: r.bool(),
			}
			if all == nil {
				all = make(map[Slot][]Held)
			}
			all[slot] = append(all[slot], held)
		}
	}
	return all
}

func (r *reader) resync() Resync {
	m := Resync{Last: r.uint()}
	for range r.count(3) {
		l := Listing{Slot: r.slot(), Epoch: Epoch(r.uint())}
		for range r.count(1) {
			l.Requests = append(l.Requests, r.uint())
		}
		m.Slots = append(m.Slots, l)
	}
	return m
}

// marks reads the marks of slots, of each at most one.
func (r *reader) marks() []Mark {
	n := r.count(3)
	if n > Slots {
		r.bad = true
		return nil
	}
	var marks []Mark
	for range n {
		marks = append(marks, Mark{Slot: r.slot(), Epoch: Epoch(r.uint()), Number: r.uint()})
	}
	return marks
}

// strings reads at most so many strings.
func (r *reader) strings(most int) []string {
	n := r.count(1)
	if n > most {
		r.bad = true
		return nil
	}
	var list []string
	for range n {
		list = append(list, r.string())
	}
	return list
}

func (r *reader) items() []Item {
	n := r.count(2)
	items := make([]Item, 0, n)
	for range n {
		items = append(items, Item{Name: r.string(), Mode: r.mode()})
	}
	return items
}

func (r *reader) mode() lock.Mode {
	m := lock.Mode(r.byte())
	if m != lock.Shared && m != lock.Exclusive {
		r.bad = true
	}
	return m
}

func (r *reader) verdict() Verdict {
	v := Verdict(r.byte())
	if v < Granted || v > Recalled {
		r.bad = true
	}
	return v
}

func (r *reader) duration() time.Duration {
	v := r.uint()
	if v > 1<<62 {
		r.bad = true
		return 0
	}
	return time.Duration(v) //nolint:gosec // bounded
}

func (r *reader) byte() byte {
	if len(r.b) == 0 {
		r.bad = true
		return 0
	}
	v := r.b[0]
	r.b = r.b[1:]
	return v
}
