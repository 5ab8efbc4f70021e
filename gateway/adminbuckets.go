package gateway

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/shoal-storage/shoal/internal/directory"
	"github.com/shoal-storage/shoal/internal/lifecycle"
	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/quota"
)

// bucketPart is a file in an archive of buckets' configurations, and the operations that
// read and write what it has.
type bucketPart struct {
	file   string
	status string // what the outcome of an import is called
	get    handler
	put    handler
}

// bucketParts are in the order in which they are put: Object Lock needs versions.
func bucketParts() []bucketPart {
	return []bucketPart{
		{"versioning.xml", "versioning", (*Server).getVersioningIfAny, (*Server).putBucketVersioning},
		{"object-lock.xml", "olock", getDocument(lockDocument, errNoLockConfiguration), (*Server).putLockConfiguration},
		{"tagging.xml", "tagging", (*Server).getBucketTagging, (*Server).putBucketTagging},
		{"policy.json", "policy", (*Server).getBucketPolicy, (*Server).putBucketPolicy},
		{"lifecycle.xml", "lifecycle", getDocument(lifecycle.Document, errNoLifecycle), (*Server).putLifecycle},
		{"bucket-encryption.xml", "sse", (*Server).getBucketEncryption, (*Server).putBucketEncryption},
		{"notification.xml", "notification", (*Server).getNotification, (*Server).putNotification},
		{"cors.xml", "cors", getDocument(corsDocument, errNoSuchCORS), (*Server).putBucketCORS},
		{"website.xml", "website", getDocument(websiteDocument, errNoSuchWebsite), (*Server).putBucketWebsite},
		{"public-access-block.xml", "publicAccessBlock", getDocument(publicBlockDocument, errNoSuchPublicBlock), (*Server).putPublicAccessBlock},
		{"quota.json", "quota", (*Server).getQuotaIfAny, (*Server).setBucketQuota},
		{"limits.json", "limits", (*Server).getLimitsIfAny, (*Server).putBucketLimits},
	}
}

// getVersioningIfAny is GetBucketVersioning for buckets that ever had versions: nothing
// can be put back of the others.
func (s *Server) getVersioningIfAny(ctx context.Context, r *request) error {
	b, err := s.Store.StatBucket(ctx, r.bucket)
	if err != nil {
		return err
	}
	if b.Versioning == object.Unversioned {
		return errNoConfiguration
	}
	return s.getBucketVersioning(ctx, r)
}

// getQuotaIfAny is get-bucket-quota for buckets that have one.
func (s *Server) getQuotaIfAny(ctx context.Context, r *request) error {
	b, err := s.Store.StatBucket(ctx, r.bucket)
	if err != nil {
		return err
	}
	if _, there := b.Documents[quota.Document]; !there {
		return errNoConfiguration
	}
	return s.getBucketQuota(ctx, r)
}

// errNoConfiguration is not seen by clients.
var errNoConfiguration = &s3Error{code: "NoSuchConfiguration", status: 404, message: "The bucket has no such configuration."}

// maxBucketFiles bounds the files in an archive of buckets' configurations.
const maxBucketFiles = 100_000

// of returns a request for a configuration of a bucket within another request, whose
// answer it shares. Its body is the content.
func (r *request) of(bucket string, content []byte) *request {
	part := *r
	part.bucket, part.key, part.query, part.part, part.known = bucket, "", query{{name: "bucket", value: bucket}}, bytes.NewReader(content), bucketDocuments{}
	return &part
}

// exportBuckets serves export-bucket-metadata: the configurations of all buckets, or one,
// as their own operations tell them.
func (s *Server) exportBuckets(ctx context.Context, r *request) error {
	buckets, err := s.bucketsOf(ctx, r.query.get("bucket"))
	if err != nil {
		return err
	}
	var packed bytes.Buffer
	w := zip.NewWriter(&packed)
	for _, bucket := range buckets {
		for _, p := range bucketParts() {
			err := p.get(s, ctx, r.of(bucket, nil))
			if e, refused := errors.AsType[*s3Error](err); refused && e.status == 404 {
				continue // it has none
			}
			if err != nil {
				return err
			}
			file, err := w.Create(bucket + "/" + p.file)
			if err == nil {
				_, err = file.Write(r.ctx.Response.Body())
			}
			if err != nil {
				return errInternal.because(err)
			}
		}
	}
	r.ctx.Response.ResetBody()
	err = w.Close()
	return r.answerArchive(packed.Bytes(), err)
}

