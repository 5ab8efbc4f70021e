package gateway

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"github.com/shoal-storage/shoal/internal/events"
	"github.com/shoal-storage/shoal/internal/object"
)

func itoa(n int) string { return strconv.Itoa(n) }

// putObject serves PutObject
// (https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html).
func (s *Server) putObject(ctx context.Context, r *request) error {
	meta, err := r.readMeta()
	if err != nil {
		return err
	}
	if err := s.protect(r, r.ref(), r.header, &meta); err != nil {
		return err
	}
	check, err := s.writeCheck(r)
	if err != nil {
		return err
	}
	b, err := s.openBody(r, bodyOptions{algorithm: object.CRC64NVME, limit: object.MaxPartSize})
	if err != nil {
		return err
	}
	if err := mayLock(&meta, b, "Put Object"); err != nil {
		return err
	}
	if r.extracts() {
		return s.extract(ctx, r, b, check)
	}
	info, e, err := s.putOrAppend(ctx, r, b, meta, check)
	if err == nil {
		err = s.tellOf(ctx, r, eventOf(events.CreatedPut, &info))
	}
	if err != nil {
		return err
	}
	r.setAll(e.madeHeaders())
	r.setETag(info.ETag)
	r.setVersion(madeVersion(&info))
	s.setExpiration(r, &info)
	r.setChecksum(info.Checksum)
	r.set("x-amz-object-size", strconv.FormatInt(info.Size, 10))
	return nil
}

func (s *Server) putOrAppend(ctx context.Context, r *request, b *body, meta object.Meta, check object.Check) (object.Info, *encryption, error) {
	w, stated, err := s.wish(r, r.lookup, r.bucket)
	if err != nil {
		return object.Info{}, nil, err
	}
	if r.hasHeader(writeOffset) {
		return s.appendObject(ctx, r, b, appended{meta: meta, check: check, wish: w, stated: stated})
	}
	return s.putEncrypted(r.knowing(ctx), r.ref(), object.PutInput{Body: b, Meta: meta, Check: check, Files: r.files()}, w)
}

// deleteObject serves DeleteObject
// (https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObject.html).
func (s *Server) deleteObject(ctx context.Context, r *request) error {
	ref, err := r.version()
	if err != nil {
		return err
	}
	if r.hasHeader(forceHeader) {
		return errNotImplemented.with("Deleting everything below a prefix at once is not supported.")
	}
	check, err := s.deleteCheck(r, ref)
	if err != nil {
		return err
	}
	governed, err := s.governed(r, ref)
	if err != nil {
		return err
	}
	done, err := s.Store.Delete(ctx, ref, object.All(check, governed))
	if err == nil {
		err = s.tellOf(ctx, r, removalOf(ref, done))
	}
	if err != nil {
		return err
	}
	r.setVersion(done.Version)
	if done.Marker {
		r.set("x-amz-delete-marker", "true")
	}
	r.answerEmpty(204)
	return nil
}

// deleteCheck reads the preconditions of a DELETE of ref.
func (s *Server) deleteCheck(r *request, ref object.Ref) (object.Check, error) {
	if err := r.without("If-None-Match", "If-Modified-Since", "If-Unmodified-Since"); err != nil {
		return nil, err
	}
	var checks []object.Check
	if match := r.list("if-match"); match != "" {
		if err := s.mayMatch(r, match, ref); err != nil {
			return nil, err
		}
		checks = append(checks, object.IfMatch(match, object.NoSuchKey))
	}
	if size := r.header("x-amz-if-match-size"); size != "" {
		want, err := strconv.ParseInt(size, 10, 64)
		if err != nil {
			return nil, errInvalidArgument.with("x-amz-if-match-size is not a number")
		}
		checks = append(checks, ifSize(want))
	}
	if date := r.header("x-amz-if-match-last-modified-time"); date != "" {
		want := parseDate(date)
		if want.IsZero() {
			return nil, errInvalidArgument.with("x-amz-if-match-last-modified-time is not a date")
		}
		checks = append(checks, ifModified(want.Unix()))
	}
	return object.All(checks...), nil
}

func ifSize(want int64) object.Check {
	return func(current *object.Info) error {
		if current != nil && current.Size != want {
			return unmet("x-amz-if-match-size")
		}
		return nil
	}
}

