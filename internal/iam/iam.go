// Package iam decides who a request comes from and what it may do. It is pure: no
// network, no storage, no clock. Policies are of buckets or of users; whom they are
// attached to is for package directory to know.
package iam

import (
	"crypto/subtle"
	"errors"
	"slices"
	"time"
)

// ErrNoSuchKey says that nobody has an access key, or that it does not count now.
var ErrNoSuchKey = errors.New("iam: no such access key")

// Identity is who a request comes from, and what he may do. The zero Identity is
// anonymous. It does not change: who a request comes from is found out once.
type Identity struct {
	AccessKey string
	Parent    string // of a service account or a session: the user whose it is
	Root      bool   // the root user, or a service account or session of his
	Access    *Access
	Session   *Session // nil: the credentials are not temporary
	Limits    string   // of the user, as package limits reads it; "": none of his own
	POSIX     *POSIX   // of the user; nil: nothing is said
	// Claims are what an identity provider says of somebody who is no user here, by the
	// condition key, such as "jwt:sub".
	Claims map[string][]string
}

// POSIX is who somebody is to a file system: the numbers of a user and a group, nil where
// nothing is said, and of his supplementary groups.
type POSIX struct {
	UID           *uint32  `json:"uid,omitempty"`
	GID           *uint32  `json:"gid,omitempty"`
	Supplementary []uint32 `json:"supplementaryGroups,omitempty"` // groups
}

// Session is what temporary credentials have beside those that they were made with.
type Session struct {
	Name   string // as whoever made it calls it, or ""
	Issued time.Time
}

// Access is what policies say of somebody.
type Access struct {
	Policies []*Policy // his own and those of his groups
	Bounds   []*Policy // of service accounts and sessions: what one of these does not allow is denied
}

// Anonymous reports whether nobody signed.
func (i Identity) Anonymous() bool { return i.AccessKey == "" }

// User returns the name of the user, who may have signed with a service account.
func (i Identity) User() string {
	if i.Parent != "" {
		return i.Parent
	}
	return i.AccessKey
}

// Bounded reports whether a policy bounds what the user's policies allow.
func (i Identity) Bounded() bool { return i.Access != nil && len(i.Access.Bounds) > 0 }

// BoundBy returns the identity bounded by one more policy; nil bounds nothing.
func (i Identity) BoundBy(p *Policy) Identity {
	if p == nil {
		return i
	}
	access := &Access{Bounds: []*Policy{p}}
	if i.Access != nil {
		access.Policies, access.Bounds = i.Access.Policies, slices.Concat(i.Access.Bounds, access.Bounds)
	}
	i.Access = access
	return i
}

// Decide returns what the identity's own policies say of a request. The root user
// may do everything, as far as it is for them to say.
func (i Identity) Decide(r *Request) Decision {
	if i.Bounded() && slices.ContainsFunc(i.Access.Bounds, func(p *Policy) bool { return p.Decide(r) != Allow }) {
		return Deny
	}
	if i.Root {
		return Allow
	}
	said := Abstain
	if i.Access == nil {
		return said
	}
	for _, p := range i.Access.Policies {
		said = max(said, p.Decide(r))
	}
	return said
}

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

// Root is who there is where there is one user.
type Root struct {
	accessKey, secret string
}

// NewRoot returns the user with these credentials.
func NewRoot(accessKey, secret string) *Root {
	return &Root{accessKey: accessKey, secret: secret}
}

// Lookup returns the identity and secret key of an access key, or ErrNoSuchKey.
func (r *Root) Lookup(accessKey string) (id Identity, secret string, err error) {
	if subtle.ConstantTimeCompare([]byte(accessKey), []byte(r.accessKey)) != 1 {
		return Identity{}, "", ErrNoSuchKey
	}
	return Identity{AccessKey: r.accessKey, Root: true}, r.secret, nil
}
