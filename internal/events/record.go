package events

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"time"
)

// Event is something that has happened to an object.
type Event struct {
	Name        Name
	Time        time.Time
	Region      string
	Bucket, Key string
	Version     string // "" in a bucket without versioning
	Size        int64  // bytes; of what is there afterwards, as the next three
	ETag        string
	ContentType string
	Metadata    map[string]string
	Sequencer   string // greater, as text, than those of earlier changes of the key; "" if that is not known
	Origin      Origin
}

// Origin is where an event comes from.
type Origin struct {
	Principal string // access key, "" for nobody in particular
	SourceIP  string
	UserAgent string
	RequestID string
}

// record is an event as S3's clients know it
// (https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html).
type record struct {
	EventVersion      string            `json:"eventVersion"`
	EventSource       string            `json:"eventSource"`
	AWSRegion         string            `json:"awsRegion"`
	EventTime         string            `json:"eventTime"`
	EventName         string            `json:"eventName"`
	UserIdentity      identity          `json:"userIdentity"`
	RequestParameters map[string]string `json:"requestParameters"`
	ResponseElements  map[string]string `json:"responseElements"`
	S3                entity            `json:"s3"`
	Source            map[string]string `json:"source"` // MinIO's
}

type identity struct {
	PrincipalID string `json:"principalId"`
}

type entity struct {
	SchemaVersion   string `json:"s3SchemaVersion"`
	ConfigurationID string `json:"configurationId"`
	Bucket          struct {
		Name          string   `json:"name"`
		OwnerIdentity identity `json:"ownerIdentity"`
		ARN           string   `json:"arn"`
	} `json:"bucket"`
	Object thing `json:"object"`
}

// thing is the object. Its type and metadata are MinIO's.
type thing struct {
	Key          string            `json:"key"` // URL-encoded
	Size         *int64            `json:"size,omitempty"`
	ETag         string            `json:"eTag,omitempty"`
	ContentType  string            `json:"contentType,omitempty"`
	UserMetadata map[string]string `json:"userMetadata,omitempty"`
	VersionID    string            `json:"versionId,omitempty"`
	Sequencer    string            `json:"sequencer,omitempty"`
}

// timeFormat is that of S3's JSON, in UTC.
const timeFormat = "2006-01-02T15:04:05.000Z"

// owner is who all buckets belong to.
const owner = "shoal"

// encode returns the event as a rule sends it. S3 names it without "s3:" there,
// listeners know it with.
func (e *Event) encode(rule, name string) (json.RawMessage, error) {
	r := record{
		EventVersion: "2.1", EventSource: "aws:s3", AWSRegion: e.Region,
		EventTime: e.Time.UTC().Format(timeFormat), EventName: name,
		UserIdentity:      identity{e.Origin.Principal},
		RequestParameters: map[string]string{"principalId": e.Origin.Principal, "region": e.Region, "sourceIPAddress": e.Origin.SourceIP},
		ResponseElements:  map[string]string{"x-amz-request-id": e.Origin.RequestID, "x-amz-id-2": e.Origin.RequestID},
		Source:            map[string]string{"host": e.Origin.SourceIP, "port": "", "userAgent": e.Origin.UserAgent},
	}
	if strings.HasPrefix(string(e.Name), "s3:ObjectTagging:") || strings.HasPrefix(string(e.Name), "s3:LifecycleExpiration:") {
		r.EventVersion = "2.3"
	}
	r.S3.SchemaVersion, r.S3.ConfigurationID = "1.0", rule
	r.S3.Bucket.Name, r.S3.Bucket.ARN = e.Bucket, "arn:aws:s3:::"+e.Bucket
	r.S3.Bucket.OwnerIdentity.PrincipalID = owner
	r.S3.Object = thing{Key: escapeKey(e.Key), VersionID: e.Version, Sequencer: e.Sequencer}
	if !e.Name.removes() {
		r.S3.Object.Size, r.S3.Object.ETag = &e.Size, e.ETag
		r.S3.Object.ContentType, r.S3.Object.UserMetadata = e.ContentType, e.Metadata
	}
	b, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("encode event: %w", err)
	}
	return b, nil
}

// escapeKey encodes a key as S3 does in events: as in a form, but for slashes.
func escapeKey(key string) string {
	return strings.ReplaceAll(url.QueryEscape(key), "%2F", "/")
}

// Message is an event on its way to a target.
type Message struct {
	Name   Name            `json:"name"`
	Bucket string          `json:"bucket"`
	Key    string          `json:"key"`
	Time   time.Time       `json:"time"`
	Record json.RawMessage `json:"record"`
}

// Object returns bucket and key as one name.
func (m *Message) Object() string { return m.Bucket + "/" + m.Key }

// Test reports whether it tells no more than that a bucket has a configuration.
func (m *Message) Test() bool { return m.Name == test }

// Removes reports whether the object, or its current version, is gone.
func (m *Message) Removes() bool { return m.Name.removes() }

// Records returns the document that S3 sends.
func (m *Message) Records() ([]byte, error) {
	if m.Test() {
		return m.Record, nil
	}
	return encode(struct{ Records []json.RawMessage }{[]json.RawMessage{m.Record}})
}

// Body returns the same with what MinIO puts around it.
func (m *Message) Body() ([]byte, error) {
	if m.Test() {
		return m.Record, nil
	}
	return encode(struct {
		EventName Name
		Key       string
		Records   []json.RawMessage
	}{m.Name, m.Object(), []json.RawMessage{m.Record}})
}

func encode(v any) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode message: %w", err)
	}
	return b, nil
}

// testMessage is what S3 sends to a destination that a configuration names.
func testMessage(bucket, requestID string, now time.Time) (Message, error) {
	b, err := encode(struct{ Service, Event, Time, Bucket, RequestId, HostId string }{ //nolint:revive,staticcheck // the names in S3's JSON
		"Amazon S3", string(test), now.UTC().Format(timeFormat), bucket, requestID, requestID,
	})
	return Message{Name: test, Bucket: bucket, Time: now, Record: b}, err
}
