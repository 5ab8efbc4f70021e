package gateway

import (
	"cmp"
	"context"
	"encoding/xml"
	"errors"
	"io"

	"github.com/shoal-storage/shoal/internal/iam"
	"github.com/shoal-storage/shoal/internal/object"
)

// Why access is denied is told in the log only.
var (
	errExplicitDeny = errors.New("the policy of the bucket denies it")
	errDeniedUser   = errors.New("a policy of the user, or the bounds of the service account, deny it")
)

// getBucketPolicy serves GetBucketPolicy
// (https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketPolicy.html).
func (s *Server) getBucketPolicy(ctx context.Context, r *request) error {
	b, err := s.Store.StatBucket(ctx, r.bucket)
	if err != nil {
		return err
	}
	text, there := b.Documents[policyDocument]
	if !there {
		return errNoSuchBucketPolicy.detailed("BucketName", r.bucket)
	}
	r.set("Content-Type", "application/json")
	r.ctx.Response.SetBodyString(text)
	return nil
}

// getBucketPolicyStatus serves GetBucketPolicyStatus
// (https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketPolicyStatus.html).
func (s *Server) getBucketPolicyStatus(ctx context.Context, r *request) error {
	if _, err := s.Store.StatBucket(ctx, r.bucket); err != nil {
		return err
	}
	access, err := s.policyOf(r, r.bucket)
	if err != nil {
		return err
	}
	if access == nil {
		return errNoSuchBucketPolicy.detailed("BucketName", r.bucket)
	}
	w := newXML("PolicyStatus")
	w.boolean("IsPublic", access.policy.Public())
	r.answerXML(w.end("PolicyStatus"))
	return nil
}

// putBucketPolicy serves PutBucketPolicy
// (https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketPolicy.html).
func (s *Server) putBucketPolicy(ctx context.Context, r *request) error {
	if _, err := s.Store.StatBucket(ctx, r.bucket); err != nil {
		return err
	}
	b, err := s.openBody(r, bodyOptions{plain: true, limit: maxDocument})
	if err != nil {
		return err
	}
	text, err := io.ReadAll(b)
	if err != nil {
		return err
	}
	if len(text) > iam.MaxPolicy {
		return errInvalidArgument.with("The policy is longer than the 20 KB that a bucket's may have.")
	}
	policy, err := iam.ParsePolicy(text, r.bucket)
	if err == nil {
		err = cmp.Or(iam.Unambiguous(text), policy.Validate())
	}
	if err != nil {
		return errMalformedPolicy.with(err.Error())
	}
	err = s.setDocument(ctx, r, policyDocument, string(text), func(b *object.Bucket) error {
		block, err := s.publicBlock(b.Documents)
		if err == nil && block.BlockPublicPolicy && policy.Public() {
			return errAccessDenied.because(errPublicPolicy)
		}
		return err
	})
	if err != nil {
		return err
	}
	r.answerEmpty(204)
	return nil
}

var errPublicPolicy = errors.New("the bucket does not take policies that let in everyone")

// publicAccessBlock is the body of Get- and PutPublicAccessBlock.
type publicAccessBlock struct {
	XMLName               xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ PublicAccessBlockConfiguration"`
	BlockPublicAcls       bool     //nolint:revive,staticcheck // the name in S3's XML
	IgnorePublicAcls      bool     //nolint:revive,staticcheck // the name in S3's XML
	BlockPublicPolicy     bool
	RestrictPublicBuckets bool
}

// publicBlock returns what the documents of a bucket say of public access.
func (s *Server) publicBlock(documents map[string]string) (*publicAccessBlock, error) {
	text, there := documents[publicBlockDocument]
	if !there {
		return &publicAccessBlock{}, nil
	}
	return parsed(&s.parsed, publicBlockDocument, text, func(string) (*publicAccessBlock, error) {
		var b publicAccessBlock
		return &b, parseXML([]byte(text), &b)
	})
}

