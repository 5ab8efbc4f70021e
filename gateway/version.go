package gateway

import (
	"context"
	"encoding/xml"
	"errors"
	"slices"
	"strings"

	"github.com/shoal-storage/shoal/internal/object"
)

// version returns the object, or the version of it, that the request names.
func (r *request) version() (object.Ref, error) {
	ref := r.ref()
	if ref.Version = r.query.get("versionId"); ref.Version == "" && r.query.has("versionId") {
		return ref, errInvalidArgument.with("Version id cannot be the empty string").
			detailed("ArgumentName", "versionId").detailed("ArgumentValue", "")
	}
	return ref, nil
}

// setVersion tells the client which version it is about: nothing in a bucket
// without versioning.
func (r *request) setVersion(id string) { r.set("x-amz-version-id", id) }

// madeVersion returns what a client is told of the version that its write made:
// nothing if that has no ID.
func madeVersion(info *object.Info) string {
	if info.Version == object.NullVersion {
		return ""
	}
	return info.Version
}

// versioned returns the action by which IAM knows an operation when it is about a
// named version
// (https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html).
func versioned(action string) string {
	switch action {
	case "s3:GetObject", "s3:GetObjectAcl", "s3:GetObjectAttributes", "s3:GetObjectTagging",
		"s3:DeleteObject", "s3:DeleteObjectTagging", "s3:PutObjectTagging", "s3:PutObjectAcl":
		return strings.Replace(action, "Object", "ObjectVersion", 1)
	}
	return action
}

// action returns what the sender of the request must be allowed to do.
func (r *request) action() string {
	if r.key != "" && r.query.has("versionId") {
		return versioned(r.op.action)
	}
	return r.op.action
}

// readAction returns what one must be allowed to do to read an object or a version of it.
func readAction(ref object.Ref) string { return ofVersion("s3:GetObject", ref) }

// ofVersion returns an action on an object, or on the version of it that ref names.
func ofVersion(action string, ref object.Ref) string {
	if ref.Version != "" {
		return versioned(action)
	}
	return action
}

// fromMarker is what the client is told where a delete marker is met: that the
// key is not there, or if it named the marker itself that it cannot be read
// (https://docs.aws.amazon.com/AmazonS3/latest/userguide/DeleteMarker.html).
func fromMarker(e *s3Error, err error) *s3Error {
	m, ok := errors.AsType[*object.Marker](err)
	if !ok {
		return e
	}
	told := *e
	told.header = append(told.header[:len(told.header):len(told.header)], detail{"x-amz-delete-marker", "true"}, detail{"x-amz-version-id", m.Version})
	if errors.Is(err, object.DeleteMarker) {
		told.header = append(told.header, detail{"Allow", "DELETE"}, detail{"Last-Modified", httpTime(m.Modified)})
	}
	return &told
}

// versioningConfiguration is the body of Get- and PutBucketVersioning.
type versioningConfiguration struct {
	XMLName          xml.Name `xml:"VersioningConfiguration"`
	Status           string
	MfaDelete        string
	ExcludedPrefixes []excludedPrefix // MinIO's, as is the next
	ExcludeFolders   bool
}

type excludedPrefix struct{ Prefix string }

// getBucketVersioning serves GetBucketVersioning. Of a bucket that never had
// versioning S3 says nothing
// (https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketVersioning.html).
func (s *Server) getBucketVersioning(ctx context.Context, r *request) error {
	b, err := s.Store.StatBucket(ctx, r.bucket)
	if err != nil {
		return err
	}
	w := newXML("VersioningConfiguration")
	switch b.Versioning {
	case object.Versioned:
		w.text("Status", "Enabled")
	case object.Suspended:
		w.text("Status", "Suspended")
	case object.Unversioned:
	}
	r.answerXML(w.end("VersioningConfiguration"))
	return nil
}

// putBucketVersioning serves PutBucketVersioning
// (https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketVersioning.html).
func (s *Server) putBucketVersioning(ctx context.Context, r *request) error {
	b, err := s.openBody(r, bodyOptions{plain: true, limit: maxDocument})
	if err != nil {
		return err
	}
	var in versioningConfiguration
	if err := readXML(b, maxDocument, &in); err != nil {
		return err
	}
	state, err := in.state()
	if err != nil {
		return err
	}
	return s.Store.UpdateBucket(ctx, r.bucket, func(b *object.Bucket) error {
		if _, locked := b.Documents[lockDocument]; locked && state != object.Versioned {
			return errInvalidBucketState.with("An Object Lock configuration is present on this bucket, so the versioning state cannot be changed.")
		}
		b.Versioning = state
		return nil
	})
}

