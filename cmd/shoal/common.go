package main

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/pflag"

	"github.com/shoal-storage/shoal/gateway"
	"github.com/shoal-storage/shoal/gateway/admin"
	"github.com/shoal-storage/shoal/internal/audit"
	"github.com/shoal-storage/shoal/internal/config"
	"github.com/shoal-storage/shoal/internal/directory"
	"github.com/shoal-storage/shoal/internal/events"
	"github.com/shoal-storage/shoal/internal/ldap"
	"github.com/shoal-storage/shoal/internal/openid"
)

// common is what is set for all gateways, and what of it is in force here: less what this
// one was started with. Its methods may be called concurrently.
type common struct {
	store *config.Store // nil: there is no control plane
	env   *environment  // that this gateway was started with
	flags *pflag.FlagSet
	log   *slog.Logger

	pairs *pairs // of HTTPS; nil: there is none
	// classes opens what flags say of storage classes; nil: objects are not spread over drives, or
	// these are not open yet.
	classes func(f *serverFlags) (use func(), err error)
	// healRate sets the rate of healing; nil: there is nothing to heal, or it is not open yet.
	healRate func(bytes int64)

	shown     atomic.Pointer[[]admin.Setting]
	providers atomic.Pointer[openid.Providers]
	people    atomic.Pointer[ldap.Roll] // nil: there is none
	revision  atomic.Uint64             // of what is in force

	mu      sync.Mutex      // held while something comes into force
	life    context.Context //nolint:containedctx // of what is begun; nil: not yet, or no more
	audit   *audit.Log
	audited map[string]string // settings of the targets of the audit, by their names
	events  *events.Service
	told    map[string]string // the same of the targets of events
	begun   *serverFlags      // what this gateway has begun with
	server  *gateway.Server   // nil: it does not serve yet
	tuning  gateway.Tuning
}

// newCommon returns what is in force of flags and variables alone.
func newCommon(env *environment, flags *pflag.FlagSet, pairs *pairs, log *slog.Logger) (*common, error) {
	c := &common{env: env, flags: flags, pairs: pairs, log: log, audited: printsOf(env, auditFamily()), told: printsOf(env, eventFamily())}
	f, err := c.flagsWith(env)
	if err != nil {
		return nil, err
	}
	for _, p := range c.pieces() {
		use, err := p.open(f, env, nil)
		if err != nil {
			return nil, err
		}
		use()
	}
	c.begun = f
	shown := env.shownSettings(flags, flags)
	c.shown.Store(&shown)
	return c, nil
}

// sharedWith has the settings kept as records, from now on. It returns the flags with what is set
// so far: some of it is for the beginning alone.
func (c *common) sharedWith(kept config.Records, cfg *gateway.Config) *serverFlags {
	c.store = &config.Store{Records: kept, Now: time.Now}
	cfg.Admin.Changes = c
	all, _, err := c.store.Get()
	if err == nil {
		var f *serverFlags
		if f, err = c.flagsWith(c.env.with(all)); err == nil {
			c.begun = f
		}
	}
	if err != nil {
		c.log.Error("what is set for all gateways cannot be used here", "error", err)
	}
	return c.begun
}

// serves has a gateway take what comes to be set.
func (c *common) serves(server *gateway.Server) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.server = server
	server.Tune(c.tuning)
}

// follow has what is set come into force until ctx ends. What is set already is in force
// when it returns.
func (c *common) follow(ctx context.Context, kept records, audit *audit.Log, events *events.Service) (stop func()) {
	if c.store == nil {
		return func() {}
	}
	c.mu.Lock()
	c.life, c.audit, c.events = ctx, audit, events
	c.mu.Unlock()
	changed := kept.Changed()
	c.refresh()
	ctx, cancel := context.WithCancel(ctx)
	over := make(chan struct{})
	go func() {
		defer close(over)
		for {
			select {
			case <-changed:
			case <-ctx.Done():
				return
			}
			changed = kept.Changed()
			c.refresh()
		}
	}()
	return func() {
		cancel()
		<-over
		c.mu.Lock()
		defer c.mu.Unlock()
		c.life = nil
	}
}

// refresh brings into force what is set. What cannot be is logged, and what was in force
// before stays so.
func (c *common) refresh() {
	if c.store == nil {
		return
	}
	revision, err := c.store.Revision()
	if err != nil || revision == c.revision.Load() {
		return // a gateway that is cut off goes on with what it knows
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	all, revision, err := c.store.Get()
	if err != nil || revision == c.revision.Load() || c.life == nil {
		return
	}
	defer c.revision.Store(revision)
	merged := c.env.with(all)
	shown := c.env.shownSettings(c.flags, c.flags)
	if f, err := c.flagsWith(merged); err != nil {
		c.log.Error("what is set for all gateways cannot be used here", "error", err)
	} else {
		c.refreshPieces(f, merged, all)
		shown = merged.shownSettings(f.flags, c.flags)
	}
	c.shown.Store(&shown)
	c.refreshAudit(merged)
	c.refreshEvents(merged)
}

// Settings returns those that are shown.
func (c *common) Settings() []admin.Setting {
	c.refresh()
	return *c.shown.Load()
}

// Identify implements gateway.Providers.
func (c *common) Identify(ctx context.Context, role, token string) (openid.Identity, error) {
	c.refresh()
	return c.providers.Load().Identify(ctx, role, token) //nolint:wrapcheck // it is the providers' own
}

// ClientCertificates reports whether client certificates are asked for.
func (c *common) ClientCertificates() bool {
	c.refresh()
	return c.pairs.asks()
}

// people are those of the LDAP directory, and of other providers as far as it is asked whether
// these are there. It implements gateway.People and directory.People.
type people struct{ *common }

// Identify implements gateway.People.
func (p people) Identify(ctx context.Context, name, password string) (ldap.Person, error) {
	p.refresh()
	d := p.people.Load()
	if d == nil {
		return ldap.Person{}, ldap.ErrNone
	}
	return d.Identify(ctx, name, password) //nolint:wrapcheck // it is the directory's own
}

// Find implements gateway.People.
func (p people) Find(ctx context.Context, name string) (ldap.Person, error) {
	p.refresh()
	d := p.people.Load()
	if d == nil {
		return ldap.Person{}, ldap.ErrNone
	}
	return d.Find(ctx, name) //nolint:wrapcheck // it is the directory's own
}

// Trusts implements directory.People.
func (p people) Trusts(provider string) bool {
	p.refresh()
	switch provider {
	case directory.LDAP:
		return p.people.Load() != nil
	case directory.Certificates:
		return p.pairs.asks()
	}
	return p.providers.Load().Has(strings.TrimPrefix(strings.TrimPrefix(provider, directory.OpenID), "."))
}

// Groups implements directory.People.
func (p people) Groups(name, dn string) (groups []string, there bool, err error) {
	d := p.people.Load()
	if d == nil {
		return nil, false, nil
	}
	return d.Groups(name, dn) //nolint:wrapcheck // it is the directory's own
}

// Role implements gateway.Providers.
func (c *common) Role(name string) string { return c.providers.Load().Role(name) }
