package raftlock

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shoal-storage/shoal/internal/lock"
	"github.com/shoal-storage/shoal/internal/vfs"
	"github.com/shoal-storage/shoal/raftlock/mount"
	"github.com/shoal-storage/shoal/raftlock/protocol"
)

// The scenarios are single faults, each with what it must come to. Time is
// virtual, so what it takes is what the protocol waits for, on any machine.

// inWorld runs a scenario with a fleet of nodes a, b, c and so on.
func inWorld(t *testing.T, nodes int, scenario func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		defer w.end()
		for i := range nodes {
			w.start(string(rune('a' + i)))
		}
		if nodes > 0 {
			w.whole(t)
		}
		scenario(t, w)
	})
}

// eventually waits until something is so, in virtual time.
func eventually(t *testing.T, what string, within time.Duration, so func() bool) {
	t.Helper()
	for begun := time.Now(); !so(); time.Sleep(50 * time.Millisecond) {
		if time.Since(begun) > within {
			t.Fatalf("after %v still not: %s", within, what)
		}
	}
}

// whole waits until all running nodes are in one generation, have their slots,
// and as many of them vote as should.
func (w *world) whole(t *testing.T) {
	t.Helper()
	eventually(t, "the fleet is whole", 40*time.Second, func() bool {
		generations := make(map[uint32]bool)
		for _, p := range w.running {
			l := p.node.currentLife()
			if l == nil {
				return false
			}
			generations[l.generation] = true
			voters, others := l.servers()
			l.mu.Lock()
			settled := l.member != nil && l.member.Lease().Valid(l.now()) && l.member.Counts().Recovering == 0 && len(l.links) == len(w.running)-1
			l.mu.Unlock()
			if !settled || len(voters) != wantVoters(len(w.running)) || len(voters)+len(others) != len(w.running) {
				return false
			}
		}
		return len(generations) == 1
	})
}

// leader returns the node that leads, and the others.
func (w *world) leader(t *testing.T) (leader *process, others []*process) {
	t.Helper()
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		if p := w.running[name]; p != nil && leads(p.node) {
			leader = p
		} else if p != nil {
			others = append(others, p)
		}
	}
	if leader == nil {
		t.Fatal("nobody leads")
	}
	return leader, others
}

// isolate cuts a node off all others, or puts it back.
func (w *world) isolate(p *process, cut bool) {
	for name := range w.running {
		if name != p.name {
			w.net.set(name, p.name, cut)
			w.net.set(p.name, name, cut)
		}
	}
}

// take takes an exclusive lock, and says how long that took.
func take(t *testing.T, p *process, within time.Duration, name string) (lock.Lease, time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	begun := time.Now()
	ls, err := p.node.Acquire(ctx, lock.Exclusive, name)
	if err != nil {
		t.Fatalf("%s: %v", p.name, err)
	}
	return ls, time.Since(begun)
}

func TestWhatIsHeldAndWaitedForOutlivesTheOwnerOfItsSlot(t *testing.T) {
	inWorld(t, 3, func(t *testing.T, w *world) {
		_, others := w.leader(t)
		owner, x := others[0], others[1]
		y, _ := w.leader(t)
		names := ownedBy(owner.node, true, 2)
		held, _ := take(t, x, time.Second, names[0])
		granted := make(chan lock.Lease, 1)
		go func() {
			ls, _ := take(t, y, 30*time.Second, names[0])
			granted <- ls
		}()
		time.Sleep(50 * time.Millisecond)
		w.crash(owner)
		if _, took := take(t, y, 30*time.Second, names[1]); took > 500*time.Millisecond {
			t.Errorf("its slots were without an owner for %v", took)
		}
		select {
		case <-granted:
			t.Fatal("what is held was granted to another")
		case <-time.After(5 * time.Second):
		}
		held.Release()
		ls := <-granted
		if ls.Token().Compare(held.Token()) <= 0 {
			t.Errorf("token %v after %v", ls.Token(), held.Token())
		}
	})
}

func TestWhatADeadHolderStagedIsGoneWhenItsLockPassesOn(t *testing.T) {
	inWorld(t, 3, func(t *testing.T, w *world) {
		leader, others := w.leader(t)
		holder := others[0]
		ls, _ := take(t, holder, time.Second, "o/bucket/k")
		s := ls.Session().(*session)
		dir, err := w.root.OpenDir(fmt.Sprintf(".shoal.sys/sessions/%08x/%s", s.life.generation, s.dir))
		if err != nil {
			t.Fatal(err)
		}
		defer dir.Close()
		f, err := dir.Create("staged", 0o600)
		if err != nil {
			t.Fatal(err)
		}
		_ = f.Close()
		w.crash(holder)
		take(t, leader, 30*time.Second, "o/bucket/k")
		if err := dir.Rename("staged", w.root, "k"); err == nil {
			t.Error("it was committed after the lock had passed on")
		}
	})
}

