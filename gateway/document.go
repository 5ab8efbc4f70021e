package gateway

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"sync"

	"github.com/shoal-storage/shoal/internal/object"
)

// The documents of a bucket, by the names of their sub-resources.
const (
	policyDocument      = "policy"
	corsDocument        = "cors"
	publicBlockDocument = "publicAccessBlock"
	ownershipDocument   = "ownershipControls"
	websiteDocument     = "website"
)

// getDocument answers with a document of a bucket as it was set, or with missing.
func getDocument(name string, missing *s3Error) handler {
	return func(s *Server, ctx context.Context, r *request) error {
		b, err := s.Store.StatBucket(ctx, r.bucket)
		if err != nil {
			return err
		}
		text, there := b.Documents[name]
		if !there {
			return missing.detailed("BucketName", r.bucket)
		}
		r.answerXML([]byte(text))
		return nil
	}
}

// deleteDocument removes a document; that there is none is not an error.
func deleteDocument(name string) handler {
	return func(s *Server, ctx context.Context, r *request) error {
		err := s.Store.UpdateBucket(ctx, r.bucket, func(b *object.Bucket) error {
			delete(b.Documents, name)
			return nil
		})
		if err != nil {
			return err
		}
		r.answerEmpty(204)
		return nil
	}
}

// setDocument keeps a document of the request's bucket, unless allowed has
// something against it.
func (s *Server) setDocument(ctx context.Context, r *request, name, text string, allowed func(*object.Bucket) error) error {
	return s.Store.UpdateBucket(ctx, r.bucket, func(b *object.Bucket) error {
		if allowed != nil {
			if err := allowed(b); err != nil {
				return err
			}
		}
		if b.Documents == nil {
			b.Documents = make(map[string]string)
		}
		b.Documents[name] = text
		return nil
	})
}

// encodeDocument returns a document as it is kept and shown.
func encodeDocument(v any) (string, error) {
	b, err := xml.Marshal(v)
	if err != nil {
		return "", fmt.Errorf("encode document: %w", err)
	}
	return xmlDeclaration + string(b), nil
}

// bucketDocuments are what a request has found out about the documents of a bucket.
type bucketDocuments struct {
	bucket    string
	documents map[string]string
	region    string        // "" if nobody had to look
	record    object.Bucket // as it was read for the request; without a name if it was not
}

// documents returns the documents of a bucket: none if it has none, is not there,
// or no bucket has any. A request asks the Store once.
func (s *Server) documents(r *request, bucket string) (map[string]string, error) {
	if r.known.bucket == bucket {
		return r.known.documents, nil
	}
	known, err := s.readDocuments(bucket)
	if err == nil {
		r.known = known
	}
	return known.documents, err
}

// knowing returns a context for a call that reads what the request is about, or begins to change
// it: with the record of its bucket, if that was read for the request.
func (r *request) knowing(ctx context.Context) context.Context {
	if r.known.record.Name == "" {
		return ctx
	}
	return object.WithBucket(ctx, r.known.record)
}

func (s *Server) readDocuments(bucket string) (known bucketDocuments, err error) {
	known.bucket = bucket
	if bucket == "" {
		return known, nil
	}
	if c, ok := s.Store.(object.Configured); ok {
		if !c.Configured() {
			return known, nil
		}
		if b, fresh := c.Known(bucket); fresh {
			known.documents, known.region = b.Documents, b.Region
			return known, nil
		}
	}
	ctx, cancel := context.WithTimeoutCause(s.root, s.QuickTimeout, errStalled)
	defer cancel()
	b, err := s.Store.StatBucket(ctx, bucket)
	if errors.Is(err, object.NoSuchBucket) {
		return known, nil
	}
	known.documents, known.region, known.record = b.Documents, b.Region, b
	return known, err
}

// maxParsed is how many documents are kept as they were parsed.
const maxParsed = 1 << 12

// parsedDocuments remembers what documents say, by their text. Its methods may be
// called concurrently.
type parsedDocuments struct {
	mu sync.RWMutex
	m  map[parsedKey]any
}

type parsedKey struct{ kind, text string }

// parsed returns what parse makes of a document.
func parsed[T any](c *parsedDocuments, kind, text string, parse func(string) (T, error)) (T, error) {
	key := parsedKey{kind, text}
	c.mu.RLock()
	known, ok := c.m[key].(T)
	c.mu.RUnlock()
	if ok {
		return known, nil
	}
	v, err := parse(text)
	if err != nil {
		return v, fmt.Errorf("parse the %s of a bucket: %w", kind, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.m == nil || len(c.m) >= maxParsed {
		c.m = make(map[parsedKey]any)
	}
	c.m[key] = v
	return v, nil
}
