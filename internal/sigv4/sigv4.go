// Package sigv4 checks and makes AWS Signature Version 4 as S3 uses it: in the
// Authorization header, in the query of presigned URLs, over POST forms, and
// over the chunks and trailers of an aws-chunked body. It is a set of pure
// functions over a neutral request: it knows no HTTP library, no clock, and not
// where secrets come from. Of version 2 it checks presigned URLs, and headers for who asks for that.
//
// https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-authenticating-requests.html
package sigv4

import (
	"iter"
	"slices"
	"strings"
	"time"
)

// Limits of AWS.
const (
	MaxSkew    = 15 * time.Minute     // between the clocks of client and server
	MaxExpires = 604800 * time.Second // the longest life of a presigned URL
)

const (
	algorithm     = "AWS4-HMAC-SHA256"
	ecdsa         = "AWS4-ECDSA-P256-SHA256"
	terminator    = "aws4_request"
	timeFormat    = "20060102T150405Z"
	dateFormat    = "20060102"
	service       = "s3"
	contentSHA256 = "x-amz-content-sha256"

	// maxSignedHeaders bounds what a list of signed headers can cost; SDKs sign
	// about ten.
	maxSignedHeaders = 128
)

// Header gives the headers of a request. Names are taken without regard to
// case, and "Host" is answered too.
type Header interface {
	// Get returns the first value, or "".
	Get(name string) string
	// Values returns all values in the order they were sent.
	Values(name string) []string
	// Names yields the name of every header, in any case, perhaps repeated. The
	// rule that every x-amz- header must be signed rests on it.
	Names() iter.Seq[string]
}

// Request is what of a request is signed.
type Request struct {
	Method string
	Path   string // as on the request line, with its escapes
	Query  string // as on the request line, with its escapes, without '?'
	Header Header
	Bucket string // that the host names, "" if the path does; signed in version 2 only
}

// Field is one header.
type Field struct{ Name, Value string }

// Fields is a list of headers that is a Header.
type Fields []Field

// Get implements Header.
func (f Fields) Get(name string) string {
	for i := range f {
		if strings.EqualFold(f[i].Name, name) {
			return f[i].Value
		}
	}
	return ""
}

// Values implements Header.
func (f Fields) Values(name string) []string {
	var values []string
	for i := range f {
		if strings.EqualFold(f[i].Name, name) {
			values = append(values, f[i].Value)
		}
	}
	return values
}

// Names implements Header.
func (f Fields) Names() iter.Seq[string] {
	return func(yield func(string) bool) {
		for i := range f {
			if !yield(f[i].Name) {
				return
			}
		}
	}
}

// Auth is what a request says about its signature. It proves nothing until
// CheckScope and Verify have returned nil.
type Auth struct {
	AccessKey     string
	Region        string
	Service       string
	Date          string    // of the scope, YYYYMMDD
	Time          time.Time // of the signature
	SignedHeaders []string  // in the order signed
	Signature     string
	Presigned     bool          // the signature is in the query
	V2            bool          // of version 2: it has no scope, and Time is the end of a presigned URL
	Form          bool          // the signature is in a POST form
	Expires       time.Duration // of a presigned URL
	SecurityToken string        // X-Amz-Security-Token, or ""

	// PayloadHash is x-amz-content-sha256 as sent, UNSIGNED-PAYLOAD for a
	// presigned URL without it. It is empty for a service other than s3 whose
	// client did not send it: the caller then sets it to the SHA-256 of the body
	// in hex before Verify.
	PayloadHash string
}

// CheckScope returns nil if the request was signed for the region, and for one
// of the services, s3 if none is named. An empty region on either side fits
// any: MinIO's admin clients sign with none, and a server may not care.
func (a Auth) CheckScope(region string, services ...string) error {
	if a.V2 {
		return nil
	}
	reason, what := HeaderMalformed, "The authorization header is malformed; "
	switch {
	case a.Presigned:
		reason, what = QueryMalformed, "Error parsing the X-Amz-Credential parameter; "
	case a.Form:
		reason, what = FormMalformed, ""
	}
	if region != "" && a.Region != "" && a.Region != region {
		e := refuse(reason, what+"the region '"+a.Region+"' is wrong; expecting '"+region+"'")
		e.Region = region
		return e
	}
	if len(services) == 0 && a.Service == service || slices.Contains(services, a.Service) {
		return nil
	}
	belongs := service
	if len(services) > 0 {
		belongs = strings.Join(services, `", "`)
	}
	return refuse(reason, what+`incorrect service "`+a.Service+`". This endpoint belongs to "`+belongs+`".`)
}

// scope returns the credential scope as it is signed.
func (a Auth) scope() string {
	return a.Date + "/" + a.Region + "/" + a.Service + "/" + terminator
}
