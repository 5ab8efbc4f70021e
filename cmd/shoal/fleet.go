package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/shoal-storage/shoal/gateway"
	"github.com/shoal-storage/shoal/gateway/admin"
	"github.com/shoal-storage/shoal/internal/events"
	"github.com/shoal-storage/shoal/internal/logs"
	"github.com/shoal-storage/shoal/internal/neighbours"
	"github.com/shoal-storage/shoal/internal/trace"
	"github.com/shoal-storage/shoal/internal/uuid"
	"github.com/shoal-storage/shoal/internal/vfs"
	"github.com/shoal-storage/shoal/nasfs"
	"github.com/shoal-storage/shoal/raftlock"
	"github.com/shoal-storage/shoal/raftlock/mesh"
	"github.com/shoal-storage/shoal/raftlock/mount"
	"github.com/shoal-storage/shoal/routed"
)

// defaultClusterPort is where gateways look for each other.
const defaultClusterPort = "9002"

// lockTime is how long gateways are waited for that are asked for their locks.
const lockTime = 3 * time.Second

// leaveTime is how long a gateway that stops may take to leave its fleet.
const leaveTime = 10 * time.Second

// fleet is this gateway's place among those that serve the same tree.
type fleet struct {
	root     vfs.Dir
	reads    vfs.Dir // root as it is mounted for reading; nil: as root
	mount    *mount.Mount
	mesh     *mesh.Mesh
	network  raftlock.Network // over mesh, and by way of a third where two do not reach each other
	hangUp   func()           // ends network
	node     *raftlock.Node
	joined   atomic.Pointer[raftlock.Node] // node, for who may look before there is one
	log      *slog.Logger
	ended    chan error // what serving the cluster port came to
	left     sync.Once
	patience time.Duration                // for leaving; 0: leaveTime
	data     atomic.Pointer[routed.Store] // what others are answered from, where gateways route
	own      atomic.Pointer[nasfs.Fleet]  // this gateway's part of the tree, once it is open
	events   atomic.Pointer[events.Service]
	near     atomic.Pointer[neighbours.Group]
	trace    *trace.Hub
	logs     *logs.Hub
	roots    *rootMarks                  // nil: who knows the cluster's secret has the same
	name     string                      // host:port at which clients reach this gateway
	named    func(address string) string // the name of the gateway at an address between them; nil: that is not known
}

