package admin

import (
	"testing"
	"time"

	"github.com/shoal-storage/shoal/internal/upkeep"
)

func TestHowLongAPassWillTakeGoesByWhatItHasDoneSinceItsLimitWasChanged(t *testing.T) {
	begun := time.Now()
	p := upkeep.Pass{Kind: upkeep.Everything, Token: "t", Begun: begun, Told: begun.Add(time.Minute), Names: 600, Expected: 1200, Bytes: 6000}
	if s := newPass(&p, p.Told); s.Rate != 100 || s.ETA != 60 {
		t.Errorf("before: %+v", s)
	}
	if p.Limited(10); p.Limit != 10 {
		t.Errorf("it is %+v", p)
	}
	if s := newPass(&p, p.Told); s.Rate != 0 || s.ETA != 0 {
		t.Errorf("at that moment nothing is known: %+v", s)
	}
	p.Told, p.Counted, p.Names, p.Bytes = p.Told.Add(80*time.Second), p.Told.Add(time.Minute), 660, 6600
	p.Limited(10)
	if s := newPass(&p, p.Told); s.Rate != 10 || s.ETA != 540 {
		t.Errorf("a minute later: %+v", s)
	}
	p.Ended = begun.Add(2 * time.Minute)
	if s := newPass(&p, p.Told); s.Rate != 55 || s.ETA != 0 {
		t.Errorf("when it is over: %+v", s)
	}
}
