package gateway

import (
	"context"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/shoal-storage/shoal/internal/iam"
	"github.com/shoal-storage/shoal/internal/object"
)

// ownerID is the canonical user ID of the one owner of everything.
const ownerID = "02d6176db174dc93cb1b899f7c6078f08654445fe8cf1b6ce98d8855f66bdbf4"

// maxBucketPage is the most buckets of one page.
const maxBucketPage = 10000

// ownerName is the owner's display name.
const ownerName = "shoal"

func (w *xmlWriter) owner(element string) {
	w.open(element)
	w.text("ID", ownerID)
	w.text("DisplayName", ownerName)
	w.close(element)
}

// listBuckets serves ListBuckets
// (https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListBuckets.html).
func (s *Server) listBuckets(ctx context.Context, r *request) error {
	limit, err := r.number("max-buckets", 1, maxBucketPage, maxBucketPage)
	if err != nil {
		return err
	}
	after, err := decodeToken(r.query.get("continuation-token"))
	if err != nil {
		return err
	}
	region, err := s.listedRegion(r)
	if err != nil {
		return err
	}
	prefix := r.query.get("prefix")
	buckets, err := s.Store.ListBuckets(ctx)
	if err != nil {
		return err
	}
	visible := s.visibleBuckets(r)
	w := newXML("ListAllMyBucketsResult")
	w.owner("Owner")
	w.open("Buckets")
	count, next := 0, ""
	for i := range buckets {
		b := &buckets[i]
		if b.Name <= after || !strings.HasPrefix(b.Name, prefix) || !s.inRegion(b, region) || !visible(b.Name) {
			continue
		}
		if count == limit {
			next = encodeToken(after)
			break
		}
		w.open("Bucket")
		w.text("Name", b.Name)
		w.time("CreationDate", b.Created)
		w.text("BucketRegion", s.region(b))
		w.close("Bucket")
		count++
		after = b.Name
	}
	w.close("Buckets")
	w.optional("ContinuationToken", next)
	w.optional("Prefix", prefix)
	r.answerXML(w.end("ListAllMyBucketsResult"))
	return nil
}

func (s *Server) region(b *object.Bucket) string {
	if b.Region != "" {
		return b.Region
	}
	return s.Region
}

// listedRegion returns the region of which buckets are to be listed, or "" for all of them.
func (s *Server) listedRegion(r *request) (string, error) {
	const name = "bucket-region"
	region := r.query.get(name)
	if region == "" || region == s.Region || s.AnyRegion || likeRegion(region) {
		return region, nil
	}
	return "", errInvalidArgument.with("Argument value "+region+" is not a valid AWS Region").
		detailed("ArgumentName", name).detailed("ArgumentValue", region)
}

// likeRegion reports whether a name may be that of a region of AWS, such as us-east-1.
func likeRegion(name string) bool { return strings.Count(name, "-") >= 2 }

func (s *Server) inRegion(b *object.Bucket, region string) bool {
	return region == "" || region == s.region(b)
}

// encodeToken makes an opaque continuation token of the last name of a page.
// It holds no state of this server: any other can go on from it.
func encodeToken(last string) string {
	return base64.RawURLEncoding.EncodeToString([]byte("1" + last))
}

