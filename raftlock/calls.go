package raftlock

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/raft"

	"github.com/shoal-storage/shoal/raftlock/protocol"
)

// Calls are questions that have an answer, one at a time on a connection. They
// are few: two a second from each node, and a handful when something changes.

// maxCall bounds a question and an answer, in bytes.
const maxCall = 4 << 20

// request is a question; exactly one of its parts is set.
type request struct {
	Generation uint32        `json:"generation,omitempty"` // 0: whichever
	Join       *joinRequest  `json:"join,omitempty"`
	Leave      string        `json:"leave,omitempty"`   // server that is to be removed
	Propose    []byte        `json:"propose,omitempty"` // a command
	Keep       *keepRequest  `json:"keep,omitempty"`
	Applied    uint64        `json:"applied,omitempty"` // answered once so much is
	Logged     uint64        `json:"logged,omitempty"`  // answered once the log reaches so far
	Status     *struct{}     `json:"status,omitempty"`
	Locks      int           `json:"locks,omitempty"`    // so many of those that are held
	Patience   time.Duration `json:"patience,omitempty"` // how long the answer is waited for
}

type joinRequest struct {
	ID, Address string
}

type keepRequest struct {
	Session protocol.SID
	Number  uint64
	Clock   int64 // of who asks, in ns since 1970; 0: it does not say
}

// response is an answer.
type response struct {
	Generation uint32           `json:"generation,omitempty"`
	Leader     string           `json:"leader,omitempty"` // who to ask, where this node is not the leader
	NotLeader  bool             `json:"not_leader,omitempty"`
	Index      uint64           `json:"index,omitempty"`
	Result     *protocol.Result `json:"result,omitempty"`
	Alive      bool             `json:"alive,omitempty"`
	Fresh      bool             `json:"fresh,omitempty"` // the generation was renewed a moment ago
	Clock      int64            `json:"clock,omitempty"` // of the fleet, in ns since 1970; 0: that is not known
	Error      string           `json:"error,omitempty"`
	Unknown    bool             `json:"unknown,omitempty"` // what was asked may have been done
	Refused    string           `json:"refused,omitempty"` // why the storage takes nothing: a key of refusals
	Removed    bool             `json:"removed,omitempty"` // the server that asks is none of the fleet's
	Status     *MemberStatus    `json:"status,omitempty"`
	Locks      []HeldLock       `json:"locks,omitempty"`
}

// calls makes calls and keeps the connections for the next ones.
type calls struct {
	network Network
	mu      sync.Mutex
	idle    map[raft.ServerAddress][]idleConn
	closed  bool
}

// idleConn is a connection that is not used, and since when.
type idleConn struct {
	net.Conn
	since time.Time
}

// maxIdleCalls is how many unused connections to one node are kept.
const maxIdleCalls = 2

// maxCallees is to how many nodes connections are kept.
const maxCallees = 64

func newCalls(n Network) *calls {
	return &calls{network: n, idle: make(map[raft.ServerAddress][]idleConn)}
}

// ask asks a node. The address has no server where whoever is there is meant.
func (k *calls) ask(ctx context.Context, to raft.ServerAddress, q request) (a response, err error) {
	if deadline, ok := ctx.Deadline(); ok {
		q.Patience = time.Until(deadline)
	}
	c := k.take(to)
	if c != nil {
		if a, err = exchange(ctx, c, q); err == nil {
			k.keep(to, c)
			return a, nil
		}
		_ = c.Close() // it may have been dead already: a new one tells
		if ctx.Err() != nil || !again(q) {
			return a, fmt.Errorf("ask %s: %w", to, err)
		}
	}
	id, at := splitAddress(to)
	if c, err = k.network.Dial(ctx, at, nodeOf(id), callProtocol); err != nil {
		return a, fmt.Errorf("ask %s: %w", to, err)
	}
	if a, err = exchange(ctx, c, q); err != nil {
		return a, errors.Join(fmt.Errorf("ask %s: %w", to, err), c.Close())
	}
	k.keep(to, c)
	return a, nil
}

// again reports whether a question may be asked twice. A command that opens a
// session may: its nonce tells; one that sets a setting may not.
func again(q request) bool {
	if q.Propose == nil {
		return true
	}
	c, err := protocol.ParseCommand(q.Propose)
	if err != nil {
		return false
	}
	_, setting := c.(protocol.SetSetting)
	return !setting
}

// take returns an unused connection, nil if there is none that is surely open: what goes out on
// one that the other end has given up may not be asked again (again).
func (k *calls) take(to raft.ServerAddress) net.Conn {
	k.mu.Lock()
	defer k.mu.Unlock()
	idle := k.idle[to]
	if len(idle) == 0 {
		return nil
	}
	last := idle[len(idle)-1]
	if time.Since(last.since) < idleCall/2 {
		k.idle[to] = idle[:len(idle)-1]
		return last.Conn
	}
	for _, c := range idle { // the last one was used last
		hangUp(c)
	}
	delete(k.idle, to)
	return nil
}

func (k *calls) keep(to raft.ServerAddress, c net.Conn) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed || len(k.idle[to]) >= maxIdleCalls {
		hangUp(c)
		return
	}
	if len(k.idle) >= maxCallees {
		k.drop() // nodes come and go: those that are still there are dialed again
	}
	k.idle[to] = append(k.idle[to], idleConn{c, time.Now()})
}

func (k *calls) close() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.closed = true
	k.drop()
}

// drop closes what is unused. The caller holds mu.
func (k *calls) drop() {
	for _, idle := range k.idle {
		for _, c := range idle {
			hangUp(c)
		}
	}
	clear(k.idle)
}

