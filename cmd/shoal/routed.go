package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"

	"github.com/shoal-storage/shoal/internal/lock"
	"github.com/shoal-storage/shoal/internal/vfs"
	"github.com/shoal-storage/shoal/nasfs"
	"github.com/shoal-storage/shoal/raftlock"
	"github.com/shoal-storage/shoal/routed"
)

// dataProtocol is what gateways that route speak on the cluster port.
const dataProtocol = "rl-data/1"

// mountModes are the values of --mount-mode.
func mountModes() map[string]vfs.Mode {
	return map[string]vfs.Mode{"auto": vfs.AutoMode, "direct": vfs.Direct, "routed": vfs.Routed}
}

func (f *serverFlags) sharing(byTime func() bool) vfs.Sharing {
	return vfs.Sharing{Mode: mountModes()[f.mountMode], Stale: f.mountStale, ByTime: byTime}
}

// modeSetting says how the gateways of the tree share it: all in one way.
const modeSetting = "mount/mode"

// sharedMode is its value.
type sharedMode struct {
	routed bool
	stale  time.Duration // of the mount that shows longest what was before
}

func (m sharedMode) String() string {
	if !m.routed {
		return "direct"
	}
	return "routed " + m.stale.String()
}

func parseMode(value []byte) (m sharedMode, err error) {
	name, stale, _ := strings.Cut(string(value), " ")
	switch name {
	case "direct":
		return sharedMode{}, nil
	case "routed":
		m.routed = true
		m.stale, err = time.ParseDuration(stale)
		return m, err
	}
	return m, fmt.Errorf("a way of sharing that this version does not know: %s", name)
}

// How often it is tried again to agree, and said that this fails.
const (
	agreeAgain = time.Second
	agreeTold  = time.Minute
)

// fleetSettings are what the gateways of a tree have in common.
type fleetSettings interface {
	AwaitSession(ctx context.Context) (lock.Session, error)
	Alone() bool
	Get(name string) (raftlock.Setting, bool)
	Set(ctx context.Context, c raftlock.Change) (uint64, error)
}

// agree sees to it that all gateways share the tree in the same way, before this
// one touches anything. Only the first may change what the last ones did. It sets
// the setting in any case: who looked before it did finds that it has changed.
//
// Storage that is full takes no setting, and keeps nobody out where nothing is to be
// changed. Who looked before this one had its session is refused too then, and sees it:
// that it is refused twice, and nothing changed between, is for one whose change was under way.
func agree(ctx context.Context, with fleetSettings, own sharedMode, path string, log *slog.Logger) error {
	var told time.Time
	var refused uint64 // the revision at which the storage took nothing
	for {
		want := own
		have, there := with.Get(modeSetting)
		if there && !with.Alone() {
			theirs, err := parseMode(have.Value)
			if err != nil {
				return failed("cannot join the gateways of "+path, err, "run the same version everywhere")
			}
			if theirs.routed != own.routed {
				return unsafe("the other gateways of "+path+" have it "+theirs.String()+", this one would have it "+own.String(),
					"mount it as they have it mounted, or start all with the same --mount-mode")
			}
			want.stale = max(own.stale, theirs.stale)
		}
		_, err := with.Set(ctx, raftlock.Change{Name: modeSetting, Value: []byte(want.String()), If: &have.Revision})
		stands := raftlock.Refuses(err) && there && string(have.Value) == want.String()
		switch {
		case err == nil || stands && refused == have.Revision:
			return nil
		case ctx.Err() != nil:
			return failed("cannot tell the gateways of "+path+" how this one shares it", err, "")
		case errors.Is(err, raftlock.ErrChanged):
		default:
			if time.Since(told) > agreeTold {
				told = time.Now()
				log.Warn("the other gateways could not be told yet how this one shares the tree", "error", err)
			}
			if stands {
				refused = have.Revision
			}
			lock.Pause(ctx, agreeAgain) // storage that is full refuses at once
		}
		if _, err := with.AwaitSession(ctx); err != nil {
			return failed("cannot join the gateways of "+path, err, "the log says what stands in the way")
		}
	}
}

// stale returns for how long after a change another gateway may show what was
// before.
func (fl *fleet) stale() time.Duration {
	own, _ := vfs.IsRouted(fl.root)
	have, _ := fl.node.Get(modeSetting)
	agreed, err := parseMode(have.Value)
	if err != nil {
		return own // between two generations
	}
	return max(own, agreed.stale)
}

// serveData answers another gateway, once there is something to answer from.
func (fl *fleet) serveData(c net.Conn, _ string) {
	store := fl.data.Load()
	if store == nil {
		_ = c.Close() // it tries again
		return
	}
	store.Serve(c)
}

// routedStore is the Store of a gateway that routes.
type routedStore struct {
	*routed.Store
	own   *nasfs.Fleet
	fleet *fleet
}

// route puts routing in front of a gateway's own view of the tree.
func (f *serverFlags) route(ctx context.Context, own *nasfs.Fleet, fl *fleet) *routedStore {
	stale := fl.stale()
	fl.log.Info("each bucket is served by one gateway at a time; the others ask that one", "stale", stale.String())
	s := routed.New(ctx, routed.Config{
		Store: own, Fleet: fl.node, Settle: fl.stale, Drain: f.drain, Logger: fl.log,
		Dial: func(ctx context.Context, address, node string) (net.Conn, error) {
			return fl.network.Dial(ctx, address, node, dataProtocol)
		},
	})
	fl.data.Store(s)
	return &routedStore{Store: s, own: own, fleet: fl}
}

// Close gives the buckets up, then the place in the fleet, so that others take
// them at once, and goes on sending what they are reading.
func (s *routedStore) Close() error {
	s.Retire()
	ctx, cancel := context.WithTimeout(context.Background(), leaveTime)
	defer cancel()
	s.fleet.leave(ctx)
	return errors.Join(s.Store.Close(), s.own.Close())
}
