package raftlock

import (
	"context"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/shoal-storage/shoal/internal/lock"
	"github.com/shoal-storage/shoal/internal/vfs"
	"github.com/shoal-storage/shoal/raftlock/mesh"
	"github.com/shoal-storage/shoal/raftlock/mount"
	"github.com/shoal-storage/shoal/raftlock/protocol"
)

// realFleet starts nodes over TLS on the loopback and a real directory.
func realFleet(tb testing.TB, n int) []*Node {
	tb.Helper()
	root, err := vfs.OpenRoot(tb.TempDir())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = root.Close() })
	var nodes []*Node
	for i := range n {
		nodes = append(nodes, realNode(tb, root, fmt.Sprintf("node%d", i)))
		if _, err := nodes[i].AwaitSession(tb.Context()); err != nil {
			tb.Fatal(err)
		}
	}
	// Until every one of them has taken its slots over.
	for begun := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		ready := true
		for _, node := range nodes {
			l := node.currentLife()
			l.mu.Lock()
			ready = ready && l.member != nil && len(l.links) == n-1 && l.member.Counts().Recovering == 0
			for _, k := range l.links {
				ready = ready && k.up
			}
			l.mu.Unlock()
		}
		if ready {
			return nodes
		}
		if time.Since(begun) > 30*time.Second {
			tb.Fatal("the fleet does not settle")
		}
	}
}

func realNode(tb testing.TB, root vfs.Dir, uuid string) *Node {
	tb.Helper()
	log := testLog().With("on", uuid)
	m, err := mount.Open(tb.Context(), root, log)
	if err != nil {
		tb.Fatal(err)
	}
	secret, err := m.Secret(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	ms, err := mesh.New(mesh.Config{Cluster: m.Cluster(), Node: uuid, Secrets: [][]byte{secret}, Logger: log})
	if err != nil {
		tb.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	node, err := Open(context.WithoutCancel(tb.Context()), Config{Node: uuid, Address: ln.Addr().String(), Network: MeshNetwork(tb.Context(), ms, log), Arbiter: m, Logger: log})
	if err != nil {
		tb.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- ms.Serve(ln) }()
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := node.Close(ctx); err != nil {
			tb.Log("close:", err)
		}
		_ = ms.Close()
		<-served
		_ = m.Close()
	})
	return node
}

// ownedBy returns names of locks in slots that a node owns, or does not.
func ownedBy(n *Node, own bool, count int) []string {
	l := n.currentLife()
	l.mu.Lock()
	defer l.mu.Unlock()
	var names []string
	for i := 0; len(names) < count; i++ {
		name := fmt.Sprintf("o/bucket%d/key%d", i%64, i)
		slot := protocol.SlotOf(fmt.Sprintf("bucket%d", i%64), name, protocol.DefaultSpread)
		if (l.current().Owners[slot].Owner == l.session.sid) == own {
			names = append(names, name)
		}
	}
	return names
}

func benchLocks(b *testing.B, nodes []*Node, clients int, names func(n *Node) []string) {
	b.Helper()
	var group sync.WaitGroup
	each := b.N/(clients*len(nodes)) + 1
	times := make([][]time.Duration, clients*len(nodes))
	lists := make([][]string, len(nodes))
	for i, n := range nodes {
		lists[i] = names(n)
	}
	b.ReportAllocs()
	b.ResetTimer()
	for i, n := range nodes {
		for c := range clients {
			group.Go(func() {
				ctx, mine := b.Context(), &times[i*clients+c]
				for k := range each {
					begun := time.Now()
					ls, err := n.Acquire(ctx, lock.Exclusive, lists[i][(c*each+k)%len(lists[i])])
					if err != nil {
						b.Error(err)
						return
					}
					if k%8 == 0 {
						*mine = append(*mine, time.Since(begun))
					}
					ls.Release()
				}
			})
		}
	}
	group.Wait()
	b.StopTimer()
	all := slices.Concat(times...)
	slices.Sort(all)
	b.ReportMetric(float64(all[len(all)/2].Nanoseconds())/1000, "p50-us")
	b.ReportMetric(float64(all[len(all)*99/100].Nanoseconds())/1000, "p99-us")
	b.ReportMetric(float64(each*clients*len(nodes))/b.Elapsed().Seconds(), "locks/s")
}

