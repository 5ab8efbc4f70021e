package gateway

import (
	"errors"
	"log/slog"

	"github.com/shoal-storage/shoal/internal/directory"
	"github.com/shoal-storage/shoal/internal/iam"
	"github.com/shoal-storage/shoal/internal/sigv4"
	"github.com/shoal-storage/shoal/internal/throttle"
)

// maxDelayed is how many answers to failures wait at the same time, or a quarter of the
// requests that may be served: each keeps a connection, and some a slot.
const maxDelayed = 128

// Why somebody fails to prove who he is, as the metric has it.
const (
	noSuchKey      = "access_key"
	wrongSignature = "signature"
	wrongToken     = "token"
	wrongPassword  = "password"
)

// prove returns who has signed, if verify finds that the signature is his.
func (s *Server) prove(r *request, auth sigv4.Auth, verify func(secret string) error) (iam.Identity, string, error) {
	identity, secret, err := s.credentials(auth)
	switch {
	case errors.Is(err, iam.ErrNoSuchKey):
		return iam.Identity{}, "", s.unproven(r, throttle.Failure{}, noSuchKey, err)
	case errors.Is(err, directory.ErrToken):
		return iam.Identity{}, "", s.unproven(r, throttle.Failure{}, wrongToken, err)
	case err != nil:
		return iam.Identity{}, "", err
	}
	err = verify(secret)
	if e, ok := errors.AsType[*sigv4.Error](err); ok && e.Reason == sigv4.SignatureMismatch {
		err = s.unproven(r, throttle.Failure{Name: auth.AccessKey, Known: true}, wrongSignature, err)
	}
	if err != nil {
		return iam.Identity{}, "", err
	}
	return identity, secret, nil
}

// unproven returns err, with which somebody has failed to prove who he is. Who fails time
// and again waits for that, and where too many wait he is told to slow down.
func (s *Server) unproven(r *request, f throttle.Failure, reason string, err error) error {
	s.Metrics.failures.WithLabelValues(reason).Inc()
	f.Address = r.remoteIP()
	wait, report := s.failures.Fail(f)
	if report > 0 {
		s.logFailures(r, f, reason, report)
	}
	if wait == 0 {
		return err
	}
	select {
	case s.delayed <- struct{}{}:
	default:
		return errSlowDown.after(wait)
	}
	defer func() { <-s.delayed }()
	if ended := s.wait(s.root, wait); ended != nil {
		return errUnavailable
	}
	return err
}

// logFailures tells of failures. A name that is nobody's is left out: people mistake the
// fields of a form, and then it is a secret.
func (s *Server) logFailures(r *request, f throttle.Failure, reason string, times int) {
	attrs := []slog.Attr{slog.String("remote", f.Address), slog.String("reason", reason), slog.Int("times", times), slog.String("request", r.id)}
	if f.Known {
		attrs = append(attrs, slog.String("user", f.Name))
	}
	s.Logger.LogAttrs(s.root, slog.LevelWarn, "failed to prove who it is", attrs...)
}
