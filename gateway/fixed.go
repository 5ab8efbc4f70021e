package gateway

import (
	"context"
	"encoding/xml"
)

// Configurations that can be no other than they are. Who sets them to that, as tools
// do that bring a bucket into a wanted state, is told that it is so; what else they
// could be is not implemented.

// putFixed serves the setting of such a configuration. document returns where the
// body is read into, and what says whether it asks for what is so.
func putFixed(what string, document func() (body any, isSo func() bool)) handler {
	return func(s *Server, ctx context.Context, r *request) error {
		body, isSo := document()
		if err := s.readDocument(ctx, r, body); err != nil {
			return err
		}
		if !isSo() {
			return errNotImplemented.with(what)
		}
		return nil
	}
}

// deleteFixed serves the removal of a configuration that no bucket has.
func deleteFixed(s *Server, ctx context.Context, r *request) error {
	if err := s.exists(ctx, r); err != nil {
		return err
	}
	r.answerEmpty(204)
	return nil
}

// requestPayment is the body of PutBucketRequestPayment.
func requestPayment() (body any, isSo func() bool) {
	var in struct {
		XMLName xml.Name `xml:"RequestPaymentConfiguration"`
		Payer   string
	}
	return &in, func() bool { return in.Payer == "BucketOwner" }
}

// acceleration is the body of PutBucketAccelerateConfiguration.
func acceleration() (body any, isSo func() bool) {
	var in struct {
		XMLName xml.Name `xml:"AccelerateConfiguration"`
		Status  string
	}
	return &in, func() bool { return in.Status == "Suspended" }
}

// logging is the body of PutBucketLogging.
func logging() (body any, isSo func() bool) {
	var in struct {
		XMLName        xml.Name `xml:"BucketLoggingStatus"`
		LoggingEnabled *struct{}
	}
	return &in, func() bool { return in.LoggingEnabled == nil }
}
