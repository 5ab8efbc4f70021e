package raftlock

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/shoal-storage/shoal/internal/lock"
)

// speaksByOthers reports whether a node speaks to another one by way of others.
func (p *process) speaksByOthers(to *process) bool {
	d := p.node.cfg.Network.(*detours)
	return d.isBent(to.name + ":1")
}

// Two nodes that do not reach each other, while both reach the others, go on, be one of them the
// leader. What they have to say to each other goes by way of others, and nothing is granted twice.
func TestTwoThatDoNotReachEachOtherSpeakByWayOfOthers(t *testing.T) {
	for name, pick := range map[string]func(leader *process, others []*process) (a, b, third *process){
		"two followers":           func(l *process, o []*process) (*process, *process, *process) { return o[0], o[1], l },
		"a follower, the leader":  func(l *process, o []*process) (*process, *process, *process) { return o[0], l, o[1] },
		"the leader, a follower":  func(l *process, o []*process) (*process, *process, *process) { return l, o[0], o[1] },
		"two followers of a four": func(l *process, o []*process) (*process, *process, *process) { return o[0], o[1], o[2] },
	} {
		t.Run(name, func(t *testing.T) {
			nodes := 3
			if strings.Contains(name, "four") {
				nodes = 4
			}
			inWorld(t, nodes, func(t *testing.T, w *world) {
				a, b, third := pick(w.leader(t))
				name := ownedBy(b.node, true, 1)[0]
				held, _ := take(t, third, time.Second, name)
				w.part(a, b, true)
				ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
				defer cancel()
				begun := time.Now()
				if _, err := a.node.Acquire(ctx, lock.Exclusive, name); err == nil {
					t.Error("granted while another holds it")
				}
				if took := time.Since(begun); took > 20*time.Second {
					t.Errorf("it waited for %v", took)
				}
				held.Release()
				eventually(t, "both are ready", 20*time.Second, func() bool { return a.node.Ready() == nil && b.node.Ready() == nil })
				for range 20 {
					ls, _ := take(t, a, time.Second, ownedBy(b.node, true, 1)[0])
					ls.Release()
				}
				if !a.speaksByOthers(b) || !b.speaksByOthers(a) {
					t.Error("nothing goes by way of others")
				}
				w.part(a, b, false)
				eventually(t, "they speak to each other directly", 20*time.Second, func() bool { return !a.speaksByOthers(b) && !b.speaksByOthers(a) })
				w.whole(t)
				take(t, a, time.Second, ownedBy(b.node, true, 1)[0])
			})
		})
	}
}

// Who does not reach the leader joins by way of others: who goes on, and who has just been started.
func TestWhoDoesNotReachTheLeaderJoinsByWayOfOthers(t *testing.T) {
	for _, restarted := range []bool{false, true} {
		t.Run(fmt.Sprintf("started anew %v", restarted), func(t *testing.T) {
			inWorld(t, 3, func(t *testing.T, w *world) {
				leader, others := w.leader(t)
				a := others[0]
				before := a.node.currentLife()
				w.part(a, leader, true)
				if restarted {
					w.crash(a)
					time.Sleep(20 * time.Second) // they know that it has gone
					a = w.start(a.name)
				} else {
					before.end(errRemoved)
				}
				eventually(t, "it has a session", 30*time.Second, func() bool { return a.node.Ready() == nil && a.node.currentLife() != before })
				if !leader.speaksByOthers(a) {
					t.Error("nothing goes by way of others")
				}
				take(t, a, 20*time.Second, ownedBy(leader.node, true, 1)[0])
			})
		})
	}
}

// Who is reached by way of others, and has gone, is found to have gone: they say so.
func TestWhoHasGoneIsGoneByWayOfOthersToo(t *testing.T) {
	for _, bent := range []bool{false, true} {
		t.Run(fmt.Sprintf("spoken to by way of others %v", bent), func(t *testing.T) {
			inWorld(t, 3, func(t *testing.T, w *world) {
				_, others := w.leader(t)
				a, b := others[0], others[1]
				w.part(a, b, true)
				if bent {
					eventually(t, "they speak by way of others", 20*time.Second, func() bool { return a.speaksByOthers(b) })
				}
				w.crash(b)
				ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
				defer cancel()
				if _, err := a.node.cfg.Network.Dial(ctx, b.name+":1", b.net.uuid, callProtocol); !isGone(err) {
					t.Errorf("it says %v", err)
				}
			})
		})
	}
}

