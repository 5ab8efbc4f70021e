package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/argon2"

	"github.com/shoal-storage/shoal/erasure"
	"github.com/shoal-storage/shoal/erasure/arbiter"
	"github.com/shoal-storage/shoal/erasure/cluster"
	"github.com/shoal-storage/shoal/erasure/format"
	"github.com/shoal-storage/shoal/erasure/healing"
	"github.com/shoal-storage/shoal/erasure/node"
	"github.com/shoal-storage/shoal/erasure/placement"
	"github.com/shoal-storage/shoal/erasure/rebalance"
	"github.com/shoal-storage/shoal/erasure/register"
	"github.com/shoal-storage/shoal/gateway"
	"github.com/shoal-storage/shoal/gateway/admin"
	"github.com/shoal-storage/shoal/internal/trace"
	"github.com/shoal-storage/shoal/internal/upkeep"
	"github.com/shoal-storage/shoal/internal/uuid"
	"github.com/shoal-storage/shoal/raftlock"
	"github.com/shoal-storage/shoal/raftlock/mesh"
)

// endpoints are the drives that a command line names on several nodes.
type endpoints struct {
	scheme string
	layout[cluster.Endpoint]
}

// parseEndpoints reads URLs of drives on nodes: http://node{1...4}/mnt/d{1...2}. Where a URL
// names no port it is that of the address where this node serves S3.
func (f *serverFlags) parseEndpoints(args []string) (*endpoints, error) {
	texts, err := pools(args)
	if err != nil {
		return nil, err
	}
	_, port, err := net.SplitHostPort(f.address)
	if err != nil {
		port = "9000"
	}
	e := &endpoints{}
	known := make(map[cluster.Endpoint]bool)
	all := make([]poolOf[cluster.Endpoint], len(texts))
	for i, pool := range texts {
		all[i].name = pool.name
		for _, text := range pool.drives {
			at, err := parseEndpoint(text, port)
			switch {
			case err != nil:
				return nil, err
			case e.scheme != "" && e.scheme != at.Scheme:
				return nil, usage("some nodes are named by http, others by https", "name all of them by the same")
			case known[at]:
				return nil, usage(text+" is named twice", "name each drive once")
			}
			known[at], e.scheme = true, at.Scheme
			all[i].drives = append(all[i].drives, at)
		}
	}
	e.layout, err = layoutOf(f, all, func(at cluster.Endpoint) string { return at.Node })
	return e, err
}

func parseEndpoint(text, port string) (at cluster.Endpoint, err error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || path.Clean("/"+u.Path) == "/" {
		return at, usage(text+" is no drive of a node", "write drives of several nodes such as http://node{1...4}/mnt/d{1...2}")
	}
	at = cluster.Endpoint{Scheme: u.Scheme, Node: net.JoinHostPort(u.Hostname(), port), Path: path.Clean(u.Path)}
	if u.Port() != "" {
		at.Node = u.Host
	}
	return at, nil
}

// perNode returns how many of some drives each node has.
func perNode(drives []cluster.Endpoint) map[string]int {
	n := make(map[string]int)
	for _, at := range drives {
		n[at.Node]++
	}
	return n
}

// finder knows where the nodes of a cluster can be reached by each other, by asking them where
// they serve S3.
type finder struct {
	scheme string
	client *http.Client

	mu    sync.Mutex
	found map[string]string // cluster addresses by the addresses of S3
	last  map[string]string // the same, also of those that could not be reached there lately
	names map[string]string // the other way round, also of those that have moved
}

// findTime is how long a node is waited for that is asked where it can be reached.
const findTime = 2 * time.Second

func newFinder(scheme string) *finder {
	return &finder{scheme: scheme, found: make(map[string]string), last: make(map[string]string), names: make(map[string]string), client: &http.Client{
		Timeout: findTime,
		// What a node says of its port is worth no more than the address; who is there it proves on the port.
		Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}, //nolint:gosec // see above
	}}
}

