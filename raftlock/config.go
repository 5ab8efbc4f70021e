package raftlock

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"time"

	"github.com/shoal-storage/shoal/raftlock/mount"
	"github.com/shoal-storage/shoal/raftlock/protocol"
)

// Config is what Open needs.
type Config struct {
	Node    string   // UUID of this process: never used by another, nor again
	Address string   // host:port at which the other nodes reach Network
	Peers   []string // further addresses at which nodes may be found
	// Lookup finds further addresses, such as those behind a name; nil: none.
	// It is called each time that a node looks for the others.
	Lookup  func(ctx context.Context) []string
	Version string // of the program, for Status
	// Endpoint is the host:port where this node's clients are served, for Status.
	Endpoint string

	Network Network
	Arbiter Arbiter
	Logger  *slog.Logger
	Wall    func() time.Time // the time; nil: time.Now
	Spread  int              // slots that the names of one bucket are spread over; 0: protocol.DefaultSpread. All nodes must agree.
}

// Network connects nodes. *mesh.Mesh is one, behind MeshNetwork.
type Network interface {
	// Dial connects to the node that is to be at an address; an empty node takes
	// whoever of the cluster is there. An error that is ECONNREFUSED or
	// mesh.ErrOtherNode says that the node is not there any more. A connection may
	// have a method "Node() string", which returns who is at its other end.
	Dial(ctx context.Context, address, node, protocol string) (net.Conn, error)
	// Handle has h serve a protocol's connections, until h returns.
	Handle(protocol string, h func(c net.Conn, peer string))
}

// Arbiter is storage that all nodes see. It decides which generation of the
// fleet may act, ends sessions for good, and keeps what must outlive all nodes.
// *mount.Mount is one and its documentation holds for all.
type Arbiter interface {
	Newest(ctx context.Context) (mount.Generation, error)
	Claim(ctx context.Context, generation uint32, node string) error
	Renew(ctx context.Context, generation uint32) error
	End(ctx context.Context, generation uint32) error

	Begin(ctx context.Context, generation uint32, dir string) error
	Fence(ctx context.Context, generation uint32, dir string) error
	Prove(ctx context.Context, generation uint32, dir string) error

	Announce(ctx context.Context, m mount.Member) error
	Members(ctx context.Context) ([]mount.Member, error)
	Withdraw(ctx context.Context, node string) error

	SaveChange(ctx context.Context, generation uint32, session string, index uint64, change []byte) error
	SaveAll(ctx context.Context, generation uint32, session string, index uint64, all []byte) error
	Load(ctx context.Context) (mount.Saved, error)
}

func (c *Config) validate() error {
	if c.Node == "" || c.Address == "" || c.Network == nil || c.Arbiter == nil || c.Logger == nil {
		return errors.New("raftlock: node, address, network, arbiter and logger are required")
	}
	if c.Spread < 0 || c.Spread > protocol.Slots {
		return errors.New("raftlock: the spread is between 1 and 4096")
	}
	if c.Spread == 0 {
		c.Spread = protocol.DefaultSpread
	}
	return nil
}

// The protocols on the Network.
const (
	raftProtocol = "rl-raft/1"
	lockProtocol = "rl-lock/1"
	callProtocol = "rl-call/1"

	relayProtocol   = "rl-relay/1"   // to a third node, which passes it on
	relayedProtocol = "rl-relayed/1" // from it
)

// feature is the newest that this version understands, and agreed the newest that all of a fleet
// have to once all do: those that two sessions use between them shut no earlier version out.
const (
	feature = protocol.FeatureParts
	agreed  = protocol.FeatureLog
)

// Times. Those of Raft bear a loaded machine, and a leader says ten times in one
// that it is there, which is most of what an idle fleet costs; one whose process
// has gone is not waited for. The others follow from protocol.SessionTTL.
const (
	electionTimeout = time.Second
	leaderLease     = 800 * time.Millisecond
	commitTimeout   = 500 * time.Millisecond  // for followers of an idle leader to hear what is committed
	keepEvery       = protocol.SessionTTL / 6 // after the leader has answered, which it does for all at once
	keepAgain       = 200 * time.Millisecond  // after it did not
	renewEvery      = protocol.SessionTTL / 3
	applyTimeout    = 5 * time.Second
	storageTimeout  = 10 * time.Second // of one call of the Arbiter
	announceEvery   = 5 * time.Second
)
