// Package rewrap has the keys of all objects behind an S3 endpoint of Shoal wrapped
// anew, under the master key as it is now. The contents are not moved.
package rewrap

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"

	"github.com/shoal-storage/shoal/internal/sigv4"
)

// Config says where and how.
type Config struct {
	Endpoint    string // URL
	Credentials sigv4.Credentials
	HTTP        *http.Client
	Buckets     []string // none: all
	Concurrency int      // requests at a time
	// Failed is called for each version that could not be done, one at a time.
	Failed func(bucket, key, version string, err error)
}

// Result counts versions, and uploads.
type Result struct {
	Done    int64 // wrapped anew
	Same    int64 // under the same master key as before, which has no newer version
	Skipped int64 // not encrypted, or with a client's key
	Gone    int64 // deleted meanwhile
	Failed  int64
	// Under is how many of Done and Same are under which master key now, as far as the
	// server tells.
	Under map[string]int64
	// Uploads is how many uploads were in progress: what they become is under the key
	// that was current when they were begun.
	Uploads int64
}

// version is one version of an object.
type version struct{ bucket, key, id string }

// Run does it. What fails for one version does not keep it from the others.
func Run(ctx context.Context, cfg Config) (Result, error) {
	base, err := url.Parse(cfg.Endpoint)
	if err != nil || base.Host == "" {
		return Result{}, fmt.Errorf("%s is not a URL such as http://127.0.0.1:9000", cfg.Endpoint)
	}
	c := &client{base: base, signer: cfg.Credentials, http: cfg.HTTP}
	if len(cfg.Buckets) == 0 {
		if cfg.Buckets, err = c.buckets(ctx); err != nil {
			return Result{}, err
		}
	}
	run := &run{client: c, result: Result{Under: make(map[string]int64)}, failed: cfg.Failed}
	todo := make(chan version)
	var workers sync.WaitGroup
	for range max(cfg.Concurrency, 1) {
		workers.Go(func() {
			for v := range todo {
				run.one(ctx, v)
			}
		})
	}
	for _, bucket := range cfg.Buckets {
		// Before the versions: what is completed meanwhile is in one of the two lists.
		if err = run.countUploads(ctx, bucket); err != nil {
			break
		}
		if err = run.list(ctx, bucket, todo); err != nil {
			break
		}
	}
	close(todo)
	workers.Wait()
	return run.result, err
}

// run is one Run.
type run struct {
	client *client

	mu     sync.Mutex
	result Result
	failed func(bucket, key, version string, err error)
}

// countUploads counts the uploads in progress in a bucket.
func (r *run) countUploads(ctx context.Context, bucket string) error {
	after := url.Values{}
	for {
		page, err := r.client.uploads(ctx, bucket, after)
		if err != nil {
			return err
		}
		r.mu.Lock()
		r.result.Uploads += int64(len(page.Upload))
		r.mu.Unlock()
		if !page.IsTruncated {
			return nil
		}
		key, err := url.QueryUnescape(page.NextKeyMarker)
		if err != nil {
			return fmt.Errorf("list the uploads in %s: %w", bucket, err)
		}
		after = url.Values{"key-marker": {key}, "upload-id-marker": {page.NextUploadIDMarker}}
	}
}

// list sends all versions of a bucket to todo.
func (r *run) list(ctx context.Context, bucket string, todo chan<- version) error {
	after := url.Values{}
	for {
		page, err := r.client.versions(ctx, bucket, after)
		if err != nil {
			return err
		}
		for _, v := range page.Version {
			key, err := url.QueryUnescape(v.Key)
			if err != nil {
				return fmt.Errorf("list %s: %w", bucket, err)
			}
			select {
			case todo <- version{bucket, key, v.VersionID}:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		if !page.IsTruncated {
			return nil
		}
		key, err := url.QueryUnescape(page.NextKeyMarker)
		if err != nil {
			return fmt.Errorf("list %s: %w", bucket, err)
		}
		after = url.Values{"key-marker": {key}, "version-id-marker": {page.NextVersionIDMarker}}
	}
}

// one has one version wrapped anew.
func (r *run) one(ctx context.Context, v version) {
	master, same, err := r.client.rewrap(ctx, v)
	r.mu.Lock()
	defer r.mu.Unlock()
	var refused *Error
	switch {
	case err == nil:
		if same {
			r.result.Same++
		} else {
			r.result.Done++
		}
		if master != "" {
			r.result.Under[master]++
		}
	case errors.As(err, &refused) && refused.Code == "InvalidRequest":
		r.result.Skipped++
	case errors.As(err, &refused) && refused.Status == http.StatusNotFound:
		r.result.Gone++
	default:
		r.result.Failed++
		r.failed(v.bucket, v.key, v.id, err)
	}
}