// address returns where a node can be reached by others.
func (f *finder) address(ctx context.Context, at string) (string, error) {
	f.mu.Lock()
	known := f.found[at]
	f.mu.Unlock()
	if known != "" {
		return known, nil
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, f.scheme+"://"+at+gateway.NodePath, http.NoBody)
	if err != nil {
		return "", err
	}
	response, err := f.client.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close() //nolint:errcheck // read already
	b, err := io.ReadAll(io.LimitReader(response.Body, 1<<10))
	if err != nil {
		return "", err
	}
	var n gateway.Node
	if response.StatusCode != http.StatusOK || json.Unmarshal(b, &n) != nil || n.Port == "" {
		return "", fmt.Errorf("%s is no node of a cluster: %s", at, response.Status)
	}
	host, _, _ := net.SplitHostPort(at) // parseEndpoints has looked at it
	address := net.JoinHostPort(host, n.Port)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.found[at], f.last[at], f.names[address] = address, address, at
	return address, nil
}

// name returns where the node serves S3 that can be reached at an address.
func (f *finder) name(address string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return cmp.Or(f.names[address], address)
}

func (f *finder) forget(at string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.found, at)
}

// others returns where nodes were found last, but for one. That one attempt to connect has
// failed says nothing: another may have succeeded meanwhile.
func (f *finder) others(self string) (all []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for at, address := range f.last {
		if at != self {
			all = append(all, address)
		}
	}
	return all
}

// nodes is this node among those of a cluster, before it is one of a fleet.
type nodes struct {
	f       *serverFlags
	e       *endpoints
	fl      *fleet
	finder  *finder
	refused refusals
	cluster *cluster.Cluster
	store   atomic.Pointer[erasure.Store]
	placer  atomic.Pointer[rebalance.Placer]
	self    string // the name of this process
	port    string // where other nodes reach it
	ends    []func() error
}

// fewest is how many drives the node has that has fewest.
func (e *endpoints) fewest() int {
	has := make(map[string]int)
	for i := range e.layout {
		for node, n := range perNode(e.layout[i].drives) {
			has[node] += n
		}
	}
	return slices.Min(slices.Collect(maps.Values(has)))
}

// warn tells what the loss of one node would come to, if that is more than people expect.
func (e *endpoints) warn(log *slog.Logger) {
	unreadable, unwritable := make(map[string]bool), make(map[string]bool)
	for i := range e.layout {
		set := &e.layout[i]
		drives, nodes := len(set.drives), perNode(set.drives)
		if len(nodes) == 1 {
			continue // that nothing is left then nobody has to be told
		}
		for node, has := range nodes {
			if has > set.parity() {
				unreadable[node] = true
			}
			if drives-has < max(register.Majority(drives), drives-set.parity()) {
				unwritable[node] = true
			}
		}
	}
	if nodes := slices.Sorted(maps.Keys(unreadable)); len(nodes) > 0 {
		log.Warn("if one of these nodes is lost objects cannot be read: it has more drives of a set than may be lost", "nodes", nodes)
	}
	if nodes := slices.Sorted(maps.Keys(unwritable)); len(nodes) > 0 {
		log.Warn("if one of these nodes is lost nothing can be written until it is back: it takes more drives than the others have", "nodes", nodes)
	}
}

// nodesLeave is how long a node that stops may take to leave the others: if all of them stop,
// there is nobody to take leave of.
const nodesLeave = 3 * time.Second

// openNodes opens the drives of several nodes, together with those.
func (f *serverFlags) openNodes(ctx context.Context, e *endpoints, front *front, creds credentials, env *environment, log *slog.Logger) (_ *backend, err error) {
	if err := checkFiles(e.fewest()); err != nil {
		return nil, err
	}
	n := &nodes{f: f, e: e, finder: newFinder(e.scheme), self: uuid.New()}
	e.warn(log)
	n.fl = &fleet{log: log, ended: make(chan error, 1), trace: new(trace.Hub), logs: f.logs, patience: nodesLeave}
	n.fl.trace.Peers, n.fl.logs.Peers = listenedTo{n.fl, traceProtocol}, listenedTo{n.fl, logProtocol}
	defer func() {
		if err != nil {
			err = errors.Join(err, (&backend{ends: n.ends}).close())
		}
	}()
	if err := n.listen(ctx, front, creds, env); err != nil {
		return nil, err
	}
	if err := n.cluster.Open(ctx); err != nil {
		return nil, nodesFailure(err)
	}
	n.fl.name, n.fl.named = n.cluster.Self(), n.finder.name
	b, err := n.join(ctx)
	if err != nil {
		return nil, err
	}
	log.Info(e.status(n.offline()))
	return b, nil
}

