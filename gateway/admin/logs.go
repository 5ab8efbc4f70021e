package admin

import (
	"cmp"
	"context"
	"net/url"
	"strconv"
	"strings"

	"github.com/shoal-storage/shoal/internal/logs"
)

// watchLogs serves log: a stream of JSON, one document for each line that any gateway
// logs, but for those of requests that were served.
func (a *API) watchLogs(_ context.Context, c *Call) error {
	if a.Logs == nil {
		return errNotImplemented.with("The log of this gateway cannot be watched.")
	}
	interest, err := logInterest(c.Query)
	if err != nil {
		return err
	}
	if err := a.logsOf(c, interest.Node); err != nil {
		return err
	}
	l, err := a.Logs.Listen(a.attending, interest)
	if err != nil {
		return errSlowDown.because(err)
	}
	c.Listen(l)
	return nil
}

// logsOf refuses to wait for ever for lines of a gateway that there is not; "" is all of them.
func (a *API) logsOf(c *Call, node string) error {
	if node == "" || node == a.Node {
		return nil
	}
	var names []string
	for _, g := range a.gateways(c) {
		if g.Endpoint == node {
			return nil
		}
		names = append(names, g.Endpoint)
	}
	return errInvalid.with("There is no gateway " + node + ". There are " + strings.Join(names, ", ") + ".")
}

// logInterest reads which lines are asked for.
func logInterest(q url.Values) (logs.Interest, error) {
	i := logs.Interest{Node: q.Get("node")}
	switch q.Get("logType") {
	case "", "all":
	case "minio":
		i.Kind = logs.Process
	case "application":
		i.Kind = logs.Request
	default:
		return i, errInvalid.with("The type of a log must be minio, application or all.")
	}
	last, err := strconv.Atoi(cmp.Or(q.Get("limit"), "0"))
	if err != nil || last < 0 {
		return i, errInvalid.with("The number of lines must be one.")
	}
	if i.Last = min(last, logs.MaxLast); last == 0 {
		i.Last = logs.MaxLast
	}
	return i, nil
}
