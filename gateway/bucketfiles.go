package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"io"

	"github.com/shoal-storage/shoal/internal/object"
)

// FilesQuery is the sub-resource of a bucket that says what its new files are
// given, as a JSON document: one of Shoal's own.
const FilesQuery = "x-shoal-files"

func (s *Server) getBucketFiles(ctx context.Context, r *request) error {
	b, err := s.Store.StatBucket(ctx, r.bucket)
	if err != nil {
		return err
	}
	return r.answerJSON(b.Files)
}

func (s *Server) putBucketFiles(ctx context.Context, r *request) error {
	b, err := s.openBody(r, bodyOptions{plain: true, limit: maxDocument})
	if err != nil {
		return err
	}
	text, err := io.ReadAll(b)
	if err != nil {
		return err
	}
	var files object.Files
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&files); err != nil {
		return errInvalidArgument.with("The document is not valid: " + err.Error())
	}
	if err := files.Validate(); err != nil {
		return errInvalidArgument.with("The document is not valid: " + err.Error())
	}
	err = s.Store.UpdateBucket(ctx, r.bucket, func(b *object.Bucket) error {
		b.Files = files
		return nil
	})
	if err != nil {
		return err
	}
	r.answerEmpty(200)
	return nil
}
