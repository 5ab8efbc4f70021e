package iam

import (
	"slices"
	"strings"
)

// Public reports whether the policy lets in everyone: by a statement without
// conditions that bind it to somebody
// (https://docs.aws.amazon.com/AmazonS3/latest/userguide/access-control-block-public-access.html).
func (p *Policy) Public() bool {
	return slices.ContainsFunc(p.statements, func(s statement) bool {
		return s.effect == Allow && (s.principals.everyone != s.principals.not) && !slices.ContainsFunc(s.conditions, binds)
	})
}

// binds reports whether a condition confines a statement to fixed values of what
// tells senders apart.
func binds(c condition) bool {
	switch c.key {
	case "aws:sourceip", "aws:sourcearn", "aws:sourcevpc", "aws:sourcevpce", "aws:sourceowner", "aws:sourceaccount",
		"aws:principalorgid", "aws:principalarn", "aws:principalaccount", "aws:userid", "s3:dataaccesspointarn", "s3:dataaccesspointaccount",
		"s3:x-amz-server-side-encryption-aws-kms-key-id":
	default:
		return false
	}
	if c.not || c.null || c.ifExists || c.set == forAll {
		return false
	}
	return !slices.ContainsFunc(c.values, func(v string) bool {
		if prefix, ok := parsePrefix(v); c.key == "aws:sourceip" && ok {
			return prefix.Bits() < 8
		}
		return strings.ContainsAny(v, "*?") || strings.Contains(v, "${")
	})
}
