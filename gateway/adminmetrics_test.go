package gateway

import (
	"encoding/json"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"
	"time"
)

func TestSamplesTellWhatTheNetworkOfTheHostDoes(t *testing.T) {
	received := uint64(0)
	o := serveOfficeWith(t, func(cfg *Config) {
		cfg.Node = "here:9000"
		cfg.Traffic = func() (Traffic, error) {
			received += 1000
			return Traffic{Interface: "eth0", Received: received, Sent: 7}, nil
		}
	})
	answer, code := o.admin("boss", "GET", "metrics", "types=32&n=2&interval=1ms&by-host=true", "")
	if code != "" {
		t.Fatal(answer.body)
	}
	decoder := json.NewDecoder(strings.NewReader(answer.body))
	for _, want := range []uint64{1000, 2000} {
		var got sample
		o.must(t, decoder.Decode(&got))
		host := got.ByHost["here:9000"]
		if host == nil || host.Net.NetStats.RxBytes != want || host.Net.NetStats.TxBytes != 7 || host.Net.InterfaceName != "eth0" || got.Final != (want == 2000) || host.Net.Collected.IsZero() {
			t.Errorf("%+v", got)
		}
	}
	if err := decoder.Decode(new(sample)); !errors.Is(err, io.EOF) {
		t.Errorf("a third one: %v", err)
	}
}

func TestSamplesThatThereAreNotAreRefused(t *testing.T) {
	o := serveOfficeWith(t, func(cfg *Config) {
		cfg.Traffic = func() (Traffic, error) { return Traffic{}, errors.New("no interface") }
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

func TestSoManyClientsGetSamplesAtATime(t *testing.T) {
	o := serveDrives(t)
	o.server.sampling.Store(maxSamplers)
	if _, code := o.admin("boss", "GET", "metrics", "types=2&n=1", ""); code != "SlowDown" {
		t.Errorf("one too many: %q", code)
	}
	o.server.sampling.Store(0)
	o.sampleOf("types=2")
	for deadline := time.Now().Add(20 * time.Second); o.server.sampling.Load() != 0; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatal("a client that has all is still counted")
		}
	}
}
