package gateway

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"runtime/debug"
	"time"
)

// answerSlowly answers with the document that work returns. Work that takes
// longer than s.Patience is answered with 200 at once, and its body is kept
// alive by white space until the document, or an error document in its place,
// is there; S3 does the same, and its clients look into the body.
//
// work must not touch the request, which may be gone while it runs. The header of
// its answer is sent only if it comes in time.
func (s *Server) answerSlowly(r *request, work func(ctx context.Context) (xmlAnswer, error)) error {
	ctx, cancel := context.WithTimeoutCause(s.root, s.LongTimeout, errStalled)
	done := make(chan outcome, 1)
	release := r.release
	r.release = nil // the slot stays taken until the work is done
	go func() {
		defer cancel()
		defer release()
		done <- s.guard(ctx, r.id, work)
	}()
	timer := time.NewTimer(s.Patience)
	defer timer.Stop()
	impatient := timer.C
	if !r.ctx.Request.Header.IsHTTP11() {
		impatient = nil // before HTTP/1.1 a body of unknown length cannot be sent
	}
	select {
	case o := <-done:
		if o.err != nil {
			return o.err
		}
		for _, h := range o.header {
			r.set(h.name, h.value)
		}
		r.answerXML(o.document)
	case <-impatient:
		r.set("Content-Type", "application/xml")
		r.ctx.Response.SetBodyStream(&slowBody{server: s, path: r.path, id: r.id, done: done, next: []byte(xmlDeclaration)}, -1)
	}
	return nil
}

// xmlAnswer is what slow work answers with.
type xmlAnswer struct {
	document []byte
	header   []detail
}

// outcome is what slow work came to.
type outcome struct {
	xmlAnswer
	err error
}

// guard runs work and turns a panic into an error, as serve does.
func (s *Server) guard(ctx context.Context, id string, work func(ctx context.Context) (xmlAnswer, error)) (o outcome) {
	defer func() {
		if p := recover(); p != nil {
			s.Logger.Error("panic", "request", id, "panic", p, "stack", string(debug.Stack()))
			o = outcome{err: errInternal.because(fmt.Errorf("panic: %v", p))}
		}
	}()
	a, err := work(ctx)
	return outcome{a, err}
}

// slowBody is the body of an answer that is not there yet.
type slowBody struct {
	server   *Server
	path, id string
	done     chan outcome
	next     []byte // to be read first
	ended    bool
}

// Read gives a space when nothing else has come for a while.
func (b *slowBody) Read(p []byte) (int, error) {
	if len(b.next) == 0 && b.ended {
		return 0, io.EOF
	}
	if len(b.next) == 0 {
		timer := time.NewTimer(b.server.Patience)
		defer timer.Stop()
		select {
		case o := <-b.done:
			b.end(o)
		case <-timer.C:
			b.next = []byte(" ")
		}
	}
	n := copy(p, b.next)
	b.next = b.next[n:]
	return n, nil
}

func (b *slowBody) end(o outcome) {
	b.ended = true
	document := o.document
	if o.err != nil {
		e := toS3(o.err)
		b.server.Logger.Error("request failed after its status was sent", "request", b.id, "code", e.code, "error", o.err)
		document = errorXML(e, b.path, b.id)
	}
	b.next = bytes.TrimPrefix(document, []byte(xmlDeclaration))
}
