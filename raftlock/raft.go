package raftlock

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"github.com/shoal-storage/shoal/raftlock/protocol"
)

// Trailing logs and snapshots live in memory: a node begins each life with
// nothing, so its identity can never meet an older state of itself.
const (
	trailingLogs      = 512
	snapshotThreshold = 1024
	snapshotInterval  = 30 * time.Second
	raftIOTimeout     = 5 * time.Second
)

// raftAddress makes the address that Raft knows a server by. It names the
// server, because Raft remembers its votes by address and hosts get used
// addresses anew, and it says where to dial, so that nobody has to look it up.
func raftAddress(id raft.ServerID, address string) raft.ServerAddress {
	return raft.ServerAddress(string(id) + "@" + address)
}

// splitAddress is the inverse of raftAddress.
func splitAddress(a raft.ServerAddress) (id raft.ServerID, address string) {
	before, after, _ := strings.Cut(string(a), "@")
	return raft.ServerID(before), after
}

// nodeOf returns the node whose life a server is.
func nodeOf(id raft.ServerID) string {
	node, _, _ := strings.Cut(string(id), ".")
	return node
}

// consensus is one Raft and what it runs on.
type consensus struct {
	raft      *raft.Raft
	transport *raft.NetworkTransport
	stream    *stream
	leading   chan bool // whether this server is the leader, at each change

	gate sync.RWMutex
	held bool // nothing is proposed
}

// newConsensus starts a server. With found it founds a cluster of its own;
// otherwise it waits for a leader to add it.
func newConsensus(l *life, found bool) (*consensus, error) {
	cfg := raft.DefaultConfig()
	cfg.LocalID = l.id
	cfg.HeartbeatTimeout, cfg.ElectionTimeout, cfg.LeaderLeaseTimeout = electionTimeout, electionTimeout, leaderLease
	cfg.CommitTimeout = commitTimeout
	cfg.SnapshotThreshold, cfg.SnapshotInterval, cfg.TrailingLogs = snapshotThreshold, snapshotInterval, trailingLogs
	cfg.ShutdownOnRemove = false
	cfg.NoLegacyTelemetry = true
	cfg.Logger = hclog.New(&hclog.LoggerOptions{Output: &raftLog{l.log}, Level: hclog.Info, DisableTime: true})
	leading := make(chan bool, 16)
	cfg.NotifyCh = leading

	c := &consensus{stream: newStream(l), leading: leading}
	c.transport = raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		Stream: c.stream, MaxPool: 2, Timeout: raftIOTimeout, Logger: cfg.Logger,
		// Without a pipeline of requests: its sender can be left waiting for a
		// reader that has gone when the leader steps down, and then a shutdown
		// never ends. The entries here are few.
		MaxRPCsInFlight: 1,
	})
	store := raft.NewInmemStore()
	var err error
	if found {
		servers := raft.Configuration{Servers: []raft.Server{{ID: l.id, Address: l.address}}}
		err = raft.BootstrapCluster(cfg, store, store, raft.NewInmemSnapshotStore(), c.transport, servers)
	}
	if err == nil {
		c.raft, err = raft.NewRaft(cfg, (*machine)(l), store, store, raft.NewInmemSnapshotStore(), c.transport)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start raft: %w", err), c.transport.Close())
	}
	return c, nil
}

// apply proposes a command, which only a leader can, and while nothing is held.
func (c *consensus) apply(command protocol.Command) raft.ApplyFuture {
	c.gate.RLock()
	defer c.gate.RUnlock()
	if c.held {
		return held{}
	}
	return c.raft.Apply(protocol.Encode(command), applyTimeout)
}

// hold holds proposals back, or no more. When it returns those before are on their way. Raft's own
// transfer of the leadership does so too, and can forget to stop (hashicorp/raft issue 696).
func (c *consensus) hold(on bool) {
	c.gate.Lock()
	defer c.gate.Unlock()
	c.held = on
}

// held is what becomes of a proposal that comes while they are held: it is for the next leader.
type held struct{}

func (held) Error() error  { return raft.ErrNotLeader }
func (held) Index() uint64 { return 0 }
func (held) Response() any { return nil }

// logged waits until this server's log reaches as far as index.
func (c *consensus) logged(ctx context.Context, index uint64) error {
	for c.raft.LastIndex() < index {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		sleep(ctx, time.Millisecond)
	}
	return nil
}

