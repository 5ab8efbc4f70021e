package protocol

import (
	"slices"
	"testing"
	"time"

	"github.com/shoal-storage/shoal/internal/lock"
)

// cache asks for a cache lease, and expects a verdict.
func (s *script) cache(r ReqID, name string, verdict Verdict) {
	s.t.Helper()
	replies := s.slot.Acquire(Request{ID: r, Items: want(name, lock.Shared), Cache: true}, nil)
	if len(replies) != 1 || replies[0].ID != r || replies[0].Verdict != verdict {
		s.t.Errorf("cache %v: %v", r, replies)
	}
}

// recalls returns whose cache leases replies ask for.
func recalls(replies []Reply) (ids []ReqID) {
	for _, r := range replies {
		if r.Verdict == Recalled {
			ids = append(ids, r.ID)
		}
	}
	return ids
}

func TestAnExclusiveLockIsGrantedWhenAllCacheLeasesHaveBeenGivenBack(t *testing.T) {
	s := newScript(t)
	s.cache(id(1, 1), "k", Granted)
	s.cache(id(2, 1), "k", Granted)
	s.acquire(id(3, 1), want("k", lock.Shared), 1, id(3, 1)) // whoever only reads disturbs nobody
	s.release(id(3, 1))
	got := recalls(s.slot.Acquire(Request{ID: id(3, 2), Items: want("k", lock.Exclusive), Since: 1}, nil))
	if !slices.Equal(got, []ReqID{id(1, 1), id(2, 1)}) {
		t.Errorf("recalled: %v", got)
	}
	if again := s.slot.Acquire(Request{ID: id(3, 3), Items: want("k", lock.Exclusive), Since: 2}, nil); len(again) > 0 {
		t.Errorf("recalled again: %v", again)
	}
	s.release(id(1, 1))
	s.expect("the end of a session", s.slot.Reap(2, nil), []ReqID{id(3, 2)})
	s.release(id(3, 2), id(3, 3))
	s.release(id(3, 3))
	s.empty()
}

func TestACacheLeaseNeverWaitsNorOvertakes(t *testing.T) {
	s := newScript(t)
	s.acquire(id(1, 1), want("k", lock.Exclusive), 1, id(1, 1))
	s.cache(id(2, 1), "k", Busy)
	s.release(id(1, 1))
	s.acquire(id(1, 2), want("k", lock.Shared), 1, id(1, 2))
	s.acquire(id(1, 3), want("k", lock.Exclusive), 2)
	s.cache(id(2, 2), "k", Busy)
	replies := s.slot.Acquire(Request{ID: id(2, 3), Items: want("j", lock.Exclusive), Cache: true}, nil)
	if len(replies) != 1 || replies[0].Verdict != Busy {
		t.Errorf("an exclusive cache lease: %v", replies)
	}
}

func TestARecallThatWasLostIsRepeatedWhenNotesAreCompared(t *testing.T) {
	s := newScript(t)
	s.cache(id(1, 1), "k", Granted)
	s.slot.Acquire(Request{ID: id(2, 1), Items: want("k", lock.Exclusive)}, nil)
	if got := recalls(s.slot.Resync(1, 1, []uint64{1}, nil)); !slices.Equal(got, []ReqID{id(1, 1)}) {
		t.Errorf("recalled: %v", got)
	}
}

// A grant that was sent again may be behind the recall of the one that was lost.
func TestARecallThatComesBeforeItsGrantIsHeeded(t *testing.T) {
	one, two, slots := pair()
	for _, m := range []*Member{one, two} {
		m.Apply(10, StartCaching{Session: 1}, 0)
	}
	d, _ := one.Cache(slots[1], "k", 0)
	recall := Answer{Slot: slots[1], Request: d.Request, Verdict: Recalled, Epoch: 2, Sequence: 1}
	one.Receive(Envelope{From: 2, To: 1, Message: recall}, 0)
	got := one.Take().Recall
	if !slices.Equal(got, []Recall{{Slot: slots[1], Request: d.Request}}) {
		t.Fatalf("recalled: %v", got)
	}
	one.Release(slots[1], d.Request)
	grant := recall
	grant.Verdict = Granted
	one.Receive(Envelope{From: 2, To: 1, Message: grant}, 0)
	if one.holders[slots[1]].granted() > 0 {
		t.Error("it was accepted all the same")
	}
	one.Receive(Envelope{From: 2, To: 1, Message: recall}, 0)
	if got := one.Take().Recall; len(got) > 0 {
		t.Errorf("recalled again: %v", got)
	}
}

