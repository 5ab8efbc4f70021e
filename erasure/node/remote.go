package node

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/shoal-storage/shoal/erasure"
	"github.com/shoal-storage/shoal/erasure/fence"
	"github.com/shoal-storage/shoal/erasure/register"
)

// Remote is a drive of another node.
type Remote struct {
	peer  *Peer
	id    string
	inner bool // as it is, though it is new
}

var _ Drive = (*Remote)(nil)

// Drive returns a drive of the node by its ID.
func (p *Peer) Drive(id string) *Remote { return &Remote{peer: p, id: id} }

// Inner returns the drive as it is, though it is new and does not vouch for what it lacks.
func (r *Remote) Inner() erasure.Drive { return &Remote{r.peer, r.id, true} }

func (r *Remote) call(ctx context.Context, op byte, content []byte) ([]byte, error) {
	return r.peer.call(ctx, request{op: op, inner: r.inner, drive: r.id, rest: content})
}

// Commit implements erasure.Drive.
func (r *Remote) Commit(ctx context.Context, c register.Change) error {
	_, err := r.call(ctx, opCommit, c.Append(nil))
	return err
}

// Promise implements erasure.Drive.
func (r *Remote) Promise(ctx context.Context, t register.Token, q register.Query) (register.View, error) {
	return r.view(ctx, opPromise, t.Append(q.Append(nil)))
}

// Read implements erasure.Drive.
func (r *Remote) Read(ctx context.Context, q register.Query) (register.View, error) {
	return r.view(ctx, opRead, q.AppendRead(nil))
}

func (r *Remote) view(ctx context.Context, op byte, content []byte) (register.View, error) {
	b, err := r.call(ctx, op, content)
	if err != nil {
		return register.View{}, err
	}
	return register.DecodeView(b)
}

// Decide implements erasure.Drive.
func (r *Remote) Decide(ctx context.Context, all []register.Decision) error {
	_, err := r.call(ctx, opDecide, register.AppendDecisions(nil, all))
	return err
}

// Scan implements erasure.Drive.
func (r *Remote) Scan(ctx context.Context, q register.ScanQuery) (register.ScanPage, error) {
	b, err := r.call(ctx, opScan, q.Append(nil))
	if err != nil {
		return register.ScanPage{}, err
	}
	return register.DecodeScanPage(b)
}

// Pending implements erasure.Drive. A node of an earlier release does not know the call.
func (r *Remote) Pending(ctx context.Context, q register.PendingQuery) (register.ScanPage, error) {
	b, err := r.call(ctx, opPending, q.Append(nil))
	if errors.Is(err, errFailed) {
		err = fmt.Errorf("%w: %w", register.ErrNoLog, err)
	}
	if err != nil {
		return register.ScanPage{}, err
	}
	return register.DecodeScanPage(b)
}

// Drop implements erasure.Drive.
func (r *Remote) Drop(ctx context.Context, id register.DataID) error {
	_, err := r.call(ctx, opDrop, id[:])
	return err
}

// Since implements erasure.Drive. A node of an earlier release does not know the call.
func (r *Remote) Since(ctx context.Context, epoch uint64) error {
	_, err := r.call(ctx, opSince, binary.AppendUvarint(nil, epoch))
	return err
}

// Install implements erasure.Drive.
func (r *Remote) Install(ctx context.Context, key register.Key, rec register.Record, t register.Token) (bool, error) {
	b, err := r.call(ctx, opInstall, register.AppendRecord(nil, key, rec, t))
	return len(b) == 1 && b[0] == 1, err
}

// Order implements Drive.
func (r *Remote) Order(ctx context.Context, o fence.Order) (fence.State, error) {
	content, err := json.Marshal(o)
	if err != nil {
		return fence.State{}, fmt.Errorf("node: encode order: %w", err)
	}
	b, err := r.call(ctx, opOrder, content)
	if err != nil {
		return fence.State{}, err
	}
	var t told
	if err := json.Unmarshal(b, &t); err != nil {
		return fence.State{}, fmt.Errorf("node: read state: %w", err)
	}
	t.State.Pulse = t.Pulse
	return t.State, nil
}