// bucketsOf returns the names of all buckets, or the one that is named.
func (s *Server) bucketsOf(ctx context.Context, name string) ([]string, error) {
	if name != "" {
		_, err := s.Store.StatBucket(ctx, name)
		return []string{name}, err
	}
	buckets, err := s.Store.ListBuckets(ctx)
	names := make([]string, len(buckets))
	for i := range buckets {
		names[i] = buckets[i].Name
	}
	return names, err
}

// partStatus is what has become of one configuration of a bucket.
type partStatus struct {
	Set   bool   `json:"isSet"`
	Error string `json:"error,omitempty"`
}

// importBuckets serves import-bucket-metadata: each configuration is put by the operation
// that it has, and what that refuses is told. Buckets that are not there are made.
func (s *Server) importBuckets(ctx context.Context, r *request) error {
	packed, err := s.adminBodyOf(r, directory.MaxArchive)
	if err != nil {
		return err
	}
	buckets, err := readBucketArchive(packed, r.query.get("bucket"))
	if err != nil {
		return err
	}
	outcome := make(map[string]map[string]any, len(buckets))
	for _, name := range slices.Sorted(maps.Keys(buckets)) {
		outcome[name] = make(map[string]any)
		if err := s.importBucket(ctx, r, name, buckets[name], outcome[name]); err != nil {
			outcome[name]["error"] = toS3(err).message
		}
	}
	r.ctx.SetStatusCode(200)
	return r.answerJSON(map[string]any{"buckets": outcome})
}

// importBucket puts the configurations of one bucket and says what has become of each.
func (s *Server) importBucket(ctx context.Context, r *request, name string, files map[string][]byte, outcome map[string]any) error {
	if !validBucketName(name) {
		return errInvalidBucketName
	}
	if err := s.ensureBucket(ctx, name, files["object-lock.xml"] != nil); err != nil {
		return err
	}
	for _, p := range bucketParts() {
		content, there := files[p.file]
		if !there {
			continue
		}
		status := partStatus{Set: true}
		if err := p.put(s, ctx, r.of(name, content)); err != nil {
			status = partStatus{Error: toS3(err).message}
			s.Logger.Warn("a configuration was not imported", "request", r.id, "bucket", name, "file", p.file, "error", err)
		}
		outcome[p.status] = status
	}
	return nil
}

// ensureBucket makes a bucket that is not there, with Object Lock if it is to have that.
func (s *Server) ensureBucket(ctx context.Context, name string, locked bool) error {
	if _, err := s.Store.StatBucket(ctx, name); !errors.Is(err, object.NoSuchBucket) {
		return err
	}
	b := object.Bucket{Name: name, Created: s.Now().UTC(), Region: s.Region}
	if locked {
		text, err := newLockConfiguration()
		if err != nil {
			return err
		}
		b.Versioning, b.Documents = object.Versioned, map[string]string{lockDocument: text}
	}
	return s.Store.CreateBucket(ctx, b)
}

// readBucketArchive returns the files of an archive by bucket and name: those of all
// buckets, or of one. It leaves out what there is no configuration for.
func readBucketArchive(packed []byte, only string) (map[string]map[string][]byte, error) {
	malformed := errAdminInvalid.with("The archive is not one of buckets' configurations.")
	r, err := zip.NewReader(bytes.NewReader(packed), int64(len(packed)))
	if err != nil || len(r.File) > maxBucketFiles {
		return nil, malformed.because(err)
	}
	buckets := make(map[string]map[string][]byte)
	for _, f := range r.File {
		dir, name := path.Split(strings.ReplaceAll(f.Name, `\`, "/"))
		bucket := strings.TrimSuffix(dir, "/")
		known := slices.ContainsFunc(bucketParts(), func(p bucketPart) bool { return p.file == name })
		if !known || only != "" && bucket != only {
			continue
		}
		file, err := f.Open()
		if err != nil {
			return nil, malformed.because(err)
		}
		content, err := io.ReadAll(io.LimitReader(file, maxDocument+1))
		_ = file.Close() // it was only read
		if err != nil || len(content) > maxDocument {
			return nil, malformed.because(err)
		}
		if buckets[bucket] == nil {
			buckets[bucket] = make(map[string][]byte)
		}
		buckets[bucket][name] = content
	}
	return buckets, nil
}
