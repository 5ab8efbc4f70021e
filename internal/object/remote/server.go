package remote

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"

	"github.com/shoal-storage/shoal/internal/object"
)

// maxConnections bounds how many connections are served; each has at most a
// window of pieces in memory.
const maxConnections = 4096

// smallContent is the length up to which a content comes with the answer to
// Open, in bytes. It fits one piece.
const smallContent = 64 << 10

// Server answers Clients from a Store.
type Server struct {
	root  context.Context
	store object.Store
	stop  context.CancelFunc
	pool  *sync.Pool
	slots chan struct{}

	mu     sync.Mutex
	closed bool           // later calls are not waited for
	calls  sync.WaitGroup // under way, with the Handles that they opened
}

// NewServer returns a Server of store, which stays the caller's to close. What
// it serves ends with root.
func NewServer(root context.Context, store object.Store) *Server {
	root, stop := context.WithCancel(root)
	return &Server{root: root, stop: stop, store: store, pool: newPool(), slots: make(chan struct{}, maxConnections)}
}

// Close waits until ctx ends for what is under way, objects that are being read
// included, and closes all connections. The Store refuses new calls by then.
func (s *Server) Close(ctx context.Context) {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	idle := make(chan struct{})
	go func() {
		s.calls.Wait()
		close(idle)
	}()
	select {
	case <-idle:
	case <-ctx.Done():
	}
	s.stop()
}

// count counts a call as one that Close waits for, until the function is called
// that it returns.
func (s *Server) count() func() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return func() {}
	}
	s.calls.Add(1)
	return s.calls.Done
}

// Serve answers what comes on a connection until it ends, and closes it.
func (s *Server) Serve(conn net.Conn) {
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	default:
		_ = conn.Close() // the Client takes it for a lost connection
		return
	}
	l := newLink(s.root, conn, s.pool)
	defer l.close(errClosed)
	for {
		m, ok := l.next()
		if !ok || m.Call == nil {
			return
		}
		v := &visit{link: l, store: s.store, call: m.Call}
		done := s.count()
		v.serve()
		done()
		if v.body != nil && !v.body.drain() {
			return
		}
	}
}

// visit is one call at the Server.
type visit struct {
	link  *link
	store object.Store
	call  *call
	ctx   context.Context
	body  *body
}

func (v *visit) serve() {
	v.ctx = v.link.ctx
	if v.call.Patience > 0 {
		var cancel context.CancelFunc
		v.ctx, cancel = context.WithTimeout(v.ctx, v.call.Patience)
		defer cancel()
	}
	if v.call.Op == open {
		v.open()
		return
	}
	var a answer
	a.Failure = failureOf(v.run(&a))
	_ = v.link.send(message{Answer: &a}, false) // if it fails the link is gone
}

// run has the Store do what is called for.
func (v *visit) run(a *answer) (err error) {
	ctx, s, q := v.ctx, v.store, v.call
	switch q.Op {
	case createBucket:
		err = s.CreateBucket(ctx, q.Bucket)
	case statBucket:
		a.Bucket, err = s.StatBucket(ctx, q.Ref.Bucket)
	case listBuckets:
		a.Buckets, err = s.ListBuckets(ctx)
	case updateBucket:
		err = s.UpdateBucket(ctx, q.Ref.Bucket, v.changeBucket)
	case deleteBucket:
		err = s.DeleteBucket(ctx, q.Ref.Bucket)
	case put:
		a.Info, err = s.Put(ctx, q.Ref, object.PutInput{Body: v.receive(), Meta: v.meta(), Files: q.Files, Check: v.check(q.Check, false)})
	case stat:
		a.Info, err = s.Stat(ctx, q.Ref)
	case update:
		a.Info, err = s.Update(ctx, q.Ref, v.changeMeta)
	case remove:
		a.Deleted, err = s.Delete(ctx, q.Ref, v.check(q.Check, false))
	case list:
		a.Page, err = s.List(ctx, q.Query)
	case listVersions:
		a.Versions, err = s.ListVersions(ctx, q.Versions)
	case copyObject:
		a.Info, err = v.copy()
	case rename:
		err = v.rename()
	case createUpload:
		a.Upload, err = s.CreateUpload(ctx, q.Upload)
	case statUpload:
		a.Upload, err = s.StatUpload(ctx, q.UploadRef)
	case putPart:
		a.Part, err = s.PutPart(ctx, q.UploadRef, q.Number, v.receive())
	case listParts:
		a.Parts, a.More, err = s.ListParts(ctx, q.UploadRef, q.After, q.Limit)
	case completeUpload:
		a.Info, err = s.CompleteUpload(ctx, q.UploadRef, v.complete())
	case abortUpload:
		err = s.AbortUpload(ctx, q.UploadRef)
	case listUploads:
		a.UploadPage, err = s.ListUploads(ctx, q.UploadQuery)
	case open: // serve does it
		err = errMisplaced
	default:
		err = object.E(q.Op.String(), q.name(), object.NotImplemented, errors.New("a later version's operation"))
	}
	return err
}