// putPublicAccessBlock serves PutPublicAccessBlock. Of its four parts those on ACLs
// hold anyway, since there are none
// (https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutPublicAccessBlock.html).
func (s *Server) putPublicAccessBlock(ctx context.Context, r *request) error {
	var in struct {
		XMLName               xml.Name `xml:"PublicAccessBlockConfiguration"`
		BlockPublicAcls       bool     //nolint:revive,staticcheck // the name in S3's XML
		IgnorePublicAcls      bool     //nolint:revive,staticcheck // the name in S3's XML
		BlockPublicPolicy     bool
		RestrictPublicBuckets bool
	}
	if err := s.readDocument(ctx, r, &in); err != nil {
		return err
	}
	text, err := encodeDocument(&publicAccessBlock{
		BlockPublicAcls: in.BlockPublicAcls, IgnorePublicAcls: in.IgnorePublicAcls,
		BlockPublicPolicy: in.BlockPublicPolicy, RestrictPublicBuckets: in.RestrictPublicBuckets,
	})
	if err != nil {
		return err
	}
	return s.setDocument(ctx, r, publicBlockDocument, text, nil)
}

// readDocument reads the XML that a request sets. That the bucket is there comes
// before what may be wrong with that.
func (s *Server) readDocument(ctx context.Context, r *request, v any) error {
	if _, err := s.Store.StatBucket(ctx, r.bucket); err != nil {
		return err
	}
	b, err := s.openBody(r, bodyOptions{plain: true, limit: maxDocument})
	if err != nil {
		return err
	}
	if b.Size() == 0 {
		return errMissingBody
	}
	return readXML(b, maxDocument, v)
}

// putOwnershipControls serves PutBucketOwnershipControls for the one ownership
// that there is
// (https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketOwnershipControls.html).
func (s *Server) putOwnershipControls(ctx context.Context, r *request) error {
	var in struct {
		XMLName xml.Name `xml:"OwnershipControls"`
		Rule    []struct{ ObjectOwnership string }
	}
	if err := s.readDocument(ctx, r, &in); err != nil {
		return err
	}
	if len(in.Rule) != 1 {
		return errMalformedXML
	}
	switch in.Rule[0].ObjectOwnership {
	case "BucketOwnerEnforced":
		return s.exists(ctx, r)
	case "BucketOwnerPreferred", "ObjectWriter":
		return errNotImplemented.with("Buckets have no access control lists: their object ownership is BucketOwnerEnforced.")
	}
	return errMalformedXML
}

// deleteOwnershipControls serves DeleteBucketOwnershipControls: the bucket has what
// new ones have, which is all there is
// (https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteBucketOwnershipControls.html).
func (s *Server) deleteOwnershipControls(ctx context.Context, r *request) error {
	if err := s.exists(ctx, r); err != nil {
		return err
	}
	r.answerEmpty(204)
	return nil
}

// accessControlPolicy is the body of PutBucketAcl and PutObjectAcl.
type accessControlPolicy struct {
	XMLName           xml.Name `xml:"AccessControlPolicy"`
	Owner             struct{ ID, DisplayName string }
	AccessControlList struct {
		Grant []struct {
			Grantee    struct{ ID, DisplayName, URI, EmailAddress, Type string }
			Permission string
		}
	}
}

// putACL serves PutBucketAcl and PutObjectAcl where they ask for what is so anyway:
// the owner has everything and nobody else anything
// (https://docs.aws.amazon.com/AmazonS3/latest/userguide/about-object-ownership.html).
func (s *Server) putACL(ctx context.Context, r *request) error {
	switch {
	case r.header("x-amz-acl") != "" && r.contentLength() != 0:
		return errUnexpectedContent
	case r.header("x-amz-acl") == "":
		var in accessControlPolicy
		err := s.readDocument(ctx, r, &in)
		if e, ok := errors.AsType[*s3Error](err); ok && e.code == errMalformedXML.code {
			return errMalformedACL.because(err)
		}
		if err != nil {
			return err
		}
		if in.Owner.ID != "" && in.Owner.ID != ownerID {
			return errAccessDenied // the owner cannot be changed
		}
		for _, g := range in.AccessControlList.Grant {
			if g.Permission != "FULL_CONTROL" || g.Grantee.ID != ownerID {
				return errACLNotSupported
			}
		}
		if len(in.AccessControlList.Grant) == 0 {
			return errACLNotSupported
		}
	}
	return s.exists(ctx, r)
}
