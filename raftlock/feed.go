package raftlock

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/shoal-storage/shoal/internal/lock"
	"github.com/shoal-storage/shoal/raftlock/protocol"
)

// errUntold is returned where a question was answered by nobody.
var errUntold = errors.New("nobody can tell what has changed")

// Changes returns what has changed of a bucket since a mark, as far as the names
// of locks begin with one of the prefixes, of which there are at most eight. It asks the
// other nodes once, so it takes a round trip, and fails when one does not answer
// at once: then anything may have changed. It does not wait for a session.
//
// All that was committed under exclusive leases before Changes was called is in
// the answer, unless this node's session has been fenced by the time it comes.
// That is checked by the clock only; the session's directory knows for sure.
func (n *Node) Changes(ctx context.Context, bucket string, since lock.Mark, prefixes ...string) (lock.Changes, error) {
	n.mu.Lock()
	s := n.session
	n.mu.Unlock()
	n.metrics.inquiries.Add(1)
	if len(prefixes) > protocol.MaxPrefixes {
		return lock.Changes{}, fmt.Errorf("ask for changes in %q: %d prefixes are too many", bucket, len(prefixes))
	}
	if s == nil {
		return lock.Changes{}, fmt.Errorf("ask for changes in %q: %w", bucket, lock.ErrLost)
	}
	slots := protocol.BucketSlots(bucket, n.cfg.Spread)
	marks, given := parseMark(since, s.life.generation, slots)
	found, err := s.inquire(ctx, marks, prefixes)
	if err != nil {
		n.metrics.gaps.Add(1)
		return lock.Changes{}, fmt.Errorf("ask for changes in %q: %w", bucket, err)
	}
	if given && !found.Known {
		n.metrics.gaps.Add(1)
	}
	return lock.Changes{Known: given && found.Known, Names: found.Names, Next: formatMark(s.life.generation, slots, found.Marks)}, nil
}

// inquire asks the owners of slots, and waits until all have answered.
func (s *session) inquire(ctx context.Context, marks []protocol.Mark, prefixes []string) (protocol.Findings, error) {
	l := s.life
	answered := make(chan protocol.Findings, 1)
	l.mu.Lock()
	if l.session != s {
		l.mu.Unlock()
		return protocol.Findings{}, lock.ErrLost
	}
	id := l.member.Inquire(marks, prefixes, l.now())
	s.inquiries[id] = answered
	l.settle()
	l.mu.Unlock()
	select {
	case f := <-answered:
		if f.Marks == nil {
			return f, errUntold
		}
		return f, nil
	case <-ctx.Done():
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(s.inquiries, id)
		if l.session == s {
			l.member.Dismiss(id)
		}
		return protocol.Findings{}, context.Cause(ctx)
	case <-s.ctx.Done():
		return protocol.Findings{}, lock.ErrLost
	}
}

// answer hands what was found to who asked. What is found when the session may
// be over is worth nothing. The caller holds the life's mutex.
func (s *session) answer(f protocol.Findings) {
	if !s.life.member.Lease().Valid(s.life.now()) {
		f = protocol.Findings{Inquiry: f.Inquiry}
	}
	if answered := s.inquiries[f.Inquiry]; answered != nil {
		delete(s.inquiries, f.Inquiry)
		answered <- f
	}
}

// markVersion is the first byte of a lock.Mark. Marks live in memory only, but
// whoever keeps them keeps them over generations of the fleet.
const markVersion = 1

// formatMark returns the marks of slots, which it puts into their order.
func formatMark(generation uint32, slots []protocol.Slot, marks []protocol.Mark) lock.Mark {
	of := make(map[protocol.Slot]protocol.Mark, len(marks))
	for _, m := range marks {
		of[m.Slot] = m
	}
	b := binary.AppendUvarint([]byte{markVersion}, uint64(generation))
	for _, slot := range slots {
		b = binary.AppendUvarint(b, uint64(slot))
		b = binary.AppendUvarint(b, uint64(of[slot].Epoch))
		b = binary.AppendUvarint(b, of[slot].Number)
	}
	return lock.Mark(b)
}

// parseMark is the inverse of formatMark. What is no mark of these slots in this
// generation becomes marks that ask from nowhere.
func parseMark(mark lock.Mark, generation uint32, slots []protocol.Slot) (marks []protocol.Mark, ok bool) {
	r := uvarints{b: []byte(mark), ok: true}
	ok = r.next() == markVersion && r.next() == uint64(generation)
	for _, slot := range slots {
		ok = r.next() == uint64(slot) && ok
		marks = append(marks, protocol.Mark{Slot: slot, Epoch: protocol.Epoch(r.next()), Number: r.next()})
	}
	if !ok || !r.ok || len(r.b) > 0 {
		for i := range marks {
			marks[i].Epoch, marks[i].Number = 0, 0
		}
		return marks, false
	}
	return marks, true
}

// uvarints takes numbers off bytes; ok is false after one that is not there.
type uvarints struct {
	b  []byte
	ok bool
}

func (r *uvarints) next() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.ok, r.b = false, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}
