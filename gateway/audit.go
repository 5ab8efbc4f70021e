package gateway

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/shoal-storage/shoal/internal/audit"
	"github.com/shoal-storage/shoal/internal/sigv4"
)

// audit tells the audit of a request, if there is one.
func (s *Server) audit(r *request, o tally) {
	if !s.Audit.Enabled() {
		return
	}
	rec := &audit.Record{
		Version: audit.FormatVersion, Time: r.started.Add(o.took).UTC(), Trigger: audit.Incoming,
		API: audit.API{
			Name: r.operation(), Bucket: r.bucket, Object: r.key, Status: http.StatusText(o.status), Code: o.status,
			Received: o.received, Sent: o.sent, Duration: o.took.String(), DurationNS: strconv.FormatInt(o.took.Nanoseconds(), 10),
		},
		Remote: r.remoteIP(), RequestID: r.id, UserAgent: r.header("User-Agent"), Path: r.path, Host: r.header("Host"), Node: s.Node,
		Query: flat(r.shownParameters()), Headers: flat(shownHeaders(r.ctx.Request.Header.All())), Answer: flat(shownHeaders(r.ctx.Response.Header.All())),
		AccessKey: r.identity.AccessKey, Parent: r.identity.Parent,
	}
	if r.failure != nil && rec.AccessKey == "" {
		rec.AccessKey = r.claimed()
	}
	if r.failure != nil {
		rec.Error = r.failure.code
	}
	if err := s.Audit.Add(rec); err != nil {
		s.Logger.Error("a request is not in the audit", "request", r.id, "error", err)
	}
}

// claimed returns the access key that a request names which could not prove it, or "".
func (r *request) claimed() string {
	auth, err := sigv4.Parse(sigv4.Request{Method: r.method, Path: r.path, Query: r.rawQuery, Header: r, Bucket: r.host})
	if err != nil {
		return ""
	}
	return auth.AccessKey
}

// flat has several values of a name as one, as the audit has it.
func flat(all map[string][]string) map[string]string {
	one := make(map[string]string, len(all))
	for name, values := range all {
		one[name] = strings.Join(values, ",")
	}
	return one
}
