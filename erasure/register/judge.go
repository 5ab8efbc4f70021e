package register

// Majority is the least number of drives of n that meets itself in one: what has no
// content is committed by so many.
func Majority(n int) int { return n/2 + 1 }

// ReadQuorum is how many of n drives are asked: with any that have committed something
// they have one in common.
func ReadQuorum(n int) int { return n - Majority(n) + 1 }

// WriteQuorum is how many of n drives have to hold what needs k shards.
func WriteQuorum(n, k int) int { return max(k, Majority(n)) }

// Answer is what one drive of a set said of a register.
type Answer struct {
	Given bool   // it answered, and vouches for what it says
	Entry *Entry // nil: there is nothing
}

// Verdict says what a set of answers comes to.
type Verdict uint8

// The verdicts.
const (
	// AskMore: the answers do not suffice.
	AskMore Verdict = iota
	// Committed: the record is what the register holds, and stays so.
	Committed
	// Absent: the register never held anything.
	Absent
	// Forward: the record may have been committed or not, and can be: whoever has the
	// key's lock makes it so, under a new token.
	Forward
	// Back: the newest record was never committed and cannot be read. Whoever has the
	// key's lock commits the one before it, or a tombstone, under a new token.
	Back
	// Unreadable: the record may have been committed, and cannot be read as things are.
	Unreadable
)

// Judgement is a Verdict and what it is about.
type Judgement struct {
	Verdict Verdict
	Record  Record // with Back what to go back to; of Kind 0 if that is nothing
	Decided bool   // some drive knows that it is committed
	Holders int    // drives that hold it
}

// Judge returns what the answers of a set's drives come to, one for each drive; all says
// that there will be no more of them.
func Judge(answers []Answer, all bool) Judgement { return Undo(answers, Token{}, all) }

// Undo is Judge for who takes back what he has begun to commit, and has heard of every drive of the set that it has
// taken that, or has not and will not; of too few that they have. So it never was committed and never can be, whatever
// those hold that are silent now: it comes to Back, though it could be read.
func Undo(answers []Answer, begun Token, all bool) Judgement {
	n, given := len(answers), 0
	for i := range answers {
		if answers[i].Given {
			given++
		}
	}
	if given < ReadQuorum(n) {
		return Judgement{Verdict: AskMore}
	}
	silent := n - given
	for below, top := (*Token)(nil), true; ; top = false {
		c := newest(answers, below)
		if c == nil {
			if top {
				return Judgement{Verdict: Absent}
			}
			return Judgement{Verdict: Back}
		}
		j := c.judge(answers, silent, all, c.record.Changed == begun)
		switch {
		case j.Verdict != Back:
			if !top && j.Verdict != AskMore && j.Verdict != Unreadable {
				j.Verdict = Back // to this one
			}
			return j
		case top && !all:
			return Judgement{Verdict: AskMore}
		}
		below = &c.record.Changed
	}
}

// candidate is a state of the register, as the drives hold it.
type candidate struct {
	record  Record
	decided bool
	holders int // that hold it, be it replaced
}

// newest returns the newest state that any drive holds and that is older than below.
func newest(answers []Answer, below *Token) *candidate {
	var c *candidate
	look := func(p *Past) {
		if below != nil && !p.Changed.Less(*below) {
			return
		}
		if c == nil || c.record.Changed.Less(p.Changed) {
			c = &candidate{record: p.Record}
		}
		if c.record.Changed == p.Changed {
			c.holders++
			c.decided = c.decided || p.Decided
		}
	}
	for i := range answers {
		if e := answers[i].Entry; answers[i].Given && e != nil {
			look(&e.Past)
			for j := range e.Before {
				look(&e.Before[j])
			}
		}
	}
	return c
}

// judge decides on a candidate: the table of the design.
func (c *candidate) judge(answers []Answer, silent int, all, undo bool) Judgement {
	j := Judgement{Record: c.record, Decided: c.decided, Holders: c.holders}
	switch {
	case c.decided, c.holders >= c.record.Quorum:
		j.Verdict = Committed
	case !all:
		j.Verdict = AskMore
	case undo:
		j.Verdict = Back
	case c.decodable(answers):
		j.Verdict = Forward
	case c.holders+silent < c.record.Quorum:
		j.Verdict = Back
	default:
		j.Verdict = Unreadable
	}
	return j
}

func (c *candidate) decodable(answers []Answer) bool {
	shards := 0
	for i := range answers {
		if e := answers[i].Entry; answers[i].Given && e != nil && e.hasShards(c.record.Changed) {
			shards++
		}
	}
	return shards >= c.record.Need
}