func (in *versioningConfiguration) state() (object.Versioning, error) {
	switch in.MfaDelete {
	case "", "Disabled":
	case "Enabled":
		return 0, errNotImplemented.with("MFA delete is not supported.")
	default:
		return 0, errMalformedXML
	}
	if in.ExcludeFolders || slices.ContainsFunc(in.ExcludedPrefixes, func(p excludedPrefix) bool { return p.Prefix != "" }) {
		return 0, errNotImplemented.with("Versioning is of all objects of a bucket: prefixes and folders cannot be excluded.")
	}
	switch in.Status {
	case "Enabled":
		return object.Versioned, nil
	case "Suspended":
		return object.Suspended, nil
	case "":
		return 0, errIllegalVersioning
	}
	return 0, errMalformedXML
}

// listVersions serves ListObjectVersions
// (https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectVersions.html).
func (s *Server) listVersions(ctx context.Context, r *request) error {
	plain, enc, err := r.listQuery()
	if err != nil {
		return err
	}
	q := object.VersionQuery{
		Bucket: plain.Bucket, Prefix: plain.Prefix, Delimiter: plain.Delimiter, Limit: plain.Limit,
		AfterKey: r.query.get("key-marker"), AfterVersion: r.query.get("version-id-marker"),
	}
	if q.AfterVersion != "" && q.AfterKey == "" {
		return errInvalidArgument.with("A version-id marker cannot be specified without a key marker.").
			detailed("ArgumentName", "version-id-marker").detailed("ArgumentValue", q.AfterVersion)
	}
	if q.AfterVersion != "" && !object.PossibleVersion(q.AfterVersion) {
		return errBadVersion.detailed("ArgumentName", "version-id-marker").detailed("ArgumentValue", q.AfterVersion)
	}
	page, err := s.versionPage(ctx, r, q)
	if err != nil {
		return err
	}
	if r.wantsMeta() {
		s.addMeta(ctx, r, readable(page.Versions))
	}
	w := newXML("ListVersionsResult")
	w.text("Name", r.bucket)
	w.text("Prefix", enc.apply(q.Prefix))
	w.text("KeyMarker", enc.apply(q.AfterKey))
	w.text("VersionIdMarker", q.AfterVersion)
	if page.More {
		w.text("NextKeyMarker", enc.apply(page.NextKey))
		w.optional("NextVersionIdMarker", page.NextVersion)
	}
	w.integer("MaxKeys", int64(q.Limit))
	w.optional("Delimiter", enc.apply(q.Delimiter))
	enc.tell(w)
	w.boolean("IsTruncated", page.More)
	for i := range page.Versions {
		w.version(&page.Versions[i], enc)
	}
	w.commonPrefixes(page.Prefixes, enc)
	r.answerXML(w.end("ListVersionsResult"))
	return nil
}

// readable returns the versions that are no delete markers.
func readable(versions []object.VersionInfo) []*object.Info {
	var all []*object.Info
	for i := range versions {
		if !versions[i].Marker {
			all = append(all, &versions[i].Info)
		}
	}
	return all
}

// versionPage asks the Store for a page of what the sender sees; a page of nothing only
// asks for the bucket.
func (s *Server) versionPage(ctx context.Context, r *request, q object.VersionQuery) (page object.VersionPage, err error) {
	if q.Limit == 0 {
		_, err := s.Store.StatBucket(ctx, q.Bucket)
		return object.VersionPage{}, err
	}
	if page, err = s.Store.ListVersions(ctx, q); err != nil || !s.isJudged(r) {
		return page, err
	}
	visible := s.visible(ctx, r, q.Prefix)
	if page.Versions, err = seen(page.Versions, func(v *object.VersionInfo) string { return v.Key }, visible); err != nil {
		return page, err
	}
	page.Prefixes, err = seen(page.Prefixes, itself, visible)
	return page, err
}

// version writes one version of a listing.
func (w *xmlWriter) version(v *object.VersionInfo, enc encoding) {
	element := "Version"
	if v.Marker {
		element = "DeleteMarker"
	}
	w.open(element)
	w.text("Key", enc.apply(v.Key))
	id := v.Version
	if id == "" {
		id = object.NullVersion
	}
	w.text("VersionId", id)
	w.boolean("IsLatest", v.Latest)
	w.time("LastModified", v.Modified)
	if !v.Marker {
		w.etag(v.ETag)
		w.checksumKind(v.Checksum)
		w.integer("Size", v.Size)
	}
	w.owner("Owner")
	if !v.Marker {
		w.text("StorageClass", storageClass(&v.Info))
		w.meta(&v.Meta)
	}
	w.close(element)
}
