package target_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/shoal-storage/shoal/internal/events"
	"github.com/shoal-storage/shoal/internal/events/target"
)

// open opens a target of a type.
func open(t *testing.T, kind string, s target.Settings) events.Target {
	t.Helper()
	to, err := tryOpen(t, kind, s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := to.Close(); err != nil {
			t.Error(err)
		}
	})
	return to
}

func tryOpen(t *testing.T, kind string, s target.Settings) (events.Target, error) {
	t.Helper()
	for _, k := range target.Kinds() {
		if k.Type == kind {
			return k.Open(t.Context(), "A", s)
		}
	}
	t.Fatalf("there is no kind %s", kind)
	return events.Target{}, nil
}

// message is an event of a key.
func message(name events.Name, key string) *events.Message {
	return &events.Message{Name: name, Bucket: "bucket", Key: key, Time: time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC), Record: json.RawMessage(`{"s3":{}}`)}
}

func TestAWebhookGetsWhatMinIOSends(t *testing.T) {
	var got *http.Request
	var body []byte
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		got = r
		body, _ = io.ReadAll(r.Body)
	}))
	defer server.Close()
	for token, want := range map[string]string{"": "", "secret": "Bearer secret", "Basic abc": "Basic abc"} {
		to := open(t, "webhook", target.Settings{"endpoint": server.URL + "/hook", "auth_token": token})
		if err := to.Send(t.Context(), message(events.CreatedPut, "a b")); err != nil {
			t.Fatal(err)
		}
		if got.Method != "POST" || got.URL.Path != "/hook" || got.Header.Get("Content-Type") != "application/json" || got.Header.Get("Authorization") != want {
			t.Errorf("with the token %q it got %+v", token, got)
		}
		if string(body) != `{"EventName":"s3:ObjectCreated:Put","Key":"bucket/a b","Records":[{"s3":{}}]}` {
			t.Errorf("it got %s", body)
		}
	}
}

// TestAnAnswerOfAWebhookSaysWhetherToTryAgain tells apart what is about the event, and
// what is about the endpoint.
func TestAnAnswerOfAWebhookSaysWhetherToTryAgain(t *testing.T) {
	status := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
	defer server.Close()
	to := open(t, "webhook", target.Settings{"endpoint": server.URL})
	for _, tt := range []struct {
		status          int
		failed, refused bool
	}{
		{200, false, false},
		{204, false, false},
		{400, true, true},
		{401, true, false},
		{404, true, false},
		{413, true, true},
		{422, true, true},
		{429, true, false},
		{500, true, false},
		{503, true, false},
	} {
		status = tt.status
		err := to.Send(t.Context(), message(events.CreatedPut, "k"))
		if (err != nil) != tt.failed || errors.Is(err, events.ErrRefused) != tt.refused {
			t.Errorf("%d: %v", tt.status, err)
		}
	}
}

func TestAWebhookThatHangsOrIsNotThereIsNotWaitedForLongerThanAllowed(t *testing.T) {
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer server.Close()
	defer close(release)
	secret := "key-in-the-query"
	to := open(t, "webhook", target.Settings{"endpoint": server.URL + "/?token=" + secret})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err := to.Send(ctx, message(events.CreatedPut, "k"))
	if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, events.ErrRefused) || strings.Contains(err.Error(), secret) {
		t.Errorf("one that hangs: %v", err)
	}
	to = open(t, "webhook", target.Settings{"endpoint": "http://127.0.0.1:1/?token=" + secret})
	if err := to.Send(t.Context(), message(events.CreatedPut, "k")); err == nil || errors.Is(err, events.ErrRefused) || strings.Contains(err.Error(), secret) {
		t.Errorf("one that is not there: %v", err)
	}
}