// What nodes are used for goes by way of others too: connections on which nothing arrives any more are
// ended. Those by way of others are not broken off when the direct way is open
// again: a content may be under way.
func TestWhatNodesAreUsedForGoesByWayOfOthersAndGoesOn(t *testing.T) {
	const protocol = "use/1"
	inWorld(t, 3, func(t *testing.T, w *world) {
		_, others := w.leader(t)
		a, b := others[0], others[1]
		peers := make(chan string, 2)
		b.node.cfg.Network.Handle(protocol, func(c net.Conn, peer string) {
			peers <- peer
			_, _ = io.Copy(c, c)
			_ = c.Close()
		})
		echo := func(c net.Conn, when string) {
			t.Helper()
			heard := make([]byte, len(when))
			if _, err := io.WriteString(c, when); err != nil {
				t.Fatalf("%s: %v", when, err)
			}
			if _, err := io.ReadFull(c, heard); err != nil || string(heard) != when {
				t.Fatalf("%s: heard %q, %v", when, heard, err)
			}
		}
		dial := func() net.Conn {
			t.Helper()
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			c, err := a.node.cfg.Network.Dial(ctx, b.name+":1", b.net.uuid, protocol)
			if err != nil {
				t.Fatal(err)
			}
			if peer := <-peers; peer != a.net.uuid {
				t.Errorf("it is taken for %s", peer)
			}
			return c
		}
		before := dial()
		echo(before, "at first")
		w.part(a, b, true)
		bent := dial()
		defer hangUp(bent)
		if !a.speaksByOthers(b) {
			t.Error("nothing goes by way of others")
		}
		if n, err := before.Read(make([]byte, 1)); err == nil {
			t.Errorf("%d bytes came on a connection on which nothing arrives", n)
		}
		echo(bent, "by way of others")
		w.part(a, b, false)
		eventually(t, "they speak to each other directly", 30*time.Second, func() bool { return !a.speaksByOthers(b) && !b.speaksByOthers(a) })
		echo(bent, "still")
		direct := dial()
		defer hangUp(direct)
		echo(direct, "directly")
		if c, is := direct.(*wayConn); is && c.bent {
			t.Error("it goes by way of others though they reach each other")
		}
	})
}

// Contents that are passed on take no place of locks.
func TestWhoPassesOnContentsHasPlacesLeftForLocks(t *testing.T) {
	d := newDetours(t.Context(), nowhere{}, slog.New(slog.DiscardHandler))
	for range maxPassedOn {
		d.places("use/1") <- struct{}{}
	}
	if _, err := d.connect(order{Protocol: "use/1"}, "a"); err == nil || errors.Is(err, errNowhere) {
		t.Errorf("one content more is passed on: %v", err)
	}
	if _, err := d.connect(order{Protocol: lockProtocol}, "a"); !errors.Is(err, errNowhere) {
		t.Errorf("no lock is passed on: %v", err)
	}
}

// nowhere is a Network in which nobody is reached.
type nowhere struct{}

var errNowhere = errors.New("nobody is there")

func (nowhere) Dial(context.Context, string, string, string) (net.Conn, error) {
	return nil, errNowhere
}
func (nowhere) Handle(string, func(net.Conn, string)) {}

// That a third node has gone says nothing of the one that it was asked for.
func TestWhoIsAskedForAnotherAndHasGoneIsNotTakenForThatOne(t *testing.T) {
	inWorld(t, 3, func(t *testing.T, w *world) {
		third, others := w.leader(t)
		a, b := others[0], others[1]
		w.part(a, b, true)
		w.crash(third)
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if _, err := a.node.cfg.Network.Dial(ctx, b.name+":1", b.net.uuid, callProtocol); err == nil || isGone(err) {
			t.Errorf("it says %v", err)
		}
	})
}

// Whoever passes on what two others say may go at any time, and another one does it.
func TestAThirdNodeThatPassesOnMayDie(t *testing.T) {
	inWorld(t, 5, func(t *testing.T, w *world) {
		_, others := w.leader(t)
		a, b := others[0], others[1]
		w.part(a, b, true)
		for _, third := range others[2:] {
			ls, _ := take(t, a, 20*time.Second, ownedBy(b.node, true, 1)[0])
			ls.Release()
			w.crash(third)
		}
		take(t, a, 20*time.Second, ownedBy(b.node, true, 1)[0])
	})
}
