package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/shoal-storage/shoal/erasure"
	"github.com/shoal-storage/shoal/gateway"
	"github.com/shoal-storage/shoal/gateway/admin"
	"github.com/shoal-storage/shoal/internal/audit"
	"github.com/shoal-storage/shoal/internal/config"
	"github.com/shoal-storage/shoal/internal/events"
	"github.com/shoal-storage/shoal/internal/ldap"
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
	own := serverFlags{certsDir: env.values["SHOAL_CERTS_DIR"]}
	pairs, err := own.certificates(log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pairs.Close)
	c, err := newCommon(env, flags, pairs, log)
	if err != nil {
		t.Fatal(err)
	}
	c.sharedWith(plane, new(gateway.Config))
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
func (c *common) setting(heading, key string) admin.Setting {
	for _, s := range c.Settings() {
		if strings.TrimSuffix(s.System+":"+s.Target, ":") == heading && s.Key == key {
			return s
		}
	}
	return admin.Setting{}
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

func TestTargetsBeginChangeAndEndAtOnce(t *testing.T) {
	plane := &onePlane{changed: make(chan struct{})}
	one, other := commonOf(t, plane), commonOf(t, plane)
	a := events.Destination{Type: "webhook", ID: "A"}
	limits := func() (all []int) {
		for _, c := range []*common{one, other} {
			c.refresh()
			for _, m := range c.events.Measures() {
				all = append(all, m.Capacity)
			}
		}
		return all
	}
	for _, step := range []struct {
		text string
		want []int
	}{
		{"notify_webhook:A endpoint=http://a queue_limit=5", []int{5, 5}},
		{"notify_webhook:A queue_limit=6", []int{6, 6}},
		{"audit_webhook endpoint=http://b", []int{6, 6}},
		{"notify_webhook:A queue_limit=7", []int{7, 7}},
	} {
		if one.set(t, step.text) {
			t.Errorf("%s wants a new start", step.text)
		}
		if got := limits(); !slices.Equal(got, step.want) || !other.events.Has(a) {
			t.Errorf("%s: %v, want %v", step.text, got, step.want)
		}
	}
	if !one.audit.Enabled() || !other.audit.Enabled() {
		t.Error("a target of the audit has not begun")
	}
	lines, err := config.Parse("audit_webhook\nnotify_webhook:A")
	if err != nil {
		t.Fatal(err)
	}
	if restart, err := one.Reset(t.Context(), lines); err != nil || restart || one.audit.Enabled() || one.events.Has(a) {
		t.Errorf("taken back: %v, %v", restart, err)
	}
	if other.refresh(); other.events.Has(a) {
		t.Error("taken back, and another gateway has it")
	}
}

// TestWhatFlagsSetIsSetForAllWhereNoneWasGiven has a gateway with flags of its own beside one
// without.
func TestWhatFlagsSetIsSetForAllWhereNoneWasGiven(t *testing.T) {
	plane := &onePlane{changed: make(chan struct{})}
	one, other := commonOf(t, plane), commonOf(t, plane, "MINIO_API_REQUESTS_MAX=9", "SHOAL_IDENTITY_LDAP_SERVER_ADDR=127.0.0.1:9", "SHOAL_IDENTITY_LDAP_USER_DN_SEARCH_BASE_DN=dc=other",
		"SHOAL_IDENTITY_LDAP_USER_DN_SEARCH_FILTER=(cn=%s)")
	if one.set(t, "api requests_max=7 cors_allow_origin=https://a,https://b") {
		t.Error("limits want a new start")
	}
	if !one.set(t, "region name=eu-1") || one.set(t, "api requests_max=8") || !one.set(t, "api requests_max=5000") {
		t.Error("a region, and more requests than connections are kept for, want no new start, or what comes after does")
	}
	one.set(t, "identity_ldap server_addr=127.0.0.1:9 user_dn_search_base_dn=dc=example user_dn_search_filter=(uid=%s) lookup_bind_dn=cn=x lookup_bind_password=hunter2")
	for c, want := range map[*common][2]string{one: {"5000", "(uid=%s)"}, other: {"9", "(cn=%s)"}} {
		requests, filter := c.setting("api", "requests_max"), c.setting("identity_ldap", "user_dn_search_filter")
		if got := [2]string{requests.Value, filter.Value}; got != want {
			t.Errorf("%q, want %q", got, want)
		}
		if own := c == other; requests.Own != own || filter.Own != own || !requests.Shared {
			t.Errorf("%+v, %+v", requests, filter)
		}
		for _, setting := range []admin.Setting{c.setting("region", "name"), c.setting("site", "region")} {
			if setting.Value != "eu-1" || setting.Own {
				t.Errorf("%+v", setting)
			}
		}
		if s := c.setting("identity_ldap", "lookup_bind_password"); s.Value != hiddenValue || s.Own {
			t.Errorf("%+v", s)
		}
		if !slices.Equal(c.tuning.CORSOrigins, []string{"https://a", "https://b"}) {
			t.Errorf("%+v", c.tuning)
		}
		if _, err := (people{c}).Identify(t.Context(), "ann", "x"); !errors.Is(err, ldap.ErrUnavailable) {
			t.Errorf("the directory that is not there: %v", err)
		}
	}
	one.set(t, "identity_ldap enable=off")
	for _, c := range []*common{one, other} {
		if _, err := (people{c}).Identify(t.Context(), "ann", "x"); !errors.Is(err, ldap.ErrNone) {
			t.Errorf("a directory that is left out: %v", err)
		}
	}
	if c := commonOf(t, plane); c.begun.region != "eu-1" || c.begun.maxRequests != 5000 || c.set(t, "api requests_max=6000") {
		t.Errorf("after a new start: %s, %d", c.begun.region, c.begun.maxRequests)
	}
}

// TestStorageClassesAreSetForDrives has drives whose parity is changed while they serve, and a
// directory, which has none.
func TestStorageClassesAreSetForDrives(t *testing.T) {
	plane := &onePlane{changed: make(chan struct{})}
	onDrives, ofDirectory := commonOf(t, plane), commonOf(t, &onePlane{changed: make(chan struct{})})
	l, err := layoutOf(new(serverFlags), []poolOf[string]{{drives: make([]string, 8)}, {drives: make([]string, 4)}}, func(string) string { return "" })
	if err != nil {
		t.Fatal(err)
	}
	onDrives.classes = func(f *serverFlags) (func(), error) { return l.change(f, new(erasure.Store)) }
	for _, step := range []struct {
		text string
		want classes
	}{
		{"storage_class standard=EC:1", classes{1, 1}},
		{"storage_class rrs=EC:0", classes{1, 0}},
		{"storage_class standard=EC:2 rrs=EC:2", classes{2, 2}},
	} {
		if onDrives.set(t, step.text) || l.classes() != step.want || *l[0].classes.Load() != step.want {
			t.Errorf("%s: %+v, want %+v", step.text, l.classes(), step.want)
		}
	}
	if restart, err := onDrives.Reset(t.Context(), []config.Line{{Target: config.Target{System: storageSystem}}}); err != nil || restart || *l[0].classes.Load() != (classes{4, 1}) {
		t.Errorf("taken back: %+v, %v", l.classes(), err)
	}
	for c, wrong := range map[*common]map[string]string{
		onDrives:    {"standard=EC:3": "storage_class standard EC:3 is not possible with 4 drives", "standard=3": "not possible", "rrs=EC:4": "storage_class rrs EC:4"},
		ofDirectory: {"standard=EC:2": "here is a directory"},
	} {
		for values, want := range wrong {
			lines, err := config.Parse("storage_class " + values)
			if err == nil {
				_, err = c.Set(t.Context(), lines)
			}
			if !errors.Is(err, config.ErrText) || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %s", values, err, want)
			}
		}
	}
}

