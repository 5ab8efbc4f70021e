package sigv4

import (
	"errors"
	"time"
)

// ErrAnonymous is returned by Parse and ParsePost for a request that bears no
// signature at all.
var ErrAnonymous = errors.New("request is not signed")

// Reason classes an Error by what the client did wrong. The gateway turns it
// into a code of S3.
type Reason uint8

// The reasons.
const (
	HeaderMalformed      Reason = iota + 1 // the Authorization header, or its scope, cannot be accepted
	QueryMalformed                         // the same of the X-Amz- parameters of a presigned URL
	FormMalformed                          // the same of the x-amz- fields of a POST form
	QueryV2Malformed                       // the parameters of a presigned URL of version 2
	UnsupportedV2                          // AWS signature version 2 elsewhere
	UnsupportedType                        // an Authorization header of another scheme
	SeveralMechanisms                      // both header and query bear a signature
	MissingDate                            // neither X-Amz-Date nor Date, or no date that can be read
	MissingContentSHA256                   // x-amz-content-sha256 is required and not there
	InvalidContentSHA256                   // x-amz-content-sha256 has no allowed value
	NotImplemented                         // a signing algorithm or payload mode of AWS that is not offered
	UnsignedHeaders                        // x-amz- headers are not among the signed ones; Error.Headers tells which
	TimeTooSkewed                          // signed more than MaxSkew from now
	Expired                                // a presigned URL whose time has passed
	NotYetValid                            // a presigned URL from the future
	SignatureMismatch                      // the signature, or that of a chunk or trailer, is not ours
	IncompleteBody                         // the aws-chunked framing is broken, or its length is not the declared one
	InvalidChunkSize                       // a chunk other than the last is below MinChunk, or one is above the limit
	MalformedTrailer                       // trailers are broken, missing or were not announced
	InvalidPolicy                          // a POST policy that cannot be read
	PolicyExpired                          // a POST policy whose expiration has passed
	PolicyViolated                         // the form does not meet a condition of its policy
	EntityTooSmall                         // content below the policy's content-length-range
	EntityTooLarge                         // content above the policy's content-length-range
)

// Error says why a request, a body or a form was refused.
type Error struct {
	Reason  Reason
	Message string // for the client; as AWS words it where that is known

	// Of SignatureMismatch of a request or a form: what it claimed, and what was
	// signed here. S3 shows them to the client, and none holds a secret.
	AccessKey, Signature, StringToSign, CanonicalRequest string

	// The header or field that is refused, and its value, where that is known.
	Argument, Value string

	Region      string        // the one expected, where the request was signed for another
	Headers     []string      // of UnsignedHeaders
	RequestTime time.Time     // of TimeTooSkewed, Expired, NotYetValid: when the request was signed
	ServerTime  time.Time     // of the same: now
	Expires     time.Duration // of Expired: how long the URL was good for
	Size, Bound int64         // of EntityTooSmall and EntityTooLarge, in bytes
}

func (e *Error) Error() string { return "sigv4: " + e.Message }

// about says which header or field is meant.
func (e *Error) about(argument, value string) *Error {
	e.Argument, e.Value = argument, value
	return e
}

func refuse(reason Reason, message string) *Error {
	return &Error{Reason: reason, Message: message}
}
