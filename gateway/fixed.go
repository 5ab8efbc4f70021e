package gateway

import (
	"context"
	"encoding/xml"
)

// Configurations that can be no other than they are. Who sets them to that, as tools
// do that bring a bucket into a wanted state, is told that it is so; what else they
// could be is not implemented.

// putFixed serves the setting of such a configuration. document returns where the
// body is read into, and what says then what it asks for.
func putFixed(what string, document func() (body any, asked func() fixedWish)) handler {
	return func(s *Server, ctx context.Context, r *request) error {
		body, asked := document()
		if err := s.readDocument(ctx, r, body); err != nil {
			return err
		}
		switch asked() {
		case isSo:
			return nil
		case isNot:
			return errNotImplemented.with(what)
		case isNothing:
		}
		return errMalformedXML
	}
}

// fixedWish is what a document asks of a configuration that is fixed.
type fixedWish uint8

const (
	isNothing fixedWish = iota // that S3 knows
	isSo
	isNot
)

// wished returns what a value asks for, of the two that S3 knows.
func wished(value, so, not string) fixedWish {
	switch value {
	case so:
		return isSo
	case not:
		return isNot
	}
	return isNothing
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
func requestPayment() (body any, asked func() fixedWish) {
	var in struct {
		XMLName xml.Name `xml:"RequestPaymentConfiguration"`
		Payer   string
	}
	return &in, func() fixedWish { return wished(in.Payer, "BucketOwner", "Requester") }
}

// acceleration is the body of PutBucketAccelerateConfiguration.
func acceleration() (body any, asked func() fixedWish) {
	var in struct {
		XMLName xml.Name `xml:"AccelerateConfiguration"`
		Status  string
	}
	return &in, func() fixedWish { return wished(in.Status, "Suspended", "Enabled") }
}

// logging is the body of PutBucketLogging.
func logging() (body any, asked func() fixedWish) {
	var in struct {
		XMLName        xml.Name `xml:"BucketLoggingStatus"`
		LoggingEnabled *struct{}
	}
	return &in, func() fixedWish {
		if in.LoggingEnabled == nil {
			return isSo
		}
		return isNot
	}
}
