package gateway

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/shoal-storage/shoal/internal/directory"
	"github.com/shoal-storage/shoal/internal/iam"
	"github.com/shoal-storage/shoal/internal/sigv4"
)

// authenticate finds out who sent the request. Nobody is somebody too: what an
// anonymous request may do is for authorise to say.
func (s *Server) authenticate(r *request) error {
	signed := sigv4.Request{Method: r.method, Path: r.path, Query: r.rawQuery, Header: r, Bucket: r.host}
	auth, err := s.parseAuth(signed)
	if errors.Is(err, sigv4.ErrAnonymous) {
		r.auth = auth
		return nil
	}
	if err != nil {
		return err
	}
	if err := auth.CheckScope(s.signedFor()); err != nil {
		return err
	}
	presigned := auth.Presigned && !auth.V2
	if presigned {
		// The older SDKs sign what they move twice, as the parameter and as the header that it was.
		if err := r.takeMovedHeaders(func(name string) bool { return slices.Contains(auth.SignedHeaders, name) }); err != nil {
			return err
		}
	}
	identity, secret, err := s.prove(r, auth, func(secret string) error {
		return s.verifier.Verify(auth, signed, secret, s.Now())
	})
	if err != nil {
		return err
	}
	r.auth, r.secret, r.identity = auth, secret, identity
	if presigned {
		return r.takeMovedHeaders(func(string) bool { return true })
	}
	return nil
}

// parseAuth reads what a request says about its signature, of version 2 in the header only where
// that is served.
func (s *Server) parseAuth(signed sigv4.Request) (sigv4.Auth, error) {
	auth, err := sigv4.Parse(signed)
	if e, ok := errors.AsType[*sigv4.Error](err); ok && e.Reason == sigv4.UnsupportedV2 && s.SignatureV2 {
		return sigv4.ParseV2(signed)
	}
	return auth, err
}

// signedFor returns the region that requests have to be signed for, or "" for any.
func (s *Server) signedFor() string {
	if s.AnyRegion {
		return ""
	}
	return s.Region
}

// takeMovedHeaders takes those parameters of a presigned URL for headers that SDKs move from
// there into it, that S3 takes so, and that are wanted by their name in lower case. All parameters
// are signed, in version 4.
func (r *request) takeMovedHeaders(wanted func(name string) bool) error {
	for _, p := range r.query {
		if !isMovedHeader(p.name) || r.hasHeader(p.name) || !wanted(strings.ToLower(p.name)) {
			continue
		}
		if !isToken(p.name) {
			return errInvalidArgument.with("This can be no header.").detailed("ArgumentName", p.name)
		}
		if err := checkHeaderText(p.name, p.value); err != nil {
			return err
		}
		r.ctx.Request.Header.Set(p.name, p.value)
	}
	return nil
}

// isMovedHeader reports whether S3 takes a parameter of a presigned URL for a header. Tags and
// checksums it does not: SDKs put the checksum of nothing there, since they know no body yet.
func isMovedHeader(name string) bool {
	name = strings.ToLower(name)
	return strings.HasPrefix(name, metaPrefix) || strings.HasPrefix(name, "x-amz-server-side-encryption") ||
		name == "x-amz-acl" || name == "x-amz-storage-class"
}

// credentials returns whose an access key is, and the secret. Temporary ones have a
// token, and only they have one.
func (s *Server) credentials(auth sigv4.Auth) (identity iam.Identity, secret string, err error) {
	switch {
	case auth.SecurityToken == "":
		identity, secret, err = s.Authority.Lookup(auth.AccessKey)
	case s.Directory == nil:
		return identity, "", errInvalidToken
	default:
		identity, secret, err = s.Directory.LookupSession(auth.AccessKey, auth.SecurityToken)
	}
	switch {
	case errors.Is(err, iam.ErrNoSuchKey):
		return identity, "", errInvalidAccessKey.detailed("AWSAccessKeyId", auth.AccessKey).because(err)
	case errors.Is(err, directory.ErrToken):
		return identity, "", errInvalidToken.because(err)
	case errors.Is(err, directory.ErrExpired):
		return identity, "", errExpiredToken
	case err != nil:
		return identity, "", errUnavailable.because(err)
	}
	return identity, secret, nil
}

