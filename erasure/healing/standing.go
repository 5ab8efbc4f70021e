package healing

import (
	"cmp"
	"time"

	"github.com/shoal-storage/shoal/internal/upkeep"
)

// Standing of drives is what decides whether they are to be looked through.
type Standing struct {
	Missed  int64          // changes when drives may have missed something
	Joined  int            // changes when a drive has come
	Blank   map[int]string // IDs of drives that stand for others and do not have all yet, by their places
	Offline int            // drives that cannot be used

	left  bool          // the pass that was made as they stood so has left something
	pause time.Duration // after that pass before the next; 0: wholeAgain
}

// leave notes what became of a pass, which was made after another one. What it has left it may
// have come too early for, since other nodes notice later that a drive has come: so it is soon
// tried again, and less soon each time that something is left.
func (s *Standing) leave(before Standing, left bool) {
	if s.left = left; left && s.Offline == 0 {
		s.pause = min(max(wholeSoon, 3*before.pause), wholeAgain)
	}
}

// due returns which pass over the drives is to be made, none if it is empty: one was made last
// at some time, as they stood then, and one over everything was complete at another.
func (s Standing) due(before Standing, since, whole time.Duration) upkeep.PassKind {
	pause := cmp.Or(before.pause, wholeAgain)
	if s.Missed != before.Missed && s.Offline == 0 {
		pause = min(pause, missedAgain) // one was away too briefly to be noticed, or is slow
	}
	changed := s.Missed != before.Missed || s.Joined != before.Joined || len(s.Blank) > 0 || before.left
	switch {
	case since < pause && s.Joined == before.Joined:
		return ""
	case before.left && s.Offline > 0 && s.Joined == before.Joined && since <= wholeApart:
		return ""
	case whole > wholeEvery:
		return upkeep.Everything
	case since > wholeEvery: // this process has made none yet
	case !changed, s.Offline > 0 && s.Joined == before.Joined && since <= wholeApart:
		return ""
	}
	if len(s.Blank) > 0 {
		return upkeep.Everything
	}
	return upkeep.Missed
}
