package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"runtime/debug"
	"time"

	"github.com/shoal-storage/shoal/erasure"
	"github.com/shoal-storage/shoal/erasure/healing"
	"github.com/shoal-storage/shoal/erasure/shard"
	"github.com/shoal-storage/shoal/gateway"
	"github.com/shoal-storage/shoal/gateway/admin"
	"github.com/shoal-storage/shoal/internal/config"
	"github.com/shoal-storage/shoal/internal/directory"
	"github.com/shoal-storage/shoal/internal/events"
	"github.com/shoal-storage/shoal/internal/lock"
	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/quota"
)

// backend is what keeps buckets and objects, with what the server needs beside.
type backend struct {
	store    object.Store
	journal  events.Journal
	locker   lock.Locker
	records  records                                    // nil: there is no control plane
	sessions quota.Sessions                             // of who writes records
	fleet    *fleet                                     // nil: nobody else serves it
	what     string                                     // is served, in a word or two
	id       string                                     // of that, for as long as it is there
	paths    func() []string                            // on which this process keeps objects
	drives   func() []admin.Drive                       // nil: objects are not spread over drives
	activity func(ctx context.Context) []admin.Activity // of these, and between nodes; nil: nobody knows
	parities func() (standard, reduced int)
	classes  func(f *serverFlags) (use func(), err error) // changes these; nil: there are none
	healRate func(bytes int64)                            // sets the rate of healing; nil: there is nothing to heal
	pools    admin.Pools                                  // of these; nil: there are none
	healer   admin.Healer                                 // of these; nil: they can lack nothing
	counts   func() erasure.Counts                        // of these, on this node
	files    int                                          // that it keeps open; 0: few
	self     gateway.Node                                 // what other nodes find this one by
	ready    func() error                                 // returns why requests cannot be served; nil: the fleet knows
	readable func() error                                 // the same for those that only read; nil: as ready
	ends     []func() error                               // in the order of their beginnings
}

// close closes everything, the last first.
func (b *backend) close() error {
	var errs []error
	for i := len(b.ends) - 1; i >= 0; i-- {
		errs = append(errs, b.ends[i]())
	}
	return errors.Join(errs...)
}

// earliest returns what says the time by which it is judged whether something has had its time.
func (b *backend) earliest() func() time.Time {
	if b.fleet == nil {
		return time.Now
	}
	return b.fleet.node.Earliest
}

// show has the gateway show the drives, if objects are spread over some.
func (b *backend) show(cfg *gateway.Config) error {
	api := &cfg.Admin
	api.MeasureDrives, api.Activity, api.Deployment, cfg.Self = b.measure, b.activity, b.id, b.self
	cfg.FilesKept = b.files
	api.Drives, api.Parities, api.Healing, api.DrivePools = b.drives, b.parities, b.healer, b.pools
	if b.counts == nil {
		return nil
	}
	if err := cfg.Metrics.Registry.Register(driveCollector{b.counts, b.drives}); err != nil {
		return failed("cannot measure the drives", err, "")
	}
	return nil
}

// errChanged is the error of a change of a record that has changed meanwhile, as those know
// it who keep records.
var errChanged = errors.Join(directory.ErrChanged, quota.ErrChanged, config.ErrChanged, healing.ErrChanged)

// records are those of a control plane. A change of one that has changed meanwhile fails
// with errChanged.
type records interface {
	Get(name string) (value []byte, revision uint64, err error)
	List(prefix string) ([]string, error)
	Set(ctx context.Context, name string, value []byte, revision uint64) error
	Changed() <-chan struct{}
}

// served is what a command line names: a directory, several drives, or drives of several
// nodes.
type served struct {
	path   string
	drives layout[string] // nil: it names path
	nodes  *endpoints     // nil: it names no nodes
}

// openBackend opens what is to be served.
func (f *serverFlags) openBackend(ctx context.Context, what served, front *front, state *state, env *environment, creds credentials, log *slog.Logger) (*backend, error) {
	if what.nodes != nil || what.drives != nil {
		if err := shard.SelfTest(); err != nil {
			return nil, unsafe(err.Error(), "test the memory of this machine, or use the program as it was released")
		}
		collectEarlier()
	}
	log = untilStopped(ctx, log)
	switch {
	case what.nodes != nil:
		return f.openNodes(ctx, what.nodes, front, creds, env, log)
	case what.drives != nil:
		return f.openDrives(ctx, what.drives, log)
	}
	front.wait(waiting{what: "its storage or the other gateways", creds: creds})
	roots, err := newRootMarks(ctx, creds, env)
	if err != nil {
		return nil, err
	}
	return f.openTree(ctx, what.path, front, state, env, roots, log)
}

// collectEarlier has garbage be collected when there is half as much of it as of what is in use, unless GOGC
// (https://pkg.go.dev/runtime) says when: the stores of drives always use some 30 MiB each, and would let as much garbage lie
// about. Nothing in there is to be looked through, so that it costs little.
func collectEarlier() {
	if _, said := os.LookupEnv("GOGC"); !said {
		debug.SetGCPercent(50)
	}
}

// openTree opens a directory in which objects are files, alone or with other gateways.
func (f *serverFlags) openTree(ctx context.Context, path string, front *front, state *state, env *environment, roots *rootMarks, log *slog.Logger) (_ *backend, err error) {
	b := &backend{what: path, paths: func() []string { return []string{path} }}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.close())
		}
	}()
	for _, check := range []func(string) error{checkPath, checkNoDrive, state.checkMount} {
		if err := check(path); err != nil {
			return nil, err
		}
	}
	if !f.singleGateway {
		if b.fleet, err = f.joinFleet(ctx, path, front, env, roots, log); err != nil {
			return nil, err
		}
		b.ends = append(b.ends, func() error { return b.fleet.close(context.WithoutCancel(ctx)) })
		b.locker, b.records, b.sessions = b.fleet.node, settings{node: b.fleet.node}, sessions{b.fleet}
	} else {
		if err := refuseFleet(ctx, path, log); err != nil {
			return nil, err
		}
		local := lock.NewLocal(1)
		b.locker, b.ends = local, append(b.ends, func() error { local.Close(); return nil })
	}
	store, err := f.openStore(ctx, path, state, b.fleet, log)
	if err != nil {
		return nil, err
	}
	b.store, b.ends = store, append(b.ends, store.Close)
	if b.id, err = identity(path); err != nil {
		return nil, failed("cannot look at "+path, err, "")
	}
	b.journal, err = journalOf(store)
	return b, err
}