// A node that can be reached by nobody grants nothing once its lease has run
// out; the others go on with its slots, and it comes back as another session.
func TestWhoIsCutOffGrantsNothingAndTheOthersGoOn(t *testing.T) {
	for name, pick := range map[string]func(*process, []*process) (victim, other *process){
		"a follower": func(_ *process, o []*process) (*process, *process) { return o[0], o[1] },
		"the leader": func(l *process, o []*process) (*process, *process) { return l, o[0] },
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, 3, func(t *testing.T, w *world) {
				victim, other := pick(w.leader(t))
				theirs := ownedBy(victim.node, true, 1)[0]
				before := victim.node.Session()
				w.isolate(victim, true)
				ls, took := take(t, other, 20*time.Second, theirs)
				t.Logf("served again after %v", took)
				ls.Release()
				ctx, cancel := context.WithTimeout(context.Background(), time.Second)
				defer cancel()
				if _, err := victim.node.Acquire(ctx, lock.Exclusive, theirs); err == nil {
					t.Error("it grants what others grant by now")
				}
				if !errors.Is(victim.node.Ready(), ErrCutOff) {
					t.Error("it is cut off, and says that it is ready")
				}
				w.isolate(victim, false)
				w.whole(t)
				if victim.node.Session() == before {
					t.Error("it goes on in a session that was fenced")
				}
				take(t, victim, time.Second, theirs)
			})
		})
	}
}

// The founder was let in by nobody, and Raft tells it of no leader once the others have
// removed it and nothing that they sent before is on its way: it has to ask.
func TestTheFounderComesBackThoughTheOthersHaveRemovedItMeanwhile(t *testing.T) {
	inWorld(t, 4, func(t *testing.T, w *world) {
		founder, others := w.leader(t)
		w.isolate(founder, true)
		id := founder.node.currentLife().id
		eventually(t, "it is removed", time.Minute, func() bool { return !others[0].node.currentLife().isServer(id) })
		time.Sleep(10 * time.Second)
		w.net.reset(founder.net)
		time.Sleep(time.Second) // who has dialled it by then has given up
		w.isolate(founder, false)
		w.whole(t)
	})
}

// By the time that it is back, all whom the node knew have been replaced.
func TestWhoIsCutOffUntilAllWhomHeKnewHaveGoneFindsTheFleet(t *testing.T) {
	inWorld(t, 3, func(t *testing.T, w *world) {
		lost, known := w.leader(t)
		w.isolate(lost, true)
		for i, old := range known {
			fresh := w.start(string(rune('x' + i)))
			w.isolate(lost, true)
			eventually(t, "another one has come", time.Minute, func() bool { return fresh.node.Session() != nil })
			time.Sleep(10 * time.Second) // it may vote
			w.leave(old)
			time.Sleep(10 * time.Second)
		}
		w.net.reset(lost.net)
		time.Sleep(time.Second)
		w.isolate(lost, false)
		w.whole(t)
	})
}

// A leader can remove a node in the very moment in which it opens a session for it. The node
// may hear of the session before it hears nothing any more, or never.
func TestANodeThatIsRemovedAsItsSessionIsOpenedComesBackAtOnce(t *testing.T) {
	for _, hears := range []bool{true, false} {
		t.Run(fmt.Sprintf("and hears of it %v", hears), func(t *testing.T) {
			inWorld(t, 3, func(t *testing.T, w *world) {
				leader, others := w.leader(t)
				w.removeAsItOpens(t, leader.node.currentLife(), others[0], hears)
				eventually(t, "it is back", 10*time.Second, func() bool { return others[0].node.Ready() == nil })
				w.whole(t)
			})
		})
	}
}