// fromSignature is what the client is told of a signature, a chunk or a policy
// that was refused. Of broken framing S3 does not say more than that.
func fromSignature(e *sigv4.Error) *s3Error {
	c := signatureCode(e)
	if e.Reason != sigv4.IncompleteBody && e.Reason != sigv4.MalformedTrailer {
		c = c.with(e.Message)
	}
	if e.Argument != "" {
		c = c.detailed("ArgumentName", e.Argument).detailed("ArgumentValue", e.Value)
	}
	if e.Region != "" {
		c = c.detailed("Region", e.Region)
	}
	return c.because(e)
}

func signatureCode(e *sigv4.Error) *s3Error {
	switch e.Reason {
	case sigv4.HeaderMalformed:
		return errAuthorizationMalformed
	case sigv4.QueryMalformed:
		return errAuthorizationQuery
	case sigv4.FormMalformed, sigv4.UnsupportedType, sigv4.SeveralMechanisms, sigv4.InvalidContentSHA256:
		return errInvalidArgument
	case sigv4.UnsupportedV2, sigv4.MissingContentSHA256:
		return errInvalidRequest
	case sigv4.MissingDate, sigv4.NotYetValid, sigv4.QueryV2Malformed:
		return errAccessDenied
	case sigv4.NotImplemented:
		return errNotImplemented
	case sigv4.UnsignedHeaders:
		return errAccessDenied.detailed("HeadersNotSigned", strings.Join(e.Headers, ", "))
	case sigv4.TimeTooSkewed:
		return errTimeSkewed.
			detailed("RequestTime", e.RequestTime.UTC().Format("20060102T150405Z")).
			detailed("ServerTime", e.ServerTime.UTC().Format(time.RFC3339)).
			detailed("MaxAllowedSkewMilliseconds", itoa(int(sigv4.MaxSkew.Milliseconds())))
	case sigv4.Expired:
		return errAccessDenied.
			detailed("X-Amz-Expires", itoa(int(e.Expires.Seconds()))).
			detailed("Expires", e.RequestTime.Add(e.Expires).UTC().Format(time.RFC3339)).
			detailed("ServerTime", e.ServerTime.UTC().Format(time.RFC3339))
	case sigv4.SignatureMismatch:
		if e.StringToSign == "" {
			return errSignatureDoesNotMatch
		}
		c := errSignatureDoesNotMatch.detailed("AWSAccessKeyId", e.AccessKey).
			detailed("StringToSign", e.StringToSign).detailed("SignatureProvided", e.Signature).
			detailed("StringToSignBytes", hexBytes(e.StringToSign))
		if e.CanonicalRequest == "" {
			return c
		}
		return c.detailed("CanonicalRequest", e.CanonicalRequest).detailed("CanonicalRequestBytes", hexBytes(e.CanonicalRequest))
	case sigv4.IncompleteBody:
		return errIncompleteBody.with("The request body terminated unexpectedly")
	case sigv4.InvalidChunkSize:
		return errInvalidChunkSize
	case sigv4.MalformedTrailer:
		return errMalformedTrailer
	case sigv4.InvalidPolicy:
		return errInvalidPolicy
	case sigv4.PolicyExpired, sigv4.PolicyViolated:
		return errAccessDenied
	case sigv4.EntityTooSmall:
		return errEntityTooSmall.detailed("ProposedSize", fmt.Sprint(e.Size)).detailed("MinSizeAllowed", fmt.Sprint(e.Bound))
	case sigv4.EntityTooLarge:
		return errEntityTooLarge.detailed("ProposedSize", fmt.Sprint(e.Size)).detailed("MaxSizeAllowed", fmt.Sprint(e.Bound))
	}
	return errAccessDenied
}

// hexBytes shows the bytes of s, as S3 does so that clients can find the one
// that differs from theirs.
func hexBytes(s string) string { return fmt.Sprintf("% x", s) }
