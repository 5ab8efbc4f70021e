package main

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/shoal-storage/shoal/gateway"
	"github.com/shoal-storage/shoal/internal/lifecycle"
	"github.com/shoal-storage/shoal/internal/lock"
	"github.com/shoal-storage/shoal/internal/object"
)

// startLifecycle carries out the lifecycle rules of buckets, in one gateway of those
// of a fleet, until the returned function is called.
func (f *serverFlags) startLifecycle(ctx context.Context, store object.Store, fleet *fleet, metrics *gateway.Metrics, log *slog.Logger) (stop func(), err error) {
	var locker lock.Locker
	if fleet != nil {
		locker = fleet.node
	} else {
		local := lock.NewLocal(1)
		defer func() { stop = chain(stop, local.Close) }()
		locker = local
	}
	done := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "shoal_lifecycle_actions_total", Help: "What lifecycle rules had deleted or ended by this gateway.",
	}, []string{"action"})
	if err := metrics.Registry.Register(done); err != nil {
		return nil, failed("cannot measure the lifecycle rules", err, "")
	}
	w := &lifecycle.Worker{
		Store: store, Locker: locker, Log: log, Now: time.Now, Every: f.lifecycleInterval,
		Done: func(a lifecycle.Action) { done.WithLabelValues(string(a)).Inc() },
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

// chain returns a function that calls both, where there are two.
func chain(first, second func()) func() {
	return func() {
		if first != nil {
			first()
		}
		second()
	}
}