func (v *visit) meta() object.Meta {
	if v.call.Meta == nil {
		return object.Meta{}
	}
	return *v.call.Meta
}

func (v *visit) complete() object.CompleteInput {
	in := v.call.Complete
	if v.call.TypeStated && in.Type == nil {
		in.Type = new(object.ChecksumType)
	}
	in.Check = v.check(v.call.Check, false)
	return in
}

func (v *visit) copyInput() object.CopyInput {
	return object.CopyInput{Meta: v.call.Meta, Files: v.call.Files, Check: v.check(v.call.Check, false), SourceCheck: v.check(v.call.SourceCheck, true)}
}

func (v *visit) copy() (object.Info, error) {
	copier, ok := v.store.(object.Copier)
	if !ok {
		return object.Info{}, object.E(copyObject.String(), v.call.name(), object.NotImplemented, nil)
	}
	return copier.Copy(v.ctx, v.call.Source, v.call.Ref, v.copyInput())
}

func (v *visit) rename() error {
	renamer, ok := v.store.(object.Renamer)
	if !ok {
		return object.E(rename.String(), v.call.name(), object.NotImplemented, nil)
	}
	return renamer.Rename(v.ctx, v.call.Source, v.call.Ref, v.copyInput())
}

// ask has the Client run its function.
func (v *visit) ask(a ask) (*verdict, error) {
	if err := v.link.send(message{Ask: &a}, false); err != nil {
		return nil, err
	}
	select {
	case m := <-v.link.talk:
		switch {
		case m.Verdict == nil:
			v.link.close(errMisplaced)
			return nil, errMisplaced
		case m.Verdict.Refused:
			return nil, errRefused
		}
		return m.Verdict, nil
	case <-v.ctx.Done():
		v.link.close(context.Cause(v.ctx)) // the verdict may come yet
		return nil, context.Cause(v.ctx)
	}
}

// check returns a Check that asks the Client, or nil.
func (v *visit) check(there, source bool) object.Check {
	if !there {
		return nil
	}
	return func(current *object.Info) error {
		_, err := v.ask(ask{Source: source, Info: current})
		return err
	}
}

func (v *visit) changeBucket(b *object.Bucket) error {
	answer, err := v.ask(ask{Bucket: b})
	if err == nil && answer.Bucket == nil {
		err = errMisplaced
	}
	if err == nil {
		*b = *answer.Bucket
	}
	return err
}

func (v *visit) changeMeta(m *object.Meta) error {
	answer, err := v.ask(ask{Meta: m})
	if err == nil && answer.Meta == nil {
		err = errMisplaced
	}
	if err == nil {
		*m = *answer.Meta
	}
	return err
}

