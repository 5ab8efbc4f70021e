package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/pflag"

	"github.com/shoal-storage/shoal/gateway"
	"github.com/shoal-storage/shoal/internal/audit"
	"github.com/shoal-storage/shoal/internal/config"
	"github.com/shoal-storage/shoal/internal/directory"
	"github.com/shoal-storage/shoal/internal/events"
	"github.com/shoal-storage/shoal/internal/events/target"
	"github.com/shoal-storage/shoal/internal/openid"
)

// common is what is set for all gateways, and what of it is in force here: less what this
// one was started with. Its methods may be called concurrently.
type common struct {
	store *config.Store // nil: there is no control plane
	env   *environment  // that this gateway was started with
	flags *pflag.FlagSet
	log   *slog.Logger

	shown     atomic.Pointer[[]gateway.Setting]
	providers atomic.Pointer[openid.Providers]
	revision  atomic.Uint64 // of what is in force

	mu      sync.Mutex      // held while something comes into force
	life    context.Context //nolint:containedctx // of what is begun; nil: not yet, or no more
	audit   *audit.Log
	audited map[string]string // settings of the targets of the audit, by their names
	events  *events.Service
	told    map[string]string // the same of the targets of events
}

// newCommon returns what is in force of flags and variables alone.
func newCommon(env *environment, flags *pflag.FlagSet, providers *openid.Providers, log *slog.Logger) *common {
	c := &common{env: env, flags: flags, log: log, audited: printsOf(env, auditFamily()), told: printsOf(env, eventFamily())}
	shown := env.shownSettings(flags)
	c.shown.Store(&shown)
	c.providers.Store(providers)
	return c
}

