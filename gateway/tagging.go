package gateway

import (
	"context"
	"encoding/xml"
	"io"

	"github.com/shoal-storage/shoal/internal/events"
	"github.com/shoal-storage/shoal/internal/object"
)

// maxDocument bounds the request documents that are not lists of keys or parts.
const maxDocument = 128 << 10

// tagSet is the tags in a request document.
type tagSet struct {
	Tag []struct {
		Key, Value *string
	}
}

// check returns the set if it is one that S3 allows.
func (t tagSet) check(limit int) ([]object.Tag, error) {
	tags := make([]object.Tag, len(t.Tag))
	for i, tag := range t.Tag {
		if tag.Key == nil || tag.Value == nil {
			return nil, errMalformedXML
		}
		tags[i] = object.Tag{Key: *tag.Key, Value: *tag.Value}
	}
	return checkTags(tags, limit)
}

// taggingRequest is the body of PutObjectTagging and PutBucketTagging.
type taggingRequest struct {
	XMLName xml.Name `xml:"Tagging"`
	TagSet  *tagSet
}

// readTagging reads the body of the request, which is a tag set as parseTagging takes it.
func (s *Server) readTagging(r *request) (string, error) {
	b, err := s.openBody(r, bodyOptions{plain: true, limit: maxDocument})
	if err != nil {
		return "", err
	}
	text, err := io.ReadAll(b)
	return string(text), err
}

// parseTagging reads a document with a tag set.
func parseTagging(document string, limit int) ([]object.Tag, error) {
	var in taggingRequest
	if err := parseRequest([]byte(document), &in); err != nil {
		return nil, err
	}
	if in.TagSet == nil {
		return nil, errMalformedXML
	}
	return in.TagSet.check(limit)
}

func (r *request) answerTags(tags []object.Tag) {
	w := newXML("Tagging")
	w.open("TagSet")
	for _, t := range tags {
		w.open("Tag")
		w.text("Key", t.Key)
		w.text("Value", t.Value)
		w.close("Tag")
	}
	w.close("TagSet")
	r.answerXML(w.end("Tagging"))
}

// getBucketTagging serves GetBucketTagging.
func (s *Server) getBucketTagging(ctx context.Context, r *request) error {
	b, err := s.Store.StatBucket(ctx, r.bucket)
	if err != nil {
		return err
	}
	if len(b.Tags) == 0 {
		e := &s3Error{code: "NoSuchTagSet", status: 404, message: "The TagSet does not exist"}
		return e.detailed("BucketName", r.bucket)
	}
	r.answerTags(b.Tags)
	return nil
}

// putBucketTagging serves PutBucketTagging.
func (s *Server) putBucketTagging(ctx context.Context, r *request) error {
	document, err := s.readTagging(r)
	if err != nil {
		return err
	}
	tags, err := parseTagging(document, maxBucketTags)
	if err != nil {
		return err
	}
	return s.setBucketTags(ctx, r, tags)
}

// deleteBucketTagging serves DeleteBucketTagging.
func (s *Server) deleteBucketTagging(ctx context.Context, r *request) error {
	return s.setBucketTags(ctx, r, nil)
}

func (s *Server) setBucketTags(ctx context.Context, r *request, tags []object.Tag) error {
	err := s.Store.UpdateBucket(ctx, r.bucket, func(b *object.Bucket) error {
		b.Tags = tags
		return nil
	})
	if err != nil {
		return err
	}
	r.answerEmpty(204)
	return nil
}

// getObjectTagging serves GetObjectTagging.
func (s *Server) getObjectTagging(ctx context.Context, r *request) error {
	ref, err := r.version()
	if err != nil {
		return err
	}
	info, err := s.Store.Stat(ctx, ref)
	if err != nil {
		return err
	}
	r.setVersion(info.Version)
	r.answerTags(info.Meta.Tags)
	return nil
}

// putObjectTagging serves PutObjectTagging.
func (s *Server) putObjectTagging(ctx context.Context, r *request) error {
	document, err := s.readTagging(r)
	if err != nil {
		return err
	}
	if err := s.authoriseStated(r, map[string]string{"tagging": document}); err != nil {
		return err
	}
	if document == "" {
		return errMissingBody
	}
	tags, err := parseTagging(document, maxObjectTags)
	if err != nil {
		return err
	}
	return s.setObjectTags(ctx, r, events.TaggingPut, tags)
}

// deleteObjectTagging serves DeleteObjectTagging.
func (s *Server) deleteObjectTagging(ctx context.Context, r *request) error {
	if err := s.setObjectTags(ctx, r, events.TaggingDelete, nil); err != nil {
		return err
	}
	r.answerEmpty(204)
	return nil
}

func (s *Server) setObjectTags(ctx context.Context, r *request, what events.Name, tags []object.Tag) error {
	ref, err := r.version()
	if err != nil {
		return err
	}
	info, err := s.Store.Update(ctx, ref, func(m *object.Meta) error {
		m.Tags = tags
		return nil
	})
	if err == nil {
		err = s.tellOf(ctx, r, eventOf(what, &info))
	}
	r.setVersion(info.Version)
	return err
}
