package main

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/shoal-storage/shoal/gateway"
	"github.com/shoal-storage/shoal/internal/quota"
	counting "github.com/shoal-storage/shoal/internal/usage"
)

// startUsage keeps the buckets of a backend within their quotas and counts what they hold,
// until the returned function is called. Without a control plane it does neither.
func (f *serverFlags) startUsage(ctx context.Context, b *backend, cfg *gateway.Config) (stop func()) {
	if cfg.Store = b.store; b.records == nil {
		return func() {}
	}
	accounts := quota.NewAccounts(b.records, b.sessions, time.Now)
	limited := quota.NewStore(b.store, accounts)
	w := &counting.Worker{Store: limited, Locker: b.locker, Records: b.records, Accounts: accounts, Log: cfg.Logger, Now: time.Now, Every: f.usageInterval}
	limited.Written = w.Written
	cfg.Store, cfg.Admin.Usage = limited, w
	cfg.Metrics.Registry.MustRegister(usageCollector{b.records, true})
	cfg.Metrics.Buckets.MustRegister(usageCollector{b.records, false})
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx)) // not before the last request is done
	var running sync.WaitGroup
	running.Go(func() { accounts.Run(ctx) })
	running.Go(func() { w.Run(ctx) })
	return func() {
		cancel()
		running.Wait()
	}
}

// sessions are those of a fleet.
type sessions struct{ fleet *fleet }

// Current implements quota.Sessions.
func (s sessions) Current() string { return s.fleet.node.Session().ID() }

// Live implements quota.Sessions.
func (s sessions) Live(id string) bool { return s.fleet.node.Live(id) }

// usageCollector is what the buckets held when they were counted, for Prometheus.
type usageCollector struct {
	records counting.Records
	summed  bool // what they held together, too
}

// Describe implements prometheus.Collector; the buckets are not known before they are
// collected.
func (usageCollector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c usageCollector) Collect(out chan<- prometheus.Metric) {
	names, err := counting.Known(c.records)
	if err != nil {
		return // this gateway is cut off, which other metrics tell
	}
	var sum counting.Usage
	for _, name := range names {
		u, counted, err := counting.Of(c.records, name)
		if err != nil || !counted {
			continue
		}
		held := prometheus.Labels{"bucket": name}
		tell(out, "shoal_bucket_usage_", held, []measure{
			{"bytes", "Bytes of all versions when the bucket was counted.", prometheus.GaugeValue, float64(u.Bytes)},
			{"objects", "Objects when the bucket was counted.", prometheus.GaugeValue, float64(u.Objects)},
			{"versions", "Versions when the bucket was counted.", prometheus.GaugeValue, float64(u.Versions)},
		})
		tell(out, "minio_bucket_usage_", held, asMinIO(u))
		sum.Bytes, sum.Objects = sum.Bytes+u.Bytes, sum.Objects+u.Objects
		sum.Versions, sum.Markers = sum.Versions+u.Versions, sum.Markers+u.Markers
	}
	if c.summed {
		tell(out, "minio_cluster_usage_", nil, asMinIO(sum))
	}
}

// asMinIO is a usage in the names, and with the meaning, that it has at MinIO: there
// delete markers are versions.
func asMinIO(u counting.Usage) []measure {
	return []measure{
		{"total_bytes", "Bytes of all versions when they were counted.", prometheus.GaugeValue, float64(u.Bytes)},
		{"object_total", "Objects when they were counted.", prometheus.GaugeValue, float64(u.Objects)},
		{"version_total", "Versions and delete markers when they were counted.", prometheus.GaugeValue, float64(u.Versions + u.Markers)},
		{"deletemarker_total", "Delete markers when they were counted.", prometheus.GaugeValue, float64(u.Markers)},
	}
}
