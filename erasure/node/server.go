package node

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/shoal-storage/shoal/erasure"
	"github.com/shoal-storage/shoal/erasure/fence"
	"github.com/shoal-storage/shoal/erasure/register"
)

// Drive is one of this node's.
type Drive interface {
	erasure.Drive
	Order(ctx context.Context, o fence.Order) (fence.State, error)
}

// Server answers other nodes. Its methods may be called concurrently.
type Server struct {
	ctx context.Context
	ask func(ctx context.Context, question string, content []byte) ([]byte, error)

	mu     sync.RWMutex
	drives map[string]Drive
}

// NewServer returns a Server, whose calls end with ctx. ask answers what is asked of the node
// itself.
func NewServer(ctx context.Context, ask func(ctx context.Context, question string, content []byte) ([]byte, error)) *Server {
	return &Server{ctx: ctx, ask: ask, drives: make(map[string]Drive)}
}

// Offer has others use a drive, by its ID.
func (s *Server) Offer(id string, d Drive) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drives[id] = d
}

// Withdraw ends that.
func (s *Server) Withdraw(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.drives, id)
}

// drive returns a drive, or an error that says that it is not here.
func (s *Server) drive(id string, inner bool) (Drive, error) {
	s.mu.RLock()
	d := s.drives[id]
	s.mu.RUnlock()
	if d == nil {
		return nil, fmt.Errorf("drive %.40q is not here: %w", id, register.ErrUnknown)
	}
	if inner {
		if own, ok := d.(interface{ Inner() erasure.Drive }); ok {
			return whole{own.Inner(), d}, nil
		}
	}
	return d, nil
}

// whole is a drive that is new, as it is.
type whole struct {
	erasure.Drive
	guarded Drive
}

// Order implements Drive.
func (w whole) Order(ctx context.Context, o fence.Order) (fence.State, error) {
	return w.guarded.Order(ctx, o)
}

// maxCalls is how many calls of one connection are under way at a time: more than those that
// drives which hang can take with them.
const maxCalls = 4096

// ServeCalls answers the calls on a connection until it ends.
func (s *Server) ServeCalls(c net.Conn) {
	ctx, cancel := context.WithCancel(s.ctx)
	context.AfterFunc(ctx, func() { _ = c.Close() })
	w := newWriter(c)
	var running sync.WaitGroup
	running.Go(func() { w.run(ctx.Done()) })
	r := bufio.NewReaderSize(c, 64<<10)
	places := make(chan struct{}, maxCalls)
	for c.SetReadDeadline(time.Now().Add(silentTime)) == nil {
		f, err := readFrame(r)
		if err != nil {
			break
		}
		if f.what == opPing {
			if w.send(f.call, succeeded) != nil {
				break
			}
			continue
		}
		places <- struct{}{}
		go func() {
			defer func() { <-places }()
			answer, err := s.answer(ctx, f)
			if err != nil {
				_ = w.send(f.call, outcomeOf(err), textOf(err)) // the reader notices that the connection is gone
			} else if err := w.send(f.call, succeeded, answer); err != nil {
				_ = w.send(f.call, failed, textOf(err)) // the same
			}
		}()
	}
	cancel()
	running.Wait()
}

// request is a call, as it was sent: how long its caller waits in milliseconds, a byte that
// is 1 if the drive is meant as it is though it is new, the ID of the drive with its length
// before it, and what op says.
type request struct {
	op      byte
	patient time.Duration
	inner   bool
	drive   string
	rest    []byte
}

func (q *request) head() []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(max(1, min(q.patient.Milliseconds(), 1<<30)))) //nolint:gosec // bounded
	b = append(b, 0, byte(len(q.drive)))                                                          //nolint:gosec // a UUID
	if q.inner {
		b[4] = 1
	}
	return append(b, q.drive...)
}

func parseRequest(f frame) (q request, err error) {
	b := f.rest
	if len(b) < 6 || len(b) < 6+int(b[5]) {
		return q, errFrame
	}
	q = request{op: f.what, patient: time.Duration(binary.BigEndian.Uint32(b)) * time.Millisecond, inner: b[4] == 1}
	q.drive, q.rest = string(b[6:6+int(b[5])]), b[6+int(b[5]):]
	return q, nil
}

// answer does what a call asks for.
func (s *Server) answer(ctx context.Context, f frame) ([]byte, error) {
	q, err := parseRequest(f)
	if err != nil {
		return nil, err
	}
	if q.op == opAsk {
		ctx, cancel := context.WithTimeout(ctx, q.patient)
		defer cancel()
		return s.ask(ctx, q.drive, q.rest)
	}
	d, err := s.drive(q.drive, q.inner)
	if err != nil {
		return nil, err
	}
	switch q.op { // what a drive is doing ends when it does: who has asked for it may be gone
	case opCommit, opDecide, opDrop, opSince, opInstall:
		return change(ctx, d, q)
	case opPromise, opRead:
		return look(ctx, d, q)
	case opScan, opPending:
		return list(ctx, d, q)
	case opOrder:
		ctx, cancel := context.WithTimeout(ctx, q.patient)
		defer cancel()
		return order(ctx, d, q)
	}
	return nil, fmt.Errorf("node: the call %d is not known here", q.op)
}

