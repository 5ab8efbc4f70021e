// Package iam decides who a request comes from and what it may do. It is pure:
// no network, no storage, no clock. Today it knows one root user; users,
// groups and policies will live behind the same two questions.
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
}

// Root is the authority where there is one user, who may do everything.
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

// Allowed reports whether the request may go on.
func (r *Root) Allowed(req Request) bool { return req.Identity.Root }
