package gateway

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/shoal-storage/shoal/internal/ldap"
)

// besieged is an office at whose gateway answers wait until the test lets them go.
type besieged struct {
	*office
	waiting chan struct{} // one for each that begins to wait
	release chan struct{} // one for each that may end
	log     *lines
}

// lines is a log in memory.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// serveBesieged has room for so many requests, and so for a quarter of that which wait.
func serveBesieged(t *testing.T, requests int) *besieged {
	t.Helper()
	b := &besieged{waiting: make(chan struct{}), release: make(chan struct{}), log: &lines{}}
	b.office = serveOfficeWith(t, func(cfg *Config) {
		cfg.MaxRequests = requests
		began := time.Now()
		cfg.Now = func() time.Time { return began } // so that nothing is forgiven
		cfg.Logger = slog.New(slog.NewJSONHandler(b.log, nil))
		cfg.LDAP = crowd{"eve": ldap.Person{Name: "eve", DN: eveDN}}
		cfg.wait = func(context.Context, time.Duration) error {
			b.waiting <- struct{}{}
			<-b.release
			return nil
		}
	})
	return b
}

// wrong is a call of ann's with another secret.
func wrong() call {
	return call{method: "GET", path: "/bucket/k", user: "ann", secret: "a wrong secret"}
}

// asks is one way to ask.
type asks func(b *besieged) reply

func asking(c call) asks { return func(b *besieged) reply { return b.do(c) } }

// failFreely fails as often as nobody has to wait for it.
func (b *besieged) failFreely(ask asks) {
	b.t.Helper()
	for range 10 {
		if got := ask(b); got.status != http.StatusForbidden {
			b.t.Fatalf("%d %s", got.status, got.body)
		}
	}
}

// failed returns how many failures the metrics tell of a reason.
func (b *besieged) failed(reason string) (n float64) {
	b.t.Helper()
	families, err := b.server.Metrics.Registry.Gather()
	b.must(b.t, err)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == "shoal_s3_failed_authentications_total" && m.GetLabel()[0].GetValue() == reason {
				n = m.GetCounter().GetValue()
			}
		}
	}
	return n
}

// TestARightSignaturePassesAtOnceWhileWrongOnesWait has ann's key be guessed from her
// own address.
func TestARightSignaturePassesAtOnceWhileWrongOnesWait(t *testing.T) {
	b := serveBesieged(t, 100)
	b.ok(call{method: "PUT", path: "/bucket/k", body: "x"})
	b.failFreely(asking(wrong()))
	answers := make(chan reply)
	go func() { answers <- b.do(wrong()) }()
	<-b.waiting
	for range 20 {
		for _, who := range []string{"ann", "boss"} {
			if got := b.do(call{method: "GET", path: "/bucket/k", user: who, secret: secretOf(who)}); got.body != "x" {
				t.Errorf("%s: %d %s", who, got.status, got.body)
			}
		}
	}
	b.release <- struct{}{}
	if got := <-answers; got.code() != "SignatureDoesNotMatch" {
		t.Errorf("who waited is answered %d %s", got.status, got.body)
	}
}

func TestWhereTooManyWaitFailuresAreToldToSlowDown(t *testing.T) {
	b := serveBesieged(t, 4)
	b.ok(call{method: "PUT", path: "/bucket/k", body: "x"})
	b.failFreely(asking(wrong()))
	answers := make(chan reply)
	go func() { answers <- b.do(wrong()) }()
	<-b.waiting
	if got := b.do(wrong()); got.code() != "SlowDown" || got.header.Get("Retry-After") == "" {
		t.Errorf("beside one that waits: %d %v %s", got.status, got.header, got.body)
	}
	if got := b.do(call{method: "GET", path: "/bucket/k", user: "ann", secret: secretOf("ann")}); got.body != "x" {
		t.Errorf("with the right secret: %d %s", got.status, got.body)
	}
	b.release <- struct{}{}
	<-answers
}

// TestWhoeverGuessesWaits has each way of proving who one is.
func TestWhoeverGuessesWaits(t *testing.T) {
	token, err := Token("boss", "a wrong secret", time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	assume := sts("ann", "AssumeRole")
	assume.secret = "a wrong secret"
	presigned := call{method: "GET", path: "/bucket/k", query: strings.Replace(presignV2("GET", "/bucket/k"), "Signature=", "Signature=A", 1), anonymous: true}
	for what, tt := range map[string]struct {
		ask    asks
		reason string
	}{
		"a signature":     {asking(wrong()), wrongSignature},
		"an access key":   {asking(call{method: "GET", path: "/bucket/k", user: "nobody", secret: "x"}), noSuchKey},
		"a presigned URL": {asking(presigned), wrongSignature},
		"a form": {func(b *besieged) reply {
			return b.post(form{fields: [][2]string{{"key", "k"}}, secret: "a wrong secret"})
		}, wrongSignature},
		"the administration":       {asking(call{method: "GET", path: "/minio/admin/v3/info", user: "boss", secret: "a wrong secret"}), wrongSignature},
		"the token service":        {asking(assume), wrongSignature},
		"a password":               {asking(federated("AssumeRoleWithLDAPIdentity", "LDAPUsername", "eve", "LDAPPassword", "wrong")), wrongPassword},
		"the token of the metrics": {asking(call{method: "GET", path: "/minio/v2/metrics/cluster", anonymous: true, header: map[string]string{"Authorization": "Bearer " + token}}), wrongToken},
	} {
		t.Run(what, func(t *testing.T) {
			b := serveBesieged(t, 100)
			b.failFreely(tt.ask)
			answered := make(chan reply)
			go func() { answered <- tt.ask(b) }()
			select {
			case <-b.waiting:
				b.release <- struct{}{}
				if got := <-answered; got.status != http.StatusForbidden {
					t.Errorf("%d %s", got.status, got.body)
				}
			case got := <-answered:
				t.Errorf("it does not wait: %d %s", got.status, got.body)
			}
			if got := b.failed(tt.reason); got != 11 {
				t.Errorf("%v failures are counted as %s", got, tt.reason)
			}
		})
	}
}

// TestFailuresAreLoggedWithoutWhatMayBeASecret has somebody mistake the secret for the
// access key.
func TestFailuresAreLoggedWithoutWhatMayBeASecret(t *testing.T) {
	b := serveBesieged(t, 100)
	for range 5 {
		b.do(wrong())
		b.do(federated("AssumeRoleWithLDAPIdentity", "LDAPUsername", "hunter2hunter2", "LDAPPassword", "eve"))
		b.do(call{method: "GET", path: "/bucket/k", user: "hunter2hunter2", secret: "ann"})
	}
	log := b.log.String()
	if strings.Contains(log, "hunter2") {
		t.Errorf("the log has a secret:\n%s", log)
	}
	if n := strings.Count(log, "failed to prove who it is"); n != 2 {
		t.Errorf("%d lines about ann and about others at the address, want 2:\n%s", n, log)
	}
	if !strings.Contains(log, `"user":"ann"`) || !strings.Contains(log, `"remote":"127.0.0.1"`) {
		t.Errorf("the log does not say who:\n%s", log)
	}
}
