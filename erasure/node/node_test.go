package node_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/shoal-storage/shoal/erasure"
	"github.com/shoal-storage/shoal/erasure/drive"
	"github.com/shoal-storage/shoal/erasure/fence"
	"github.com/shoal-storage/shoal/erasure/node"
	"github.com/shoal-storage/shoal/erasure/register"
	"github.com/shoal-storage/shoal/internal/lock"
	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/object/objecttest"
)

// serving is a node with drives, whose connections can be cut.
type serving struct {
	server *node.Server
	mu     sync.Mutex
	conns  map[net.Conn]bool
	away   bool
}

// serve returns a node, and a way to connect to it.
func serve(t *testing.T) *serving {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	s := &serving{conns: make(map[net.Conn]bool)}
	s.server = node.NewServer(ctx, func(_ context.Context, question string, content []byte) ([]byte, error) {
		if question != "echo" {
			return nil, fmt.Errorf("%s is not known: %w", question, register.ErrUnknown)
		}
		return content, nil
	})
	return s
}

var errAway = errors.New("nobody is there")

func (s *serving) dial(_ context.Context, protocol string) (net.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.away {
		return nil, errAway
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer ln.Close()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		return nil, err
	}
	other, err := ln.Accept()
	if err != nil {
		return nil, err
	}
	s.conns[other] = true
	if protocol == node.CallProtocol {
		go s.server.ServeCalls(other)
	} else {
		go s.server.ServeBulk(other)
	}
	return c, nil
}

// cut breaks all connections.
func (s *serving) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		_ = c.Close()
	}
	clear(s.conns)
}

// meet returns the node as another one sees it, once it is connected.
func meet(t *testing.T, s *serving) *node.Peer {
	t.Helper()
	p := node.NewPeer(context.Background(), s.dial)
	t.Cleanup(p.Close)
	await(t, p, true)
	return p
}

// await waits until a node is there, or is not.
func await(t *testing.T, p *node.Peer, online bool) {
	t.Helper()
	for deadline := time.After(20 * time.Second); ; {
		changed := p.Changed()
		if p.Online() == online {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			t.Fatalf("the node is online: %v, and should be %v", p.Online(), online)
		}
	}
}

func newDrive() *drive.Drive { return drive.New(drive.NewMemory(), drive.NewMemoryFiles(), nil) }

// remote returns n drives, each of a node of its own.
func remote(t *testing.T, n int) []erasure.Drive {
	t.Helper()
	var all []erasure.Drive
	for i := range n {
		s, id := serve(t), fmt.Sprint("drive-", i)
		s.server.Offer(id, newDrive())
		all = append(all, meet(t, s).Drive(id))
	}
	return all
}

func TestAStoreOverDrivesOfOtherNodesShowsWhatEveryStoreMust(t *testing.T) {
	objecttest.Run(t, func(t *testing.T) object.Store {
		locker := lock.NewLocal(1)
		s, err := erasure.New(context.Background(), erasure.Config{Sets: []erasure.SetConfig{{Drives: remote(t, 4), Parity: 2}}, Locker: locker, Logger: slog.New(slog.DiscardHandler), Now: time.Now})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			locker.Close()
		})
		return s
	})
}

// failing is a drive that fails in one way.
type failing struct {
	node.Drive
	err error
}

func (f failing) Commit(context.Context, register.Change) error { return f.err }

func (f failing) Create(context.Context, register.DataID, int64) (register.ShardWriter, error) {
	return nil, f.err
}

func TestWhatADriveRefusesForComesAsTheSameError(t *testing.T) {
	s := serve(t)
	p := meet(t, s)
	for _, want := range []error{register.ErrStale, register.ErrNoShard, register.ErrFull, register.ErrUnknown, register.ErrFenced, register.ErrCrowded, register.ErrNoLog, register.ErrClaimed, fs.ErrNotExist, fence.ErrTaken, fence.ErrOver, fence.ErrBehind} {
		s.server.Offer("d", failing{newDrive(), fmt.Errorf("drive: %w", want)})
		if err := p.Drive("d").Commit(t.Context(), register.Change{}); !errors.Is(err, want) {
			t.Errorf("%v comes as %v", want, err)
		}
		w, err := p.Drive("d").Create(t.Context(), register.DataID{1}, 0)
		if err == nil {
			err = w.Finish()
		}
		if !errors.Is(err, want) {
			t.Errorf("%v comes as %v from a shard", want, err)
		}
	}
	if err := p.Drive("none").Commit(t.Context(), register.Change{}); !errors.Is(err, register.ErrUnknown) {
		t.Errorf("a drive that is not there: %v", err)
	}
}

