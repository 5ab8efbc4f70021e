package events_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/shoal-storage/shoal/internal/events"
)

// TestAMessageIsAsS3AndMinIOKnowIt holds whole documents against what those send.
func TestAMessageIsAsS3AndMinIOKnowIt(t *testing.T) {
	from := events.Origin{Principal: "ann", SourceIP: "192.0.2.7", UserAgent: "mc", RequestID: "ID"}
	made := events.Event{
		Name: events.CreatedPut, Time: time.Date(2026, 2, 3, 4, 5, 6, 789e6, time.UTC), Region: "us-east-1", Bucket: "bucket", Key: "a b/c+d%é",
		Version: "v1", Size: 0, ETag: "d41d8cd98f00b204e9800998ecf8427e", ContentType: "text/plain", Metadata: map[string]string{"k": "v"}, Sequencer: "0A", Origin: from,
	}
	gone := events.Event{Name: events.RemovedMarker, Time: made.Time, Region: "us-east-1", Bucket: "bucket", Key: "k", Version: "v2", Sequencer: "0B", Origin: from}
	head := `"eventSource":"aws:s3","awsRegion":"us-east-1","eventTime":"2026-02-03T04:05:06.789Z",`
	middle := `"userIdentity":{"principalId":"ann"},"requestParameters":{"principalId":"ann","region":"us-east-1","sourceIPAddress":"192.0.2.7"},"responseElements":{"x-amz-id-2":"ID","x-amz-request-id":"ID"},` +
		`"s3":{"s3SchemaVersion":"1.0","configurationId":"rule","bucket":{"name":"bucket","ownerIdentity":{"principalId":"shoal"},"arn":"arn:aws:s3:::bucket"},"object":`
	tail := `},"source":{"host":"192.0.2.7","port":"","userAgent":"mc"}}]}`
	for _, tt := range []struct {
		event events.Event
		want  string
	}{
		{made, `{"EventName":"s3:ObjectCreated:Put","Key":"bucket/a b/c+d%é","Records":[{"eventVersion":"2.1",` + head + `"eventName":"ObjectCreated:Put",` + middle +
			`{"key":"a+b/c%2Bd%25%C3%A9","size":0,"eTag":"d41d8cd98f00b204e9800998ecf8427e","contentType":"text/plain","userMetadata":{"k":"v"},"versionId":"v1","sequencer":"0A"}` + tail},
		{gone, `{"EventName":"s3:ObjectRemoved:DeleteMarkerCreated","Key":"bucket/k","Records":[{"eventVersion":"2.1",` + head + `"eventName":"ObjectRemoved:DeleteMarkerCreated",` + middle +
			`{"key":"k","versionId":"v2","sequencer":"0B"}` + tail},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			var err error
			if w.rules, err = prepare(config("<Id>rule</Id>" + toA + "<Event>s3:ObjectCreated:*</Event><Event>s3:ObjectRemoved:*</Event>")); err != nil {
				t.Fatal(err)
			}
			var got []byte
			w.sink.answers(func(m *events.Message) (err error) {
				got, err = m.Body()
				return err
			})
			s := w.gateway("one")
			defer w.close(s)
			if err := s.Notify(t.Context(), w.rules, tt.event); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			w.sink.look(func() {
				if string(got) != tt.want {
					t.Errorf("got\n%s, want\n%s", got, tt.want)
				}
			})
		})
	}
}
