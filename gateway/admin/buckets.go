package admin

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/shoal-storage/shoal/internal/directory"
	"github.com/shoal-storage/shoal/internal/lifecycle"
	"github.com/shoal-storage/shoal/internal/limits"
	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/quota"
)

// bucketPart is a file in an archive of buckets' configurations, and what reads and writes what it has.
type bucketPart struct {
	file   string
	status string // what the outcome of an import is called
	get    bucketReader
	put    bucketWriter
}

type (
	bucketReader func(a *API, ctx context.Context, c *Call, bucket string) ([]byte, error)
	bucketWriter func(a *API, ctx context.Context, c *Call, bucket string, content []byte) error
)

// bucketParts are in the order in which they are put: Object Lock needs versions.
func bucketParts() []bucketPart {
	return []bucketPart{
		{"versioning.xml", "versioning", (*API).versioningOf, putBy("PutBucketVersioning")},
		{"object-lock.xml", "olock", getBy("GetObjectLockConfiguration"), putBy("PutObjectLockConfiguration")},
		{"tagging.xml", "tagging", getBy("GetBucketTagging"), putBy("PutBucketTagging")},
		{"policy.json", "policy", getBy("GetBucketPolicy"), putBy("PutBucketPolicy")},
		{"lifecycle.xml", "lifecycle", (*API).lifecycleOf, putBy("PutBucketLifecycleConfiguration")},
		{"bucket-encryption.xml", "sse", getBy("GetBucketEncryption"), putBy("PutBucketEncryption")},
		{"notification.xml", "notification", getBy("GetBucketNotificationConfiguration"), putBy("PutBucketNotificationConfiguration")},
		{"cors.xml", "cors", getBy("GetBucketCors"), putBy("PutBucketCors")},
		{"website.xml", "website", getBy("GetBucketWebsite"), putBy("PutBucketWebsite")},
		{"public-access-block.xml", "publicAccessBlock", getBy("GetPublicAccessBlock"), putBy("PutPublicAccessBlock")},
		{"quota.json", "quota", (*API).quotaOf, (*API).setQuota},
		{"limits.json", "limits", (*API).limitsOf, putBy("PutBucketLimits")},
	}
}

// getBy reads a configuration by its operation.
func getBy(operation string) bucketReader {
	return func(_ *API, ctx context.Context, c *Call, bucket string) ([]byte, error) {
		return c.Operate(ctx, operation, bucket, nil)
	}
}

// putBy writes one.
func putBy(operation string) bucketWriter {
	return func(_ *API, ctx context.Context, c *Call, bucket string, content []byte) error {
		_, err := c.Operate(ctx, operation, bucket, content)
		return err
	}
}

// versioningOf returns the versioning of a bucket that ever had versions: nothing can be put
// back of the others.
func (a *API) versioningOf(ctx context.Context, c *Call, bucket string) ([]byte, error) {
	b, err := a.Store.StatBucket(ctx, bucket)
	if err != nil {
		return nil, err
	}
	if b.Versioning == object.Unversioned {
		return nil, errNoConfiguration
	}
	return c.Operate(ctx, "GetBucketVersioning", bucket, nil)
}

// lifecycleOf returns the rules of a bucket as they were set. Their operation says more, in a header.
func (a *API) lifecycleOf(ctx context.Context, _ *Call, bucket string) ([]byte, error) {
	text, err := a.documentOf(ctx, bucket, lifecycle.Document)
	return []byte(text), err
}

// quotaOf returns the quota of a bucket as get-bucket-quota does.
func (a *API) quotaOf(ctx context.Context, _ *Call, bucket string) ([]byte, error) {
	text, err := a.documentOf(ctx, bucket, quota.Document)
	if err != nil {
		return nil, err
	}
	shown, err := shownQuota(text)
	if err != nil {
		return nil, err
	}
	return json.Marshal(shown)
}

// limitsOf returns the limits of a bucket that has some.
func (a *API) limitsOf(ctx context.Context, c *Call, bucket string) ([]byte, error) {
	if _, err := a.documentOf(ctx, bucket, limits.Document); err != nil {
		return nil, err
	}
	return c.Operate(ctx, "GetBucketLimits", bucket, nil)
}

