package gateway

import (
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/shoal-storage/shoal/gateway/admin"
)

func TestSamplesTellWhatTheNetworkOfTheHostDoes(t *testing.T) {
	received := uint64(0)
	o := serveOfficeWith(t, func(cfg *Config) {
		cfg.Node = "here:9000"
		cfg.Admin.Traffic = func() (admin.Traffic, error) {
			received += 1000
			return admin.Traffic{Interface: "eth0", Received: received, Sent: 7}, nil
		}
	})
	answer, code := o.admin("boss", "GET", "metrics", "types=32&n=2&interval=1ms&by-host=true", "")
	if code != "" {
		t.Fatal(answer.body)
	}
	decoder := json.NewDecoder(strings.NewReader(answer.body))
	for _, want := range []uint64{1000, 2000} {
		var got told
		o.must(t, decoder.Decode(&got))
		host := got.ByHost["here:9000"]
		if host.Net == nil || host.Net.NetStats.Received != want || host.Net.NetStats.Sent != 7 || host.Net.InterfaceName != "eth0" || got.Final != (want == 2000) || host.Net.Collected.IsZero() {
			t.Errorf("%+v", got)
		}
	}
	if err := decoder.Decode(new(told)); !errors.Is(err, io.EOF) {
		t.Errorf("a third one: %v", err)
	}
}

func TestSamplesThatThereAreNotAreRefused(t *testing.T) {
	o := serveOfficeWith(t, func(cfg *Config) {
		cfg.Admin.Traffic = func() (admin.Traffic, error) { return admin.Traffic{}, errors.New("no interface") }
	})
	for query, want := range map[string]string{"types=2&n=1": "NotImplemented", "types=x": "XMinioAdminInvalidArgument", "types=32&interval=x": "XMinioAdminInvalidArgument", "types=32&n=-1": "XMinioAdminInvalidArgument"} {
		if _, code := o.admin("boss", "GET", "metrics", query, ""); code != want {
			t.Errorf("%s: %q, want %s", query, code, want)
		}
	}
	if _, code := o.admin("ann", "GET", "metrics", "types=32&n=1", ""); code != "AccessDenied" {
		t.Errorf("by a user: %q", code)
	}
	if answer, code := o.admin("boss", "GET", "metrics", "types=32&n=1", ""); code != "" || !strings.Contains(answer.body, `"errors":["no interface"]`) {
		t.Errorf("what cannot be read: %s", answer.body)
	}
}

func TestWhoHasAllSamplesIsNotCountedAnyMore(t *testing.T) {
	o := serveDrives(t)
	for range 65 { // of which 64 may get some at a time
		o.sampleOf("types=2")
	}
}
