package objecttest_test

import (
	"context"
	"errors"
	"flag"
	"io"
	"os"
	"os/exec"
	"path"
	"runtime"
	"strings"
	"testing"

	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/object/objecttest"
)

// mutant is a store that breaks one promise, by name.
type mutant struct {
	object.Store
	name string
}

// mutants tells for each broken promise the family of tests that must notice.
func mutants() map[string]string {
	return map[string]string{
		"none":                                      "",
		"commits a body that failed":                "objects/a_body_that_fails",
		"commits a body whose context ended":        "cancel",
		"drops large metadata":                      "objects/metadata",
		"drops the tags of an overwritten object":   "objects/Update_changes",
		"gives handles the newest bytes":            "objects/a_handle",
		"checks before it takes the lock":           "checks/of_100",
		"loses updates":                             "checks/compare",
		"ignores the check of delete":               "checks/what",
		"refuses to delete what is not there":       "objects/an_object_that_was_deleted",
		"cleans keys":                               "keys/keys_of_every_shape_live",
		"folds the case of keys":                    "keys/keys_of_every_shape_live",
		"cannot have a key below a key":             "keys/a_key_and_a_key_below",
		"starts a page at After":                    "list/After",
		"ends every listing with its first page":    "list/any_prefix",
		"groups by the last delimiter only":         "list/any_prefix",
		"deletes buckets that are not empty":        "buckets/a_bucket_with",
		"updates buckets outside of their lock":     "buckets/updates",
		"keeps what a failed bucket update left":    "buckets/an_update",
		"completes once only":                       "complete/a_Complete_that_is_repeated",
		"ends an upload whose Complete was refused": "complete/a_Complete_that_is_refused",
		"ignores the check of Complete":             "complete/a_Check",
		"lets an aborted upload live":               "uploads/an_aborted",
		"finds uploads without regard to the key":   "uploads/an_upload_is_known",
		"lists parts without a limit":               "uploads/parts_are_listed",
		"forgets what is overwritten":               "versions/every_write",
		"deletes for good":                          "versions/a_delete_makes",
		"takes every version for the current":       "versions/every_write",
		"takes overhead for content":                "sealed/sealed_content_is_kept",
		"forgets the seal when it updates":          "sealed/sealed_content_keeps",
	}
}

func (m mutant) is(name string) bool { return m.name == name }

// deaf is a body that never fails.
type deaf struct{ object.Body }

func (d deaf) Read(p []byte) (int, error) {
	n, err := d.Body.Read(p)
	if err != nil {
		err = io.EOF
	}
	return n, err
}

func (m mutant) key(ref object.Ref) object.Ref {
	switch {
	case m.is("cleans keys"):
		ref.Key = path.Clean(ref.Key)
	case m.is("folds the case of keys"):
		ref.Key = strings.ToLower(ref.Key)
	case m.is("takes every version for the current"):
		ref.Version = ""
	}
	return ref
}

func (m mutant) Put(ctx context.Context, ref object.Ref, in object.PutInput) (object.Info, error) {
	ref = m.key(ref)
	switch {
	case m.is("commits a body that failed"):
		in.Body = deaf{in.Body}
	case m.is("commits a body whose context ended"):
		in.Body, ctx = deaf{in.Body}, context.WithoutCancel(ctx)
	case m.is("drops large metadata") && len(in.Meta.User) > 10:
		in.Meta.User = nil
	case m.is("cannot have a key below a key"):
		above, _, _ := strings.Cut(ref.Key, "/")
		if _, err := m.Store.Stat(ctx, object.Ref{Bucket: ref.Bucket, Key: above}); err == nil && above != ref.Key {
			return object.Info{}, object.E("put", ref.Key, object.BadName, nil)
		}
	case in.Check != nil && (m.is("checks before it takes the lock") || m.is("loses updates")):
		var current *object.Info
		if info, err := m.Store.Stat(ctx, ref); err == nil {
			current = &info
		}
		if err := in.Check(current); err != nil {
			return object.Info{}, err
		}
		for range 100 {
			runtime.Gosched()
		}
		in.Check = nil
	case m.is("forgets what is overwritten"):
		if info, err := m.Store.Stat(ctx, ref); err == nil && info.Version != "" {
			ref.Version = info.Version
			_, _ = m.Store.Delete(ctx, ref, nil) // what it answers is not the point
		}
	}
	return m.Store.Put(ctx, ref, in)
}

func (m mutant) Stat(ctx context.Context, ref object.Ref) (object.Info, error) {
	info, err := m.Store.Stat(ctx, m.key(ref))
	if m.is("takes overhead for content") {
		info.Size, info.Overhead = info.Held(), 0
	}
	return info, err
}

// newest is a handle that reads what the key holds by now.
type newest struct {
	object.Handle
	open func() (object.Handle, error)
}

func (h newest) Range(offset, length int64) io.Reader {
	now, err := h.open()
	if err != nil {
		return strings.NewReader("")
	}
	return now.Range(offset, length)
}

func (m mutant) Open(ctx context.Context, ref object.Ref) (object.Handle, error) {
	h, err := m.Store.Open(ctx, m.key(ref))
	if err == nil && m.is("gives handles the newest bytes") {
		h = newest{h, func() (object.Handle, error) { return m.Store.Open(ctx, ref) }}
	}
	return h, err
}