func decodeToken(token string) (last string, err error) {
	if token == "" {
		return "", nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(raw) == 0 || raw[0] != '1' {
		return "", errInvalidArgument.with("The continuation token provided is incorrect").detailed("ArgumentName", "continuation-token")
	}
	return string(raw[1:]), nil
}

// number reads a parameter that is a number from least to most.
func (r *request) number(name string, least, most, absent int) (int, error) {
	v := r.query.get(name)
	if v == "" {
		return absent, nil
	}
	problem := ""
	n, err := strconv.ParseInt(v, 10, 32)
	switch {
	case err != nil:
		problem = "Provided " + name + " not an integer or within integer range"
	case n < int64(least) || n > int64(most):
		problem = fmt.Sprintf("Argument %s must be an integer between %d and %d", name, least, most)
	default:
		return int(n), nil
	}
	return 0, errInvalidArgument.with(problem).detailed("ArgumentName", name).detailed("ArgumentValue", v)
}

// limit reads a parameter that bounds a page. Any number may be asked for, but
// a page has no more than MaxListLimit entries.
func (r *request) limit(name string) (int, error) {
	n, err := r.number(name, 0, math.MaxInt32, object.MaxListLimit)
	return min(n, object.MaxListLimit), err
}

// headBucket serves HeadBucket.
func (s *Server) headBucket(ctx context.Context, r *request) error {
	b, err := s.Store.StatBucket(ctx, r.bucket)
	if err != nil {
		return err
	}
	r.set("x-amz-bucket-region", s.region(&b))
	r.set("x-amz-access-point-alias", "false")
	r.set("Content-Type", "application/xml")
	return nil
}

// createBucketRequest is the body of CreateBucket.
type createBucketRequest struct {
	XMLName            xml.Name `xml:"CreateBucketConfiguration"`
	LocationConstraint string
	Location           *struct{}
	Bucket             *struct{}
	Tags               tagSet
}

// mayLock returns nil if the sender may make a bucket with Object Lock, and so one with
// versions.
func (s *Server) mayLock(r *request) error {
	for _, action := range []string{"s3:PutBucketObjectLockConfiguration", "s3:PutBucketVersioning"} {
		if err := s.allow(r, action, r.ref()); err != nil {
			return err
		}
	}
	return nil
}

// createBucket serves CreateBucket
// (https://docs.aws.amazon.com/AmazonS3/latest/API/API_CreateBucket.html).
func (s *Server) createBucket(ctx context.Context, r *request) error {
	in, err := s.readCreateBucket(r)
	if err != nil {
		return err
	}
	if err := s.authoriseStated(r, map[string]string{"location-constraint": in.LocationConstraint}); err != nil {
		return err
	}
	if in.Location != nil || in.Bucket != nil {
		return errNotImplemented.with("Directory buckets are not supported.")
	}
	if err := s.checkLocation(in.LocationConstraint); err != nil {
		return err
	}
	bucket := object.Bucket{Name: r.bucket, Created: s.Now().UTC(), Region: s.Region, Dir: r.files()}
	if bucket.Tags, err = in.Tags.check(maxBucketTags); err != nil {
		return err
	}
	if err := s.lockNew(r, &bucket); err != nil {
		return err
	}
	if err := s.Store.CreateBucket(ctx, bucket); err != nil {
		return err
	}
	r.set("Location", "/"+r.bucket)
	r.set("x-amz-bucket-arn", iam.ARNPrefix+r.bucket)
	return nil
}

// readCreateBucket reads the body of CreateBucket, which need not be there.
func (s *Server) readCreateBucket(r *request) (in createBucketRequest, err error) {
	b, err := s.openBody(r, bodyOptions{plain: true, limit: maxDocument})
	if err != nil || b.Size() == 0 {
		return in, err
	}
	return in, readXML(b, maxDocument, &in)
}

// lockNew gives a bucket that is to be made Object Lock, if the request asks for that.
func (s *Server) lockNew(r *request, bucket *object.Bucket) error {
	const header = "x-amz-bucket-object-lock-enabled"
	switch value := r.header(header); strings.ToLower(value) {
	case "", "false":
		return nil
	case "true":
	default:
		return errInvalidArgument.with("Object Lock is enabled by true, and not by false.").detailed("ArgumentName", header).detailed("ArgumentValue", value)
	}
	if err := s.mayLock(r); err != nil {
		return err
	}
	text, err := newLockConfiguration()
	if err != nil {
		return err
	}
	bucket.Versioning, bucket.Documents = object.Versioned, map[string]string{lockDocument: text}
	return nil
}

// checkLocation refuses a region other than ours: as incompatible if it may be
// one of AWS, as invalid otherwise.
func (s *Server) checkLocation(constraint string) error {
	if constraint == "" || constraint == s.Region || s.AnyRegion {
		return nil
	}
	if !likeRegion(constraint) && constraint != "EU" {
		return errInvalidLocation.detailed("LocationConstraint", constraint)
	}
	return errIllegalLocation.with("The " + constraint + " location constraint is incompatible for the region specific endpoint this request was sent to.")
}

// deleteBucket serves DeleteBucket.
func (s *Server) deleteBucket(ctx context.Context, r *request) error {
	err := s.Store.DeleteBucket(ctx, r.bucket)
	if errors.Is(err, object.BucketNotEmpty) {
		e := toS3(err).detailed("BucketName", r.bucket)
		if _, other := errors.AsType[*object.Obstacle](err); other {
			return e
		}
		if b, lost := s.Store.StatBucket(ctx, r.bucket); lost == nil && b.Versioning != object.Unversioned {
			e = e.with(e.message + ". You must delete all versions in the bucket.")
		}
		return e
	}
	if err != nil {
		return err
	}
	r.answerEmpty(204)
	return nil
}

// getBucketLocation serves GetBucketLocation; the default region has no name
// there.
func (s *Server) getBucketLocation(ctx context.Context, r *request) error {
	b, err := s.Store.StatBucket(ctx, r.bucket)
	if err != nil {
		return err
	}
	w := newXML("LocationConstraint")
	if region := s.region(&b); region != object.DefaultRegion {
		w.buf = appendEscaped(w.buf, region)
	}
	r.answerXML(w.end("LocationConstraint"))
	return nil
}

// emptyDocument answers for a bucket configuration that S3 gives as an empty
// document while it is not set.
func emptyDocument(root string) handler {
	return func(s *Server, ctx context.Context, r *request) error {
		if _, err := s.Store.StatBucket(ctx, r.bucket); err != nil {
			return err
		}
		r.answerXML(newXML(root).end(root))
		return nil
	}
}

// absent answers for a bucket configuration that S3 calls missing while it is
// not set.
func absent(code, message string) handler {
	return func(s *Server, ctx context.Context, r *request) error {
		if _, err := s.Store.StatBucket(ctx, r.bucket); err != nil {
			return err
		}
		e := &s3Error{code: code, status: 404, message: message}
		return e.detailed("BucketName", r.bucket)
	}
}

// getACL answers with the only ACL there is: buckets are "bucket owner
// enforced", as new ones are in S3.
func (s *Server) getACL(ctx context.Context, r *request) error {
	if err := s.exists(ctx, r); err != nil {
		return err
	}
	w := newXML("AccessControlPolicy")
	w.owner("Owner")
	w.open("AccessControlList")
	w.open("Grant")
	w.buf = append(w.buf, `<Grantee xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="CanonicalUser">`...)
	w.text("ID", ownerID)
	w.text("DisplayName", ownerName)
	w.close("Grantee")
	w.text("Permission", "FULL_CONTROL")
	w.close("Grant")
	w.close("AccessControlList")
	r.answerXML(w.end("AccessControlPolicy"))
	return nil
}

// exists returns nil if the bucket, or the object if the request names one, is
// there.
func (s *Server) exists(ctx context.Context, r *request) error {
	if r.key == "" {
		_, err := s.Store.StatBucket(ctx, r.bucket)
		return err
	}
	ref, err := r.version()
	if err != nil {
		return err
	}
	info, err := s.Store.Stat(ctx, ref)
	r.setVersion(info.Version)
	return err
}

// getOwnershipControls serves GetBucketOwnershipControls.
func (s *Server) getOwnershipControls(ctx context.Context, r *request) error {
	if err := s.exists(ctx, r); err != nil {
		return err
	}
	w := newXML("OwnershipControls")
	w.open("Rule")
	w.text("ObjectOwnership", "BucketOwnerEnforced")
	w.close("Rule")
	r.answerXML(w.end("OwnershipControls"))
	return nil
}

// getRequestPayment serves GetBucketRequestPayment.
func (s *Server) getRequestPayment(ctx context.Context, r *request) error {
	if err := s.exists(ctx, r); err != nil {
		return err
	}
	w := newXML("RequestPaymentConfiguration")
	w.text("Payer", "BucketOwner")
	r.answerXML(w.end("RequestPaymentConfiguration"))
	return nil
}
