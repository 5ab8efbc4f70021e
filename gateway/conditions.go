package gateway

import (
	"net/http"
	"time"

	"github.com/shoal-storage/shoal/internal/object"
)

// The conditions, as errors name them.
const (
	ifMatch           = "If-Match"
	ifNoneMatch       = "If-None-Match"
	ifModifiedSince   = "If-Modified-Since"
	ifUnmodifiedSince = "If-Unmodified-Since"
)

// conditions are the four preconditions of a read, as headers give them
// (RFC 9110 section 13, with S3's rules for combining them:
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-reads.html).
type conditions struct {
	match, noneMatch string
	modified         time.Time // If-Modified-Since; zero: not given
	unmodified       time.Time // If-Unmodified-Since; zero: not given
}

// conditions reads the preconditions of a read, whose headers have the prefix "", or of the source of
// a copy or rename. A date later than the server's clock is no If-Modified-Since (RFC 2616
// section 14.25), and S3 ignores it as such.
func (s *Server) conditions(r *request, prefix string) conditions {
	c := conditions{
		match:      r.list(prefix + "if-match"),
		noneMatch:  r.list(prefix + "if-none-match"),
		modified:   parseDate(r.header(prefix + "if-modified-since")),
		unmodified: parseDate(r.header(prefix + "if-unmodified-since")),
	}
	if c.modified.After(s.Now()) {
		c.modified = time.Time{}
	}
	return c
}

// parseDate returns the zero time for what is no HTTP date: such a condition
// is to be ignored.
func parseDate(s string) time.Time {
	if s == "" {
		return time.Time{}
	}
	if t, err := http.ParseTime(s); err == nil {
		return t
	}
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t
	}
	return time.Time{}
}

// evaluate returns nil if the object may be read, errNotModified or
// errPreconditionFailed.
func (c conditions) evaluate(etag string, modified time.Time) error {
	switch broken := c.broken(etag, modified); broken {
	case "":
		return nil
	case ifNoneMatch, ifModifiedSince:
		return errNotModified
	default:
		return unmet(broken)
	}
}

// broken returns the header of a condition that does not hold, or "".
func (c conditions) broken(etag string, modified time.Time) string {
	modified = modified.Truncate(time.Second)
	switch {
	case c.match != "":
		if !object.MatchETag(c.match, etag) {
			return ifMatch
		}
	case !c.unmodified.IsZero() && modified.After(c.unmodified):
		return ifUnmodifiedSince
	}
	switch {
	case c.noneMatch != "":
		if object.MatchETag(c.noneMatch, etag) {
			return ifNoneMatch
		}
	case !c.modified.IsZero() && !modified.After(c.modified):
		return ifModifiedSince
	}
	return ""
}

// unmet is the error of a condition that does not hold.
func unmet(condition string) *s3Error { return errPreconditionFailed.detailed("Condition", condition) }

// sourceCheck returns the check of the source of a copy or rename, whose conditions have the prefix: what a
// read would answer with "not modified" is a failed precondition here.
func (s *Server) sourceCheck(r *request, prefix string) object.Check {
	c := s.conditions(r, prefix)
	if c == (conditions{}) {
		return nil
	}
	return func(current *object.Info) error {
		if current == nil {
			return errNoSuchKey
		}
		if broken := c.broken(current.ETag, current.Modified); broken != "" {
			return unmet(prefix + broken)
		}
		return nil
	}
}

// writeCheck reads the preconditions of a write: If-Match with an ETag or "*",
// If-None-Match with "*"
// (https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html).
func (s *Server) writeCheck(r *request) (object.Check, error) {
	match, noneMatch := r.list("if-match"), r.list("if-none-match")
	if err := r.without("If-Modified-Since", "If-Unmodified-Since", "x-amz-if-match-size", "x-amz-if-match-last-modified-time"); err != nil {
		return nil, err
	}
	if noneMatch != "" && noneMatch != "*" {
		return nil, errNotImplemented.detailed("Header", "If-None-Match")
	}
	if match != "" && noneMatch != "" {
		return nil, errNotImplemented.with("If-Match and If-None-Match cannot be used together.")
	}
	if err := s.mayMatch(r, match, r.ref()); err != nil {
		return nil, err
	}
	var checks []object.Check
	if match != "" {
		checks = append(checks, object.IfMatch(match, object.NoSuchKey))
	}
	if noneMatch != "" {
		checks = append(checks, object.IfNoneMatch(noneMatch))
	}
	return object.All(checks...), nil
}

// without refuses preconditions that an operation does not look at: it would do what they are to prevent.
func (r *request) without(names ...string) error {
	for _, name := range names {
		if r.list(name) != "" {
			return errNotImplemented.detailed("Header", name)
		}
	}
	return nil
}

// mayMatch returns nil if the sender may know whether an object has the ETag that If-Match names: that
// tells him of its content
// (https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-delete-enforce.html).
func (s *Server) mayMatch(r *request, match string, ref object.Ref) error {
	if match == "" || match == "*" {
		return nil
	}
	return s.allow(r, readAction(ref), ref)
}
