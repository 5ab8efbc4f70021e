package gateway

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"

	"github.com/shoal-storage/shoal/internal/lifecycle"
	"github.com/shoal-storage/shoal/internal/object"
)

// transitionSize is the header that says which objects are too small to pass to another
// storage class where a rule does not say it. None passes here, but what AWS takes where
// nothing is said is told: Terraform waits for it to come back.
const (
	transitionSize        = "x-amz-transition-default-minimum-object-size"
	defaultTransitionSize = "all_storage_classes_128K"
)

// getLifecycle serves GetBucketLifecycleConfiguration
// (https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketLifecycleConfiguration.html).
func (s *Server) getLifecycle(ctx context.Context, r *request) error {
	if err := getDocument(lifecycle.Document, errNoLifecycle)(s, ctx, r); err != nil {
		return err
	}
	r.set(transitionSize, defaultTransitionSize)
	return nil
}

// putLifecycle serves PutBucketLifecycleConfiguration
// (https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketLifecycleConfiguration.html).
func (s *Server) putLifecycle(ctx context.Context, r *request) error {
	switch size := r.header(transitionSize); size {
	case "", defaultTransitionSize:
	case "varies_by_storage_class":
		return fromLifecycle(lifecycle.ErrTransition)
	default:
		return errInvalidArgument.with("Unknown default minimum object size.").detailed("ArgumentName", transitionSize).detailed("ArgumentValue", size)
	}
	var in lifecycle.Configuration
	if err := s.readDocument(ctx, r, &in); err != nil {
		return err
	}
	if err := in.Prepare(); err != nil {
		return fromLifecycle(err)
	}
	in.XMLName, in.Space = xml.Name{Local: "LifecycleConfiguration"}, xmlNamespace
	text, err := encodeDocument(&in)
	if err != nil {
		return err
	}
	if err := s.setDocument(ctx, r, lifecycle.Document, text, nil); err != nil {
		return err
	}
	r.set(transitionSize, defaultTransitionSize)
	return nil
}

// fromLifecycle is what the client is told of a configuration that was refused.
func fromLifecycle(err error) error {
	switch {
	case errors.Is(err, lifecycle.ErrArgument):
		return errInvalidArgument.with(err.Error())
	case errors.Is(err, lifecycle.ErrRequest):
		return errInvalidRequest.with(err.Error())
	case errors.Is(err, lifecycle.ErrNotImplemented):
		return errNotImplemented.with(err.Error())
	}
	return errMalformedXML.because(err)
}

// expirationHeader says when the current version of an object goes.
const expirationHeader = "x-amz-expiration"

// lifecycleRules returns the rules of the request's bucket, or nil if it has none.
func (s *Server) lifecycleRules(r *request) *lifecycle.Configuration {
	documents, err := s.documents(r, r.bucket)
	text, there := documents[lifecycle.Document]
	if err != nil || !there {
		return nil
	}
	rules, err := parsed(&s.parsed, lifecycle.Document, text, lifecycle.Parse)
	if err != nil {
		return nil
	}
	return rules
}

// setExpiration tells when the current version of an object goes, if a rule says
// so.
func (s *Server) setExpiration(r *request, info *object.Info) {
	r.set(expirationHeader, expiration(s.lifecycleRules(r), info))
}

// expiration is what a client is told of when the current version of an object goes:
// nothing if it stays.
func expiration(rules *lifecycle.Configuration, info *object.Info) string {
	if rules == nil {
		return ""
	}
	at, rule, ok := rules.Expires(info)
	if !ok || at.Year() > maxYear {
		return ""
	}
	return fmt.Sprintf("expiry-date=%q, rule-id=%q", httpTime(at), escapeURL(rule))
}

// setAbort tells when an upload ends that is not completed, if a rule says so.
func (s *Server) setAbort(r *request, up *object.Upload) {
	rules := s.lifecycleRules(r)
	if rules == nil {
		return
	}
	if at, rule, ok := rules.Aborts(up); ok && at.Year() <= maxYear {
		r.set("x-amz-abort-date", httpTime(at))
		r.set("x-amz-abort-rule-id", escapeURL(rule))
	}
}
