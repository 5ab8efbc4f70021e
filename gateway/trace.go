package gateway

import (
	"context"
	"time"

	"github.com/shoal-storage/shoal/internal/trace"
)

// traceCalls serves trace: a stream of JSON, one document for each call at any gateway.
func (s *Server) traceCalls(_ context.Context, r *request) error {
	if s.Trace == nil {
		return errNotImplemented.with("This gateway cannot be traced.")
	}
	interest, err := traceInterest(r.query)
	if err != nil {
		return err
	}
	l, err := s.Trace.Listen(s.attending, interest)
	if err != nil {
		return errSlowDown.because(err)
	}
	r.answerListener(l)
	return nil
}

// traceInterest reads what is to be traced. Kinds of calls that Shoal does not have are
// asked for by clients that ask for all.
func traceInterest(q query) (trace.Interest, error) {
	i := trace.Interest{Errors: q.get("err") == "true"}
	if q.get("s3") == "true" {
		i.Types |= trace.S3
	}
	if q.get("internal") == "true" {
		i.Types |= trace.Internal
	}
	if q.get("all") == "true" {
		i.Types = trace.S3 | trace.Internal
	}
	if text := q.get("threshold"); text != "" {
		var err error
		if i.Threshold, err = time.ParseDuration(text); err != nil || i.Threshold < 0 {
			return i, errAdminInvalid.with("The threshold must be a duration such as 5ms.")
		}
	}
	return i, nil
}

// trace tells those who watch of a call.
func (s *Server) trace(r *request, o tally) {
	if s.Trace == nil || !s.Trace.Listening() {
		return
	}
	c := &trace.Call{
		Type: trace.S3, Node: s.Node, Function: "s3." + r.operation(), Time: r.started.UTC(), Path: r.path, Took: o.took, Bytes: o.received + o.sent,
		HTTP: trace.Exchange{
			Request: trace.Request{
				Time: r.started.UTC(), Protocol: string(r.ctx.Request.Header.Protocol()), Method: r.method, Path: r.path,
				RawQuery: shownQuery(r.rawQuery), Headers: shownHeaders(r.ctx.Request.Header.All()), Client: r.remoteIP(),
			},
			Response: trace.Response{Time: r.started.Add(o.took).UTC(), Headers: shownHeaders(r.ctx.Response.Header.All()), Status: o.status},
			Stats:    trace.Stats{Received: o.received, Sent: o.sent, Latency: o.took, TimeToFirstByte: o.took},
		},
	}
	if r.admin {
		c.Type, c.Function = trace.Internal, "admin."+r.operation()
	}
	if r.failure != nil {
		c.Error = r.failure.code
	}
	if err := s.Trace.Publish(c, trace.Encode); err != nil {
		s.Logger.Error("cannot trace a call", "request", r.id, "error", err)
	}
}