// removeAsItOpens has the leader end the session of a node, open another one, and remove the
// node, which hears nothing meanwhile.
func (w *world) removeAsItOpens(t *testing.T, leader *life, p *process, hears bool) {
	t.Helper()
	l := p.node.currentLife()
	old := p.node.Session().(*session).sid
	p.net.Handle(raftProtocol, func(c net.Conn, _ string) { _ = c.Close() })
	w.net.reset(p.net)
	leader.consensus.raft.Apply(protocol.Encode(protocol.ExpireSession{Session: old}), applyTimeout)
	eventually(t, "it has another session", time.Minute, func() (opened bool) {
		leader.look(func(s *protocol.State) {
			for sid, session := range s.Sessions {
				opened = opened || sid != old && session.Node == string(l.id)
			}
		})
		return opened
	})
	if hears {
		p.net.Handle(raftProtocol, p.node.answerRaft)
		eventually(t, "it has heard of it", time.Minute, func() bool { return p.node.Ready() == nil })
	}
	if err := leader.consensus.raft.RemoveServer(l.id, 0, applyTimeout).Error(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Second) // nothing that was sent before comes any more
	p.net.Handle(raftProtocol, p.node.answerRaft)
}

// TestWhatIsClaimedOverIsNoticedByAllAtOnce has somebody claim the next generation while all are
// well, as who is cut off does when the storage shows him renewals too late: nobody says that it
// is ready whose session has been fenced by that.
func TestWhatIsClaimedOverIsNoticedByAllAtOnce(t *testing.T) {
	inWorld(t, 3, func(t *testing.T, w *world) {
		leader, _ := w.leader(t)
		generation := leader.node.currentLife().generation
		if err := leader.mount.Claim(t.Context(), generation+1, "somebody"); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the leader cannot renew its generation", renewEvery, func() bool { return leader.node.Ready() != nil })
		eventually(t, "nobody is ready in a generation that is over", 100*time.Millisecond, func() bool {
			ready := false
			for _, p := range w.running {
				ready = ready || p.node.Ready() == nil
			}
			return !ready
		})
		w.whole(t)
	})
}

// late is a storage that shows what is renewed late: not at all, once it was told what to show.
type late struct {
	Arbiter
	shows *atomic.Pointer[mount.Generation]
}

func (s late) Newest(ctx context.Context) (mount.Generation, error) {
	if g := s.shows.Load(); g != nil {
		return *g, nil
	}
	return s.Arbiter.Newest(ctx)
}