// joinFleet joins the gateways that serve the tree at path, or begins the fleet
// if there is none. Clients of this one are served at front, where they are told meanwhile why they wait.
func (f *serverFlags) joinFleet(ctx context.Context, path string, front *front, env *environment, roots *rootMarks, log *slog.Logger) (_ *fleet, err error) {
	fl := &fleet{log: log, roots: roots, ended: make(chan error, 1), trace: new(trace.Hub), logs: f.logs}
	fl.trace.Peers, fl.logs.Peers = listenedTo{fl, traceProtocol}, listenedTo{fl, logProtocol}
	defer func() {
		if err != nil {
			err = errors.Join(err, fl.close(context.WithoutCancel(ctx)))
		}
	}()
	how := f.sharing(fl.byTime)
	how.Others = fl.holdNeighbours
	if fl.root, err = vfs.OpenShared(path, how); err != nil {
		return nil, openFailure(path, err)
	}
	if fl.reads, err = f.openReads(path, fl); err != nil {
		return nil, err
	}
	if fl.mount, err = mount.Open(ctx, fl.root, log); err != nil {
		return nil, openFailure(path, err)
	}
	secret, err := fl.secret(ctx, env)
	if err != nil {
		return nil, err
	}
	ln, err := f.listenCluster()
	if err != nil {
		return nil, err
	}
	node := uuid.New()
	if fl.mesh, err = mesh.New(mesh.Config{Cluster: fl.mount.Cluster(), Node: node, Secrets: [][]byte{secret}, Logger: log}); err != nil {
		return nil, errors.Join(failed("cannot talk to other gateways", err, "a cluster secret has at least 16 characters"), ln.Close())
	}
	fl.connect(ctx)
	fl.network.Handle(dataProtocol, fl.serveData)
	fl.answer()
	if err := fl.askNeighbours(context.WithoutCancel(ctx)); err != nil {
		return nil, errors.Join(openFailure(path, err), ln.Close())
	}
	fl.answerDoctors(context.WithoutCancel(ctx), path)
	address, err := f.advertised(ctx, fl.mount, ln.Addr())
	if err != nil {
		return nil, errors.Join(err, ln.Close())
	}
	if f.peers != "" && f.advertise == "" && len(f.lookup(ctx)) == 0 {
		log.Warn("none of --peers is known yet: other gateways are told an address that they may not reach; --advertise names another", "cluster_address", address)
	}
	fl.name = endpoint(front.ln.Addr(), address)
	fl.node, err = raftlock.Open(context.WithoutCancel(ctx), raftlock.Config{
		Node: node, Address: address, Lookup: f.lookup, Version: version, Endpoint: fl.name,
		Network: fl.network, Arbiter: fl.mount, Logger: log,
	})
	if err != nil {
		return nil, errors.Join(failed("cannot join the fleet", err, ""), ln.Close())
	}
	front.because(fl.node.Ready)
	go func() { fl.ended <- fl.mesh.Serve(ln) }()
	log.Info("joining the gateways of this tree", "node", node, "cluster_address", address)
	if _, err := fl.node.AwaitSession(ctx); err != nil {
		return nil, failed("cannot join the gateways of "+path, err, "the log says what stands in the way")
	}
	fl.joined.Store(fl.node)
	if err := fl.compareRoots(ctx); err != nil {
		return nil, err
	}
	var own sharedMode
	own.stale, own.routed = vfs.IsRouted(fl.root)
	if err := agree(ctx, fl.node, own, path, log); err != nil {
		return nil, err
	}
	if err := fl.tellByTime(ctx); err != nil {
		return nil, failed("cannot tell the gateways of "+path+" how this one has mounted it", err, "")
	}
	if err := fl.measure(ctx, path); err != nil {
		return nil, err
	}
	return fl, nil
}

// connect makes the network of mesh.
func (fl *fleet) connect(ctx context.Context) {
	ctx, fl.hangUp = context.WithCancel(context.WithoutCancel(ctx))
	fl.network = raftlock.MeshNetwork(ctx, fl.mesh, fl.log)
}

// answer has others be answered what all gateways ask one another.
func (fl *fleet) answer() {
	fl.network.Handle(eventProtocol, fl.serveEvents)
	fl.network.Handle(traceProtocol, fl.serveTrace)
	fl.network.Handle(logProtocol, fl.serveLogs)
	if fl.roots != nil {
		fl.mesh.Handle(rootProtocol, fl.serveRoot)
	}
}

// openReads opens what --read-mount names, if it names anything.
func (f *serverFlags) openReads(path string, fl *fleet) (vfs.Dir, error) {
	if f.readMount == "" {
		return nil, nil
	}
	if _, routed := vfs.IsRouted(fl.root); routed {
		return nil, usage("--read-mount is not for mounts whose gateways route, as those of "+path+" do", "leave it out")
	}
	reads, err := vfs.OpenShared(f.readMount, vfs.Sharing{Mode: vfs.Direct, ByTime: fl.byTime, Beside: true})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, unsafe("--read-mount "+f.readMount+" does not exist", "mount the export of "+path+" there a second time, with the option nosharecache")
	}
	if err != nil {
		return nil, openFailure(f.readMount, err)
	}
	return reads, nil
}

// byTimeSetting is there if any gateway ever sees changes by time (NFSv3): all
// others see to it, from then on, that theirs show so.
const byTimeSetting = "mount/by-time"

func (fl *fleet) byTime() bool {
	node := fl.joined.Load()
	if node == nil {
		return false
	}
	_, there := node.Get(byTimeSetting)
	return there
}

// tellByTime tells the others, before this gateway reads anything, if it sees
// changes by time.
func (fl *fleet) tellByTime(ctx context.Context) error {
	if !vfs.SeesByTime(fl.root) || fl.byTime() {
		return nil
	}
	_, err := fl.node.Set(ctx, raftlock.Change{Name: byTimeSetting, Value: []byte("nfs3")})
	return err
}

// factSettings is what the names of settings begin with that hold facts of the
// tree.
const factSettings = "fact/"