// change has a drive change something.
func change(ctx context.Context, d Drive, q request) ([]byte, error) {
	switch q.op {
	case opCommit:
		c, err := register.DecodeChange(q.rest)
		if err != nil {
			return nil, err
		}
		return nil, d.Commit(ctx, c)
	case opDecide:
		all, err := register.DecodeDecisions(q.rest)
		if err != nil {
			return nil, err
		}
		return nil, d.Decide(ctx, all)
	case opDrop:
		if len(q.rest) != len(register.DataID{}) {
			return nil, errFrame
		}
		return nil, d.Drop(ctx, register.DataID(q.rest))
	case opSince:
		epoch, n := binary.Uvarint(q.rest)
		if n <= 0 {
			return nil, errFrame
		}
		return nil, d.Since(ctx, epoch)
	default:
		key, r, t, err := register.DecodeRecord(q.rest)
		if err != nil {
			return nil, err
		}
		changed, err := d.Install(ctx, key, r, t)
		if changed {
			return []byte{1}, err
		}
		return []byte{0}, err
	}
}

// maxPage is how much of a page is sent at once, in bytes; the rest is asked for again.
const maxPage = 8 << 20

// list has a drive show what it holds of several keys.
func list(ctx context.Context, d Drive, q request) ([]byte, error) {
	var page register.ScanPage
	if q.op == opScan {
		scan, err := register.DecodeScanQuery(q.rest)
		if err != nil {
			return nil, err
		}
		if page, err = d.Scan(ctx, scan); err != nil {
			return nil, err
		}
	} else {
		pending, err := register.DecodePendingQuery(q.rest)
		if err != nil {
			return nil, err
		}
		if page, err = d.Pending(ctx, pending); err != nil {
			return nil, err
		}
	}
	return page.AppendMost(nil, maxPage), nil
}

// look has a drive show something.
func look(ctx context.Context, d Drive, q request) ([]byte, error) {
	view := read
	if q.op == opPromise {
		view = promise
	}
	v, err := view(ctx, d, q.rest)
	if err != nil {
		return nil, err
	}
	return v.Append(nil), nil
}

func read(ctx context.Context, d Drive, content []byte) (register.View, error) {
	query, err := register.DecodeRead(content)
	if err != nil {
		return register.View{}, err
	}
	return d.Read(ctx, query)
}

func promise(ctx context.Context, d Drive, content []byte) (register.View, error) {
	query, token, err := register.DecodeQuery(content)
	if err != nil {
		return register.View{}, err
	}
	t, err := register.ParseToken(token)
	if err != nil {
		return register.View{}, err
	}
	return d.Promise(ctx, t, query)
}

// told is the State of a drive as nodes tell it each other: with its pulse.
type told struct {
	fence.State
	Pulse uint64 `json:"pulse"`
}

func order(ctx context.Context, d Drive, q request) ([]byte, error) {
	var o fence.Order
	if err := json.Unmarshal(q.rest, &o); err != nil {
		return nil, fmt.Errorf("node: read order: %w", err)
	}
	s, err := d.Order(ctx, o)
	if err != nil {
		return nil, err
	}
	return json.Marshal(told{State: s, Pulse: s.Pulse})
}

// ServeBulk has shards be read and written over a connection until it ends.
func (s *Server) ServeBulk(c net.Conn) {
	ctx, cancel := context.WithCancel(s.ctx)
	context.AfterFunc(ctx, func() { _ = c.Close() })
	defer cancel()
	b := newBulk(c)
	for {
		if c.SetDeadline(time.Now().Add(idleTime)) != nil {
			return
		}
		h, err := b.readHead()
		if err != nil || s.exchange(ctx, b, h) != nil {
			return
		}
	}
}

// exchange reads or writes one shard, or a piece of one. After an error the connection is of
// no use any more.
func (s *Server) exchange(ctx context.Context, b *bulk, h bulkHead) error {
	d, err := s.drive(h.drive, h.inner)
	switch {
	case h.what == bulkRead:
		n := 0
		if err == nil {
			ctx, cancel := context.WithTimeout(ctx, stallTime)
			defer cancel()
			n, err = d.ReadShard(ctx, h.id, h.offset, b.space(h.length))
		}
		piece := b.buffer[:n]
		if err != nil {
			b.buffer = nil // somebody may still write to it
		}
		return b.answer(err, piece)
	case err != nil:
		return errors.Join(b.answer(err, nil), errFrame) // the shard is on its way, and nobody takes it
	}
	w, err := d.Create(ctx, h.id, h.offset)
	if err != nil {
		return errors.Join(b.answer(err, nil), errFrame)
	}
	if err := b.receive(w); err != nil {
		w.Abort()
		return errors.Join(b.answer(err, nil), err)
	}
	return b.answer(w.Finish(), nil)
}

// receive reads the pieces of a shard up to the empty one that ends it.
func (b *bulk) receive(w io.Writer) error {
	for {
		piece, err := b.readPiece()
		if err != nil {
			return err
		}
		if len(piece) == 0 {
			return nil
		}
		if _, err := w.Write(piece); err != nil {
			return err
		}
	}
}