// TestANodeThatTheLeaderKeepsAliveStaysThoughOthersHangUp has it alarmed for long, while the
// storage shows no renewals.
func TestANodeThatTheLeaderKeepsAliveStaysThoughOthersHangUp(t *testing.T) {
	inWorld(t, 0, func(t *testing.T, w *world) {
		var shows atomic.Pointer[mount.Generation]
		w.mutate = func(a Arbiter) Arbiter { return late{a, &shows} }
		for _, name := range []string{"a", "b", "c"} {
			w.start(name)
		}
		w.whole(t)
		_, others := w.leader(t)
		g, err := others[0].mount.Newest(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		shows.Store(&g)
		before := others[0].node.currentLife()
		for begun := time.Now(); time.Since(begun) < 4*protocol.GenerationTTL; time.Sleep(guardPace / 5) {
			signal(before.alarm)
		}
		if others[0].node.currentLife() != before || others[0].node.Ready() != nil {
			t.Error("it has looked for the fleet anew")
		}
	})
}

func TestWhoIsToldByTheStorageThatItsSessionIsFencedIsNotReadyInIt(t *testing.T) {
	inWorld(t, 3, func(t *testing.T, w *world) {
		_, others := w.leader(t)
		p := others[0]
		s := p.node.Session().(*session) //nolint:forcetypeassert // the node's own
		if err := p.mount.Fence(t.Context(), s.life.generation, s.dir); err != nil {
			t.Fatal(err)
		}
		if err := p.node.Prove(t.Context(), s); !errors.Is(err, lock.ErrLost) {
			t.Errorf("proved by %v", err)
		}
		if p.node.Ready() == nil {
			t.Error("it is ready in a session that is over")
		}
		eventually(t, "it has another session", time.Second, func() bool { return p.node.Ready() == nil })
	})
}

func TestALinkThatIsCutOneWayCostsNoElections(t *testing.T) {
	for _, outwards := range []bool{true, false} {
		t.Run(fmt.Sprintf("from the leader %v", outwards), func(t *testing.T) {
			inWorld(t, 3, func(t *testing.T, w *world) {
				leader, others := w.leader(t)
				term := leader.node.currentLife().consensus.raft.CurrentTerm()
				from, to := leader.name, others[0].name
				if !outwards {
					from, to = to, from
				}
				w.net.set(from, to, true)
				for range 20 {
					ls, _ := take(t, others[1], 10*time.Second, ownedBy(leader.node, true, 1)[0])
					ls.Release()
					time.Sleep(500 * time.Millisecond)
				}
				w.net.mend()
				w.whole(t)
				if now := leader.node.currentLife().consensus.raft.CurrentTerm(); now != term {
					t.Errorf("term %d was %d", now, term)
				}
			})
		})
	}
}

// part cuts two nodes off each other, or puts them together again.
func (w *world) part(a, b *process, cut bool) {
	w.net.set(a.name, b.name, cut)
	w.net.set(b.name, a.name, cut)
}

// Who has joined and has heard of nobody yet is not the last one that leaves.
func TestWhoLeavesBeforeItKnowsOfAnybodyEndsNothing(t *testing.T) {
	inWorld(t, 3, func(t *testing.T, w *world) {
		leader, _ := w.leader(t)
		before := leader.node.currentLife()
		w.net.set("d", leader.name, true)
		w.net.set(leader.name, "d", true)
		d := w.start("d") // joins by way of others, and it takes a while until it is told anything so
		eventually(t, "it has joined", 30*time.Second, func() bool { return d.node.currentLife() != nil })
		if sessions := d.node.Others(); len(sessions) > 0 {
			t.Fatalf("it knows of %v", sessions)
		}
		w.leave(d)
		time.Sleep(20 * time.Second)
		if leader.node.currentLife() != before {
			t.Error("the generation is over")
		}
	})
}

// Who is cut off does not answer, and the connection to it stands. A setting waits until
// its session is over, and not for an answer.
func TestASettingWaitsNoLongerThanTheSessionOfWhoIsCutOff(t *testing.T) {
	inWorld(t, 3, func(t *testing.T, w *world) {
		leader, others := w.leader(t)
		set := func(value string) time.Duration {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			begun := time.Now()
			if _, err := leader.node.Set(ctx, Change{Name: "user/ann", Value: []byte(value)}); err != nil {
				t.Fatal(err)
			}
			return time.Since(begun)
		}
		set("before")
		w.isolate(others[0], true)
		if took := set("meanwhile"); took > 20*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

func TestWhoIsCutOffLearnsOfASettingFromTheStorage(t *testing.T) {
	inWorld(t, 3, func(t *testing.T, w *world) {
		leader, others := w.leader(t)
		cutOff := others[0].node
		set := func(value string) {
			t.Helper()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if _, err := leader.node.Set(ctx, Change{Name: "user/ann", Value: []byte(value)}); err != nil {
				t.Fatal(err)
			}
		}
		knows := func(want string) {
			t.Helper()
			if got, _ := cutOff.Get("user/ann"); string(got.Value) != want {
				t.Errorf("it knows %q, not %q", got.Value, want)
			}
		}
		set("before")
		w.isolate(others[0], true)
		set("meanwhile")
		knows("before")
		generation, index := cutOff.Known()
		if err := cutOff.Recall(t.Context()); err != nil {
			t.Fatal(err)
		}
		knows("meanwhile")
		if g, i := cutOff.Known(); g != generation || i <= index {
			t.Errorf("it knows all up to %d of generation %d, after %d of %d", i, g, index, generation)
		}
		w.isolate(others[0], false)
		w.whole(t)
		set("afterwards")
		knows("afterwards")
	})
}

// A third node joins while ten thousand locks are held: nobody loses any, and
// whoever wants another waits for a few round trips.
func TestAJoinUnderManyLocksLosesNoneAndStallsNobody(t *testing.T) {
	inWorld(t, 2, func(t *testing.T, w *world) {
		a, b := w.running["a"], w.running["b"]
		const count = 10000
		held := make([]lock.Lease, count)
		for i := range held {
			held[i], _ = take(t, w.running[[]string{"a", "b"}[i%2]], 10*time.Second, fmt.Sprintf("o/bucket%d/held%d", i%200, i))
		}
		c := w.start("c")
		var longest time.Duration
		for i := 0; c.node.Ready() != nil || i < 300; i++ {
			for _, p := range []*process{a, b} {
				ls, took := take(t, p, 10*time.Second, fmt.Sprintf("o/bucket%d/free", i%200))
				ls.Release()
				longest = max(longest, took)
			}
		}
		t.Logf("the longest wait was %v", longest)
		if longest > 200*time.Millisecond {
			t.Errorf("somebody waited for %v", longest)
		}
		for i := 0; i < count; i += 97 {
			name := fmt.Sprintf("o/bucket%d/held%d", i%200, i)
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
			if _, err := c.node.Acquire(ctx, lock.Exclusive, name); err == nil {
				t.Fatalf("%s was granted twice", name)
			}
			cancel()
			held[i].Release()
			take(t, c, time.Second, name)
		}
	})
}

// What is held is told to who takes slots over, however much it is: in one message it would cut
// the connection, again and again for as long as it is held.
func TestANodeJoinsWhileManyLongNamesAreHeld(t *testing.T) {
	inWorld(t, 1, func(t *testing.T, w *world) {
		a := w.running["a"]
		name := func(i int) string { return fmt.Sprintf("o/bucket%d/%0*d", i%200, 1024, i) }
		held := make([]lock.Lease, 12000)
		for i := range held {
			held[i], _ = take(t, a, 10*time.Second, name(i))
		}
		b := w.start("b")
		eventually(t, "the new node has its slots", 10*time.Second, func() bool {
			l := b.node.currentLife()
			if l == nil {
				return false
			}
			s := l.memberStatus()
			return s.Slots > 1000 && s.Recovering == 0
		})
		for i := 0; i < len(held); i += 97 {
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
			if _, err := b.node.Acquire(ctx, lock.Exclusive, name(i)); err == nil {
				t.Fatalf("%d was granted twice", i)
			}
			cancel()
			held[i].Release()
			take(t, b, time.Second, name(i))
		}
	})
}

func TestAFleetGrowsAndShrinks(t *testing.T) {
	for name, end := range map[string]func(*world, *process){"by farewells": (*world).leave, "by crashes": (*world).crash} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, 3, func(t *testing.T, w *world) {
				for _, size := range []int{1, 5, 1} {
					for _, n := range []string{"a", "b", "c", "d", "e"} {
						switch p := w.running[n]; {
						case p != nil && len(w.running) > size:
							end(w, p)
							time.Sleep(100 * time.Millisecond)
						case p == nil && len(w.running) < size:
							w.start(n)
						}
					}
					w.whole(t)
					for _, p := range w.running {
						ls, _ := take(t, p, 10*time.Second, "o/bucket/k")
						ls.Release()
					}
				}
			})
		})
	}
}

