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
	"sync/atomic"

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

// Result counts versions.
type Result struct {
	Done    int64 // wrapped anew
	Skipped int64 // not encrypted, or with a client's key
	Gone    int64 // deleted meanwhile
	Failed  int64
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
	run := &run{client: c, failed: cfg.Failed}
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
		if err = run.list(ctx, bucket, todo); err != nil {
			break
		}
	}
	close(todo)
	workers.Wait()
	return run.result(), err
}

// run is one Run.
type run struct {
	client                       *client
	done, skipped, gone, failing atomic.Int64

	mu     sync.Mutex
	failed func(bucket, key, version string, err error)
}

func (r *run) result() Result {
	return Result{Done: r.done.Load(), Skipped: r.skipped.Load(), Gone: r.gone.Load(), Failed: r.failing.Load()}
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
	err := r.client.rewrap(ctx, v)
	var refused *Error
	switch {
	case err == nil:
		r.done.Add(1)
	case errors.As(err, &refused) && refused.Code == "InvalidRequest":
		r.skipped.Add(1)
	case errors.As(err, &refused) && refused.Status == http.StatusNotFound:
		r.gone.Add(1)
	default:
		r.failing.Add(1)
		r.mu.Lock()
		defer r.mu.Unlock()
		r.failed(v.bucket, v.key, v.id, err)
	}
}
