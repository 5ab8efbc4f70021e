package gateway

import (
	"context"
	"errors"

	"github.com/shoal-storage/shoal/internal/events"
	"github.com/shoal-storage/shoal/internal/object"
)

// renameObject serves RenameObject
// (https://docs.aws.amazon.com/AmazonS3/latest/API/API_RenameObject.html).
func (s *Server) renameObject(ctx context.Context, r *request) error {
	renamer, ok := s.Store.(object.Renamer)
	if !ok {
		return errNotImplemented.with("Objects on drives cannot be renamed.")
	}
	check, err := s.writeCheck(r)
	if err != nil {
		return err
	}
	src, err := s.renameSource(ctx, r)
	if err != nil {
		return err
	}
	// Under its new name the sender may be able to read it.
	for _, action := range []string{"s3:DeleteObject", "s3:GetObject"} {
		if err := s.allow(r, action, src); err != nil {
			return err
		}
	}
	if src == r.ref() {
		return errInvalidRequest.with("The source and the destination of a rename must differ.")
	}
	err = renamer.Rename(ctx, src, r.ref(), object.CopyInput{
		SourceCheck: s.sourceCheck(r, "x-amz-rename-source-"),
		Check:       check,
		Files:       r.files(),
	})
	if err != nil {
		return err
	}
	return s.tellRenamed(ctx, r, src)
}

// tellRenamed tells of a rename, of which S3 knows no event, as of a copy and a
// deletion.
func (s *Server) tellRenamed(ctx context.Context, r *request, src object.Ref) error {
	if _, wanted, err := s.toBeTold(s.documents(r, r.bucket)); err != nil || !wanted {
		return untold(r.bucket, err)
	}
	info, err := s.Store.Stat(ctx, r.ref())
	if errors.Is(err, object.NoSuchKey) {
		info.Key, err = r.key, nil // it is gone again
	}
	if err != nil {
		return untold(r.bucket, err)
	}
	return s.tellOf(ctx, r, eventOf(events.CreatedCopy, &info), removalOf(src, object.Deleted{}))
}

// renameSource reads x-amz-rename-source: the URL-encoded key, which clients
// send with or without a leading slash and the bucket's name.
func (s *Server) renameSource(ctx context.Context, r *request) (object.Ref, error) {
	raw := r.header("x-amz-rename-source")
	key, ok := unescape(raw, false)
	if !ok || key == "" || key == "/" {
		return object.Ref{}, errInvalidArgument.with("The x-amz-rename-source header must name the source object.").detailed("ArgumentName", "x-amz-rename-source")
	}
	if key[0] == '/' {
		key = key[1:]
	}
	whole := object.Ref{Bucket: r.bucket, Key: key}
	short := object.Ref{Bucket: r.bucket, Key: key[min(len(key), len(r.bucket)+1):]}
	if short.Key == "" || key[:len(r.bucket)+1] != r.bucket+"/" {
		return whole, nil
	}
	if _, err := s.Store.Stat(ctx, whole); errors.Is(err, object.NoSuchKey) {
		return short, nil
	} else if err != nil {
		return object.Ref{}, err
	}
	return whole, nil
}
