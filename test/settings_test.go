package test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// listener is a webhook that remembers what it was told.
type listener struct {
	url string
	mu  sync.Mutex
	all []string
}

func startListener(t *testing.T) *listener {
	t.Helper()
	h := new(listener)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		h.mu.Lock()
		defer h.mu.Unlock()
		h.all = append(h.all, string(body))
	}))
	t.Cleanup(server.Close)
	h.url = server.URL
	return h
}

// wait returns when it was told of something.
func (h *listener) wait(t *testing.T, what string) {
	t.Helper()
	eventually(t, "the webhook is told of "+what, func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		return strings.Contains(strings.Join(h.all, ""), what)
	})
}

// TestSettingsThatAreSetByMCAreInForceOnAllGateways sets each at another gateway, and looks
// what comes of it at yet another one.
func TestSettingsThatAreSetByMCAreInForceOnAllGateways(t *testing.T) {
	t.Parallel()
	audited, told := startListener(t), startListener(t)
	own, other := startProvider(t), startProvider(t)
	const discovery = "/.well-known/openid-configuration"
	a := administerFleet(t, startFleet(t, 3, "--identity-openid-config-url", own.url+discovery, "--identity-openid-client-id", "shoal"))
	a.mc.run(t, "mb", "g0/bucket")
	c := newS3(a.fleet[1], noRetry)
	put := func(key string) {
		t.Helper()
		_, err := c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("bucket"), Key: &key, Body: strings.NewReader("content")})
		must(t, err)
	}

	a.admin(t, "config", "set", "@", "notify_webhook:ONE", "endpoint="+told.url, "auth_token="+password)
	a.mc.run(t, "event", "add", "g2/bucket", "arn:minio:sqs::ONE:webhook", "--event", "put")
	put("an-event")
	told.wait(t, "an-event")
	another := startListener(t)
	if out := a.admin(t, "config", "set", "@", "notify_webhook:ONE", "endpoint="+another.url); strings.Contains(out, "restart") {
		t.Error(out)
	}
	eventually(t, "events go to where the target is now", func() bool { // it comes into force a moment later
		put("an-event")
		another.mu.Lock()
		defer another.mu.Unlock()
		return strings.Contains(strings.Join(another.all, ""), "an-event")
	})
	for range a.fleet {
		out := a.admin(t, "config", "get", "@", "notify_webhook:ONE")
		if !strings.Contains(out, "endpoint="+another.url) || !strings.Contains(out, "enable=on") || strings.Contains(out, password) {
			t.Error(out)
		}
	}

	if out := a.admin(t, "config", "set", "@", "audit_webhook", "endpoint="+audited.url); strings.Contains(out, "restart") {
		t.Error(out)
	}
	for i := range a.fleet {
		name := fmt.Sprint("audited-", i)
		eventually(t, "gateway audits", func() bool { // it comes into force a moment later
			_, err := newS3(a.fleet[i], noRetry).HeadBucket(t.Context(), &s3.HeadBucketInput{Bucket: &name})
			audited.mu.Lock()
			defer audited.mu.Unlock()
			return err != nil && strings.Contains(strings.Join(audited.all, ""), name)
		})
	}

	a.mc.run(t, "idp", "openid", "add", "g0", "DEX", "config_url="+other.url+discovery, "client_id=shoal", "role_policy=readonly")
	token := func(i int) error {
		c, err := credentials.NewSTSWebIdentity(a.fleet[i].url, func() (*credentials.WebIdentityToken, error) {
			return &credentials.WebIdentityToken{Token: other.token(t, "eve", "none")}, nil
		})
		must(t, err)
		v, err := c.GetWithContext(nil)
		if err == nil {
			_, err = newS3(a.fleet[(i+1)%3], noRetry, withToken(v)).GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String("bucket"), Key: aws.String("an-event")})
		}
		return err
	}
	for i := range a.fleet {
		must(t, token(i))
	}
	a.mc.run(t, "idp", "openid", "disable", "g1", "DEX")
	for i := range a.fleet {
		if err := token(i); err == nil {
			t.Errorf("gateway %d takes tokens of a provider that is off", i)
		}
	}
	if out := a.mc.run(t, "idp", "openid", "ls", "g2"); !strings.Contains(out, "DEX") {
		t.Error(out)
	}
	a.mc.run(t, "idp", "openid", "enable", "g2", "DEX")
	must(t, token(0))
	if out, err := a.mc.try(t, "idp", "openid", "update", "g2", "client_id=x"); err == nil || !strings.Contains(out, "--identity-openid-client-id") {
		t.Errorf("what a gateway was started with: %v: %s", err, out)
	}
	a.mc.run(t, "idp", "openid", "rm", "g1", "DEX")
	if err := token(0); err == nil {
		t.Error("tokens of a provider that is gone are taken")
	}
}

// TestSettingsAreRestoredAsTheyWere goes back to what was set first.
func TestSettingsAreRestoredAsTheyWere(t *testing.T) {
	t.Parallel()
	a, audited := administer(t), startListener(t)
	for _, queue := range []string{"5", "6", "7"} {
		a.admin(t, "config", "set", "@", "audit_webhook:A", "endpoint="+audited.url, "queue_size="+queue)
	}
	queue := func(want string) {
		t.Helper()
		for range a.fleet {
			if out := a.admin(t, "config", "get", "@", "audit_webhook"); !strings.Contains(out, want) {
				t.Errorf("want %q: %s", want, out)
			}
		}
	}
	queue("queue_size=7")
	var past []struct{ RestoreID, Targets string }
	for line := range strings.Lines(a.mc.run(t, "admin", "config", "history", "g1", "--json")) {
		var answer struct {
			Entries []struct{ RestoreID, Targets string } `json:"entries"`
		}
		must(t, json.Unmarshal([]byte(line), &answer))
		past = append(past, answer.Entries...)
	}
	if len(past) != 3 {
		t.Fatalf("the history is %+v", past)
	}
	i := slices.IndexFunc(past, func(e struct{ RestoreID, Targets string }) bool { return strings.Contains(e.Targets, "queue_size=5") })
	a.admin(t, "config", "restore", "@", past[i].RestoreID)
	queue("queue_size=5")
	exported := a.admin(t, "config", "export", "@")
	a.admin(t, "config", "reset", "@", "audit_webhook:A")
	for range a.fleet {
		if out := a.admin(t, "config", "get", "@", "audit_webhook"); strings.Contains(out, "queue_size=5") {
			t.Error(out)
		}
	}
	a.mc.in = exported
	a.admin(t, "config", "import", "@")
	a.mc.in = ""
	queue("queue_size=5")
}
