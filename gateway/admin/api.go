// Package admin is the admin API, with the calls and documents of MinIO's: what administers
// users, policies, settings, quotas and drives, and what tells of the gateways and watches them. It knows no
// HTTP: a gateway reads and authenticates its calls, and answers for it.
package admin

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shoal-storage/shoal/internal/directory"
	"github.com/shoal-storage/shoal/internal/events"
	"github.com/shoal-storage/shoal/internal/ldap"
	"github.com/shoal-storage/shoal/internal/logs"
	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/sealing"
	"github.com/shoal-storage/shoal/internal/sse"
	"github.com/shoal-storage/shoal/internal/trace"
)

// Config says what the API administers and tells of, beside what its gateway serves.
type Config struct {
	// Sealer is what clients' documents are sealed with.
	Sealer *sealing.Sealer
	// Logs tells of what gateways log; nil: there is no such thing.
	Logs *logs.Hub
	// Deployment is the ID of what is served, for as long as it is there; "": it has none.
	Deployment string
	// Usage is what knows what buckets hold; nil: nobody does, and there are no quotas.
	Usage Usage
	// Stop has the process end as with SIGTERM, to be started again or not; nil: it cannot
	// be asked for. It does not wait.
	Stop func(restart bool)
	// Gateways returns those that serve the tree; nil: there is this one.
	Gateways func(ctx context.Context) []Gateway
	// Locks returns the locks that gateways hold, the oldest of all, up to a number; nil:
	// nobody knows.
	Locks func(ctx context.Context, most int) []Lock
	// Traffic returns what has come to and gone from this host; nil: nobody knows.
	Traffic func() (Traffic, error)
	// Activity returns what nodes have done, of those that objects are spread over the drives of;
	// where these are not several, of this one. Nil: nobody knows.
	Activity func(ctx context.Context) []Activity
	// MeasureDrives writes and reads a file of so many bytes, in blocks, on all that this gateway
	// keeps objects on. Nil: nobody can.
	MeasureDrives func(ctx context.Context, block, size int64) []Speed
	// Drives returns those that objects are spread over; nil: they are not. Parities returns how many
	// of them can be lost, of new objects and of those with REDUCED_REDUNDANCY.
	Drives   func() []Drive
	Parities func() (standard, reduced int)
	// Healing brings these what they lack; nil: they can lack nothing.
	Healing Healer
	// DrivePools are what the drives were named together as; nil: there are none.
	DrivePools Pools
	// Settings returns those of this gateway that are shown, in an order in which those of
	// a system and target stand together; nil: there are none.
	Settings func() []Setting
	// Changes changes those that all gateways share; nil: none can be changed.
	Changes Changes
}

// Shared is what the API has in common with the gateway that it is of.
type Shared struct {
	Store     object.Store
	Directory *directory.Directory // nil: there is nothing to administer, and no call is known
	Logger    *slog.Logger
	Region    string
	OpenID    Providers // nil: there are none
	LDAP      People    // has nobody if there is no LDAP directory
	Events    *events.Service
	Trace     *trace.Hub
	// Node is what this gateway is called; Connected says that it has connections to other nodes.
	Node       string
	Connected  bool
	MasterKeys sse.MasterKeys
	Version    string
	Now        func() time.Time
}

// People knows who has a name; ldap.Directory is one. It may be asked concurrently.
type People interface {
	// Find returns who has a name, or a distinguished name. The errors are ldap.ErrNobody,
	// ldap.ErrUnavailable and ldap.ErrNone.
	Find(ctx context.Context, name string) (ldap.Person, error)
}

// Providers know the roles that their people have; openid.Providers are ones. They may be asked
// concurrently.
type Providers interface {
	// Role returns the name of the role of the provider of a name, "" if it has none.
	Role(name string) string
}

// API is the admin API of a gateway. Make it with New.
type API struct {
	Shared
	Config
	root      context.Context //nolint:containedctx // of what is asked of others
	attending context.Context //nolint:containedctx // of those who watch something
	table     map[string]*Operation
	sampling  atomic.Int32   // clients that get samples
	testing   sync.Mutex     // held while a speed test is under way
	tests     sync.WaitGroup // until it has removed what it made
	started   time.Time
}

// New returns the API of a gateway that ends when root does, and lets go of who watches something, or
// tests how fast it is, when attending does.
func New(root, attending context.Context, shared Shared, cfg Config) *API {
	if cfg.Settings == nil {
		cfg.Settings = func() []Setting { return nil }
	}
	if cfg.Parities == nil {
		cfg.Parities = func() (standard, reduced int) { return 0, 0 }
	}
	return &API{Shared: shared, Config: cfg, root: root, attending: attending, table: newTable(calls()), started: shared.Now()}
}
