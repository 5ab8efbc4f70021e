package gateway

import (
	"cmp"
	"context"
	"strconv"
	"strings"

	"github.com/shoal-storage/shoal/internal/logs"
	"github.com/shoal-storage/shoal/internal/relay"
)

// watchLogs serves log: a stream of JSON, one document for each line that any gateway
// logs, but for those of requests that were served.
func (s *Server) watchLogs(_ context.Context, r *request) error {
	if s.Logs == nil {
		return errNotImplemented.with("The log of this gateway cannot be watched.")
	}
	interest, err := logInterest(r.query)
	if err != nil {
		return err
	}
	if err := s.logsOf(r, interest.Node); err != nil {
		return err
	}
	l, err := s.Logs.Listen(s.attending, interest)
	if err != nil {
		return errSlowDown.because(err)
	}
	r.answerListener(l)
	return nil
}

// logsOf refuses to wait for ever for lines of a gateway that there is not; "" is all of them.
func (s *Server) logsOf(r *request, node string) error {
	if node == "" || node == s.Node {
		return nil
	}
	var names []string
	for _, g := range s.gateways(r) {
		if g.Endpoint == node {
			return nil
		}
		names = append(names, g.Endpoint)
	}
	return errAdminInvalid.with("There is no gateway " + node + ". There are " + strings.Join(names, ", ") + ".")
}

// answerListener answers with what a listener hears, as long as the client stays.
func (r *request) answerListener(l *relay.Listener) {
	r.set("Content-Type", "application/json")
	r.set("Cache-Control", "no-cache")
	r.ctx.Response.SetBodyStream(&listenBody{listener: l, beat: listenBeat{every: spaceEvery, text: " "}, next: []byte(" ")}, -1)
}

// logInterest reads which lines are asked for.
func logInterest(q query) (logs.Interest, error) {
	i := logs.Interest{Node: q.get("node")}
	switch q.get("logType") {
	case "", "all":
	case "minio":
		i.Kind = logs.Process
	case "application":
		i.Kind = logs.Request
	default:
		return i, errAdminInvalid.with("The type of a log must be minio, application or all.")
	}
	last, err := strconv.Atoi(cmp.Or(q.get("limit"), "0"))
	if err != nil || last < 0 {
		return i, errAdminInvalid.with("The number of lines must be one.")
	}
	if i.Last = min(last, logs.MaxLast); last == 0 {
		i.Last = logs.MaxLast
	}
	return i, nil
}