// listen has this node answer the others, and them find it.
func (n *nodes) listen(ctx context.Context, front *front, creds credentials, env *environment) error {
	secrets, given, err := nodeSecrets(creds, env)
	if err == nil && given {
		n.fl.roots, err = newRootMarks(ctx, creds, env)
	}
	if err != nil {
		return err
	}
	ln, err := n.f.listenCluster()
	if err != nil {
		return err
	}
	fl := n.fl
	if fl.mesh, err = mesh.New(mesh.Config{Cluster: "drives", Node: n.self, Secrets: secrets, Logger: fl.log}); err != nil {
		return errors.Join(failed("cannot talk to other nodes", err, "a cluster secret has at least 16 characters"), ln.Close())
	}
	n.cluster = cluster.New(context.WithoutCancel(ctx), cluster.Config{
		Self: n.self, Sets: n.e.each(), Dial: n.dial, Plain: n.plain(), Missed: n.missed, Placed: n.placed, Logger: fl.log,
	})
	server := n.cluster.Server()
	fl.connect(ctx)
	fl.mesh.Handle(node.CallProtocol, func(c *mesh.Conn) { server.ServeCalls(c) })
	fl.mesh.HandlePlain(func(c net.Conn) { server.ServeBulk(c) })
	fl.mesh.Handle(node.BulkProtocol, func(c *mesh.Conn) { server.ServeBulk(c) })
	fl.answer()
	go func() { fl.ended <- fl.mesh.Serve(ln) }()
	n.ends = append(n.ends, n.cluster.Close, func() error { return fl.close(context.WithoutCancel(ctx)) })
	if _, n.port, err = net.SplitHostPort(ln.Addr().String()); err != nil {
		return failed("cannot listen for other nodes", err, "")
	}
	front.wait(waiting{what: "other nodes or drives", node: gateway.Node{ID: n.self, Port: n.port}, creds: creds})
	return nil
}

// missed returns how often drives may have missed something, as this node knows.
func (n *nodes) missed() int64 {
	if s := n.store.Load(); s != nil {
		return s.Missed()
	}
	return 0
}

// placed returns by which epoch this node places objects.
func (n *nodes) placed() uint64 {
	if p := n.placer.Load(); p != nil {
		return p.Placed()
	}
	return 0
}

// dial connects to the node that serves S3 at an address.
func (n *nodes) dial(ctx context.Context, at, protocol string) (net.Conn, string, error) {
	address, err := n.finder.address(ctx, at)
	if err != nil {
		return nil, "", err
	}
	c, err := n.fl.mesh.Dial(ctx, address, "", protocol)
	n.refused.note(at, err, time.Now(), n.fl.log)
	if err != nil {
		if ctx.Err() == nil {
			n.finder.forget(at)
		}
		return nil, "", err
	}
	return c, c.Peer, nil
}

// refusals tell which nodes go on to refuse this one, each once in a while.
type refusals struct {
	mu  sync.Mutex
	all map[string]*refusal
}

type refusal struct {
	times int // since a connection was made
	told  time.Time
}

const (
	refusedOften = 3 // a node that ends may seem to refuse
	refusedAgain = time.Minute
)

// note takes note of what came of connecting to a node.
func (r *refusals) note(node string, err error, now time.Time, log *slog.Logger) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil {
		delete(r.all, node)
	}
	if !errors.Is(err, mesh.ErrRefused) {
		return
	}
	if r.all == nil {
		r.all = make(map[string]*refusal)
	}
	if r.all[node] == nil {
		r.all[node] = new(refusal)
	}
	of := r.all[node]
	if of.times++; of.times < refusedOften || now.Sub(of.told) < refusedAgain {
		return
	}
	of.told = now
	log.Warn("this node and another one refuse each other: give all nodes the same SHOAL_ROOT_USER and SHOAL_ROOT_PASSWORD, or "+clusterSecret+"; "+
		"while the former are replaced, also what they were, as "+formerUser+" and "+formerPassword, "node", node, "error", err)
}