// TestTheRateOfHealingIsSetWhileNodesServe has drives, a node that was started with a rate of its own, and
// a directory, in which nothing is healed.
func TestTheRateOfHealingIsSetWhileNodesServe(t *testing.T) {
	plane := &onePlane{changed: make(chan struct{})}
	var rate, own int64
	c := commonOf(t, plane)
	c.backedBy(c.begun, &backend{healRate: func(bytes int64) { rate = bytes }})
	other := commonOf(t, plane, "SHOAL_HEAL_RATE=5MiB")
	if other.backedBy(other.begun, &backend{healRate: func(bytes int64) { own = bytes }}); own != 5<<20 || rate != 0 {
		t.Errorf("from the start: %d, and without a flag %d", own, rate)
	}
	if c.set(t, "heal rate=20MiB") || rate != 20<<20 {
		t.Errorf("set: %d", rate)
	}
	if other.refresh(); own != 5<<20 {
		t.Errorf("where a node was started with another one: %d", own)
	}
	if s := c.setting(healSystem, "rate"); s.Value != "20MiB" || !s.Common {
		t.Errorf("shown is %+v", s)
	}
	if restart, err := c.Reset(t.Context(), []config.Line{{Target: config.Target{System: healSystem}}}); err != nil || restart || rate != 0 {
		t.Errorf("taken back: %d, %v", rate, err)
	}
	for to, wrong := range map[*common]map[string]string{
		c: {"rate=1KiB": "heal rate 1KiB is neither 0 nor 1MiB", "rate=fast": "heal rate fast"},
		commonOf(t, &onePlane{changed: make(chan struct{})}): {"rate=20MiB": "here is a directory"},
	} {
		for values, want := range wrong {
			lines, err := config.Parse("heal " + values)
			if err == nil {
				_, err = to.Set(t.Context(), lines)
			}
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %s", values, err, want)
			}
		}
	}
}