// Close implements erasure.Drive. The connections are the Peer's.
func (*Remote) Close() error { return nil }

// ReadShard implements erasure.Drive.
func (r *Remote) ReadShard(ctx context.Context, id register.DataID, offset int64, p []byte) (int, error) {
	b, err := r.peer.take(ctx)
	if err != nil {
		return 0, err
	}
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(stallTime)
	}
	left := context.AfterFunc(ctx, func() { _ = b.conn.Close() })
	err = b.conn.SetDeadline(deadline)
	if err == nil {
		h := bulkHead{what: bulkRead, inner: r.inner, id: id, offset: offset, length: len(p), drive: r.id}
		_, err = b.conn.Write(h.append(nil))
	}
	if err != nil {
		left()
		return 0, errors.Join(err, b.conn.Close())
	}
	n, broken, err := b.readAnswer(p)
	switch {
	case !left():
		return 0, errors.Join(context.Cause(ctx), err)
	case broken:
		return 0, errors.Join(err, b.conn.Close())
	}
	r.peer.give(b)
	return n, err
}

// Create implements erasure.Drive. That the drive does not take the shard shows later.
func (r *Remote) Create(ctx context.Context, id register.DataID, size int64) (register.ShardWriter, error) {
	b, err := r.peer.take(ctx)
	if err != nil {
		return nil, err
	}
	h := bulkHead{what: bulkWrite, inner: r.inner, id: id, offset: size, drive: r.id}
	if err := b.conn.SetDeadline(time.Now().Add(stallTime)); err != nil {
		return nil, errors.Join(err, b.conn.Close())
	}
	if _, err := b.conn.Write(h.append(nil)); err != nil {
		return nil, errors.Join(err, b.conn.Close())
	}
	w := &remoteWriter{peer: r.peer, bulk: b, answered: make(chan struct{})}
	if err := b.conn.SetReadDeadline(time.Time{}); err != nil {
		return nil, errors.Join(err, b.conn.Close())
	}
	go w.listen()
	return w, nil
}

// remoteWriter sends a shard. The other end answers when it has all of it, or earlier if it
// cannot take it.
type remoteWriter struct {
	peer     *Peer
	bulk     *bulk
	answered chan struct{}
	err      error // valid once answered is closed
	broken   bool  // the same: there was no answer
}

func (w *remoteWriter) listen() {
	_, w.broken, w.err = w.bulk.readAnswer(nil)
	close(w.answered)
}

// Write implements register.ShardWriter.
func (w *remoteWriter) Write(p []byte) (int, error) {
	for written := 0; ; {
		select {
		case <-w.answered:
			return written, w.failure()
		default:
		}
		n := min(len(p)-written, maxPiece)
		if n == 0 {
			return written, nil
		}
		if err := w.bulk.writePiece(p[written : written+n]); err != nil {
			return written, w.refused(err)
		}
		written += n
	}
}

// failure returns the error of an answer that came before the shard's end.
func (w *remoteWriter) failure() error {
	if w.err != nil {
		return w.err
	}
	return errFrame
}

// refused returns why nothing more can be sent: what the other end has answered before it hung up, which
// is still to be read, or else the error of sending.
func (w *remoteWriter) refused(sending error) error {
	if w.bulk.conn.SetReadDeadline(time.Now().Add(lastWords)) == nil {
		<-w.answered
	}
	_ = w.bulk.conn.Close() // the error of sending says more
	<-w.answered
	if w.broken {
		return errors.Join(sending, w.err)
	}
	return w.failure()
}

// Finish implements register.ShardWriter.
func (w *remoteWriter) Finish() error {
	if err := w.bulk.writePiece(nil); err != nil {
		return w.refused(err)
	}
	timer := time.AfterFunc(stallTime, func() { _ = w.bulk.conn.Close() })
	<-w.answered
	timer.Stop()
	if w.err != nil {
		return errors.Join(w.err, w.bulk.conn.Close()) // the other end may not have read all
	}
	w.peer.give(w.bulk)
	return nil
}

// Abort implements register.ShardWriter: the other end notices that there is no more.
func (w *remoteWriter) Abort() { _ = w.bulk.conn.Close() }