// Holds implements nasfs.Facts.
func (fl *fleet) Holds(fact string) bool {
	node := fl.joined.Load()
	if node == nil {
		return false
	}
	_, there := node.Get(factSettings + fact)
	return there
}

// Establish implements nasfs.Facts.
func (fl *fleet) Establish(ctx context.Context, fact string) error {
	if fl.Holds(fact) {
		return nil
	}
	_, err := fl.node.Set(ctx, raftlock.Change{Name: factSettings + fact, Value: []byte("true")})
	return err
}

// recordSettings is what the names of settings begin with whose revisions are those
// of records on the mount.
const recordSettings = "record/"

// What the setting of a record says of it.
const (
	recordChanges = "changes"
	recordStands  = "stands"
)

// Revision implements nasfs.Facts.
func (fl *fleet) Revision(record string) uint64 {
	node := fl.joined.Load()
	if node == nil {
		return 0
	}
	s, there := node.Get(recordSettings + record)
	if !there || string(s.Value) != recordStands {
		return 0
	}
	return s.Revision
}

// Change implements nasfs.Facts. Should this gateway not come to saying that the
// change is over, the record is remembered by nobody until it is changed again.
func (fl *fleet) Change(ctx context.Context, record string) (done func(ctx context.Context, gone bool) error, err error) {
	name := recordSettings + record
	revision, err := fl.node.Set(ctx, raftlock.Change{Name: name, Value: []byte(recordChanges)})
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, gone bool) error {
		_, err := fl.node.Set(ctx, raftlock.Change{Name: name, Value: []byte(recordStands), Delete: gone, If: &revision})
		return err
	}, nil
}

// secret returns what gateways know one another by.
func (fl *fleet) secret(ctx context.Context, env *environment) ([]byte, error) {
	given, from, err := env.secret([]string{clusterSecret})
	if err != nil {
		return nil, err
	}
	if given != "" {
		fl.log.Debug("cluster secret", "from", from)
		return []byte(given), nil
	}
	secret, err := fl.mount.Secret(ctx)
	if err != nil {
		return nil, failed("cannot read the gateways' secret", err, "give one by "+clusterSecret+"_FILE")
	}
	return secret, nil
}

// show has the gateway show the fleet, if it is in one.
func (fl *fleet) show(cfg *gateway.Config) error {
	if fl == nil {
		return nil
	}
	if err := cfg.Metrics.Registry.Register(fleetCollector{fl.node}); err != nil {
		return failed("cannot measure the fleet", err, "")
	}
	cfg.Ready, cfg.Agreeing, cfg.LockNow = fl.ready, fl.node.Ready, fl.node.Earliest
	cfg.Status = func(ctx context.Context) any { return fl.node.Status(ctx) }
	cfg.Admin.Gateways = fl.gateways
	cfg.Admin.Locks = fl.locks
	cfg.Peers = func() int { return len(fl.node.Others()) + 1 }
	cfg.Trace, cfg.Node = fl.trace, fl.name
	return nil
}

// ready returns why requests that change something would wait for a session.
func (fl *fleet) ready() error {
	if err := fl.node.Ready(); err != nil {
		return err
	}
	if own := fl.own.Load(); own != nil {
		return own.Ready()
	}
	return nil
}

// gateways returns the members of the fleet as those see them who administer it.
func (fl *fleet) gateways(ctx context.Context) []admin.Gateway {
	st := fl.node.Status(ctx)
	return gatewaysOf(st.Members, st.Leader, fl.named)
}

// gatewaysOf returns the gateways that members are. One that does not answer is left out where another one is
// at its address: its process was killed, has been started again, and is a member until its lease is over. named
// says, if it is not nil, how a node is called that does not answer, by its address.
func gatewaysOf(members []raftlock.MemberStatus, leader string, named func(address string) string) []admin.Gateway {
	all, there := make([]admin.Gateway, 0, len(members)), make(map[string]bool)
	for i := range members {
		m := &members[i]
		g := admin.Gateway{
			Endpoint: m.Endpoint, Online: m.Error == "" && m.Session == "live", Leader: m.Node == leader,
			Uptime: time.Duration(m.Uptime * float64(time.Second)), Version: m.Version,
		}
		if g.Endpoint == "" {
			g.Endpoint = m.Address // it does not answer
			if named != nil {
				g.Endpoint = named(m.Address)
			}
		}
		if g.Online {
			there[g.Endpoint], there[m.Address] = true, true
		}
		all = append(all, g)
	}
	return slices.DeleteFunc(all, func(g admin.Gateway) bool { return !g.Online && there[g.Endpoint] })
}

