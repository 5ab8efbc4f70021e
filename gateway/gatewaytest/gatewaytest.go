// Package gatewaytest serves a gateway to tests of its clients.
package gatewaytest

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/shoal-storage/shoal/gateway"
	"github.com/shoal-storage/shoal/internal/directory"
	"github.com/shoal-storage/shoal/internal/directory/directorytest"
	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/object/objecttest"
	"github.com/shoal-storage/shoal/internal/sealing"
	"github.com/shoal-storage/shoal/internal/trace"
	"github.com/shoal-storage/shoal/internal/usage"
)

// The root user of a gateway, and its secret.
const (
	User   = "root"
	Secret = "the root secret"
)

// patience is how long requests have to end with a test.
const patience = 20 * time.Second

// Serve serves a gateway that keeps everything in memory and can be administered, until
// the test is over, and returns its URL. change changes something before; nil changes
// nothing.
func Serve(t *testing.T, change func(*gateway.Config)) string {
	t.Helper()
	cfg := gateway.DefaultConfig()
	cfg.Store, cfg.Logger, cfg.Admin.Sealer = objecttest.NewMemory(), slog.New(slog.DiscardHandler), sealing.New(1)
	cfg.Trace, cfg.Node, cfg.Version = new(trace.Hub), "here:9000", "1.2.3"
	cfg.Admin.Usage = &counted{store: cfg.Store, last: make(map[string]usage.Usage)}
	d, err := directory.New(t.Context(), directory.Config{
		Root: directory.Credentials{AccessKey: User, Secret: Secret}, Records: new(directorytest.Records), Sealer: cfg.Admin.Sealer, Now: time.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	cfg.Authority, cfg.Directory = d, d
	if change != nil {
		change(&cfg)
	}
	s, err := gateway.New(context.Background(), cfg) //nolint:forbidigo // it outlives the test's context until it is shut down
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(ln) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience) //nolint:forbidigo // that of the test is over
		defer cancel()
		if err := errors.Join(s.Shutdown(ctx), <-served); err != nil {
			t.Error(err)
		}
	})
	return "http://" + ln.Addr().String()
}

// counted is an admin.Usage that remembers what it has counted.
type counted struct {
	store object.Store
	mu    sync.Mutex
	last  map[string]usage.Usage
}

func (c *counted) Known(b object.Bucket) (usage.Usage, bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	u, known := c.last[b.Name]
	return u, known, nil
}

func (c *counted) Count(ctx context.Context, b object.Bucket) (usage.Usage, error) {
	u, err := usage.Count(ctx, c.store, b.Name, time.Now)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last[b.Name] = u
	return u, err //nolint:wrapcheck // the caller's own question
}
