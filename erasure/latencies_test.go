package erasure

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shoal-storage/shoal/erasure/register"
	"github.com/shoal-storage/shoal/erasure/shard"
)

// known returns what is known of four drives after many answers within a millisecond.
func known() *latencies {
	l := newLatencies(4)
	for i := range 400 {
		l.took(i%4, time.Millisecond, nil)
	}
	time.Sleep(time.Millisecond)
	return l
}

// others has the other drives answer in time, for a while.
func (l *latencies) others(drive int) {
	time.Sleep(minPatience)
	l.took((drive+1)%len(l.drives), time.Millisecond, nil)
}

func TestOneMoreIsAskedForTenAnswersAtMost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, more := known(), 0
		const answers = 2000
		for i := range answers {
			if l.late(i%4, 1) {
				more++
			}
			l.took(i%4, time.Millisecond, nil) // so none of them is always slow
		}
		if most := answers/spareShare + maxSpare; more > most || more < most/2 {
			t.Errorf("%d more were asked, at most %d were to be", more, most)
		}
	})
}

func TestADriveThatStaysSlowIsAskedEverMoreSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := known()
		for range 2 {
			l.others(2)
			l.late(2, 1)
		}
		for _, away := range []time.Duration{1, 2, 4, 8, 10, 10} {
			time.Sleep(away*time.Second - time.Nanosecond)
			if !l.slow(2) {
				t.Errorf("it is asked within %v s", away)
			}
			if time.Sleep(time.Nanosecond); l.slow(2) {
				t.Errorf("it is not asked after %v s", away)
			}
			l.took(1, time.Millisecond, nil)
			l.late(2, 1)
		}
		time.Sleep(maxAway)
		l.took(2, time.Millisecond, nil)
		if l.late(2, 1); l.slow(2) {
			t.Error("after an answer in time a single one that is late is enough")
		}
	})
}

func TestADriveIsSlowThatCannotAnswerAndNotOneWhoseAnswerIsNo(t *testing.T) {
	for err, want := range map[error]bool{
		register.ErrUnknown: true, errHung: true, errors.New("gone"): true, fs.ErrNotExist: false, register.ErrStale: false,
	} {
		synctest.Test(t, func(t *testing.T) {
			l := known()
			for range strikes {
				l.others(1)
				l.took(1, time.Millisecond, err)
			}
			if got := l.slow(1); got != want {
				t.Errorf("after several times %v: slow %v", err, got)
			}
		})
	}
}

func TestADriveIsNotSlowWhoseAnswersWereSlowWhenAllWere(t *testing.T) {
	for name, wait := range map[string]func(l *latencies){
		"all at once":                         func(l *latencies) { l.took(0, time.Millisecond, nil) },
		"nobody else has answered in time":    func(*latencies) { time.Sleep(minPatience) },
		"it has answered in time in between":  func(l *latencies) { l.others(1); l.took(1, time.Millisecond, nil) },
		"others have, again and again: it is": func(l *latencies) { l.others(1) },
	} {
		synctest.Test(t, func(t *testing.T) {
			l := known()
			for range 10 {
				wait(l)
				l.took(1, 8*time.Millisecond, nil)
			}
			if got, want := l.slow(1), name == "others have, again and again: it is"; got != want {
				t.Errorf("%s: slow %v", name, got)
			}
		})
	}
}

func TestMostAnswersComeWithinWhatIsExpectedOfThem(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	most := int64(0)
	for _, mean := range []float64{1e6, 4e7, 1e6} { // it becomes slower, and quicker again
		above := 0
		const n = 5000
		for i := range n {
			value := int64(r.ExpFloat64() * mean)
			if i >= n/2 && value > most {
				above++
			}
			most = moved(most, value)
		}
		if share := float64(above) / (n / 2); share < 0.03 || share > 0.07 {
			t.Errorf("%v of the answers take longer than expected, about 0.05 was to be", share)
		}
	}
}

func TestWhatIsExpectedIsWhatTheQuickerHalfTakes(t *testing.T) {
	for slow, want := range []time.Duration{minPatience, minPatience, minPatience, 80 * time.Millisecond, 80 * time.Millisecond} {
		l := newLatencies(4)
		for i := range 400 {
			took := time.Millisecond
			if i%4 < slow {
				took = 40 * time.Millisecond
			}
			l.took(i%4, took, nil)
		}
		if got := l.patience(); got != want {
			t.Errorf("while %d of 4 drives are slow an answer is waited for %v and not %v", slow, got, want)
		}
	}
}

func TestADriveThatGotNoShardIsNotFoundQuickAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &written{set: &set{drives: make([]Drive, 4), shards: known()}}
		writers := []register.ShardWriter{&counted{}, &counted{}, &counted{}, &counted{}}
		slow := []error{nil, nil, shard.ErrSlow, nil}
		for range 2 {
			w.judge(writers, slow)
			time.Sleep(minAway)
			writers[2] = nil
			w.judge(writers, make([]error, 4))
			writers[2] = &counted{}
		}
		if !w.set.shards.slow(2) {
			t.Error("it is as quick as others, though it was too slow for all that it was sent")
		}
	})
}