// Somebody proposes something all the while in one half of the cases: who lacks an entry is not
// elected.
func TestALeaderThatLeavesHandsOver(t *testing.T) {
	for _, nodes := range []int{2, 3, 5} {
		for name, proposals := range map[string]int{"": 0, " under load": 8} {
			t.Run(fmt.Sprint("of ", nodes, name), func(t *testing.T) {
				inWorld(t, nodes, func(t *testing.T, w *world) {
					leader, others := w.leader(t)
					ctx, enough := context.WithCancel(t.Context())
					defer enough()
					for range proposals {
						w.group.Go(func() { keepProposing(ctx, leader.node.currentLife()) })
					}
					time.Sleep(100 * time.Millisecond)
					w.leave(leader)
					eventually(t, "another leads", electionTimeout/2, func() bool {
						return slices.ContainsFunc(others, func(p *process) bool { return leads(p.node) })
					})
					enough()
					w.whole(t)
				})
			})
		}
	}
}

// What has to be proposed meanwhile, as that a session is fenced, waits for the next leader.
func TestALeaderThatLeavesWhileANodeDiesHandsOver(t *testing.T) {
	for after := 114 * time.Millisecond; after < 126*time.Millisecond; after += 500 * time.Microsecond { // its session is being fenced then
		inWorld(t, 4, func(t *testing.T, w *world) {
			leader, others := w.leader(t)
			w.crash(others[0])
			time.Sleep(after)
			w.leave(leader)
			eventually(t, "another leads", 3*electionTimeout, func() bool {
				return slices.ContainsFunc(others[1:], func(p *process) bool { return leads(p.node) })
			})
			w.whole(t)
		})
	}
}

// keepProposing has a leader commit one entry after the other.
func keepProposing(ctx context.Context, l *life) {
	for ; ctx.Err() == nil; sleep(ctx, 100*time.Microsecond) {
		_, _, _ = l.commit(ctx, protocol.Tick{}) // it may not lead any more
	}
}

// Whose session has ended is not removed by anybody then, and founded a generation of its own to
// wait for that in.
func TestWhoLeavesWhileTheOthersDieLeavesInSeconds(t *testing.T) {
	for _, nodes := range []int{2, 3, 5} {
		t.Run(fmt.Sprint("of ", nodes), func(t *testing.T) {
			inWorld(t, nodes, func(t *testing.T, w *world) {
				_, others := w.leader(t)
				l := others[0].node.currentLife()
				begun := time.Now()
				w.leave(others[0])
				for ended := false; !ended; time.Sleep(50 * time.Microsecond) {
					l.mu.Lock()
					ended = l.session == nil
					l.mu.Unlock()
				}
				for _, p := range w.running {
					w.crash(p)
				}
				w.group.Wait()
				if took := time.Since(begun); took > 3*protocol.SessionTTL {
					t.Errorf("it took %v", took)
				}
			})
		})
	}
}

