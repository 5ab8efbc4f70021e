package events_test

import (
	"encoding/xml"
	"errors"
	"strings"
	"testing"

	"github.com/shoal-storage/shoal/internal/events"
)

// known has one target.
func known(to events.Destination) bool {
	return to == events.Destination{Type: "webhook", ID: "A"} || to == events.Destination{Type: "redis", ID: "B"}
}

func prepare(text string) (*events.Configuration, error) {
	c, err := events.Parse(text)
	if err != nil {
		return nil, err
	}
	return c, c.Prepare(known)
}

const (
	toA = "<Queue>arn:minio:sqs::A:webhook</Queue>"
	toB = "<Queue>arn:minio:sqs:eu-west-1:B:redis</Queue>"
	put = "<Event>s3:ObjectCreated:Put</Event>"
	all = "<Event>s3:ObjectCreated:*</Event>"
)

func config(rules ...string) string {
	text := "<NotificationConfiguration>"
	for _, r := range rules {
		if !strings.HasPrefix(r, "<QueueC") && !strings.HasPrefix(r, "<TopicC") && !strings.HasPrefix(r, "<CloudF") && !strings.HasPrefix(r, "<EventB") {
			r = "<QueueConfiguration>" + r + "</QueueConfiguration>"
		}
		text += r
	}
	return text + "</NotificationConfiguration>"
}

func filter(pairs ...string) string {
	text := "<Filter><S3Key>"
	for i := 0; i < len(pairs); i += 2 {
		text += "<FilterRule><Name>" + pairs[i] + "</Name><Value>" + pairs[i+1] + "</Value></FilterRule>"
	}
	return text + "</S3Key></Filter>"
}