// plain is how contents go between nodes that are named by http; nil for https.
func (n *nodes) plain() *cluster.Plain {
	if n.e.scheme != "http" {
		return nil
	}
	return &cluster.Plain{Ticket: n.fl.mesh.Ticket, Dial: func(ctx context.Context, at string, ticket []byte) (net.Conn, error) {
		address, err := n.finder.address(ctx, at)
		if err != nil {
			return nil, err
		}
		return n.fl.mesh.DialPlain(ctx, address, ticket)
	}}
}

// nodeSecrets returns what nodes know one another by: given for that, or made of the root
// credentials, which all of them have, and of those that were before while they are replaced.
func nodeSecrets(creds credentials, env *environment) (secrets [][]byte, given bool, err error) {
	secret, _, err := env.secret([]string{clusterSecret})
	switch {
	case err != nil:
		return nil, false, err
	case secret != "":
		return [][]byte{[]byte(secret)}, true, nil
	case strings.HasSuffix(creds.source, ownCredentialsFile):
		return nil, false, usage("several nodes need the same credentials", "set SHOAL_ROOT_USER and SHOAL_ROOT_PASSWORD (or SHOAL_ROOT_PASSWORD_FILE) on all of them")
	}
	secrets = [][]byte{deriveSecret(creds.user, creds.password)}
	former, err := env.former()
	if err == nil && former.AccessKey != "" {
		secrets = append(secrets, deriveSecret(former.AccessKey, former.Secret))
	}
	return secrets, false, err
}

func deriveSecret(user, password string) []byte {
	return argon2.IDKey([]byte(user+"\x00"+password), []byte("shoal nodes of a cluster"), 1, 64<<10, 4, 32)
}

// join makes this node one of the fleet of those that have the drives.
func (n *nodes) join(ctx context.Context) (*backend, error) {
	fl, log := n.fl, n.fl.log
	background := context.WithoutCancel(ctx)
	cfg := erasure.Config{Sets: n.e.configs(n.cluster.Drives), Logger: log, Now: time.Now}
	numbers := n.cluster.Numbers()
	for i := range cfg.Sets {
		cfg.Sets[i].Number, cfg.Sets[i].Fresh = numbers[i], n.cluster.Fresh(i)
		cfg.Sets[i].Near = func(drive int) bool { return n.cluster.Near(i, drive) }
	}
	ledger, err := erasure.NewLedger(background, cfg)
	if err != nil {
		return nil, failed("cannot open the drives", err, "")
	}
	host, _, _ := net.SplitHostPort(n.cluster.Self()) // parseEndpoints has looked at it
	fl.node, err = raftlock.Open(background, raftlock.Config{
		Node: n.self, Address: net.JoinHostPort(host, n.port), Version: version, Endpoint: fl.name,
		Lookup:  func(context.Context) []string { return n.finder.others(n.cluster.Self()) },
		Network: fl.network, Arbiter: arbiter.New(n.cluster.Orders(), ledger), Logger: log,
	})
	if err != nil {
		return nil, failed("cannot join the other nodes", err, "")
	}
	if _, err := fl.node.AwaitSession(ctx); err != nil {
		return nil, failed("cannot join the other nodes", err, "the log says what stands in the way")
	}
	fl.joined.Store(fl.node)
	if err := fl.compareRoots(ctx); err != nil {
		return nil, err
	}
	cfg.Locker, cfg.Now, cfg.LockNow = fl.node, fl.node.Latest, fl.node.Earliest
	tables := n.cluster.Tables()
	formed := max(1, slices.MinFunc(tables, func(a, b format.Table) int { return a.Of - b.Of }).Of)
	sets := n.e.placed(numbers)
	cfg.Table, cfg.Seed = rebalance.BaseTable(sets, formed), placement.Seed(tables[0].Deployment)
	for i := range cfg.Sets {
		cfg.Sets[i].Writable = func() error { return n.cluster.Writable(i) }
		cfg.Sets[i].Away = func() int { return n.cluster.Away(i) }
	}
	store, err := erasure.New(background, cfg)
	if err != nil {
		return nil, failed("cannot open the drives", err, "")
	}
	n.store.Store(store)
	b := &backend{
		store: store, journal: store.Journal(sessions{fl}), locker: fl.node, records: settings{fl.node, ledger.Newer}, sessions: sessions{fl}, fleet: fl,
		id: tables[0].Deployment, files: filesOf(n.e.fewest()),
		what: fmt.Sprintf("%d nodes, %s", len(perNode(slices.Concat(n.e.each()...))), n.e.what()), drives: n.shown, activity: n.activity, parities: n.e.parities,
		classes: func(f *serverFlags) (func(), error) { return n.e.change(f, store) },
		paths:   func() []string { return onlineOf(n.shown(), n.cluster.Self()) }, healRate: store.SetHealRate,
		self: gateway.Node{ID: n.self, Port: n.port}, ready: n.ready, readable: n.readable,
	}
	placer := rebalance.New(rebalance.Config{
		Store: store, Records: b.records, Locker: fl.node, Logger: log, Base: cfg.Table, Sets: sets, Names: n.e.names(),
		Rooms: func() map[int]upkeep.Room { return roomsOf(n.shown()) }, Agree: n.cluster.Agree, Knows: n.cluster.Knows, Follow: n.cluster.Placed,
	})
	if err := placer.Begin(ctx); err != nil {
		return nil, errors.Join(placingFailure(err), store.Close())
	}
	n.placer.Store(placer)
	keeper := healing.New(healing.Config{
		Store: store, Ledger: ledger, Records: b.records, Name: fl.name, Locker: fl.node, Logger: log,
		Standing: n.standing, Refresh: n.cluster.Refresh, Healed: n.cluster.Healed,
	})
	b.pools, b.healer, b.counts = placer, keeper, store.Counts
	b.ends = append(n.ends, func() error { ledger.Close(); return nil }, store.Close, keeper.Start(ctx), placer.Start(ctx))
	return b, nil
}

