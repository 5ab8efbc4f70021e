package gateway

import (
	"context"
	"io"
	"time"

	"github.com/shoal-storage/shoal/internal/iam"
	"github.com/shoal-storage/shoal/internal/limits"
	"github.com/shoal-storage/shoal/internal/object"
)

// LimitsQuery is the sub-resource of a bucket that has its limits, as a JSON document:
// one of Shoal's own.
const LimitsQuery = "x-shoal-limits"

// limit counts the request for its user and its bucket, and refuses it where they have
// had their share. Bodies that it moves are paced from then on. Where nobody has limits
// it costs a look at what is known already.
func (s *Server) limit(r *request) error {
	var who []limits.Subject
	user, err := s.ratesOf(r.identity.Limits, s.UserRates)
	if err != nil {
		return err
	}
	if !user.IsZero() && isLimited(r.identity) {
		who = append(who, limits.Subject{Name: "user/" + r.identity.User(), Rates: user})
	}
	documents, err := s.documents(r, r.bucket)
	if err != nil {
		return err
	}
	bucket, err := s.ratesOf(documents[limits.Document], s.BucketRates)
	if err != nil {
		return err
	}
	if !bucket.IsZero() && r.bucket != "" {
		who = append(who, limits.Subject{Name: "bucket/" + r.bucket, Rates: bucket})
	}
	if len(who) == 0 {
		return nil
	}
	if wait := s.limiter.Admit(who); wait > 0 {
		return errSlowDown.after(wait)
	}
	r.pace = &pace{ctx: s.root, limiter: s.limiter, wait: s.wait, who: who}
	if c := clientConn(r.ctx.Conn()); c != nil {
		c.pace.Store(r.pace)
	}
	return nil
}

// isLimited reports whether somebody can have limits: the root user has to be able to
// lift them, and strangers are many.
func isLimited(who iam.Identity) bool { return !who.Root && !who.Anonymous() }

// ratesOf returns what a document says, or where there is none, what holds otherwise.
func (s *Server) ratesOf(document string, otherwise limits.Rates) (limits.Rates, error) {
	if document == "" {
		return otherwise, nil
	}
	return parsed(&s.parsed, limits.Document, document, limits.Parse)
}

// pace keeps what one request moves within rates.
type pace struct {
	ctx     context.Context
	limiter *limits.Limiter
	wait    func(ctx context.Context, d time.Duration) error
	who     []limits.Subject
}

// longestPause is how long nothing is said of a request that waits.
const longestPause = time.Second

// piece returns how many of n bytes to move before moved is called.
func (p *pace) piece(d limits.Direction, n int) int {
	if most := p.limiter.Piece(d, p.who); most > 0 && most < int64(n) {
		return int(most)
	}
	return n
}

// moved waits until more may be moved than the n bytes that were. It calls waiting now
// and then, unless that is nil, and fails if the server ends.
func (p *pace) moved(d limits.Direction, n int64, waiting func()) error {
	for left := p.limiter.Move(d, n, p.who); left > 0; left -= longestPause {
		if err := p.wait(p.ctx, min(left, longestPause)); err != nil {
			return err
		}
		if waiting != nil {
			waiting()
		}
	}
	return nil
}

// pause waits, unless ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (s *Server) getBucketLimits(ctx context.Context, r *request) error {
	b, err := s.Store.StatBucket(ctx, r.bucket)
	if err != nil {
		return err
	}
	return s.answerLimits(r, b.Documents[limits.Document])
}

func (s *Server) answerLimits(r *request, document string) error {
	rates, err := s.ratesOf(document, limits.Rates{})
	if err != nil {
		return err
	}
	return r.answerJSON(rates)
}

func (s *Server) putBucketLimits(ctx context.Context, r *request) error {
	rates, err := s.readRates(r)
	if err != nil {
		return err
	}
	return s.Store.UpdateBucket(ctx, r.bucket, func(b *object.Bucket) error {
		if rates.IsZero() {
			delete(b.Documents, limits.Document)
			return nil
		}
		if b.Documents == nil {
			b.Documents = make(map[string]string)
		}
		b.Documents[limits.Document] = rates.String()
		return nil
	})
}

// readRates reads the rates that a request brings.
func (s *Server) readRates(r *request) (limits.Rates, error) {
	b, err := s.openBody(r, bodyOptions{plain: true, limit: maxDocument})
	if err != nil {
		return limits.Rates{}, err
	}
	text, err := io.ReadAll(b)
	if err != nil {
		return limits.Rates{}, err
	}
	rates, err := limits.Parse(string(text))
	if err != nil {
		return rates, errInvalidArgument.with("The limits are not valid: " + err.Error())
	}
	return rates, nil
}