// hasten has a server, which may be this one, stand for election at once: instead of waiting for
// a leader that cannot be there, or because the leader leaves.
func (c *consensus) hasten(l *life, id raft.ServerID, address raft.ServerAddress) error {
	var answer raft.TimeoutNowResponse
	request := raft.TimeoutNowRequest{RPCHeader: raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte(l.id), Addr: []byte(l.address)}}
	return c.transport.TimeoutNow(id, address, &request, &answer)
}

// stand has this server stand for election at once.
func (l *life) stand() {
	if err := l.consensus.hasten(l, l.id, l.address); err != nil {
		l.log.Debug("election not hastened", "error", err)
	}
}

// shutdownTimeout is how long Raft may take to end. What it leaves behind has no
// connection any more.
const shutdownTimeout = 10 * time.Second

func (c *consensus) close() error {
	done := make(chan error, 1)
	go func() { done <- c.raft.Shutdown().Error() }()
	t := time.NewTimer(shutdownTimeout)
	defer t.Stop()
	var err error
	select {
	case err = <-done:
	case <-t.C:
		err = errors.New("raft does not shut down")
	}
	return errors.Join(err, c.transport.Close())
}

// stream is Raft's way over the Network.
type stream struct {
	life   *life
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newStream(l *life) *stream {
	return &stream{life: l, conns: make(chan net.Conn), closed: make(chan struct{})}
}

// Dial implements raft.StreamLayer. The first thing said is which life of which
// generation is meant.
func (s *stream) Dial(address raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	id, at := splitAddress(address)
	ctx, cancel := context.WithTimeout(s.life.ctx, timeout)
	defer cancel()
	c, err := s.life.node.cfg.Network.Dial(ctx, at, nodeOf(id), raftProtocol)
	if err != nil {
		return nil, err
	}
	if err := writePreamble(c, s.life.generation, string(id)); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// offer hands in a connection. It returns when the connection is closed.
func (s *stream) offer(c net.Conn) {
	gone := make(chan struct{})
	select {
	case s.conns <- &served{Conn: c, gone: gone}:
		<-gone
	case <-s.closed:
	}
}

// Accept implements net.Listener.
func (s *stream) Accept() (net.Conn, error) {
	select {
	case c := <-s.conns:
		return c, nil
	case <-s.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (s *stream) Close() error {
	s.once.Do(func() { close(s.closed) })
	return nil
}

// Addr implements net.Listener.
func (s *stream) Addr() net.Addr { return streamAddr(s.life.address) }

// served is a connection whose handler waits for its end.
type served struct {
	net.Conn
	once sync.Once
	gone chan struct{}
}

// Close implements net.Conn.
func (c *served) Close() error {
	c.once.Do(func() { close(c.gone) })
	return c.Conn.Close()
}

type streamAddr string

// Network implements net.Addr.
func (streamAddr) Network() string { return "raft" }

// String implements net.Addr.
func (a streamAddr) String() string { return string(a) }

// maxPreamble bounds the text of a preamble, in bytes.
const maxPreamble = 200

// writePreamble says what a connection is about: a generation and a text.
func writePreamble(c net.Conn, generation uint32, text string) error {
	b := binary.BigEndian.AppendUint32(nil, generation)
	b = append(b, byte(len(text)))
	_, err := c.Write(append(b, text...))
	return err
}

func readPreamble(c net.Conn) (generation uint32, text string, err error) {
	if err := c.SetReadDeadline(time.Now().Add(raftIOTimeout)); err != nil {
		return 0, "", err
	}
	var head [5]byte
	if _, err := io.ReadFull(c, head[:]); err != nil {
		return 0, "", err
	}
	if head[4] > maxPreamble {
		return 0, "", errors.New("the preamble is too long")
	}
	rest := make([]byte, head[4])
	if _, err := io.ReadFull(c, rest); err != nil {
		return 0, "", err
	}
	return binary.BigEndian.Uint32(head[:]), string(rest), c.SetReadDeadline(time.Time{})
}

// raftLog passes on what Raft logs, which is for those who look for a fault.
type raftLog struct{ log *slog.Logger }

// Write implements io.Writer.
func (w *raftLog) Write(p []byte) (int, error) {
	w.log.Debug("raft", "says", string(bytes.TrimSpace(p)))
	return len(p), nil
}
