package main

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/shoal-storage/shoal/gateway"
	"github.com/shoal-storage/shoal/internal/audit"
	"github.com/shoal-storage/shoal/internal/config"
	"github.com/shoal-storage/shoal/internal/events"
	"github.com/shoal-storage/shoal/internal/lock"
)

// onePlane is a control plane of one record.
type onePlane struct {
	mu       sync.Mutex
	content  []byte
	revision uint64
	changed  chan struct{}
}

func (p *onePlane) Get(string) ([]byte, uint64, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.content, p.revision, nil
}

func (p *onePlane) List(string) ([]string, error) { return nil, nil }

func (p *onePlane) Set(_ context.Context, _ string, content []byte, revision uint64) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.revision != revision {
		return errChanged
	}
	p.content, p.revision = content, revision+1
	close(p.changed)
	p.changed = make(chan struct{})
	return nil
}

func (p *onePlane) Changed() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.changed
}

// noJournal has nothing.
type noJournal struct{ events.Journal }

func (noJournal) Left(context.Context) ([]string, error) { return nil, nil }

// commonOf returns what is set on a control plane as a gateway of these variables has it.
func commonOf(t *testing.T, plane *onePlane, environ ...string) *common {
	t.Helper()
	env, flags, log := readEnvironment(environ), serverCommand(t).Flags(), slog.New(slog.NewTextHandler(t.Output(), nil))
	if err := env.apply(flags); err != nil {
		t.Fatal(err)
	}
	providers, err := openidProviders(nil, env)
	if err != nil {
		t.Fatal(err)
	}
	c := newCommon(env, flags, providers, log)
	c.store = &config.Store{Records: plane, Now: time.Now}
	locker := lock.NewLocal(1)
	t.Cleanup(locker.Close)
	told := events.New(t.Context(), events.Config{Log: log, Now: time.Now, Targets: c.targets(t.Context(), nil), Journal: noJournal{}, Locker: locker})
	audited := audit.New(t.Context(), nil, log)
	stop := c.follow(t.Context(), plane, audited, told)
	t.Cleanup(func() {
		stop()
		if err := errors.Join(told.Close(), audited.Close()); err != nil {
			t.Error(err)
		}
	})
	return c
}

func (c *common) set(t *testing.T, text string) (restart bool) {
	t.Helper()
	lines, err := config.Parse(text)
	if err == nil {
		restart, err = c.Set(t.Context(), lines)
	}
	if err != nil {
		t.Fatal(err)
	}
	return restart
}

// setting returns one of those that are shown.
func (c *common) setting(heading, key string) gateway.Setting {
	for _, s := range c.Settings() {
		if strings.TrimSuffix(s.System+":"+s.Target, ":") == heading && s.Key == key {
			return s
		}
	}
	return gateway.Setting{}
}

func TestWhatIsSetForAllCountsLessThanWhatAGatewayWasStartedWith(t *testing.T) {
	plane := &onePlane{changed: make(chan struct{})}
	one := commonOf(t, plane)
	other := commonOf(t, plane, "MINIO_IDENTITY_OPENID_CONFIG_URL_DEX=https://dex", "MINIO_IDENTITY_OPENID_CLIENT_ID_DEX=own", "SHOAL_IDENTITY_OPENID_CLAIM_NAME=groups")
	one.set(t, "identity_openid:DEX config_url=https://dex client_id=common role_policy=readonly\nidentity_openid config_url=https://id client_id=x claim_name=roles")
	for c, want := range map[*common][3]string{one: {"common", "roles", "x"}, other: {"own", "groups", "x"}} {
		got := [3]string{c.setting("identity_openid:DEX", "client_id").Value, c.setting("identity_openid", "claim_name").Value, c.setting("identity_openid", "client_id").Value}
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if s := other.setting("identity_openid:DEX", "client_id"); !s.Own || !s.Shared {
		t.Errorf("%+v", s)
	}
	if s := one.setting("identity_openid:DEX", "client_id"); s.Own {
		t.Errorf("%+v", s)
	}
	if a, b := one.Role("DEX"), other.Role("DEX"); a == "" || b == "" || a == b {
		t.Errorf("roles %q and %q", a, b)
	}
}

func TestWhatCannotBeUsedIsNotSet(t *testing.T) {
	c := commonOf(t, &onePlane{changed: make(chan struct{})})
	for _, text := range []string{
		"identity_openid:DEX client_id=x", "identity_openid:DEX config_url=ftp://x client_id=x", "notify_webhook:A queue_limit=5",
		"notify_webhook:A endpoint=http://a queue_limit=-1", "audit_webhook:A endpoint=http://a queue_size=0",
	} {
		lines, err := config.Parse(text)
		if err == nil {
			_, err = c.Set(t.Context(), lines)
		}
		if !errors.Is(err, config.ErrText) {
			t.Errorf("%s: %v", text, err)
		}
	}
	if past, err := c.History(); err != nil || len(past) != 0 {
		t.Errorf("%+v, %v", past, err)
	}
}

func TestANewTargetBeginsAtOnceAndAChangedOneWithTheNextStart(t *testing.T) {
	plane := &onePlane{changed: make(chan struct{})}
	one, other := commonOf(t, plane), commonOf(t, plane)
	a := events.Destination{Type: "webhook", ID: "A"}
	if one.set(t, "notify_webhook:A endpoint=http://a") {
		t.Error("a new target wants a new start")
	}
	other.refresh()
	if !one.events.Has(a) || !other.events.Has(a) {
		t.Error("a new target has not begun")
	}
	if one.set(t, "audit_webhook endpoint=http://b") || !one.audit.Enabled() {
		t.Error("a target of the audit has not begun")
	}
	if !one.set(t, "notify_webhook:A endpoint=http://b") {
		t.Error("a changed target wants no new start")
	}
	if one.set(t, "audit_webhook queue_size=5") {
		t.Error("what was changed before is told again")
	}
	if c := commonOf(t, plane); !c.events.Has(a) || c.set(t, "notify_webhook:A endpoint=http://b") {
		t.Error("after a new start it is not as it was set")
	}
	lines, err := config.Parse("audit_webhook")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := one.Reset(t.Context(), lines); err != nil || one.audit.Enabled() {
		t.Errorf("taken back: %v", err)
	}
}

func TestWhatIsHiddenStaysWhatItIs(t *testing.T) {
	c := commonOf(t, &onePlane{changed: make(chan struct{})})
	c.set(t, "notify_webhook:A endpoint=http://a auth_token=hunter2")
	c.set(t, "notify_webhook:A endpoint=http://b auth_token="+hiddenValue)
	all, _, err := c.store.Get()
	if values := all[config.Target{System: "notify_webhook", Name: "A"}]; err != nil || values["auth_token"] != "hunter2" || values["endpoint"] != "http://b" || values["enable"] != "on" {
		t.Errorf("%v, %v", values, err)
	}
	past, err := c.History()
	if err != nil || len(past) != 2 || strings.Contains(past[0].Text+past[1].Text, "hunter2") {
		t.Errorf("%+v, %v", past, err)
	}
	if s := c.setting("notify_webhook:A", "auth_token"); s.Value != hiddenValue {
		t.Errorf("%+v", s)
	}
}
