package admin

import (
	"context"
	"net/url"
	"time"

	"github.com/shoal-storage/shoal/internal/trace"
)

// traceCalls serves trace: a stream of JSON, one document for each call at any gateway.
func (a *API) traceCalls(_ context.Context, c *Call) error {
	if a.Trace == nil {
		return errNotImplemented.with("This gateway cannot be traced.")
	}
	interest, err := traceInterest(c.Query)
	if err != nil {
		return err
	}
	l, err := a.Trace.Listen(a.attending, interest)
	if err != nil {
		return errSlowDown.because(err)
	}
	c.Listen(l)
	return nil
}

// traceInterest reads what is to be traced. Kinds of calls that Shoal does not have are
// asked for by clients that ask for all.
func traceInterest(q url.Values) (trace.Interest, error) {
	i := trace.Interest{Errors: q.Get("err") == "true"}
	if q.Get("s3") == "true" {
		i.Types |= trace.S3
	}
	if q.Get("internal") == "true" {
		i.Types |= trace.Internal
	}
	if q.Get("all") == "true" {
		i.Types = trace.S3 | trace.Internal
	}
	if text := q.Get("threshold"); text != "" {
		var err error
		if i.Threshold, err = time.ParseDuration(text); err != nil || i.Threshold < 0 {
			return i, errInvalid.with("The threshold must be a duration such as 5ms.")
		}
	}
	return i, nil
}
