package main

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/shoal-storage/shoal/gateway"
	"github.com/shoal-storage/shoal/internal/events"
	"github.com/shoal-storage/shoal/internal/lifecycle"
	"github.com/shoal-storage/shoal/internal/lock"
	"github.com/shoal-storage/shoal/internal/object"
)

// startLifecycle carries out the lifecycle rules of buckets, in one gateway of those
// of a fleet, until the returned function is called.
func (f *serverFlags) startLifecycle(ctx context.Context, store object.Store, locker lock.Locker, told *events.Service, metrics *gateway.Metrics, now func() time.Time, log *slog.Logger) (stop func(), err error) {
	done := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "shoal_lifecycle_actions_total", Help: "What lifecycle rules had deleted or ended by this gateway.",
	}, []string{"action"})
	if err := metrics.Registry.Register(done); err != nil {
		return nil, failed("cannot measure the lifecycle rules", err, "")
	}
	w := &lifecycle.Worker{
		Store: store, Locker: locker, Log: log, Now: now, Every: f.lifecycleInterval,
		Done: func(ctx context.Context, a lifecycle.Action, ref object.Ref, deleted object.Deleted) {
			done.WithLabelValues(string(a)).Inc()
			if err := f.tellExpired(ctx, store, told, a, ref, deleted); err != nil {
				log.Error("an event is lost: it could not be kept", "bucket", ref.Bucket, "key", ref.Key, "error", err)
			}
		},
	}
	ctx, cancel := context.WithCancel(ctx)
	over := make(chan struct{})
	go func() {
		defer close(over)
		w.Run(ctx)
	}()
	return func() {
		cancel()
		<-over
	}, nil
}

// tellExpired tells of what lifecycle rules had deleted.
func (f *serverFlags) tellExpired(ctx context.Context, store object.Store, told *events.Service, a lifecycle.Action, ref object.Ref, done object.Deleted) error {
	if a == lifecycle.AbortUpload {
		return nil
	}
	b, err := store.StatBucket(ctx, ref.Bucket)
	if err != nil {
		return fmt.Errorf("look for who is to be told: %w", err)
	}
	var rules *events.Configuration
	if text, there := b.Documents[events.Document]; there {
		if rules, err = events.Parse(text); err != nil {
			return err
		}
	}
	e := events.Event{Name: events.Expired, Time: time.Now(), Region: f.region, Bucket: ref.Bucket, Key: ref.Key, Version: done.Version, Sequencer: done.Sequence}
	if a == lifecycle.Expire && done.Marker {
		e.Name = events.ExpiredMarker
	}
	return told.Notify(ctx, rules, e)
}
