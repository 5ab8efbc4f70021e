package quota

import (
	"encoding/json"
	"fmt"
	"time"
)

// Amount is how much there is of something. As a difference it may be negative.
type Amount struct {
	Bytes   int64 `json:"bytes"`
	Objects int64 `json:"objects"`
}

func (a Amount) plus(b Amount) Amount  { return Amount{a.Bytes + b.Bytes, a.Objects + b.Objects} }
func (a Amount) minus(b Amount) Amount { return Amount{a.Bytes - b.Bytes, a.Objects - b.Objects} }

// fits reports whether a is no more than b, where a asks for anything.
func (a Amount) fits(b Amount) bool {
	return (a.Bytes <= 0 || a.Bytes <= b.Bytes) && (a.Objects <= 0 || a.Objects <= b.Objects)
}

// unlimited stands for a limit that there is not.
const unlimited = 1 << 61

// Limit is what a bucket may hold; 0 is no limit.
type Limit struct {
	Bytes   int64 `json:"quota"`
	Objects int64 `json:"objects,omitempty"`
}

// Document is the name of a bucket's document that holds its Limit.
const Document = "quota"

// ParseLimit is the inverse of String. An empty text is no limit.
func ParseLimit(text string) (Limit, error) {
	var l Limit
	if text == "" {
		return l, nil
	}
	if err := json.Unmarshal([]byte(text), &l); err != nil {
		return Limit{}, fmt.Errorf("parse quota: %w", err)
	}
	if l.Bytes < 0 || l.Objects < 0 {
		return Limit{}, fmt.Errorf("parse quota: %d bytes and %d objects cannot be a limit", l.Bytes, l.Objects)
	}
	return l, nil
}

// IsZero reports whether there is no limit.
func (l Limit) IsZero() bool { return l == Limit{} }

// String is how the limit is kept.
func (l Limit) String() string {
	return fmt.Sprintf(`{"quota":%d,"objects":%d}`, l.Bytes, l.Objects)
}

func (l Limit) amount() Amount {
	a := Amount(l)
	if a.Bytes == 0 {
		a.Bytes = unlimited
	}
	if a.Objects == 0 {
		a.Objects = unlimited
	}
	return a
}

// ledger is what all gateways know of a bucket that has a limit, as one record of the
// control plane. What the bucket holds is Used, and what of their holdings the gateways
// have made use of since they last said so.
type ledger struct {
	Created time.Time           `json:"created"` // of the bucket: a ledger of an earlier one of its name does not count
	Used    Amount              `json:"used"`
	Held    map[string]*holding `json:"held,omitempty"` // by session
	Recall  uint64              `json:"recall,omitempty"`
	Changes uint64              `json:"changes,omitempty"` // one more with every change of Used
	Loose   bool                `json:"loose,omitempty"`   // Used is more than there is, perhaps
	Counted time.Time           `json:"counted"`           // when Used was counted; zero: never
}

// holding is what a gateway may make use of without asking again: what it has stored and
// not yet said, and what it is storing, is no more than that.
type holding struct {
	Amount
	Answered uint64 `json:"answered,omitempty"` // the last Recall at which it gave back what it did not need
	Attempt  uint64 `json:"attempt,omitempty"`  // the gateway's number for its last change of the ledger
}

func (l *ledger) encode() []byte {
	b, err := json.Marshal(l)
	if err != nil {
		panic("quota: a ledger that cannot be encoded: " + err.Error()) // it holds numbers, strings and times
	}
	return b
}

// bury takes as used what dead sessions held: they may have stored so much, and have
// stored no more.
func (l *ledger) bury(live func(session string) bool) {
	for id, h := range l.Held {
		if !live(id) {
			l.Used = l.Used.plus(h.Amount)
			l.Loose = true
			l.Changes++
			delete(l.Held, id)
		}
	}
}

// settle adds what a gateway has stored and removed.
func (l *ledger) settle(delta Amount) {
	if delta != (Amount{}) {
		l.Used = l.Used.plus(delta)
		l.Changes++
	}
}

// room is what a session could hold.
func (l *ledger) room(limit Limit, session string) Amount {
	room := limit.amount().minus(l.Used)
	for id, h := range l.Held {
		if id != session {
			room = room.minus(h.Amount)
		}
	}
	return room
}

// hold has a session hold an amount, having answered all recalls.
func (l *ledger) hold(session string, a Amount) {
	if l.Held == nil {
		l.Held = make(map[string]*holding)
	}
	h := l.Held[session]
	if h == nil {
		h = &holding{}
		l.Held[session] = h
	}
	h.Amount, h.Answered = a, l.Recall
}

// owed reports whether another session has yet to answer the recall.
func (l *ledger) owed(session string, recall uint64) bool {
	for id, h := range l.Held {
		if id != session && h.Answered < recall {
			return true
		}
	}
	return false
}

// shared reports whether another session holds anything.
func (l *ledger) shared(session string) bool {
	return len(l.Held) > 1 || len(l.Held) == 1 && l.Held[session] == nil
}

// How much more than it needs a gateway takes where there is much room, so that it need
// not ask for each object.
const (
	maxSpareBytes   = 256 << 20
	maxSpareObjects = 4096
	spareShare      = 16 // a share of the room that is left
)

func spare(room Amount) Amount {
	return Amount{
		Bytes:   max(0, min(room.Bytes/spareShare, maxSpareBytes)),
		Objects: max(0, min(room.Objects/spareShare, maxSpareObjects)),
	}
}
