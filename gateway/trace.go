package gateway

import "github.com/shoal-storage/shoal/internal/trace"

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
