package protocol

import (
	"maps"
	"slices"
	"time"
)

// patience is how long an inquiry waits for the owners of its slots. Who does
// not get an answer reads again, so there is no point in asking twice.
const patience = 500 * time.Millisecond

// MaxPrefixes bounds what one inquiry asks for.
const MaxPrefixes = 8

// inquiry is a question for changes that waits for answers.
type inquiry struct {
	open  map[SID][]Mark // owners that have not answered, and what they were asked
	until time.Duration
	found Findings
}

// Findings is what an inquiry found.
//
// With Known, Names are all names with one of the prefixes that have, or may
// have, been changed since the marks that were asked from; whoever has read
// what there was at those marks, and now reads these again, has all that was
// committed before the inquiry. Without Known anything may have changed.
// Marks are where to ask from the next time, nil if there is no knowing: they
// are good for what is read after they have come.
//
// All this is as good as a lease: it rests on the session not having been
// fenced by the time the findings come, for then nobody else has begun to
// grant in the slots without this session's knowing.
type Findings struct {
	Inquiry uint64
	Known   bool
	Names   []string
	Marks   []Mark
}

// Inquire asks the owners of slots what has changed in them since marks, one
// for each slot, under at most MaxPrefixes prefixes; a mark with an epoch of 0
// asks for the next one only. What is found comes with the Effects, at once if
// all slots are this session's.
func (m *Member) Inquire(since []Mark, prefixes []string, now time.Duration) uint64 {
	m.last++
	id := m.last
	asks := make(map[SID][]Mark)
	for _, mark := range since {
		owner, _ := m.holders[mark.Slot].Owner()
		asks[owner] = append(asks[owner], mark)
	}
	m.inquiries[id] = &inquiry{open: maps.Clone(asks), until: now + patience, found: Findings{Inquiry: id, Known: true}}
	for _, owner := range slices.Sorted(maps.Keys(asks)) {
		ask := Inquire{Inquiry: id, Prefixes: prefixes, Since: asks[owner]}
		switch owner {
		case 0:
			m.giveUp(id)
		case m.self:
			m.told(m.self, m.tell(ask))
		default:
			m.send(owner, ask)
		}
	}
	return id
}

// Dismiss forgets an inquiry that nobody waits for any more.
func (m *Member) Dismiss(id uint64) { delete(m.inquiries, id) }

// tell answers a question as the owner of slots. Those that are not this
// session's are left out of the answer.
func (m *Member) tell(ask Inquire) Changes {
	t := told{prefixes: ask.Prefixes}
	answer := Changes{Inquiry: ask.Inquiry}
	for _, mark := range ask.Since {
		if next, ok := m.owners[mark.Slot].since(mark, &t); ok {
			answer.Marks = append(answer.Marks, next)
		}
	}
	if answer.Known = !t.unknown; answer.Known {
		slices.Sort(t.names)
		answer.Names = slices.Compact(t.names)
	}
	return answer
}

// told takes an owner's answer. What a deposed one says is void, as a grant of
// it would be.
func (m *Member) told(from SID, answer Changes) {
	q := m.inquiries[answer.Inquiry]
	if q == nil || q.open[from] == nil {
		return
	}
	valid := func(asked, next Mark) bool { return next.Slot == asked.Slot && next.Epoch >= m.holders[next.Slot].min }
	if !slices.EqualFunc(q.open[from], answer.Marks, valid) {
		m.giveUp(answer.Inquiry)
		return
	}
	delete(q.open, from)
	q.found.Known = q.found.Known && answer.Known
	q.found.Names = append(q.found.Names, answer.Names...)
	q.found.Marks = append(q.found.Marks, answer.Marks...)
	if len(q.open) == 0 {
		delete(m.inquiries, answer.Inquiry)
		m.effects.Found = append(m.effects.Found, q.found)
	}
}

// giveUp ends an inquiry that will not be answered.
func (m *Member) giveUp(id uint64) {
	if m.inquiries[id] != nil {
		delete(m.inquiries, id)
		m.effects.Found = append(m.effects.Found, Findings{Inquiry: id})
	}
}

// giveUpThose ends the inquiries that are as hopeless says.
func (m *Member) giveUpThose(hopeless func(q *inquiry) bool) {
	for _, id := range slices.Sorted(maps.Keys(m.inquiries)) {
		if hopeless(m.inquiries[id]) {
			m.giveUp(id)
		}
	}
}