// sharedWith has the settings kept as records, from now on.
func (c *common) sharedWith(kept directory.Sealed, cfg *gateway.Config) {
	c.store = &config.Store{Records: kept, Now: time.Now}
	cfg.Changes = c
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

// targets returns the targets of events to begin with: those of this gateway, or with what is set
// for all, if that can be used here.
func (c *common) targets(ctx context.Context, own []events.Target) []events.Target {
	if c.store == nil {
		return own
	}
	all, _, err := c.store.Get()
	merged := c.env.with(all)
	prints := printsOf(merged, eventFamily())
	if err == nil && maps.Equal(prints, c.told) {
		return own
	}
	var targets []events.Target
	if err == nil {
		targets, err = merged.targets(ctx)
	}
	unused := own
	if err != nil {
		c.log.Error("targets of events that are set for all gateways cannot be used here", "error", err)
		targets, unused = own, targets
	} else {
		c.told = prints
	}
	for _, t := range unused {
		_ = t.Close() // nothing was sent
	}
	return targets
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
	if providers, err := c.providersOf(merged, all); err != nil {
		c.log.Error("OpenID providers that are set for all gateways cannot be used here", "error", err)
	} else {
		c.providers.Store(providers)
	}
	shown := c.shownOf(merged, all)
	c.shown.Store(&shown)
	c.refreshAudit(merged)
	c.refreshEvents(merged)
}

// refreshAudit has those targets of the audit begin anew whose settings are other ones.
func (c *common) refreshAudit(merged *environment) {
	now := printsOf(merged, auditFamily())
	for name, print := range c.audited {
		if now[name] != print {
			delete(c.audited, name)
			c.audit.Leave(name)
		}
	}
	c.each(merged, auditFamily(), c.audited, func(kind target.Kind, id string, values target.Settings) error {
		t, err := openAudit(c.life, kind, id, values)
		if err != nil {
			return err
		}
		return c.audit.Join(t)
	})
}

// refreshEvents has new targets of events begin. What waits for one whose settings are
// other ones is its queue's: it takes a new start.
func (c *common) refreshEvents(merged *environment) {
	c.each(merged, eventFamily(), c.told, func(kind target.Kind, id string, values target.Settings) error {
		t, err := openTarget(c.life, kind, id, values)
		if err == nil {
			c.events.Join(t)
		}
		return err
	})
	now := printsOf(merged, eventFamily())
	for name, print := range c.told {
		if now[name] != print {
			c.log.Warn("a target of events was changed or removed: that is in force when this gateway is started again", "target", name)
		}
	}
}

// each begins those enabled targets that are not among the known ones, and adds them.
func (c *common) each(merged *environment, f family, known map[string]string, begin func(kind target.Kind, id string, values target.Settings) error) {
	err := merged.enabled(f, func(kind target.Kind, id string, values target.Settings) error {
		name := kind.Type + ":" + id
		if _, there := known[name]; there {
			return nil
		}
		if err := begin(kind, id, values); err != nil {
			c.log.Error("a target that is set for all gateways cannot be used here", "target", name, "error", err)
			return nil
		}
		known[name] = printOf(values)
		return nil
	})
	if err != nil {
		c.log.Error("targets that are set cannot be used here", "error", err)
	}
}

// printsOf returns what the enabled targets of a family are set up with, by their names.
func printsOf(env *environment, f family) map[string]string {
	all := make(map[string]string)
	_ = env.enabled(f, func(kind target.Kind, id string, values target.Settings) error { // what cannot be read is told when it is opened
		all[kind.Type+":"+id] = printOf(values)
		return nil
	})
	return all
}

func printOf(values target.Settings) string {
	var print strings.Builder
	for _, key := range slices.Sorted(maps.Keys(values)) {
		fmt.Fprintf(&print, "%s=%q ", key, values[key])
	}
	return print.String()
}

// with returns the environment with what is set for all gateways where it says nothing
// itself.
func (e *environment) with(all config.Settings) *environment {
	merged := &environment{values: maps.Clone(e.values), used: make(map[string]bool), shared: make(map[string]bool)}
	for to, values := range all {
		for key, value := range values {
			rest := strings.ToUpper(to.System + "_" + key)
			if to.Name != "" {
				rest += "_" + to.Name
			}
			if !e.has(rest) {
				merged.values["SHOAL_"+rest], merged.shared["SHOAL_"+rest] = value, true
			}
		}
	}
	return merged
}

// has reports whether a variable is set, by the name behind SHOAL_ or MINIO_.
func (e *environment) has(rest string) bool {
	return slices.ContainsFunc([]string{"SHOAL_" + rest, "MINIO_" + rest, "SHOAL_" + rest + "_FILE", "MINIO_" + rest + "_FILE"}, func(name string) bool {
		return e.values[name] != ""
	})
}

// providersOf returns the OpenID providers. Of the one without a name flags say what is set
// here.
func (c *common) providersOf(merged *environment, all config.Settings) (*openid.Providers, error) {
	kept := all[config.Target{System: openidSystem}]
	values := make(target.Settings)
	for _, key := range []string{openid.ConfigURL, openid.ClientID, openid.ClaimName, openid.RolePolicy} {
		values[key] = c.flag(key, kept)
	}
	var cfgs []openid.Config
	if values[openid.ConfigURL]+values[openid.ClientID]+values[openid.RolePolicy] != "" && kept[enableKey] != "off" {
		cfgs = append(cfgs, providerOf("", values))
	}
	return openidProviders(cfgs, merged)
}

// enableKey is the setting that leaves a target out, or a provider.
const enableKey = "enable"

// flag returns what counts for the provider without a name: what the flag says if it was
// given, else what is set for all.
func (c *common) flag(key string, kept map[string]string) string {
	f := c.flags.Lookup("identity-openid-" + strings.ReplaceAll(key, "_", "-"))
	if value, there := kept[key]; there && !f.Changed {
		return value
	}
	return f.Value.String()
}

// shownOf returns the settings that are shown.
func (c *common) shownOf(merged *environment, all config.Settings) []gateway.Setting {
	shown := merged.shownSettings(c.flags)
	kept := all[config.Target{System: openidSystem}]
	for i := range shown {
		s := &shown[i]
		if s.System != openidSystem || s.Target != "" {
			continue
		}
		if value, there := kept[s.Key]; there && !s.Own {
			s.Value = value
		}
	}
	return shown
}

// Settings returns those that are shown.
func (c *common) Settings() []gateway.Setting {
	c.refresh()
	return *c.shown.Load()
}

// Identify implements gateway.Providers.
func (c *common) Identify(ctx context.Context, role, token string) (openid.Identity, error) {
	c.refresh()
	return c.providers.Load().Identify(ctx, role, token) //nolint:wrapcheck // it is the providers' own
}

// Role implements gateway.Providers.
func (c *common) Role(name string) string { return c.providers.Load().Role(name) }

// Set implements gateway.Changes. A value that is shown as hidden stays what it is, and a
// target that nothing else is said of is enabled, as with MinIO.
func (c *common) Set(ctx context.Context, lines []config.Line) (restart bool, err error) {
	return c.change(ctx, "", lines, func(all config.Settings) {
		for _, l := range lines {
			values := all[l.Target]
			if values == nil {
				values = make(map[string]string)
			}
			for key, value := range l.Values {
				if value != hiddenValue {
					values[key] = value
				}
			}
			if _, said := values[enableKey]; !said && l.Target.System != openidSystem {
				values[enableKey] = "on"
			}
			all[l.Target] = values
		}
	})
}

// Reset implements gateway.Changes.
func (c *common) Reset(ctx context.Context, lines []config.Line) (restart bool, err error) {
	return c.change(ctx, "reset ", lines, func(all config.Settings) {
		for _, l := range lines {
			for key := range l.Values {
				delete(all[l.Target], key)
			}
			if len(l.Values) == 0 {
				delete(all, l.Target)
			}
		}
	})
}

// change keeps a change, if what it leaves can be used here, and has it come into force.
func (c *common) change(ctx context.Context, verb string, lines []config.Line, change func(config.Settings)) (restart bool, err error) {
	var texts []string
	for _, l := range lines {
		said := config.Line{Target: l.Target, Values: make(map[string]string)}
		for key, value := range l.Values {
			said.Values[key] = shownAs(key, value)
		}
		texts = append(texts, verb+said.String())
	}
	var before, after map[string]string
	err = c.store.Change(ctx, strings.Join(texts, "\n"), func(all config.Settings) error {
		before = c.printsOf(all)
		change(all)
		after = c.printsOf(all)
		return c.check(ctx, all)
	})
	if err != nil {
		return false, err //nolint:wrapcheck // it says what is wrong
	}
	return c.pending(before, after), nil
}

// printsOf returns what targets of events would be set up with.
func (c *common) printsOf(all config.Settings) map[string]string {
	return printsOf(c.env.with(all), eventFamily())
}

// pending brings into force what is set, and reports whether some of what was changed is not
// before a new start: a target of events that there was before.
func (c *common) pending(before, after map[string]string) bool {
	c.refresh()
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, print := range c.told {
		if before[name] != after[name] && print != after[name] {
			return true
		}
	}
	return false
}

// check returns why settings cannot be used here, nil if they can.
func (c *common) check(ctx context.Context, all config.Settings) error {
	merged := c.env.with(all)
	_, err := c.providersOf(merged, all)
	targets, wrong := merged.targets(ctx)
	for _, t := range targets {
		err = errors.Join(err, t.Close())
	}
	audited, wrongAudit := merged.auditTargets(ctx, "")
	for _, t := range audited {
		err = errors.Join(err, t.Close())
	}
	if err = errors.Join(err, wrong, wrongAudit); err != nil {
		return fmt.Errorf("%w: %w", config.ErrText, err)
	}
	return nil
}

// History implements gateway.Changes.
func (c *common) History() ([]config.Entry, error) { return c.store.History() }

// Restore implements gateway.Changes.
func (c *common) Restore(ctx context.Context, id string) (restart bool, err error) {
	var before, after map[string]string
	err = c.store.Restore(ctx, id, func(was, all config.Settings) error {
		before, after = c.printsOf(was), c.printsOf(all)
		return c.check(ctx, all)
	})
	if err != nil {
		return false, err //nolint:wrapcheck // it says what is wrong
	}
	return c.pending(before, after), nil
}

// Forget implements gateway.Changes.
func (c *common) Forget(ctx context.Context, id string) error { return c.store.Forget(ctx, id) }
