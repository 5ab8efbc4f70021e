package target_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/shoal-storage/shoal/internal/events/target"
)

func TestADocumentThatIsNoEventIsPostedAsItIs(t *testing.T) {
	const document = `{"version":"1"}`
	got := make(chan string, 1)
	hook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body) // what is missing is missed below
		got <- r.Header.Get("Authorization") + " " + string(body)
	}))
	t.Cleanup(hook.Close)
	for _, k := range target.Kinds() {
		plain, err := k.OpenPlain(t.Context(), target.Settings{"endpoint": hook.URL, "auth_token": "token", "brokers": "127.0.0.1:1", "topic": "t", "address": "127.0.0.1:1", "key": "k", "format": "access"})
		switch k.Type {
		case "webhook":
			if err != nil {
				t.Fatal(err)
			}
			if err := plain.SendDocument(t.Context(), "bucket/k", []byte(document)); err != nil {
				t.Error(err)
			}
			if text := <-got; text != "Bearer token "+document {
				t.Errorf("posted %q", text)
			}
		case "redis":
			if err == nil {
				t.Error("Redis takes documents that are not events")
			}
			continue
		case "kafka":
			if err != nil {
				t.Fatal(err)
			}
		default:
			continue // what it needs is not given here
		}
		if err := plain.Close(); err != nil {
			t.Error(err)
		}
	}
}
