package gateway

import (
	"context"
	"sync"
	"time"

	"github.com/valyala/fasthttp"
)

// How long a change waits for the gateways to agree again, and how often it looks. That they choose another leader,
// in 2 to 3 s, is nothing that a client should notice; that they cannot is to be said before he gives up.
const (
	agreeAgain = 100 * time.Millisecond
	agreeLooks = 50
)

// awaitOthers returns an error if a request changes what all gateways have to agree upon, and they cannot now: it would
// wait for them until its time is over.
func (s *Server) awaitOthers(ctx context.Context, r *request) (err error) {
	if s.Agreeing == nil || !r.needsOthers() {
		return nil
	}
	for range agreeLooks {
		if err = s.Agreeing(); err == nil {
			s.apart.over()
			return nil
		}
		if s.apart.since(s.Now()) >= agreeAgain*agreeLooks {
			break // others have waited, and clients try again
		}
		if err := s.wait(ctx, agreeAgain); err != nil {
			return errUnavailable.because(err)
		}
	}
	return errNoMajority.because(err)
}

// apart is for how long requests have seen that gateways do not agree.
type apart struct {
	mu          sync.Mutex
	first, last time.Time
}

// over notes that they do again.
func (a *apart) over() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.last = time.Time{}
}

// since notes that they do not, and returns for how long that was seen. If nobody has looked for as long as a
// change waits, they may have agreed meanwhile.
func (a *apart) since(now time.Time) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	if now.Sub(a.last) > agreeAgain*agreeLooks {
		a.first = now
	}
	a.last = now
	return now.Sub(a.first)
}

// needsOthers reports whether the request changes buckets, or what the admin API changes in the control plane.
func (r *request) needsOthers() bool {
	change := r.method == fasthttp.MethodPut || r.method == fasthttp.MethodDelete
	return r.agreed || !r.admin && change && r.op.level == bucketLevel
}
