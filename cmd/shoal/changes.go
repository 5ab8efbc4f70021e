package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"

	"github.com/shoal-storage/shoal/internal/config"
)

// Set implements admin.Changes. A value that is shown as hidden stays what it is, and a
// target that nothing else is said of is enabled, as with MinIO.
func (c *common) Set(ctx context.Context, lines []config.Line) (restart bool, err error) {
	if lines, err = onePlace(lines); err != nil {
		return false, err
	}
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
			if _, said := values[enableKey]; !said && hasTargets(l.Target.System) {
				values[enableKey] = "on"
			}
			all[l.Target] = values
		}
	})
}

// hasTargets reports whether a system has targets, which nothing is sent to unless they are
// enabled.
func hasTargets(system string) bool {
	return strings.HasPrefix(system, "notify_") || strings.HasPrefix(system, "audit_")
}

// onePlace has what MinIO calls by two names in one place: region name is site region.
func onePlace(lines []config.Line) ([]config.Line, error) {
	site := config.Line{Target: config.Target{System: siteSystem}, Values: make(map[string]string)}
	var all []config.Line
	for _, l := range lines {
		switch l.Target.System {
		case regionSystem, siteSystem:
			for _, value := range l.Values {
				if other, said := site.Values[regionSystem]; said && other != value {
					return nil, fmt.Errorf("%w: region name and site region are one setting, and cannot be %q and %q", config.ErrText, other, value)
				}
				site.Values[regionSystem] = value
			}
			if len(l.Values) == 0 { // all of it
				site.Values[regionSystem] = ""
			}
		default:
			all = append(all, l)
		}
	}
	if len(site.Values) > 0 {
		all = append(all, site)
	}
	return all, nil
}

// Reset implements admin.Changes.
func (c *common) Reset(ctx context.Context, lines []config.Line) (restart bool, err error) {
	if lines, err = onePlace(lines); err != nil {
		return false, err
	}
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
	err = c.store.Change(ctx, strings.Join(texts, "\n"), func(all config.Settings) error {
		before := copyOf(all)
		change(all)
		restart, err = c.check(ctx, before, all)
		return err
	})
	return c.changed(restart, err)
}

// copyOf returns settings that stay what they are.
func copyOf(all config.Settings) config.Settings {
	kept := make(config.Settings, len(all))
	for to, values := range all {
		kept[to] = maps.Clone(values)
	}
	return kept
}

// changed brings into force what is set, unless that has failed.
func (c *common) changed(restart bool, err error) (bool, error) {
	if err != nil {
		return false, err
	}
	c.refresh()
	return restart, nil
}

// check returns why settings cannot be used here, nil if they can, and whether what comes to be other
// than before is not in force before this gateway is started again.
func (c *common) check(ctx context.Context, before, all config.Settings) (restart bool, err error) {
	merged := c.env.with(all)
	f, err := c.flagsWith(merged)
	if err == nil {
		for _, p := range c.pieces() {
			_, wrong := p.open(f, merged, all)
			err = errors.Join(err, wrong)
		}
	}
	targets, wrong := merged.targets(ctx)
	for _, t := range targets {
		err = errors.Join(err, t.Close())
	}
	audited, wrongAudit := merged.auditTargets(ctx, "")
	for _, t := range audited {
		err = errors.Join(err, t.Close())
	}
	if err = errors.Join(err, wrong, wrongAudit); err != nil {
		return false, fmt.Errorf("%w: %s", config.ErrText, inSettings(strings.ReplaceAll(err.Error(), "\n", "; ")))
	}
	was, err := c.flagsWith(c.env.with(before))
	now := c.waits(f)
	return now != "" && (err != nil || now != c.waits(was)), nil
}

// History implements admin.Changes.
func (c *common) History() ([]config.Entry, error) { return c.store.History() }

// Restore implements admin.Changes.
func (c *common) Restore(ctx context.Context, id string) (restart bool, err error) {
	err = c.store.Restore(ctx, id, func(before, all config.Settings) error {
		restart, err = c.check(ctx, before, all)
		return err
	})
	return c.changed(restart, err)
}

// Forget implements admin.Changes.
func (c *common) Forget(ctx context.Context, id string) error { return c.store.Forget(ctx, id) }