func (m mutant) Update(ctx context.Context, ref object.Ref, fn func(*object.Meta) error) (object.Info, error) {
	if m.is("forgets the seal when it updates") {
		change := fn
		fn = func(meta *object.Meta) error {
			err := change(meta)
			meta.Seal = ""
			return err
		}
	}
	info, err := m.Store.Update(ctx, ref, fn)
	if err == nil && m.is("drops the tags of an overwritten object") {
		info.Meta.Tags = nil
	}
	return info, err
}

func (m mutant) Delete(ctx context.Context, ref object.Ref, check object.Check) (object.Deleted, error) {
	switch {
	case m.is("ignores the check of delete"):
		check = nil
	case m.is("refuses to delete what is not there"):
		if _, err := m.Store.Stat(ctx, ref); err != nil {
			return object.Deleted{}, err
		}
	}
	done, err := m.Store.Delete(ctx, m.key(ref), check)
	if err == nil && done.Marker && m.is("deletes for good") {
		page, _ := m.ListVersions(ctx, object.VersionQuery{Bucket: ref.Bucket, Prefix: ref.Key, Limit: object.MaxListLimit})
		for _, v := range page.Versions {
			_, err = m.Store.Delete(ctx, object.Ref{Bucket: ref.Bucket, Key: v.Key, Version: v.Version}, nil)
		}
	}
	return done, err
}

func (m mutant) List(ctx context.Context, q object.Query) (object.Page, error) {
	switch {
	case m.is("starts a page at After") && q.After != "":
		q.After = q.After[:len(q.After)-1]
	case m.is("groups by the last delimiter only") && q.Delimiter != "":
		q.Delimiter = q.Delimiter[len(q.Delimiter)-1:]
	}
	page, err := m.Store.List(ctx, q)
	if m.is("ends every listing with its first page") {
		page.More = false
	}
	return page, err
}

func (m mutant) DeleteBucket(ctx context.Context, name string) error {
	err := m.Store.DeleteBucket(ctx, name)
	if errors.Is(err, object.BucketNotEmpty) && m.is("deletes buckets that are not empty") {
		return nil
	}
	return err
}

func (m mutant) UpdateBucket(ctx context.Context, name string, fn func(*object.Bucket) error) error {
	if !m.is("updates buckets outside of their lock") && !m.is("keeps what a failed bucket update left") {
		return m.Store.UpdateBucket(ctx, name, fn)
	}
	b, err := m.StatBucket(ctx, name)
	if err != nil {
		return err
	}
	failed := fn(&b)
	if failed != nil && m.is("updates buckets outside of their lock") {
		return failed
	}
	for range 100 {
		runtime.Gosched()
	}
	return errors.Join(failed, m.Store.UpdateBucket(ctx, name, func(now *object.Bucket) error { *now = b; return nil }))
}

func (m mutant) CompleteUpload(ctx context.Context, ref object.UploadRef, in object.CompleteInput) (object.Info, error) {
	if _, err := m.Store.StatUpload(ctx, ref); err != nil && m.is("completes once only") {
		return object.Info{}, err
	}
	if m.is("ignores the check of Complete") {
		in.Check = nil
	}
	info, err := m.Store.CompleteUpload(ctx, ref, in)
	if err != nil && m.is("ends an upload whose Complete was refused") {
		_ = m.AbortUpload(ctx, ref) // what it answers is not the point
	}
	return info, err
}

func (m mutant) AbortUpload(ctx context.Context, ref object.UploadRef) error {
	if m.is("lets an aborted upload live") {
		_, err := m.Store.StatUpload(ctx, ref)
		return err
	}
	return m.Store.AbortUpload(ctx, ref)
}

func (m mutant) StatUpload(ctx context.Context, ref object.UploadRef) (object.Upload, error) {
	if m.is("finds uploads without regard to the key") && ref.Key == "other" {
		ref.Key = "k"
	}
	return m.Store.StatUpload(ctx, ref)
}

func (m mutant) ListParts(ctx context.Context, ref object.UploadRef, after, limit int) ([]object.Part, bool, error) {
	if m.is("lists parts without a limit") {
		limit = 1000
	}
	return m.Store.ListParts(ctx, ref, after, limit)
}

var mutantFlag = flag.String("mutant", "", "the promise that TestMutant breaks") //nolint:gochecknoglobals // flags are

// TestMutant is what TestTheSuiteNoticesEveryBrokenPromise runs in a process
// of its own. With no mutant named it runs a sound store through the wrapper.
func TestMutant(t *testing.T) {
	objecttest.Run(t, func(*testing.T) object.Store { return mutant{objecttest.NewMemory(), *mutantFlag} })
}

func TestTheSuiteNoticesEveryBrokenPromise(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for name, family := range mutants() {
		t.Run(name, func(t *testing.T) {
			pattern := "^TestMutant$"
			for part := range strings.SplitSeq(family, "/") {
				pattern += "/^" + part
			}
			out, err := exec.CommandContext(t.Context(), self, "-test.run", pattern, "-mutant", name, "-test.timeout", "60s").CombinedOutput()
			if name == "none" {
				if err != nil {
					t.Errorf("a sound store failed: %v\n%s", err, out)
				}
				return
			}
			if err == nil || !strings.Contains(string(out), "--- FAIL") {
				t.Errorf("went unnoticed: %v\n%.2000s", err, out)
			}
		})
	}
}
