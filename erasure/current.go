package erasure

import (
	"context"
	"errors"
	"fmt"

	"github.com/shoal-storage/shoal/erasure/register"
	"github.com/shoal-storage/shoal/internal/lock"
	"github.com/shoal-storage/shoal/internal/object"
)

// unsettled is the error of a read that met a state of which nobody can say whether it was
// committed, before somebody with the key's lock has settled it.
type unsettled struct{ sought }

func (u *unsettled) Error() string { return "the version " + u.version + " is not settled" }

// sought is a register that is asked for, with the newest state of it that was seen.
type sought struct {
	version string
	made    register.Token
	changed register.Token
	undone  register.Token // of a state that is taken back if it was never committed; zero: none is
}

// judge returns what answers come to.
func (what *sought) judge(answers []register.Answer, all bool) register.Judgement {
	return register.Undo(answers, what.undone, all)
}

// before returns what is committed to go back.
func (what *sought) before(j *register.Judgement) register.Record {
	if j.Record.Kind == 0 {
		return register.Record{Version: what.version, Kind: register.Tombstone, Made: what.made}
	}
	return j.Record
}

// views turns replies into the answers on one register. A drive that did not list it does
// not have it: the newest of all is below no drive's end of the list.
func views(n int, replies []reply[register.View], version string) []register.Answer {
	answers := make([]register.Answer, n)
	for i := range replies {
		r := &replies[i]
		if r.err != nil {
			continue
		}
		answers[r.drive].Given = true
		for j := range r.value.Entries {
			if e := &r.value.Entries[j]; e.Version == version {
				answers[r.drive].Entry = e
			}
		}
	}
	return answers
}

// newest returns the newest register that any drive lists, or nil.
func newest(replies []reply[register.View]) *register.Entry {
	var top *register.Entry
	for i := range replies {
		if es := replies[i].value.Entries; replies[i].err == nil && len(es) > 0 && (top == nil || top.Made.Less(es[0].Made)) {
			top = &es[0]
		}
	}
	return top
}

// judgeNewest returns the newest register and what the replies come to on it.
func judgeNewest(n int, replies []reply[register.View], all bool) (top *register.Entry, j register.Judgement) {
	if top = newest(replies); top == nil {
		return nil, register.Judge(views(n, replies, ""), all)
	}
	return top, register.Judge(views(n, replies, top.Version), all)
}

// asking is how registers are read: with a promise, by who has the key's lock and is to
// change it, or without.
type asking struct {
	s     *set
	token register.Token // of the promise; zero: none
	small *smallShards   // where those go that come with the answers; nil: none are asked for
}

// smallShards are those shards of a content that drives keep with its record.
type smallShards struct {
	set *set
	of  register.DataID
	by  [][]byte // drive; nil: it has not answered, or keeps it elsewhere
}

// found takes what came with the answers on a record.
func (a asking) found(replies []reply[register.View], r *register.Record) {
	if a.small == nil || len(r.Data) != 1 {
		return
	}
	*a.small = smallShards{set: a.s, of: r.Data[0], by: make([][]byte, len(a.s.drives))}
	for i := range replies {
		es := replies[i].value.Entries
		if n := len(es); replies[i].err == nil && n > 0 && es[n-1].Version == r.Version && es[n-1].Changed == r.Changed {
			a.small.by[replies[i].drive] = replies[i].value.Inline
		}
	}
}

func (a asking) ask(ctx context.Context, q register.Query, enough func([]reply[register.View], bool) bool) []reply[register.View] {
	first := register.ReadQuorum(len(a.s.drives))
	q.Inline = a.small != nil
	if a.token.IsZero() {
		return gather(ctx, a.s, a.s.records, first, func(ctx context.Context, d Drive) (register.View, error) { return d.Read(ctx, q) }, enough)
	}
	return gather(ctx, a.s, a.s.promises, first, func(ctx context.Context, d Drive) (register.View, error) { return d.Promise(ctx, a.token, q) }, enough)
}

// latest returns the record of the newest version of a key, which may be a delete marker,
// or nil if there is none.
func (a asking) latest(ctx context.Context, key register.Key) (*register.Record, error) {
	n := len(a.s.drives)
	for q := (register.Query{Key: key}); ; {
		var top *register.Entry
		var j register.Judgement
		replies := a.ask(ctx, q, func(replies []reply[register.View], all bool) bool {
			top, j = judgeNewest(n, replies, all)
			return j.Verdict != register.AskMore
		})
		if j.Verdict == register.AskMore {
			if top, j = judgeNewest(n, replies, true); j.Verdict == register.AskMore {
				return nil, a.failure(replies)
			}
		}
		switch {
		case j.Verdict == register.Absent:
			return nil, nil
		case j.Verdict != register.Committed:
			return nil, &unsettled{sought{version: top.Version, made: top.Made, changed: top.Changed}}
		case j.Record.Kind != register.Tombstone:
			a.found(replies, &j.Record)
			return &j.Record, nil
		}
		// The others were made once. This one may be older, and alive, where a drive has
		// missed what became of it.
		q.Below, q.NotNull = top.Made, q.NotNull || top.Version == register.Null
	}
}

// exact returns the record of a register, or nil if there is none.
func (a asking) exact(ctx context.Context, key register.Key, version string, made register.Token) (*register.Record, error) {
	j, replies := a.judge(ctx, key, sought{version: version, made: made}, false)
	switch j.Verdict {
	case register.AskMore:
		return nil, a.failure(replies)
	case register.Absent:
		return nil, nil
	case register.Committed:
		if j.Record.Kind == register.Tombstone {
			return nil, nil
		}
		a.found(replies, &j.Record)
		return &j.Record, nil
	case register.Forward, register.Back, register.Unreadable:
	}
	return nil, &unsettled{sought{version: version, made: made, changed: newest(replies).Changed}}
}

// judge asks for one register; everybody, if that is wanted, unless what was seen of it turns
// out to be decided: the first to answer may know something older.
func (a asking) judge(ctx context.Context, key register.Key, what sought, everybody bool) (j register.Judgement, replies []reply[register.View]) {
	n := len(a.s.drives)
	replies = a.ask(ctx, register.Query{Key: key, Version: what.version, Made: what.made}, func(replies []reply[register.View], all bool) bool {
		j = what.judge(views(n, replies, what.version), all)
		seen := j.Decided && !j.Record.Changed.Less(what.changed)
		return j.Verdict != register.AskMore && (!everybody || seen || all)
	})
	if j.Verdict == register.AskMore {
		j = what.judge(views(n, replies, what.version), true)
	}
	return j, replies
}

func (a asking) failure(replies []reply[register.View]) error {
	for i := range replies {
		if errors.Is(replies[i].err, register.ErrStale) {
			return errStale
		}
	}
	return object.E("read", "", object.Unavailable, errors.Join(errFew, why(replies)))
}

// errStale says that the lock under which something was begun is not held any more.
var errStale = fmt.Errorf("%w: %w", lock.ErrLost, register.ErrStale)