func TestWhatIsWrongIsToldByTheNamesOfSettings(t *testing.T) {
	c := commonOf(t, &onePlane{changed: make(chan struct{})})
	for text, want := range map[string]string{
		"api requests_max=0":                                "api requests_max 0 is less than 1",
		"api requests_max=many":                             `api requests_max="many" is not valid`,
		"identity_ldap server_addr=x":                       "identity_ldap server_addr x is not host:port",
		"identity_ldap server_insecure=ja":                  "identity_ldap server_insecure ja is neither on nor off",
		"identity_ldap server_addr=a:1 lookup_bind_dn=cn=x": "of identity_ldap lookup_bind_dn and identity_ldap lookup_bind_password one is missing",
		"identity_tls enable=on":                            "identity_tls enable needs --certs-dir",
		"identity_openid config_url=ftp://x client_id=x":    "identity_openid config_url",
		"identity_openid:DEX client_id=x":                   "identity_openid:DEX config_url is not right: it is missing",
		"region name=a\nsite region=b":                      "are one setting",
	} {
		lines, err := config.Parse(text)
		if err == nil {
			_, err = c.Set(t.Context(), lines)
		}
		if !errors.Is(err, config.ErrText) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
	if past, err := c.History(); err != nil || len(past) != 0 {
		t.Errorf("%+v, %v", past, err)
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

// TestSettingsAreChangedAndLookedAtAtTheSameTime has variables of its own for what is set: these are
// looked at by both.
func TestSettingsAreChangedAndLookedAtAtTheSameTime(t *testing.T) {
	plane := &onePlane{changed: make(chan struct{})}
	one, other := commonOf(t, plane, "SHOAL_MAX_REQUESTS=9"), commonOf(t, plane)
	other.set(t, "api requests_max=7")
	var both sync.WaitGroup
	both.Go(func() {
		for i := range 20 {
			other.set(t, fmt.Sprintf("api cors_allow_origin=https://%d", i))
		}
	})
	both.Go(func() {
		for i := range 20 {
			one.set(t, fmt.Sprintf("site region=r%d", i))
		}
	})
	for range 20 {
		one.Settings()
	}
	both.Wait()
	if s := one.setting("api", "requests_max"); s.Value != "9" {
		t.Errorf("%+v", s)
	}
}