// open opens an object, and serves its Handle until the Client closes it. A small
// content goes with the answer.
func (v *visit) open() {
	h, err := v.store.Open(v.ctx, v.call.Ref)
	if err != nil {
		_ = v.link.send(message{Answer: &answer{Failure: failureOf(err)}}, false)
		return
	}
	defer h.Close() //nolint:errcheck // it was read from
	a := answer{Info: h.Info()}
	a.Whole = a.Info.Held() <= smallContent
	if v.link.send(message{Answer: &a}, a.Whole) != nil {
		return
	}
	if a.Whole {
		v.send(h, extent{0, a.Info.Held()})
		return
	}
	for {
		m, ok := v.link.next()
		switch {
		case !ok || m.Word == done:
			return
		case m.Range != nil:
			v.send(h, *m.Range)
		case m.Word == stop: // the end was on its way
		default:
			v.link.close(errMisplaced)
			return
		}
	}
}

// send sends a part of an object and its end.
func (v *visit) send(h object.Handle, part extent) {
	l := v.link
	buffer := l.pool.Get().(*[headerSize + pieceSize]byte) //nolint:forcetypeassert // the pool has nothing else
	defer l.pool.Put(buffer)
	r := io.LimitReader(h.Range(part.Offset, part.Length), part.Length)
	for {
		n, err := readPiece(r, buffer)
		if n > 0 && (!v.mayGoOn() || l.sendPiece(buffer, n, n < pieceSize) != nil) {
			err = errClosed
		}
		if err == nil {
			continue
		}
		if errors.Is(err, io.EOF) {
			err = nil
		}
		_ = l.send(message{End: &end{Failure: failureOf(err)}}, false) // if it fails the link is gone
		return
	}
}

// mayGoOn waits until the next piece may be sent, and reports whether it is
// wanted.
func (v *visit) mayGoOn() bool {
	select {
	case m := <-v.link.talk:
		if m.Word != stop {
			v.link.close(errMisplaced)
		}
		return false
	case <-v.link.credit:
		return true
	case <-v.link.ctx.Done():
		return false
	}
}

// body is the body of a call as it comes in.
type body struct {
	visit   *visit
	size    int64
	started bool
	over    bool
	now     piece
	rest    []byte
	digest  object.Digest
	err     error
}

// receive returns the body of the call.
func (v *visit) receive() *body {
	v.body = &body{visit: v, size: v.call.Size}
	return v.body
}

// Size implements object.Body.
func (b *body) Size() int64 { return b.size }

// Digest implements object.Body.
func (b *body) Digest() object.Digest { return b.digest }

// Read implements object.Body.
func (b *body) Read(p []byte) (int, error) {
	for len(b.rest) == 0 && b.err == nil {
		b.advance()
	}
	if len(b.rest) == 0 {
		return 0, b.err
	}
	n := copy(p, b.rest)
	b.rest = b.rest[n:]
	return n, nil
}

// advance gives the last piece back and waits for the next.
func (b *body) advance() {
	l := b.visit.link
	if !b.started {
		b.started = true
		_ = l.send(message{Word: ready}, false) // if it fails the wait finds the link gone
	}
	if b.now.buffer != nil {
		_ = l.taken(b.now)
		b.now = piece{}
	}
	switch p, err := l.receive(b.visit.ctx, 0); {
	case err != nil:
		b.err = err
	case p.end == nil:
		b.now, b.rest = p, p.data
	default:
		b.over = true
		_ = l.taken(p)
		b.digest, b.err = p.end.Digest, io.EOF
		if p.end.Failure != nil {
			b.err = errBody
		}
	}
}

// drain takes in what the Store has left of the body, so that the next call can
// begin. It returns false where the Client hangs up, as it does unless all was
// sent when it got the answer.
func (b *body) drain() bool {
	for b.started && !b.over {
		p, err := b.visit.link.receive(b.visit.link.ctx, 0)
		if err != nil || b.visit.link.taken(p) != nil {
			return false
		}
		b.over = p.end != nil
	}
	return true
}