// BenchmarkLocks acquires and releases exclusive locks: in slots of the node
// itself, in slots of others, and in any.
func BenchmarkLocks(b *testing.B) {
	one, three := realFleet(b, 1), realFleet(b, 3)
	own := func(n *Node) []string { return ownedBy(n, true, 1000) }
	others := func(n *Node) []string { return ownedBy(n, false, 1000) }
	any := func(n *Node) []string { return append(ownedBy(n, false, 700), ownedBy(n, true, 300)...) }
	b.Run("alone", func(b *testing.B) { benchLocks(b, one, 1, own) })
	b.Run("local", func(b *testing.B) { benchLocks(b, three[:1], 1, own) })
	b.Run("remote, 1 client", func(b *testing.B) { benchLocks(b, three[:1], 1, others) })
	b.Run("remote, 16 clients", func(b *testing.B) { benchLocks(b, three[:1], 16, others) })
	b.Run("any, 3 nodes of 32 clients", func(b *testing.B) { benchLocks(b, three, 32, any) })
}

// BenchmarkAffinity has one of three nodes want all that is wanted of a bucket:
// at first, and when the bucket's slots have followed it.
func BenchmarkAffinity(b *testing.B) {
	nodes := realFleet(b, 3)
	var names []string
	for i := range 4096 {
		names = append(names, fmt.Sprintf("o/bucket/key%d", i))
	}
	all := func(*Node) []string { return names }
	run := func(name string) {
		b.Run(name, func(b *testing.B) { benchLocks(b, nodes[:1], 16, all) })
	}
	run("at first")
	moved := func() bool {
		moved := 0
		for _, n := range nodes[1:] {
			moved += int(n.metrics.moved.Load())
		}
		return moved > 32 // nearly all that were the others'
	}
	for begun := time.Now(); !moved() && time.Since(begun) < time.Minute; {
		for _, name := range names {
			ls, err := nodes[0].Acquire(b.Context(), lock.Exclusive, name)
			if err != nil {
				b.Fatal(err)
			}
			ls.Release()
		}
	}
	run("later")
}

// BenchmarkFailover kills one of three voters, and measures until a survivor has
// a lock that was the dead one's to grant, and until it can change a setting.
func BenchmarkFailover(b *testing.B) {
	for name, victim := range map[string]func(n *Node) bool{
		"owner":  func(n *Node) bool { return !leads(n) },
		"leader": leads,
	} {
		b.Run(name, func(b *testing.B) {
			var locked, set time.Duration
			for range b.N {
				b.StopTimer()
				nodes := realFleet(b, 3)
				awaitVoters(b, nodes)
				dead := slices.IndexFunc(nodes, victim)
				survivor := nodes[(dead+1)%3]
				theirs := ownedBy(nodes[dead], true, 1)
				b.StartTimer()
				kill(nodes[dead])
				begun := time.Now()
				if _, err := survivor.Acquire(b.Context(), lock.Exclusive, theirs...); err != nil {
					b.Fatal(err)
				}
				locked += time.Since(begun)
				for err := ErrUnknown; err != nil; { // it may be lost with its leader
					_, err = survivor.Set(b.Context(), Change{Name: "a", Value: []byte("b")})
				}
				set += time.Since(begun)
				b.StopTimer()
				for _, n := range nodes {
					kill(n)
				}
			}
			b.ReportMetric(float64(locked.Milliseconds())/float64(b.N), "ms-to-lock")
			b.ReportMetric(float64(set.Milliseconds())/float64(b.N), "ms-to-set")
		})
	}
}

// kill ends a node as SIGKILL does, as far as the others can tell.
func kill(n *Node) {
	n.stop(errClosed)
	_ = n.cfg.Network.(meshNetwork).mesh.Close() // what can fail has no part in it
}

func leads(n *Node) bool {
	l := n.currentLife()
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.term != nil
}

// awaitVoters waits until all nodes vote.
func awaitVoters(tb testing.TB, nodes []*Node) {
	tb.Helper()
	for begun := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		if voters, _ := nodes[0].currentLife().servers(); len(voters) == len(nodes) {
			return
		}
		if time.Since(begun) > 30*time.Second {
			tb.Fatal("the fleet does not settle")
		}
	}
}

// BenchmarkChanges asks what has changed of a bucket, in slots of three nodes.
func BenchmarkChanges(b *testing.B) {
	n := realFleet(b, 3)[0]
	var mark lock.Mark
	for b.Loop() {
		c, err := n.Changes(b.Context(), "bucket", mark, "o/bucket/")
		if err != nil {
			b.Fatal(err)
		}
		mark = c.Next
	}
}

// BenchmarkGood is what reading under a cache lease costs.
func BenchmarkGood(b *testing.B) {
	c, err := realFleet(b, 1)[0].Cache(b.Context(), "o/bucket/key")
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		c.Good()
	}
}