// documentOf returns a document of a bucket that has it.
func (a *API) documentOf(ctx context.Context, bucket, name string) (string, error) {
	b, err := a.Store.StatBucket(ctx, bucket)
	if err != nil {
		return "", err
	}
	text, there := b.Documents[name]
	if !there {
		return "", errNoConfiguration
	}
	return text, nil
}

// errNoConfiguration is not seen by clients.
var errNoConfiguration = &Error{Code: "NoSuchConfiguration", Status: 404, Message: "The bucket has no such configuration."}

// Bounds of an archive of buckets' configurations: its files, and each of them.
const (
	maxBucketFiles = 100_000
	maxBucketFile  = 128 << 10
)

// exportBuckets serves export-bucket-metadata: the configurations of all buckets, or one,
// as their own operations tell them.
func (a *API) exportBuckets(ctx context.Context, c *Call) error {
	buckets, err := a.bucketsOf(ctx, c.Query.Get("bucket"))
	if err != nil {
		return err
	}
	var packed bytes.Buffer
	w := zip.NewWriter(&packed)
	for _, bucket := range buckets {
		for _, p := range bucketParts() {
			content, err := p.get(a, ctx, c, bucket)
			if err != nil && c.Explain(err).Status == 404 && !errors.Is(err, object.NoSuchBucket) {
				continue // it has none
			}
			if err != nil {
				return err
			}
			file, err := w.Create(bucket + "/" + p.file)
			if err == nil {
				_, err = file.Write(content)
			}
			if err != nil {
				return errInternal.because(err)
			}
		}
	}
	err = w.Close()
	return c.answerArchive(packed.Bytes(), err)
}

// bucketsOf returns the names of all buckets, or the one that is named.
func (a *API) bucketsOf(ctx context.Context, name string) ([]string, error) {
	if name != "" {
		_, err := a.Store.StatBucket(ctx, name)
		return []string{name}, err
	}
	buckets, err := a.Store.ListBuckets(ctx)
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
func (a *API) importBuckets(ctx context.Context, c *Call) error {
	packed, err := c.Body(directory.MaxArchive)
	if err != nil {
		return err
	}
	buckets, err := readBucketArchive(packed, c.Query.Get("bucket"))
	if err != nil {
		return err
	}
	outcome := make(map[string]map[string]any, len(buckets))
	for _, name := range slices.Sorted(maps.Keys(buckets)) {
		outcome[name] = make(map[string]any)
		if err := a.importBucket(ctx, c, name, buckets[name], outcome[name]); err != nil {
			outcome[name]["error"] = c.Explain(err).Message
		}
	}
	return c.answerJSON(map[string]any{"buckets": outcome})
}

// importBucket puts the configurations of one bucket and says what has become of each.
func (a *API) importBucket(ctx context.Context, c *Call, name string, files map[string][]byte, outcome map[string]any) error {
	if err := c.EnsureBucket(ctx, name, files["object-lock.xml"] != nil); err != nil {
		return err
	}
	for _, p := range bucketParts() {
		content, there := files[p.file]
		if !there {
			continue
		}
		status := partStatus{Set: true}
		if err := p.put(a, ctx, c, name, content); err != nil {
			status = partStatus{Error: c.Explain(err).Message}
			a.Logger.Warn("a configuration was not imported", "request", c.ID, "bucket", name, "file", p.file, "error", err)
		}
		outcome[p.status] = status
	}
	return nil
}

// readBucketArchive returns the files of an archive by bucket and name: those of all
// buckets, or of one. It leaves out what there is no configuration for.
func readBucketArchive(packed []byte, only string) (map[string]map[string][]byte, error) {
	malformed := errInvalid.with("The archive is not one of buckets' configurations.")
	archive, err := zip.NewReader(bytes.NewReader(packed), int64(len(packed)))
	if err != nil || len(archive.File) > maxBucketFiles {
		return nil, malformed.because(err)
	}
	buckets := make(map[string]map[string][]byte)
	for _, f := range archive.File {
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
		content, err := io.ReadAll(io.LimitReader(file, maxBucketFile+1))
		_ = file.Close() // it was only read
		if err != nil || len(content) > maxBucketFile {
			return nil, malformed.because(err)
		}
		if buckets[bucket] == nil {
			buckets[bucket] = make(map[string][]byte)
		}
		buckets[bucket][name] = content
	}
	return buckets, nil
}