// exchange asks on a connection and waits for the answer.
func exchange(ctx context.Context, c net.Conn, q request) (a response, err error) {
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if err = writeJSON(c, q); err == nil {
		err = readJSON(c, &a)
	}
	if !stop() {
		return a, context.Cause(ctx) // the connection has a deadline that is over, which is not its own
	}
	return a, err
}

func writeJSON(c net.Conn, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if len(b) > maxCall {
		return errors.New("it is too long")
	}
	frame := binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(b)), uint32(len(b))) //nolint:gosec // bounded
	_, err = c.Write(append(frame, b...))
	return err
}

func readJSON(c net.Conn, v any) error {
	var head [4]byte
	if _, err := io.ReadFull(c, head[:]); err != nil {
		return err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > maxCall {
		return fmt.Errorf("%w: a call of %d bytes", protocol.ErrMalformed, n)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(c, b); err != nil {
		return err
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("%w: %w", protocol.ErrMalformed, err)
	}
	return nil
}

// idleCall is how long a connection for calls may say nothing.
const idleCall = time.Minute

// maxPatience bounds how long an answer is worked on.
const maxPatience = 30 * time.Second

// answerCalls serves a connection for calls.
func (n *Node) answerCalls(c net.Conn, peer string) {
	defer c.Close() //nolint:errcheck // nothing to be lost
	for {
		if err := c.SetReadDeadline(time.Now().Add(idleCall)); err != nil {
			return
		}
		var q request
		if err := readJSON(c, &q); err != nil {
			n.hungUp(peer, err)
			return
		}
		patience := q.Patience
		if patience <= 0 || patience > maxPatience {
			patience = maxPatience
		}
		ctx, cancel := context.WithTimeout(n.ctx, patience)
		a := n.answer(ctx, q)
		cancel()
		if err := c.SetWriteDeadline(time.Now().Add(raftIOTimeout)); err != nil {
			return
		}
		if err := writeJSON(c, a); err != nil {
			return
		}
	}
}

// answer answers a call.
func (n *Node) answer(ctx context.Context, q request) response {
	l := n.currentLife()
	switch {
	case l == nil:
		return response{NotLeader: true, Error: "this node is in no generation now"}
	case q.Generation != 0 && q.Generation != l.generation:
		return response{NotLeader: true, Generation: l.generation, Error: fmt.Sprintf("this node is in generation %d", l.generation)}
	}
	a := response{Generation: l.generation}
	var err error
	switch {
	case q.Join != nil:
		err = l.admit(ctx, *q.Join)
	case q.Leave != "":
		err = l.remove(ctx, raft.ServerID(q.Leave))
	case q.Propose != nil:
		var c protocol.Command
		if c, err = protocol.ParseCommand(q.Propose); err == nil {
			var result protocol.Result
			result, a.Index, err = l.commit(ctx, c)
			a.Result = &result
		}
	case q.Keep != nil:
		l.hearClock(q.Keep.Session, q.Keep.Clock)
		a.Alive, a.Fresh, err = l.kept(ctx, q.Keep.Session, q.Keep.Number)
	case q.Applied != 0:
		err = l.await(ctx, func(s *protocol.State) bool { return s.Applied >= q.Applied })
	case q.Logged != 0:
		err = l.consensus.logged(ctx, q.Logged)
	case q.Status != nil:
		status := l.memberStatus()
		a.Status = &status
	case q.Locks > 0:
		a.Locks = l.locks(min(q.Locks, MaxHeldLocks))
	default:
		err = errors.New("a call that this version does not know")
	}
	a.Clock = l.fleetClock()
	if err != nil {
		a.Error, a.NotLeader, a.Unknown, a.Removed = err.Error(), errors.Is(err, raft.ErrNotLeader), isUnknown(err), errors.Is(err, errRemoved)
		a.Refused = refusalOf(err)
		if address, _ := l.consensus.raft.LeaderWithID(); address != l.address {
			a.Leader = string(address)
		}
	}
	return a
}

// isUnknown reports whether an error leaves open what became of a proposal.
func isUnknown(err error) bool {
	return errors.Is(err, raft.ErrLeadershipLost) || errors.Is(err, raft.ErrRaftShutdown) || errors.Is(err, context.DeadlineExceeded) ||
		errors.Is(err, ErrUnknown)
}

// failure returns the error that an answer tells of.
func (a *response) failure() error {
	causes := []error{errors.New(a.Error)}
	if a.Unknown {
		causes = append(causes, ErrUnknown)
	}
	if cause, known := refusals()[a.Refused]; known {
		causes = append(causes, cause)
	}
	return &told{causes}
}

// told is an error of another node: its text, and behind it what it is.
type told struct{ causes []error }

func (t *told) Error() string   { return t.causes[0].Error() }
func (t *told) Unwrap() []error { return t.causes }

// refusals are the errors of storage that can be read and takes nothing new, by what they are
// called in answers.
func refusals() map[string]error {
	return map[string]error{"full": syscall.ENOSPC, "quota": syscall.EDQUOT, "read-only": syscall.EROFS}
}

// refusalOf returns what the refusal that an error tells of is called, "" if it tells of none.
func refusalOf(err error) string {
	for name, cause := range refusals() {
		if errors.Is(err, cause) {
			return name
		}
	}
	return ""
}

// Refuses reports whether an error says that the storage can be read and takes nothing new: it is
// full, or read-only.
func Refuses(err error) bool { return refusalOf(err) != "" }
