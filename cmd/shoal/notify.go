package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/shoal-storage/shoal/gateway"
	"github.com/shoal-storage/shoal/internal/events"
	"github.com/shoal-storage/shoal/internal/events/target"
	"github.com/shoal-storage/shoal/internal/object"
)

// family is the variables that set up targets of one purpose. Behind what their names
// begin with come the kind, the setting, and the ID, if it has one:
// SHOAL_NOTIFY_WEBHOOK_ENDPOINT_MAIN.
type family struct {
	shoal, minio string // what the names begin with, as those of some flags may
	kinds        []target.Kind
	manual       string // that lists the settings
	named        bool   // each has an ID: the settings without one are flags
}

// families returns all of them.
func families() []family { return []family{eventFamily(), auditFamily(), identityFamily()} }

// shoalNotify is what the names of variables begin with that set up targets of events.
const shoalNotify = "SHOAL_NOTIFY_"

func eventFamily() family {
	f := family{shoal: shoalNotify, minio: "MINIO_NOTIFY_", kinds: target.Kinds(), manual: "docs/events.md"}
	for i := range f.kinds {
		f.kinds[i].Settings = append(slices.Clone(f.kinds[i].Settings), "queue_limit")
	}
	return f
}

// onlyID is the ID of a target whose variables have none.
const onlyID = "_"

// targetSetting is what the name of one of those variables says.
type targetSetting struct {
	kind    target.Kind
	setting string
	id      string
	rest    string // of the name
}

// parse reads the rest of a name.
func (f family) parse(rest string) (targetSetting, bool) {
	for _, k := range f.kinds {
		inKind, ok := strings.CutPrefix(rest, k.Variable+"_")
		if !ok {
			continue
		}
		// The longest setting that fits, since an ID may have underscores too.
		for end := len(inKind); end > 0; end = strings.LastIndexByte(inKind[:end], '_') {
			setting := strings.ToLower(inKind[:end])
			if !k.Has(setting) {
				continue
			}
			id := strings.TrimPrefix(inKind[end:], "_")
			if id == "" && f.named {
				return targetSetting{}, false
			}
			if id == "" {
				id = onlyID
			}
			return targetSetting{k, setting, id, rest}, true
		}
	}
	return targetSetting{}, false
}

// targets returns the targets of events that are enabled.
func (e *environment) targets(ctx context.Context) ([]events.Target, error) {
	var all []events.Target
	err := e.enabled(eventFamily(), func(kind target.Kind, id string, values target.Settings) error {
		t, err := openTarget(ctx, kind, id, values)
		if err == nil {
			all = append(all, t)
		}
		return err
	})
	return all, err
}

// openTarget returns a target of events.
func openTarget(ctx context.Context, kind target.Kind, id string, values target.Settings) (events.Target, error) {
	t, err := kind.Open(ctx, id, values)
	if err != nil {
		name := events.Destination{Type: kind.Type, ID: id}.ARN()
		return t, usage("the target "+name+" is not set up right: "+err.Error(), "docs/events.md lists the settings of "+kind.Type)
	}
	return t, nil
}

// enabled calls open for each target of a family that is enabled.
func (e *environment) enabled(f family, open func(kind target.Kind, id string, values target.Settings) error) error {
	return e.each(f, func(kind target.Kind, id string, values target.Settings) error {
		if !values.On("enable") {
			return nil
		}
		return open(kind, id, values)
	})
}

// each calls do for each target of a family.
func (e *environment) each(f family, do func(kind target.Kind, id string, values target.Settings) error) error {
	for _, group := range e.targetSettings(f) {
		values := make(target.Settings)
		for _, s := range group {
			value, _, err := e.secret([]string{f.shoal + s.rest, f.minio + s.rest})
			if err != nil {
				return err
			}
			values[s.setting] = value
		}
		if err := do(group[0].kind, group[0].id, values); err != nil {
			return err
		}
	}
	return nil
}