// locks returns the oldest locks that gateways hold.
func (fl *fleet) locks(ctx context.Context, most int) (all []admin.Lock) {
	ctx, cancel := context.WithTimeout(ctx, lockTime)
	defer cancel()
	for _, l := range fl.node.HeldLocks(ctx, most) {
		all = append(all, admin.Lock{Name: l.Name, Exclusive: l.Exclusive, Age: l.Age, ID: l.Request, Holder: l.Endpoint})
	}
	return all
}

// close leaves the fleet. What is not open is left out.
func (fl *fleet) close(ctx context.Context) error {
	var err error
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(fl.patience, leaveTime))
	defer cancel()
	fl.trace.Close()
	fl.logs.Close()
	if near := fl.near.Load(); near != nil {
		near.Close()
	}
	if fl.node != nil {
		fl.leave(ctx)
		err = fl.mesh.Close()
		if served := <-fl.ended; served != nil {
			err = errors.Join(err, served)
		}
	}
	if fl.hangUp != nil {
		fl.hangUp()
	}
	if fl.mount != nil {
		err = errors.Join(err, fl.mount.Close())
	}
	for _, dir := range []vfs.Dir{fl.root, fl.reads} {
		if dir != nil {
			err = errors.Join(err, dir.Close())
		}
	}
	return err
}

// leave gives up this gateway's place among the others.
func (fl *fleet) leave(ctx context.Context) {
	fl.left.Do(func() {
		if err := fl.node.Close(ctx); err != nil {
			fl.log.Warn("the other gateways will find out by themselves that this one has gone", "error", err)
		}
	})
}

// listenCluster listens for other gateways: where it was told to, or beside the
// S3 port, on another port if that one is taken.
func (f *serverFlags) listenCluster() (net.Listener, error) {
	address := f.clusterAddress
	if address == "" {
		host, _, err := net.SplitHostPort(f.address)
		if err != nil {
			return nil, usage("--address "+f.address+" is not host:port", "take one such as :9000")
		}
		address = net.JoinHostPort(host, defaultClusterPort)
	}
	ln, err := net.Listen("tcp", address)
	if f.clusterAddress == "" && errors.Is(err, syscall.EADDRINUSE) {
		host, _, _ := net.SplitHostPort(address) // joined above
		ln, err = net.Listen("tcp", net.JoinHostPort(host, "0"))
	}
	if err != nil {
		return nil, failed("cannot listen on "+address+" for other gateways", err, "take another --cluster-address")
	}
	return ln, nil
}

// endpoint returns where clients are served that come to a listening address: if that
// is every one of the host's, at the one where other gateways reach it.
func endpoint(clients net.Addr, advertised string) string {
	tcp, ok := clients.(*net.TCPAddr)
	host, _, err := net.SplitHostPort(advertised)
	if !ok || !tcp.IP.IsUnspecified() || err != nil {
		return clients.String()
	}
	return net.JoinHostPort(host, fmt.Sprint(tcp.Port))
}

// advertised returns the address at which other gateways reach this one: as
// given, or that of the interface towards the others.
func (f *serverFlags) advertised(ctx context.Context, m *mount.Mount, listening net.Addr) (string, error) {
	tcp, ok := listening.(*net.TCPAddr)
	if !ok {
		return listening.String(), nil
	}
	port := fmt.Sprint(tcp.Port)
	if f.advertise != "" {
		return f.advertisedAs(port)
	}
	if !tcp.IP.IsUnspecified() {
		return net.JoinHostPort(tcp.IP.String(), port), nil
	}
	towards := f.lookup(ctx)
	if members, err := m.Members(ctx); err == nil {
		for _, other := range members {
			towards = append(towards, other.Addresses...)
		}
	}
	// Addresses of the documentation's networks route as the whole world does.
	for _, at := range append(towards, "192.0.2.1:9", "[2001:db8::1]:9") {
		if ip := sourceTowards(at); ip != nil {
			return net.JoinHostPort(ip.String(), port), nil
		}
	}
	return net.JoinHostPort("127.0.0.1", port), nil
}