func TestANewOwnerRecallsWhatItsPredecessorGranted(t *testing.T) {
	s := &script{t: t}
	s.slot.Assign(9)
	s.slot.Acquire(Request{ID: id(2, 1), Items: want("k", lock.Exclusive)}, nil)
	replies, err := s.slot.Activate([]Held{{ID: id(1, 1), Items: want("k", lock.Shared), Epoch: 4, Sequence: 2, Cache: true}}, nil)
	if got := recalls(replies); err != nil || !slices.Equal(got, []ReqID{id(1, 1)}) {
		t.Errorf("recalled: %v, %v", got, err)
	}
	s.release(id(1, 1), id(2, 1))
}

func TestCacheLeasesLeaveRoomForLocks(t *testing.T) {
	s := newScript(t)
	for i := range uint64(maxCached) {
		s.cache(id(1, i), "k", Granted)
	}
	s.cache(id(1, maxCached), "k", Busy)
	s.acquire(id(2, 1), want("j", lock.Exclusive), 1, id(2, 1))
	s.release(id(1, 7))
	s.cache(id(1, maxCached+1), "k", Granted)
}

func TestOnlyASessionThatHasStartedCachingGetsCacheLeases(t *testing.T) {
	one, two, slots := pair()
	if d, decided := one.Cache(slots[0], "k", 0); !decided || d.Verdict != Busy {
		t.Errorf("before it has started: %v, %v", d, decided)
	}
	one.Apply(10, StartCaching{Session: 1}, 0)
	if d, decided := one.Cache(slots[0], "k", 0); !decided || d.Verdict != Granted {
		t.Errorf("in its own slot: %v, %v", d, decided)
	}
	one.Cache(slots[1], "k", 0)
	exchange(one, two)
	if one.holders[slots[1]].granted() > 0 {
		t.Error("the owner has not heard that it caches, and granted it")
	}
	two.Apply(10, StartCaching{Session: 1}, 0)
	one.Tick(time.Second)
	exchange(one, two)
	if one.holders[slots[1]].granted() == 0 {
		t.Error("it was not granted when the owner had heard")
	}
	if r := one.Apply(20, StartCaching{Session: 3}, 0); r.Outcome != Refused {
		t.Errorf("a session that is not there: %v", r)
	}
}

// What is cached needs no storage to be read, so no fence stops a session that
// takes itself for alive.
func TestASessionThatCachesOutlivesWhatItWasToldLast(t *testing.T) {
	w := NewWatch([]SID{1}, 0)
	w.Keep(1, 1, 0)
	now := gather
	w.Propose(now)
	w.Ticked(true)
	w.Ended(1)
	var lease Lease
	lease.ConfirmCaches(now)
	if at := w.RunsOut(1, now); at <= lease.Readable() {
		t.Errorf("it is over at %v, and reads its caches until %v", at, lease.Readable())
	}
	w.Ended(1)
	if at := w.RunsOut(1, 2*now); at != deadline(now) {
		t.Errorf("it runs out at %v now", at)
	}
	w.Forget(1)
	if longest := CacheTTL + FreshRenewal; longest > GenerationTTL {
		t.Errorf("a cache may be read for %v after the generation was renewed, and the next one begins after %v", longest, GenerationTTL)
	}
	if at := w.RunsOut(1, 2*now); at != deadline(2*now) {
		t.Errorf("a session that nothing is known of runs out at %v", at)
	}
}
