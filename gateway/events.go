package gateway

import (
	"context"
	"encoding/xml"
	"errors"
	"strings"

	"github.com/shoal-storage/shoal/internal/events"
	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/relay"
)

// getNotification serves GetBucketNotificationConfiguration
// (https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketNotificationConfiguration.html).
func (s *Server) getNotification(ctx context.Context, r *request) error {
	b, err := s.Store.StatBucket(ctx, r.bucket)
	if err != nil {
		return err
	}
	if text, there := b.Documents[events.Document]; there {
		r.answerXML([]byte(text))
		return nil
	}
	r.answerXML(newXML("NotificationConfiguration").end("NotificationConfiguration"))
	return nil
}

// putNotification serves PutBucketNotificationConfiguration. An empty configuration
// removes the one that is there
// (https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketNotificationConfiguration.html).
func (s *Server) putNotification(ctx context.Context, r *request) error {
	var in events.Configuration
	if err := s.readDocument(ctx, r, &in); err != nil {
		return err
	}
	if in.Empty() {
		return s.Store.UpdateBucket(ctx, r.bucket, func(b *object.Bucket) error {
			delete(b.Documents, events.Document)
			return nil
		})
	}
	if err := in.Prepare(s.hasTarget); err != nil {
		return fromEvents(err)
	}
	in.XMLName, in.Space = xml.Name{Local: "NotificationConfiguration"}, xmlNamespace
	text, err := encodeDocument(&in)
	if err != nil {
		return err
	}
	if err := s.setDocument(ctx, r, events.Document, text, nil); err != nil {
		return err
	}
	if strings.EqualFold(r.header("x-amz-skip-destination-validation"), "true") {
		return nil
	}
	return s.Events.Test(ctx, &in, r.bucket, r.id)
}

func (s *Server) hasTarget(to events.Destination) bool { return s.Events != nil && s.Events.Has(to) }

// fromEvents is what the client is told of what was refused.
func fromEvents(err error) error {
	if e, ok := errors.AsType[*events.UnknownTargetError](err); ok {
		return errInvalidArgument.with(err.Error()).detailed("ArgumentName", e.ARN).detailed("ArgumentValue", "The destination does not exist")
	}
	switch {
	case errors.Is(err, events.ErrArgument):
		return errInvalidArgument.with(err.Error())
	case errors.Is(err, events.ErrNotImplemented):
		return errNotImplemented.with(err.Error())
	case errors.Is(err, relay.ErrTooMany):
		return errSlowDown.because(err)
	}
	return errMalformedXML.because(err)
}

// origin returns where a request comes from, as events tell it.
func (s *Server) origin(r *request) events.Origin {
	if s.Events == nil {
		return events.Origin{}
	}
	return events.Origin{Principal: r.identity.AccessKey, SourceIP: r.remoteIP(), UserAgent: r.header("User-Agent"), RequestID: r.id}
}

// tellOf returns when it is durable that something has happened to objects of the
// request's bucket, as far as anybody is to be told. Where it fails, the client is told
// that the operation did, and does it again: so nothing is acknowledged that is not told.
func (s *Server) tellOf(ctx context.Context, r *request, happened ...events.Event) error {
	rules, wanted, err := s.toBeTold(s.documents(r, r.bucket))
	if err != nil || !wanted {
		return untold(r.bucket, err)
	}
	return s.notify(ctx, rules, s.origin(r), r.bucket, happened)
}

// untold is the error of an operation that was done and cannot be told. Whatever the cause, nobody may take it for
// the error of one that has changed nothing.
func untold(bucket string, err error) error {
	if err == nil {
		return nil
	}
	return object.E("tell what has happened", bucket, object.Unknown, errors.New(err.Error()))
}

// telling is how that is told which a request does in its bucket: by the documents that the bucket
// had when the request began.
type telling struct {
	from      events.Origin
	bucket    string
	documents map[string]string
}

// telling returns how to tell of work that must not touch its request.
func (s *Server) telling(r *request) (telling, error) {
	if s.Events == nil {
		return telling{}, nil
	}
	documents, err := s.documents(r, r.bucket)
	return telling{s.origin(r), r.bucket, documents}, err
}

// tell is tellOf for work that must not touch its request.
func (s *Server) tell(ctx context.Context, t telling, happened ...events.Event) error {
	rules, wanted, err := s.toBeTold(t.documents, nil)
	if err != nil || !wanted {
		return untold(t.bucket, err)
	}
	return s.notify(ctx, rules, t.from, t.bucket, happened)
}

func (s *Server) notify(ctx context.Context, rules *events.Configuration, from events.Origin, bucket string, happened []events.Event) error {
	now := s.Now()
	for i := range happened {
		e := &happened[i]
		e.Time, e.Region, e.Bucket, e.Origin = now, s.Region, bucket, from
	}
	return untold(bucket, s.Events.Notify(ctx, rules, happened...))
}

// toBeTold reports whether anybody is to be told what happens in a bucket that has
// documents, and by which rules, nil if there are none.
func (s *Server) toBeTold(documents map[string]string, err error) (rules *events.Configuration, wanted bool, _ error) {
	if s.Events == nil {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	text, there := documents[events.Document]
	if !there {
		return nil, s.Events.Listening(), nil
	}
	rules, err = parsed(&s.parsed, events.Document, text, events.Parse)
	return rules, err == nil, err
}

// eventOf is what has happened to an object that is there.
func eventOf(name events.Name, info *object.Info) events.Event {
	return events.Event{
		Name: name, Key: info.Key, Version: madeVersion(info), Size: info.Size, ETag: info.ETag,
		ContentType: info.Meta.ContentType, Metadata: info.Meta.User, Sequencer: info.Sequence,
	}
}

// removalOf is what has happened to an object that was deleted.
func removalOf(ref object.Ref, done object.Deleted) events.Event {
	e := events.Event{Name: events.Removed, Key: ref.Key, Version: done.Version, Sequencer: done.Sequence}
	if done.Marker && ref.Version == "" {
		e.Name = events.RemovedMarker
	}
	return e
}