func (f failing) Pending(context.Context, register.PendingQuery) (register.ScanPage, error) {
	return register.ScanPage{}, f.err
}

// A node of an earlier release answers what it answers to any call that it does not know.
func TestANodeThatDoesNotKnowTheQuestionHasNoLog(t *testing.T) {
	s := serve(t)
	p := meet(t, s)
	for want, err := range map[error]error{
		register.ErrNoLog:   errors.New("node: the call 10 is not known here"),
		register.ErrUnknown: fmt.Errorf("drive: %w", register.ErrUnknown), // it is away, and can be asked later
	} {
		s.server.Offer("d", failing{newDrive(), err})
		if _, got := p.Drive("d").Pending(t.Context(), register.PendingQuery{Limit: 1}); !errors.Is(got, want) {
			t.Errorf("%v comes as %v", err, got)
		}
	}
}

func TestWhatIsPendingComesFromOtherNodes(t *testing.T) {
	s, d := serve(t), newDrive()
	if err := d.StartLog(); err != nil {
		t.Fatal(err)
	}
	key := register.Key{Space: register.Objects, Name: "k"}
	r := register.Record{Version: register.Null, Kind: register.Object, Quorum: 1, Made: register.Token{Minor: 1}, Changed: register.Token{Minor: 1}}
	if err := d.Commit(t.Context(), register.Change{Key: key, Record: r}); err != nil {
		t.Fatal(err)
	}
	s.server.Offer("d", d)
	remote := meet(t, s).Drive("d")
	page, err := remote.Pending(t.Context(), register.PendingQuery{Limit: 10})
	if err != nil || len(page.Items) != 1 || page.Items[0].Name != key.Place(r.Made) || page.Items[0].Entries[0].Changed != r.Changed {
		t.Errorf("%+v, %v", page, err)
	}
	page, err = remote.Pending(t.Context(), register.PendingQuery{From: key.Place(r.Made) + "\x00", Limit: 10})
	if err != nil || len(page.Items) != 0 {
		t.Errorf("behind it %+v, %v", page, err)
	}
}

func TestShardsOfAnySizeGoOverAndPiecesComeBack(t *testing.T) {
	d := remote(t, 1)[0]
	for i, size := range []int{0, 1, 5000, 70_000, 9 << 20} {
		id, content := register.DataID{byte(i + 1)}, bytes.Repeat([]byte("0123456789abcdef"), size/16+1)[:size]
		w, err := d.Create(t.Context(), id, 0)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := w.Write(content); err != nil || n != size {
			t.Fatalf("%d bytes: %d, %v", size, n, err)
		}
		if err := w.Finish(); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 1<<20)
		n, err := d.ReadShard(t.Context(), id, int64(size/2), got)
		if want := content[size/2 : min(size, size/2+1<<20)]; err != nil || !bytes.Equal(got[:n], want) {
			t.Errorf("%d bytes: %d come back, %v", size, n, err)
		}
	}
	if _, err := d.ReadShard(t.Context(), register.DataID{99}, 0, make([]byte, 10)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a shard that is not there: %v", err)
	}
	if got, err := d.ReadShard(t.Context(), register.DataID{2}, 0, make([]byte, 10)); err != nil || got != 1 {
		t.Errorf("the connection is of no use after an error: %v, %v", got, err)
	}
}

// measured is a drive that notes how long shards are said to be.
type measured struct {
	node.Drive
	sizes []int64
}