// targetSettings returns the settings that there are, by their targets in the order of
// their names.
func (e *environment) targetSettings(f family) [][]targetSetting {
	found := make(map[string][]targetSetting)
	for name := range e.values {
		rest, own := strings.CutPrefix(name, f.shoal)
		if !own {
			var others bool
			if rest, others = strings.CutPrefix(name, f.minio); !others {
				continue
			}
		}
		rest = strings.TrimSuffix(rest, "_FILE")
		s, ok := f.parse(rest)
		if !ok {
			continue // a flag's, or nobody's
		}
		to := s.kind.Variable + " " + s.id
		if !slices.ContainsFunc(found[to], func(has targetSetting) bool { return has.rest == rest }) {
			found[to] = append(found[to], s)
		}
	}
	var names []string
	for to := range found {
		names = append(names, to)
	}
	slices.Sort(names)
	all := make([][]targetSetting, len(names))
	for i, to := range names {
		all[i] = found[to]
	}
	return all
}

// journalOf returns where a gateway over a Store keeps events: each its own.
func journalOf(store object.Store) (events.Journal, error) {
	switch s := store.(type) {
	case *routedStore:
		return s.own, nil
	case events.Journal:
		return s, nil
	}
	return nil, failed("cannot keep events", fmt.Errorf("%T keeps none", store), "")
}

// startEvents delivers events to the targets, and tells those who listen. Seek is for what
// is missing.
func startEvents(ctx context.Context, targets []events.Target, seek func(), b *backend, metrics *gateway.Metrics, log *slog.Logger) (*events.Service, error) {
	cfg := events.Config{Targets: targets, Journal: b.journal, Locker: b.locker, Log: log, Now: time.Now, Seek: seek}
	if b.fleet != nil {
		cfg.Peers = listenedTo{b.fleet, eventProtocol}
	}
	s := events.New(ctx, cfg)
	if b.fleet != nil {
		b.fleet.events.Store(s)
	}
	if len(targets) > 0 {
		log.Info("events can be sent to", "targets", strings.Join(s.ARNs(), " "))
	}
	if err := metrics.Registry.Register(eventCollector{s.Measures}); err != nil {
		return nil, failed("cannot measure the events", err, "")
	}
	return s, nil
}

// eventProtocol is how gateways tell one another of events.
const eventProtocol = "events/1"

// serveEvents tells another gateway what happens here.
func (fl *fleet) serveEvents(c net.Conn, node string) {
	s := fl.events.Load()
	if s == nil {
		_ = c.Close() // it tries again
		return
	}
	if err := s.Serve(context.Background(), c); err != nil {
		fl.log.Debug("a gateway that listened to events is gone", "node", node, "error", err)
	}
}

// eventCollector is the queues of events for Prometheus.
type eventCollector struct{ measures func() []events.Measure }

// Describe implements prometheus.Collector; the metrics are not known before they are
// collected.
func (eventCollector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c eventCollector) Collect(out chan<- prometheus.Metric) {
	for _, m := range c.measures() {
		tell(out, "shoal_notify_target_", prometheus.Labels{"target_id": m.ID, "target_type": m.Type}, []measure{
			{"queue_length", "Events that wait for the target at this gateway.", prometheus.GaugeValue, float64(m.Waiting)},
			{"queue_limit", "Events that may wait, before new ones are lost.", prometheus.GaugeValue, float64(m.Capacity)},
			{"sends_inflight", "Events being sent.", prometheus.GaugeValue, float64(m.Sending)},
			{"sent_total", "Events that the target has taken.", prometheus.CounterValue, float64(m.Sent)},
			{"errors_total", "Attempts that failed.", prometheus.CounterValue, float64(m.Failed)},
			{"refused_total", "Events that were given up since the target would not take them.", prometheus.CounterValue, float64(m.Refused)},
			{"lost_total", "Events that there was no room for.", prometheus.CounterValue, float64(m.Dropped)},
		})
	}
}
