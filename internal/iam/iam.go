// Package iam decides who a request comes from and what it may do. It is pure:
// no network, no storage, no clock. Today it knows one root user, and policies of
// buckets for him and for strangers; users and groups will live behind the same
// two questions.
package iam

import "crypto/subtle"

// Identity is who a request comes from. The zero Identity is anonymous.
type Identity struct {
	AccessKey string
	Root      bool
}

// Anonymous reports whether nobody signed.
func (i Identity) Anonymous() bool { return i.AccessKey == "" }

// Request is what is to be decided.
type Request struct {
	Identity Identity
	Action   string // such as "s3:GetObject"
	Bucket   string // empty for the service itself
	Key      string // empty for a bucket
	Values   Values // for conditions; nil means that there are none
}

// Values tells what conditions and variables of policies ask for.
type Values interface {
	// Value returns the values of a condition key such as "aws:SourceIp", whose
	// name is in lower case but for what follows a '/'. There are none if the
	// request does not have the key.
	Value(key string) []string
}

// resource is the ARN of what the request is about.
func (r *Request) resource() string {
	switch {
	case r.Bucket == "":
		return ARNPrefix + "*"
	case r.Key == "":
		return ARNPrefix + r.Bucket
	}
	return ARNPrefix + r.Bucket + "/" + r.Key
}

func (r *Request) value(key string) []string {
	if r.Values == nil {
		return nil
	}
	return r.Values.Value(key)
}

// Decision is what a policy says of a request.
type Decision uint8

// The decisions, the stronger ones last.
const (
	Abstain Decision = iota // it says nothing
	Allow
	Deny // whatever others say
)

// Root is the authority where there is one user, who may do everything that no
// policy denies.
type Root struct {
	accessKey, secret string
}

// NewRoot returns the authority of the user with these credentials.
func NewRoot(accessKey, secret string) *Root {
	return &Root{accessKey: accessKey, secret: secret}
}

// Lookup returns the identity and secret key of an access key.
func (r *Root) Lookup(accessKey string) (id Identity, secret string, ok bool) {
	if subtle.ConstantTimeCompare([]byte(accessKey), []byte(r.accessKey)) != 1 {
		return Identity{}, "", false
	}
	return Identity{AccessKey: r.accessKey, Root: true}, r.secret, true
}

// Allowed reports whether the request may go on, apart from what the policy of its
// bucket says.
func (r *Root) Allowed(req *Request) bool { return req.Identity.Root }