func (m *measured) Create(ctx context.Context, id register.DataID, size int64) (register.ShardWriter, error) {
	m.sizes = append(m.sizes, size)
	return m.Drive.Create(ctx, id, size)
}

func TestADriveIsToldHowLongAShardWillBe(t *testing.T) {
	s := serve(t)
	there := &measured{Drive: drive.New(drive.NewMemory(), drive.NewMemoryFiles(), nil)}
	s.server.Offer("d", there)
	d := meet(t, s).Drive("d")
	want := []int64{0, 1, 5 << 40}
	for i, size := range want {
		w, err := d.Create(t.Context(), register.DataID{byte(i + 1)}, size)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Finish(); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(there.sizes, want) {
		t.Errorf("it is told %v, want %v", there.sizes, want)
	}
}

func TestAShardThatIsGivenUpLeavesNothing(t *testing.T) {
	s, files := serve(t), drive.NewMemoryFiles()
	s.server.Offer("d", drive.New(drive.NewMemory(), files, nil))
	d := meet(t, s).Drive("d")
	w, err := d.Create(t.Context(), register.DataID{1}, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(make([]byte, 100_000)); err != nil {
		t.Fatal(err)
	}
	w.Abort()
	if _, err := d.ReadShard(t.Context(), register.DataID{1}, 0, make([]byte, 1)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it can be read: %v", err)
	}
}

// full is a drive that takes no shard.
type full struct{ node.Drive }

func (full) Create(context.Context, register.DataID, int64) (register.ShardWriter, error) {
	return nil, register.ErrFull
}

// TestWhyAShardIsRefusedIsTold: also to who is sending it when the other end hangs up.
func TestWhyAShardIsRefusedIsTold(t *testing.T) {
	s := serve(t)
	s.server.Offer("d", full{newDrive()})
	d, piece := meet(t, s).Drive("d"), make([]byte, 1<<20)
	for range 100 {
		w, err := d.Create(t.Context(), register.DataID{1}, 8<<20)
		for range 8 {
			if err == nil {
				_, err = w.Write(piece)
			}
		}
		if !errors.Is(err, register.ErrFull) || errors.Is(err, net.ErrClosed) || errors.Is(err, syscall.EPIPE) {
			t.Fatal(err)
		}
	}
}

// blocking is a drive whose reads wait.
type blocking struct {
	node.Drive
	wait chan struct{}
}

func (b blocking) Read(ctx context.Context, _ register.Query) (register.View, error) {
	select {
	case <-b.wait:
	case <-ctx.Done():
	}
	return register.View{}, ctx.Err()
}

func TestACallThatTakesLongHoldsUpNoOther(t *testing.T) {
	s := serve(t)
	slow := blocking{newDrive(), make(chan struct{})}
	s.server.Offer("slow", slow)
	p := meet(t, s)
	done := make(chan error, 1)
	go func() {
		_, err := p.Drive("slow").Read(t.Context(), register.Query{})
		done <- err
	}()
	if b, err := p.Ask(t.Context(), "echo", []byte("hello")); err != nil || string(b) != "hello" {
		t.Errorf("%q, %v", b, err)
	}
	close(slow.wait)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestALostConnectionEndsWhatIsUnderWayAndIsMadeAnew(t *testing.T) {
	s := serve(t)
	slow := blocking{newDrive(), make(chan struct{})}
	s.server.Offer("slow", slow)
	p := meet(t, s)
	done := make(chan error, 1)
	go func() {
		_, err := p.Drive("slow").Read(t.Context(), register.Query{})
		done <- err
	}()
	s.mu.Lock()
	s.away = true
	s.mu.Unlock()
	s.cut()
	if err := <-done; err == nil {
		t.Error("the call has an answer")
	}
	await(t, p, false)
	if err := p.Drive("slow").Commit(t.Context(), register.Change{}); !errors.Is(err, register.ErrUnknown) {
		t.Errorf("a commit that was not sent is said to be %v", err)
	}
	s.mu.Lock()
	s.away = false
	s.mu.Unlock()
	await(t, p, true)
	if _, err := p.Ask(t.Context(), "echo", nil); err != nil {
		t.Error(err)
	}
}

func TestWhatGoesToANodeIsCounted(t *testing.T) {
	s := serve(t)
	s.server.Offer("drive", newDrive())
	p := meet(t, s)
	before := p.Traffic()
	const calls, size = 10, 1 << 20
	for range calls {
		if _, err := p.Ask(t.Context(), "echo", make([]byte, 100)); err != nil {
			t.Fatal(err)
		}
	}
	w, err := p.Drive("drive").Create(t.Context(), register.DataID{1}, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(make([]byte, size)); err != nil {
		t.Fatal(err)
	}
	if during := p.Traffic(); during.Shards != 1 {
		t.Errorf("a shard is on its way: %+v", during)
	}
	if err := w.Finish(); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Drive("drive").ReadShard(t.Context(), register.DataID{1}, 0, make([]byte, size)); err != nil {
		t.Fatal(err)
	}
	after := p.Traffic()
	if n := after.Answered - before.Answered; n < calls || after.Asked-before.Asked < calls || after.Sent-before.Sent < size || after.Received-before.Received < size {
		t.Errorf("before %+v, after %+v", before, after)
	}
	if !after.Online || after.Connected != 1 || after.Age <= 0 || after.Shards != 0 {
		t.Errorf("%+v", after)
	}
	s.cut()
	for deadline := time.Now().Add(20 * time.Second); ; runtime.Gosched() {
		if again := p.Traffic(); again.Connected == 2 && again.Shards == 0 && again.RoundTrip > 0 && again.Silence > 0 && again.Longest >= again.RoundTrip && again.Sent >= after.Sent {
			return
		} else if time.Now().After(deadline) {
			t.Fatalf("a connection that was made anew: %+v", again)
		}
	}
}

func TestAPageThatIsTooLongForOneAnswerEndsEarlier(t *testing.T) {
	s := serve(t)
	own := newDrive()
	s.server.Offer("d", own)
	for i := range 20 {
		token := register.Token{Lease: lock.Token{Generation: 1, Sequence: uint64(i + 1)}}
		if err := own.Commit(t.Context(), register.Change{
			Key:    register.Key{Space: register.System, Name: fmt.Sprintf("%02d", i)},
			Record: register.Record{Version: register.Null, Kind: register.Object, Made: token, Changed: token, Quorum: 1, Value: make([]byte, 1<<20)},
		}); err != nil {
			t.Fatal(err)
		}
	}
	d := meet(t, s).Drive("d")
	names := 0
	for from, more := "", true; more; {
		page, err := d.Scan(t.Context(), register.ScanQuery{Space: register.System, From: from, Limit: 1000})
		if err != nil {
			t.Fatal(err)
		}
		if len(page.Items) == 0 || len(page.Items) == 20 {
			t.Fatalf("a page has %d names", len(page.Items))
		}
		names, more = names+len(page.Items), page.More
		from = page.Items[len(page.Items)-1].Name + "\x00"
	}
	if names != 20 {
		t.Errorf("%d of 20 names were listed", names)
	}
}

func FuzzServersBearAnything(f *testing.F) {
	f.Add([]byte{0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 1, 0}, true)
	f.Add([]byte{0, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0, 1, 3, 0, 0, 0, 9, 0, 1, 'd'}, true)
	f.Add([]byte("\x02\x00abcdefghijklmnop\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x10\x01d"), false)
	f.Add([]byte("\x01\x00abcdefghijklmnop\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01d\x00\x00\x00\x01x\x00\x00\x00\x00"), false)
	f.Fuzz(func(t *testing.T, b []byte, calls bool) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		s := node.NewServer(ctx, func(context.Context, string, []byte) ([]byte, error) { return nil, nil })
		s.Offer("d", newDrive())
		here, there := net.Pipe()
		var served sync.WaitGroup
		served.Go(func() {
			if calls {
				s.ServeCalls(there)
			} else {
				s.ServeBulk(there)
			}
			_ = there.Close()
		})
		served.Go(func() { _, _ = io.Copy(io.Discard, here) })
		_, _ = here.Write(b)
		_ = here.Close()
		served.Wait()
	})
}
