package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/shoal-storage/shoal/internal/events"
	"github.com/shoal-storage/shoal/internal/events/target"
)

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

// refreshEvents has new targets of events begin, those whose settings are other ones go on with
// these, and those that are no more leave. What waits for a target goes its new way.
func (c *common) refreshEvents(merged *environment) {
	now, before := printsOf(merged, eventFamily()), maps.Clone(c.told)
	for name, print := range before {
		if now[name] != print {
			delete(c.told, name)
		}
	}
	c.each(merged, eventFamily(), c.told, func(kind target.Kind, id string, values target.Settings) error {
		t, err := openTarget(c.life, kind, id, values)
		if err == nil {
			c.events.Join(t)
		}
		return err
	})
	for name, print := range before {
		if _, there := now[name]; !there {
			kind, id, _ := strings.Cut(name, ":")
			c.events.Leave(events.Destination{Type: kind, ID: id})
		} else if c.told[name] == "" {
			c.told[name] = print // it cannot be used so, and stays what it was
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