func TestAConfigurationThatS3WouldRefuseIsRefused(t *testing.T) {
	for _, tt := range []struct {
		text string
		kind error
		says string
	}{
		{config(), nil, ""},
		{config(toA + put), nil, ""},
		{config(toA + put + filter("prefix", "a", "Suffix", ".b")), nil, ""},
		{config("<Queue>arn:shoal:sqs::A:webhook</Queue>" + put), nil, ""},
		{config("<TopicConfiguration><Topic>arn:minio:sns::A:webhook</Topic>" + put + "</TopicConfiguration>"), nil, ""},
		{config("<CloudFunctionConfiguration><CloudFunction>arn:minio:lambda::A:webhook</CloudFunction>" + put + "</CloudFunctionConfiguration>"), nil, ""},
		{config(toA+put, toB+"<Event>s3:ObjectRemoved:*</Event>"), nil, ""},
		{config(toA+put+filter("prefix", "a/"), toB+all+filter("prefix", "b/")), nil, ""},
		{config(toA+put+filter("suffix", ".jpg"), toB+all+filter("suffix", ".png")), nil, ""},
		{config(toA+put+filter("prefix", "a", "suffix", ".jpg"), toB+put+filter("prefix", "ab", "suffix", ".png")), nil, ""},

		{config(put), events.ErrMalformed, ""},
		{config(toA), events.ErrMalformed, ""},
		{config(toA + "<Topic>arn:minio:sns::A:webhook</Topic>" + put), events.ErrMalformed, ""},
		{config("<TopicConfiguration>" + toA + put + "</TopicConfiguration>"), events.ErrMalformed, ""},
		{config("<EventBridgeConfiguration></EventBridgeConfiguration>"), events.ErrNotImplemented, ""},
		{config(toA + "<Event>s3:ObjectRestore:*</Event>"), events.ErrNotImplemented, ""},
		{config(toA + "<Event>s3:Replication:OperationFailedReplication</Event>"), events.ErrNotImplemented, ""},
		{config(toA + "<Event>s3:ObjectCreated:Never</Event>"), events.ErrArgument, "The event 's3:ObjectCreated:Never' is not supported for notifications"},
		{config(toA + "<Event>s3:*</Event>"), events.ErrArgument, ""},
		{config(toA + "<Event>*</Event>"), events.ErrArgument, ""},
		{config(toA + "<Event>s3:ObjectCreated*</Event>"), events.ErrArgument, ""},
		{config("<Queue>arn:minio:sqs::C:webhook</Queue>" + put), events.ErrArgument, "Unable to validate the following destination configurations"},
		{config("<Queue>arn:aws:sqs:us-east-1:123456789012:q</Queue>" + put), events.ErrArgument, "Unable to validate the following destination configurations"},
		{config("<Queue>arn:minio:sns::A:webhook</Queue>" + put), events.ErrArgument, "Unable to validate the following destination configurations"},
		{config(toA + put + filter("infix", "a")), events.ErrArgument, "filter rule name must be either prefix or suffix"},
		{config(toA + put + filter("prefix", "a", "Prefix", "b")), events.ErrArgument, "Cannot specify more than one prefix rule in a filter."},
		{config(toA + put + filter("suffix", "a", "suffix", "b")), events.ErrArgument, "Cannot specify more than one suffix rule in a filter."},
		{config(toA + put + filter("prefix", strings.Repeat("x", 1025))), events.ErrArgument, "Size of filter rule value cannot exceed 1024 bytes in UTF-8 representation"},
		{config("<Id>" + strings.Repeat("x", 256) + "</Id>" + toA + put), events.ErrArgument, ""},
		{config("<Id>x</Id>"+toA+put, "<Id>x</Id>"+toB+"<Event>s3:ObjectRemoved:*</Event>"), events.ErrArgument, ""},
		{config(toA+put, toB+all), events.ErrArgument, "Configurations overlap. Configurations on the same bucket cannot share a common event type."},
		{config(toA+put+filter("prefix", "a"), toB+all+filter("prefix", "ab")), events.ErrArgument, "Configuration is ambiguously defined. Cannot have overlapping suffixes in two rules if the prefixes are overlapping for the same event type."},
		{config(toA+put+filter("suffix", ".jpg"), toB+all), events.ErrArgument, "Configuration is ambiguously defined. Cannot have overlapping suffixes in two rules if the prefixes are overlapping for the same event type."},
		{config(toA+put+filter("prefix", "a", "suffix", "g"), toB+put+filter("suffix", ".jpg")), events.ErrArgument, "Configuration is ambiguously defined. Cannot have overlapping suffixes in two rules if the prefixes are overlapping for the same event type."},
	} {
		_, err := prepare(tt.text)
		if !errors.Is(err, tt.kind) {
			t.Errorf("%s: %v, want %v", tt.text, err, tt.kind)
		} else if err != nil && tt.says != "" && err.Error() != tt.says {
			t.Errorf("%s: %q, want %q", tt.text, err, tt.says)
		}
	}
}

func TestMoreRulesThanS3AllowsAreRefused(t *testing.T) {
	rules := make([]string, 101)
	for i := range rules {
		rules[i] = toA + put + filter("prefix", strings.Repeat("x", i)+"/")
	}
	if _, err := prepare(config(rules[:100]...)); err != nil {
		t.Errorf("100: %v", err)
	}
	if _, err := prepare(config(rules...)); !errors.Is(err, events.ErrArgument) {
		t.Errorf("101: %v", err)
	}
}

func TestARuleWithoutANameGetsOne(t *testing.T) {
	c, err := prepare(config(toA+put, toA+"<Event>s3:ObjectRemoved:*</Event>"))
	if err != nil || c.Queues[0].ID == "" || c.Queues[0].ID == c.Queues[1].ID {
		t.Errorf("got %+v, %v", c, err)
	}
}

func FuzzPrepare(f *testing.F) {
	f.Add(config(toA + put + filter("prefix", "a")))
	f.Add(config(toA+put, "<TopicConfiguration><Topic>arn:minio:sns::A:webhook</Topic>"+all+"</TopicConfiguration>"))
	f.Fuzz(func(t *testing.T, text string) {
		c, err := prepare(text)
		if err != nil {
			return
		}
		b, err := xml.Marshal(c)
		if err != nil {
			t.Skip("names that XML cannot have")
		}
		again, err := events.Parse(string(b))
		if err != nil || len(again.Destinations()) != len(c.Destinations()) {
			t.Errorf("%q does not come back: %v", b, err)
		}
	})
}