// TestWhoLeavesAsItsSessionIsOpenedLeavesInSeconds: the fleet knows of the session in that moment, and its node does not.
func TestWhoLeavesAsItsSessionIsOpenedLeavesInSeconds(t *testing.T) {
	inWorld(t, 0, func(t *testing.T, w *world) {
		for range 50 {
			p := w.start("x")
			l, err := p.node.awaitLife(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if err := l.await(t.Context(), func(s *protocol.State) bool { return len(s.Sessions) > 0 }); err != nil {
				t.Fatal(err)
			}
			begun := time.Now()
			w.leave(p)
			w.group.Wait()
			if took := time.Since(begun); took > 3*time.Second {
				t.Errorf("it took %v", took)
			}
		}
	})
}

func TestWhenMostAreReplacedAtOnceTheRestJoinsThem(t *testing.T) {
	inWorld(t, 3, func(t *testing.T, w *world) {
		rest := w.running["c"]
		ls, _ := take(t, rest, time.Second, "o/bucket/k")
		if _, err := rest.node.Set(t.Context(), Change{Name: "user/ann", Value: []byte("x")}); err != nil {
			t.Fatal(err)
		}
		for _, n := range []string{"a", "b"} {
			w.crash(w.running[n])
			w.start(n)
		}
		_, took := take(t, w.running["a"], 30*time.Second, "o/bucket/k")
		t.Logf("served again after %v", took)
		select {
		case <-ls.Context().Done():
		default:
			t.Error("what the rest held has passed on, and it does not know")
		}
		w.whole(t)
		if got, _ := w.running["a"].node.Get("user/ann"); string(got.Value) != "x" {
			t.Errorf("the setting is %q", got.Value)
		}
	})
}

// An address is used anew at once, as those of containers are.
func TestANodeAtADeadNodesAddressIsNotTakenForIt(t *testing.T) {
	inWorld(t, 3, func(t *testing.T, w *world) {
		_, others := w.leader(t)
		dead := others[0]
		ls, _ := take(t, dead, time.Second, "o/bucket/k")
		w.crash(dead)
		anew := w.start(dead.name)
		granted, _ := take(t, anew, 30*time.Second, "o/bucket/k")
		if granted.Token().Compare(ls.Token()) <= 0 {
			t.Errorf("token %v after %v", granted.Token(), ls.Token())
		}
		w.whole(t)
		voters, _ := anew.node.currentLife().servers()
		for _, v := range voters {
			if nodeOf(v.ID) == dead.node.cfg.Node {
				t.Errorf("the dead %s votes", v.ID)
			}
		}
	})
}

// The mount may be out of reach for one node, for the leader or for all, for
// any time: no two generations live at once, and all go on when it is back.
func TestAFleetOutlivesAMountOutOfReach(t *testing.T) {
	faults := map[string]func(s *vfs.Fault) (mend func()){
		"fails": func(s *vfs.Fault) func() { return s.Inject(func(vfs.OpCall) error { return syscall.EIO }) },
		"hangs": func(s *vfs.Fault) func() { return s.Hang(func(vfs.OpCall) bool { return true }).Release },
	}
	who := map[string]func(leader *process, others []*process) []*process{
		"the leader": func(l *process, _ []*process) []*process { return []*process{l} },
		"a follower": func(_ *process, o []*process) []*process { return o[:1] },
		"all":        func(l *process, o []*process) []*process { return append(o, l) },
	}
	for fault, breaks := range faults {
		for name, pick := range who {
			for _, span := range []time.Duration{time.Second, 10 * time.Second, time.Minute} {
				t.Run(fmt.Sprintf("%s for %s for %v", fault, name, span), func(t *testing.T) {
					inWorld(t, 3, func(t *testing.T, w *world) {
						outOfReach(t, w, pick(w.leader(t)), breaks, span)
					})
				})
			}
		}
	}
}

func outOfReach(t *testing.T, w *world, victims []*process, breaks func(*vfs.Fault) func(), span time.Duration) {
	t.Helper()
	if _, err := w.running["a"].node.Set(t.Context(), Change{Name: "user/ann", Value: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	for _, p := range victims {
		mend := breaks(p.storage)
		time.AfterFunc(span, mend)
	}
	time.Sleep(span)
	w.whole(t)
	for _, p := range w.running {
		ls, _ := take(t, p, 10*time.Second, "o/bucket/k")
		ls.Release()
		if got, _ := p.node.Get("user/ann"); string(got.Value) != "x" {
			t.Errorf("%s: the setting is %q", p.name, got.Value)
		}
		if p.node.metrics.violations.Load() > 0 {
			t.Errorf("%s saw violations", p.name)
		}
	}
}

// A bucket's lock is one lock however its slots move about.
func TestABucketsLockExcludesItsSharersWhileSlotsMove(t *testing.T) {
	inWorld(t, 3, func(t *testing.T, w *world) {
		var mu sync.Mutex
		sharers, owners, rounds := 0, 0, 0
		enter := func(mode lock.Mode, by int) {
			mu.Lock()
			defer mu.Unlock()
			if mode == lock.Shared {
				sharers += by
			} else {
				owners += by
			}
			if owners > 1 || owners == 1 && sharers > 0 {
				t.Errorf("%d have it exclusively, %d share it", owners, sharers)
			}
			rounds++
		}
		stop := make(chan struct{})
		var group sync.WaitGroup
		for _, p := range w.running {
			for i, mode := range []lock.Mode{lock.Shared, lock.Shared, lock.Exclusive} {
				group.Go(func() {
					for k := i; ; k++ {
						select {
						case <-stop:
							return
						default:
						}
						ls, err := p.node.Acquire(context.Background(), mode, "b/bucket")
						if err != nil {
							t.Error(err)
							return
						}
						enter(mode, 1)
						time.Sleep(time.Duration(1+k%5) * time.Millisecond)
						enter(mode, -1)
						ls.Release()
					}
				})
			}
		}
		for k := range 100 {
			w.move(t, "bucket", k)
			time.Sleep(50 * time.Millisecond)
		}
		close(stop)
		group.Wait()
		if rounds < 500 {
			t.Errorf("only %d rounds", rounds)
		}
	})
}

// move has some slots of a bucket move to one of the nodes.
func (w *world) move(t *testing.T, bucket string, k int) {
	t.Helper()
	leader, others := w.leader(t)
	to := append(others, leader)[k%(len(others)+1)].node.Session().(*session).sid
	l := leader.node.currentLife()
	m := protocol.MoveSlots{To: to}
	l.look(func(s *protocol.State) {
		for i, slot := range protocol.BucketSlots(bucket, protocol.DefaultSpread) {
			if (i+k)%3 == 0 {
				m.Slots = append(m.Slots, protocol.SlotSeen{Slot: slot, Seen: s.Owners[slot].Epoch})
			}
		}
	})
	l.consensus.raft.Apply(protocol.Encode(m), applyTimeout)
}

// All that is wanted of a bucket is wanted through one node: soon it asks nobody
// for it any more.
func TestTheSlotsOfABucketFollowTheNodeThatUsesIt(t *testing.T) {
	inWorld(t, 3, func(t *testing.T, w *world) {
		a := w.running["a"]
		use := func(rounds int) {
			for range rounds {
				for i := range protocol.DefaultSpread {
					ls, _ := take(t, a, 10*time.Second, fmt.Sprintf("o/bucket/key%d", i))
					ls.Release()
				}
			}
		}
		eventually(t, "all that it wants is its own", 2*time.Minute, func() bool {
			use(10)
			asked := a.node.metrics.remote.Load()
			use(1)
			return a.node.metrics.remote.Load() == asked
		})
		w.whole(t)
	})
}

// A node that missed more than the others keep of the log is sent a snapshot,
// while slots pass to it.
func TestANodeThatWasFarBehindCatchesUpByASnapshot(t *testing.T) {
	inWorld(t, 3, func(t *testing.T, w *world) {
		leader, others := w.leader(t)
		behind, dead := others[0], others[1]
		l := leader.node.currentLife()
		w.isolate(behind, true)
		for range trailingLogs + 200 {
			l.consensus.raft.Apply(protocol.Encode(protocol.Tick{}), applyTimeout)
		}
		eventually(t, "the leader has a snapshot", 10*time.Second, func() bool { return l.consensus.raft.Snapshot().Error() == nil })
		time.Sleep(2 * time.Second)
		theirs := ownedBy(dead.node, true, 1)[0]
		w.isolate(behind, false)
		w.crash(dead)
		take(t, behind, 30*time.Second, theirs)
		const index = "last_snapshot_index"
		if sent, got := l.consensus.raft.Stats()[index], behind.node.currentLife().consensus.raft.Stats()[index]; sent == "0" || got != sent {
			t.Errorf("the leader's snapshot is of entry %s, the other has one of %s", sent, got)
		}
		h := &history{counted: make(map[string]string)}
		w.settled(h)
		for _, p := range h.problems {
			t.Error(p)
		}
	})
}

// A checker of equal states that cannot fail proves nothing.
func TestAStateThatDiffersIsFoundOut(t *testing.T) {
	inWorld(t, 3, func(t *testing.T, w *world) {
		_, others := w.leader(t)
		others[0].node.currentLife().look(func(s *protocol.State) { s.Settings["a"] = protocol.Setting{Revision: 1} })
		h := &history{counted: make(map[string]string)}
		w.settled(h)
		if len(h.problems) == 0 || !strings.Contains(h.problems[0], "differ") {
			t.Errorf("found: %v", h.problems)
		}
	})
}

func TestAnOddNumberVotes(t *testing.T) {
	for nodes, want := range map[int]int{0: 1, 1: 1, 2: 1, 3: 3, 4: 3, 5: 5, 6: 5, 32: 5} {
		if got := wantVoters(nodes); got != want {
			t.Errorf("of %d nodes %d vote, not %d", nodes, got, want)
		}
	}
}

// Who understands more than the log needs shuts nobody out that does not.
func TestWhatTwoSessionsUseShutsNoEarlierVersionOut(t *testing.T) {
	inWorld(t, 3, func(t *testing.T, w *world) {
		leader, _ := w.leader(t)
		time.Sleep(5 * reconcileEvery)
		leader.node.currentLife().look(func(s *protocol.State) {
			if s.Feature != protocol.FeatureLog {
				t.Errorf("all have to understand %d", s.Feature)
			}
			for sid, session := range s.Sessions {
				if session.Feature != feature {
					t.Errorf("session %d understands %d", sid, session.Feature)
				}
			}
		})
	})
}

// announceGone has the register tell of nodes that have gone without a word, hosts and all: nobody
// refuses a connection to them.
func (w *world) announceGone(t *testing.T, count int) {
	t.Helper()
	for i := range count {
		name := fmt.Sprintf("0gone%d", i)
		for _, from := range []string{"a", "b", "c", "d"} {
			w.net.set(from, name, true)
		}
		m := mount.Member{Node: name, Addresses: []string{name + ":1"}, Refreshed: time.Unix(1, 0)}
		if err := w.running["a"].mount.Announce(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
}

func TestANodeJoinsThoughManyHaveGoneWithoutAWord(t *testing.T) {
	inWorld(t, 3, func(t *testing.T, w *world) {
		w.announceGone(t, 60)
		d := w.start("d")
		eventually(t, "the new node has a session", 8*time.Second, func() bool { return d.node.Ready() == nil })
	})
}

func TestWhoHasGoneWithoutAWordIsTakenOutOfTheRegister(t *testing.T) {
	inWorld(t, 3, func(t *testing.T, w *world) {
		w.announceGone(t, 3)
		stop := w.running["b"].storage.Inject(func(c vfs.OpCall) error {
			if c.Op == vfs.OpCreate && strings.HasPrefix(path.Base(c.Path), "b-2_") {
				return syscall.ENOSPC // its session is alive all the same
			}
			return nil
		})
		defer stop()
		there := func() (names []string) {
			members, err := w.running["a"].mount.Members(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range members {
				names = append(names, m.Node)
			}
			slices.Sort(names)
			return names
		}
		time.Sleep(goneAfter - time.Minute)
		if n := len(there()); n != 6 {
			t.Fatalf("%d members after a while", n)
		}
		again := mount.Member{Node: "0gone0", Addresses: []string{"0gone0:1"}, Refreshed: time.Unix(2, 0)} // it has no session, and is there
		if err := w.running["a"].mount.Announce(t.Context(), again); err != nil {
			t.Fatal(err)
		}
		eventually(t, "they are taken out", 3*tidyEvery, func() bool { return len(there()) < 6 })
		time.Sleep(tidyEvery)
		if names := there(); !slices.Equal(names, []string{"0gone0", "a-1", "b-2", "c-3"}) {
			t.Errorf("left are %q", names)
		}
	})
}

// Who can be found by the storage is, though whoever resolves names does not answer.
func TestANodeJoinsThoughNamesAreNotResolved(t *testing.T) {
	inWorld(t, 2, func(t *testing.T, w *world) {
		w.lookup = func(ctx context.Context) []string {
			sleep(ctx, 20*time.Second) // two attempts at two servers
			return nil
		}
		c := w.start("c")
		eventually(t, "the new node has a session", 5*time.Second, func() bool { return c.node.Ready() == nil })
		for _, p := range w.running {
			w.crash(p)
		}
		d := w.start("d")
		eventually(t, "another one founds the next generation", 12*time.Second, func() bool { return d.node.Ready() == nil })
	})
}