func TestSettingsThatCannotBeAreRefused(t *testing.T) {
	for _, tt := range []struct {
		kind     string
		settings target.Settings
	}{
		{"webhook", nil},
		{"webhook", target.Settings{"endpoint": "host/path"}},
		{"webhook", target.Settings{"endpoint": "ftp://host"}},
		{"webhook", target.Settings{"endpoint": "http://host", "queue_limit": "many"}},
		{"webhook", target.Settings{"endpoint": "http://host", "queue_limit": "0"}},
		{"webhook", target.Settings{"endpoint": "http://host", "client_cert": "/nowhere"}},
		{"webhook", target.Settings{"endpoint": "http://host", "tls_ca": "/nowhere"}},
		{"nats", target.Settings{"address": "host"}},
		{"nats", target.Settings{"subject": "s"}},
		{"nats", target.Settings{"address": "host", "subject": "s", "nkey_seed": "/nowhere"}},
		{"kafka", target.Settings{"topic": "t"}},
		{"kafka", target.Settings{"brokers": "b", "topic": "t", "producer_compression_codec": "zip"}},
		{"kafka", target.Settings{"brokers": "b", "topic": "t", "sasl": "on", "sasl_mechanism": "md5"}},
		{"amqp", target.Settings{"url": "http://host"}},
		{"amqp", target.Settings{"url": "amqp://host", "delivery_mode": "3"}},
		{"mqtt", target.Settings{"broker": "host", "topic": "t"}},
		{"mqtt", target.Settings{"broker": "tcp://host:1883", "topic": "t", "qos": "3"}},
		{"redis", target.Settings{"address": "host:6379"}},
		{"redis", target.Settings{"address": "host:6379", "key": "k", "format": "f"}},
		{"postgresql", target.Settings{"connection_string": "host=h", "table": "t; DROP TABLE x"}},
		{"postgresql", target.Settings{"connection_string": "host=h port=many", "table": "t"}},
		{"postgresql", target.Settings{"connection_string": "host=h", "table": "t", "max_open_connections": "0"}},
	} {
		if _, err := tryOpen(t, tt.kind, tt.settings); err == nil {
			t.Errorf("%s with %v is taken", tt.kind, tt.settings)
		}
	}
}

// TestASecretInSettingsIsNotInTheErrorThatRefusesThem has each kind parse one.
func TestASecretInSettingsIsNotInTheErrorThatRefusesThem(t *testing.T) {
	const secret = "s3cr%zzt"
	for kind, s := range map[string]target.Settings{
		"webhook":    {"endpoint": "http://user:" + secret + "@host/"},
		"nats":       {"address": "nats://user:" + secret + "@host", "subject": "s"},
		"amqp":       {"url": "amqp://user:" + secret + "@host"},
		"mqtt":       {"broker": "tcp://user:" + secret + "@host", "topic": "t"},
		"postgresql": {"connection_string": "postgres://user:" + secret + "@host/db", "table": "t"},
	} {
		if _, err := tryOpen(t, kind, s); err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

// TestATargetThatIsNotThereMayComeLater opens each kind with nobody at its address.
func TestATargetThatIsNotThereMayComeLater(t *testing.T) {
	for kind, s := range map[string]target.Settings{
		"webhook":    {"endpoint": "http://127.0.0.1:1"},
		"nats":       {"address": "127.0.0.1:1", "subject": "s"},
		"kafka":      {"brokers": "127.0.0.1:1", "topic": "t"},
		"amqp":       {"url": "amqp://127.0.0.1:1"},
		"mqtt":       {"broker": "tcp://127.0.0.1:1", "topic": "t"},
		"redis":      {"address": "127.0.0.1:1", "key": "k"},
		"postgresql": {"connection_string": "host=127.0.0.1 port=1", "table": "t"},
	} {
		to := open(t, kind, s)
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		if err := to.Send(ctx, message(events.CreatedPut, "k")); err == nil || errors.Is(err, events.ErrRefused) {
			t.Errorf("%s: %v", kind, err)
		}
		cancel()
	}
}