// advertisedAs returns what --advertise comes to: an address, or this host's in a
// network. The first of a fleet can see no other to find out which network that is.
func (f *serverFlags) advertisedAs(port string) (string, error) {
	if _, network, err := net.ParseCIDR(f.advertise); err == nil {
		own, err := net.InterfaceAddrs()
		if err != nil {
			return "", failed("cannot look at this host's addresses", err, "give --advertise an address")
		}
		ip := addressIn(own, network)
		if ip == nil {
			return "", usage("this host has no address in --advertise "+f.advertise, "give it an address, or a network that all gateways are in")
		}
		return net.JoinHostPort(ip.String(), port), nil
	}
	if _, _, err := net.SplitHostPort(f.advertise); err == nil {
		return f.advertise, nil
	}
	return net.JoinHostPort(f.advertise, port), nil
}

// addressIn returns the first of these addresses that is in a network, nil if none
// is. One that stands for itself alone, as those that Docker Swarm balances between
// tasks, is not a host's own.
func addressIn(own []net.Addr, network *net.IPNet) net.IP {
	for _, a := range own {
		ip, ok := a.(*net.IPNet)
		if !ok || !network.Contains(ip.IP) {
			continue
		}
		if ones, bits := ip.Mask.Size(); ones < bits {
			return ip.IP
		}
	}
	return nil
}

// sourceTowards returns the address that this host would send from, nil where
// there is no way. Nothing is sent.
func sourceTowards(at string) net.IP {
	c, err := net.Dial("udp", at)
	if err != nil {
		return nil
	}
	defer c.Close() //nolint:errcheck // nothing was sent
	udp, ok := c.LocalAddr().(*net.UDPAddr)
	if !ok || udp.IP.IsLoopback() {
		return nil
	}
	return udp.IP
}

// lookup returns where --peers says that other gateways may be; a name is looked
// up each time, and stands for all of its addresses.
func (f *serverFlags) lookup(ctx context.Context) []string {
	var all []string
	for _, peer := range domains(f.peers) {
		host, port, err := net.SplitHostPort(peer)
		if err != nil {
			host, port = peer, defaultClusterPort
		}
		ips, err := net.DefaultResolver.LookupHost(ctx, host)
		if err != nil {
			continue // it may have an address later
		}
		for _, ip := range ips {
			all = append(all, net.JoinHostPort(ip, port))
		}
	}
	return all
}

// fleetCollector is the fleet for Prometheus.
type fleetCollector struct{ node *raftlock.Node }

// Describe implements prometheus.Collector; the metrics are not known before
// they are collected.
func (fleetCollector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c fleetCollector) Collect(out chan<- prometheus.Metric) {
	for _, m := range c.node.Measure() {
		kind := prometheus.GaugeValue
		if m.Counter {
			kind = prometheus.CounterValue
		}
		desc := prometheus.NewDesc("shoal_fleet_"+m.Name, m.Help, nil, nil)
		out <- prometheus.MustNewConstMetric(desc, kind, m.Value)
	}
}

// refuseFleet returns an error if gateways of a fleet serve a directory now, which somebody wants to
// serve alone: that would fence all of them, and keep them out.
func refuseFleet(ctx context.Context, path string, log *slog.Logger) (err error) {
	root, err := vfs.OpenRoot(path)
	if err != nil {
		return openFailure(path, err)
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	switch there, err := mount.There(root); {
	case err != nil:
		return openFailure(path, err)
	case !there:
		return nil
	}
	m, err := mount.Open(ctx, root, log)
	if err != nil {
		return openFailure(path, err)
	}
	serving, err := raftlock.Serving(ctx, m)
	if err = errors.Join(err, m.Close()); err != nil {
		return openFailure(path, err)
	}
	if serving {
		return unsafe("other gateways serve "+path+" now", "end them first, or leave out --single-gateway to join them")
	}
	return nil
}