func ifModified(want int64) object.Check {
	return func(current *object.Info) error {
		if current != nil && current.Modified.Unix() != want {
			return unmet("x-amz-if-match-last-modified-time")
		}
		return nil
	}
}

// zipHeader is MinIO's, of mc's --zip: keys go on in the archives that objects are.
const zipHeader = "x-minio-extract"

// refuseUnsupported answers what a request asks for beside its operation and
// Shoal does not do, instead of doing only half of it.
func refuseUnsupported(r *request) error {
	if err := refuseVersion(r); err != nil {
		return err
	}
	if r.header(zipHeader) == "true" {
		return errNotImplemented.with("Looking into archives of the format ZIP is not supported.").detailed("Header", zipHeader)
	}
	for k, v := range r.ctx.Request.Header.All() {
		if !hasPrefixFold(k, "x-amz-") {
			continue
		}
		name := strings.ToLower(string(k))
		if name == writeOffset && r.op.name == "PutObject" {
			continue
		}
		if strings.HasPrefix(name, encryptionHeader) {
			r.encryption = true
			if err := refuseEncryption(r.op.name, name, string(v)); err != nil {
				return err
			}
		}
		err := refuseHeader(name, string(v))
		if errors.Is(err, errACLNotSupported) && r.op.name == "CreateBucket" {
			return errBucketACL
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// refuseVersion keeps an object from being replaced by what was meant for one of its versions.
func refuseVersion(r *request) error {
	switch r.op.name {
	case "PutObject", "CopyObject", "CreateMultipartUpload", "UploadPart", "UploadPartCopy":
		if r.query.has("versionId") {
			return errInvalidArgument.with("This operation does not accept a version-id.").detailed("ArgumentName", "versionId").detailed("ArgumentValue", r.query.get("versionId"))
		}
	}
	return nil
}

// refuseEncryption refuses to choose an encryption where none can be chosen.
func refuseEncryption(operation, header, value string) error {
	if strings.HasPrefix(header, customerHeaders) {
		return nil
	}
	switch operation {
	case "GetObject", "HeadObject", "GetObjectAttributes", "UploadPart", "UploadPartCopy", "ListParts":
		return errInvalidArgument.with(header+" header is not supported for this operation.").
			detailed("ArgumentName", header).detailed("ArgumentValue", value)
	}
	return nil
}

// refuseHeader does so for one header or field, whose name is in lower case.
func refuseHeader(name, value string) error {
	switch {
	case name == writeOffset:
		return errNotImplemented.detailed("Header", name)
	case strings.HasPrefix(name, checksumHeader) && !isChecksumHeader(name):
		return errInvalidRequest.with("The algorithm type you specified in x-amz-checksum- header is invalid.")
	case name == "x-amz-acl":
		return checkACL(value)
	case strings.HasPrefix(name, "x-amz-grant-"):
		return errACLNotSupported
	case name == "x-amz-object-ownership":
		return checkOwnership(value)
	case name == "x-amz-expected-bucket-owner", name == "x-amz-source-expected-bucket-owner":
		return checkOwner(value)
	}
	return nil
}

// checkOwner accepts the account that owns everything, which Shoal tells in two ways: as
// who is asked by GetCallerIdentity, and as who owns a bucket.
func checkOwner(account string) error {
	switch {
	case account == stsAccount, account == ownerID:
		return nil
	case len(account) != len(stsAccount) || strings.Trim(account, "0123456789") != "":
		return errInvalidOwner.detailed("ArgumentValue", account)
	}
	return errAccessDenied
}

// checkACL accepts the canned ACLs that say what is so anyway: the owner has
// everything, and nobody else has anything.
func checkACL(name string) error {
	switch name {
	case "private", "bucket-owner-full-control":
		return nil
	case "public-read", "public-read-write", "authenticated-read", "aws-exec-read", "bucket-owner-read", "log-delivery-write":
		return errACLNotSupported
	}
	return errInvalidArgument.detailed("ArgumentName", "x-amz-acl").detailed("ArgumentValue", name)
}

// checkOwnership accepts the one ownership that buckets have.
func checkOwnership(name string) error {
	switch name {
	case "BucketOwnerEnforced":
		return nil
	case "BucketOwnerPreferred", "ObjectWriter":
		return errNotImplemented.detailed("Header", "x-amz-object-ownership")
	}
	return errInvalidArgument.with("Invalid x-amz-object-ownership header: "+name).detailed("ArgumentName", "x-amz-object-ownership")
}