// ready returns why this node can serve no writes now.
func (n *nodes) ready() error { return errors.Join(n.cluster.AllWritable(), n.fl.node.Ready()) }

// readable returns why this node should serve nothing now: that it could read is of no use
// while others can do more.
func (n *nodes) readable() error {
	if n.cluster.AllWritable() == nil {
		return n.fl.node.Ready()
	}
	return n.cluster.Readable()
}

func (n *nodes) standing() healing.Standing {
	s := healing.Standing{Blank: n.cluster.Blank()}
	for _, d := range n.cluster.States() {
		if !d.Online {
			s.Offline++
		}
	}
	s.Missed, s.Joined = n.cluster.Missed() // after that: a drive that was there has been counted
	return s
}

// offline returns how many drives of each set cannot be used, or do not have all yet.
func (n *nodes) offline() []int {
	offline := make([]int, len(n.e.layout))
	for i := range n.e.layout {
		offline[i] = len(n.e.layout[i].drives)
	}
	for _, d := range n.cluster.States() {
		if d.Online && !d.Blank {
			offline[n.e.at(d.Slot)]--
		}
	}
	return offline
}

func (n *nodes) shown() (all []admin.Drive) {
	for i, d := range n.cluster.States() {
		slot := d.Slot
		if slot < 0 { // it has none: it is shown where it was named
			slot = i
		}
		set := &n.e.layout[n.e.at(slot)]
		all = append(all, admin.Drive{
			Node: d.Node, Path: d.Path, ID: d.Drive, Pool: set.pool, Set: set.number, Parity: set.parity(), Slot: d.Slot, Online: d.Online, Healing: d.Blank, Room: upkeep.Room(d.Room),
		})
	}
	return all
}

// nodesFailure says what to do about drives of several nodes that cannot be opened.
func nodesFailure(err error) error {
	switch {
	case errors.Is(err, cluster.ErrNotNamed):
		return failed("cannot open the drives", err, "see that a name in the URLs leads to this host, and the port to --address")
	case errors.Is(err, cluster.ErrLayout):
		return &failure{code: exitUnsafe, what: "cannot open the drives", cause: err, remedy: "start all nodes with the same URLs in the same order"}
	}
	return drivesFailure(err)
}
