package gateway

import (
	"cmp"
	"context"
	"encoding/json"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Types of metrics, as MinIO's tools ask for them. Others are for Prometheus.
const (
	diskType = 1 << 1
	netType  = 1 << 5
	rpcType  = 1 << 8
)

// Bounds of samples.
const (
	maxSampleEvery = time.Hour
	sampleEvery    = time.Second // at least
	maxSamplers    = 64          // clients that get some, at a time
)

// sample is what MinIO's tools are told at a time.
type sample struct {
	Errors     []string               `json:"errors,omitempty"`
	Hosts      []string               `json:"hosts"`
	Aggregated hostSample             `json:"aggregated"`
	ByHost     map[string]*hostSample `json:"by_host,omitempty"`
	ByDisk     map[string]*diskSample `json:"by_disk,omitempty"`
	Final      bool                   `json:"final"`

	scope scope
}

type hostSample struct {
	Disk *diskSample `json:"disk,omitempty"`
	Net  *netSample  `json:"net,omitempty"`
	RPC  *rpcSample  `json:"rpc,omitempty"`
}

// host returns what is told of a host; "" is this one.
func (now *sample) host(name string) *hostSample {
	name = cmp.Or(name, now.scope.self)
	h := now.ByHost[name]
	if h == nil {
		h = new(hostSample)
		now.ByHost[name], now.Hosts = h, append(now.Hosts, name)
	}
	return h
}

// scope is what a client wants samples of.
type scope struct {
	types uint64
	hosts []string // none: all
	self  string   // this host
}

// about reports whether that is about a host; "" is this one.
func (c scope) about(host string) bool {
	return len(c.hosts) == 0 || slices.Contains(c.hosts, cmp.Or(host, c.self))
}

// liveMetrics serves metrics: a stream of JSON, a document every so often, of what this gateway's
// host has sent and received, and of what drives and the connections between nodes have done.
func (s *Server) liveMetrics(_ context.Context, r *request) error {
	b := &sampleBody{s: s}
	every, err := b.parse(r)
	if err != nil {
		return err
	}
	if b.scope.types &= s.liveTypes(); b.scope.types == 0 {
		return errNotImplemented.with(noLiveMetrics)
	}
	if s.sampling.Add(1) > maxSamplers {
		s.sampling.Add(-1)
		return errSlowDown
	}
	if err := b.begin(); err != nil {
		s.sampling.Add(-1)
		return err
	}
	b.ticker = time.NewTicker(every)
	r.set("Content-Type", "application/json")
	r.ctx.Response.SetBodyStream(b, -1)
	return nil
}

// liveTypes are the types that this gateway has samples of.
func (s *Server) liveTypes() (types uint64) {
	if s.Traffic != nil {
		types |= netType
	}
	if s.Activity != nil {
		types |= diskType
	}
	if s.Activity != nil && s.Self != (Node{}) {
		types |= rpcType
	}
	return types
}

// takeSample returns what is known now.
func (s *Server) takeSample(c scope) *sample {
	now := &sample{Hosts: []string{}, ByHost: make(map[string]*hostSample), scope: c}
	if c.types&netType != 0 && c.about(s.Node) {
		now.addNet(s)
	}
	if c.types&(diskType|rpcType) == 0 {
		return now
	}
	ctx, cancel := context.WithTimeout(s.root, statusTimeout)
	defer cancel()
	var known []Activity
	for _, a := range s.Activity(ctx) {
		switch {
		case !c.about(a.Node):
		case a.Err != nil:
			now.Errors = append(now.Errors, a.Err.Error())
		default:
			known = append(known, a)
		}
	}
	at := s.Now().UTC()
	if c.types&diskType != 0 {
		now.addDrives(at, s.drivesShown(), known)
	}
	if c.types&rpcType != 0 {
		now.addPeers(at, known)
	}
	return now
}

// drivesShown are the drives; what is served without any is one.
func (s *Server) drivesShown() []Drive {
	if s.Drives == nil {
		return Gateway{Endpoint: s.Node, Online: true}.drives()
	}
	return s.Drives()
}

// sampleBody is samples, one every so often, until there are as many as were asked for, the
// client goes, or the gateway ends.
type sampleBody struct {
	s       *Server
	scope   scope
	ticker  *time.Ticker
	left    int
	endless bool
	next    []byte // to be read first
}

// parse reads what a client wants, and returns how often.
func (b *sampleBody) parse(r *request) (every time.Duration, err error) {
	b.scope, every = scope{types: diskType | netType | rpcType, self: b.s.Node}, sampleEvery
	if text := r.query.get("types"); text != "" {
		if b.scope.types, err = strconv.ParseUint(text, 10, 32); err != nil {
			return 0, errAdminInvalid.because(err)
		}
	}
	b.scope.hosts = strings.FieldsFunc(r.query.get("hosts"), func(c rune) bool { return c == ',' })
	if text := r.query.get("interval"); text != "" {
		if every, err = time.ParseDuration(text); err != nil {
			return 0, errAdminInvalid.because(err)
		}
		every = min(max(every, sampleEvery), maxSampleEvery)
	}
	if text := r.query.get("n"); text != "" {
		if b.left, err = strconv.Atoi(text); err != nil || b.left < 0 {
			return 0, errAdminInvalid.with("The number of samples must be one.")
		}
	}
	b.endless = b.left == 0 && r.query.get("n") != ""
	b.left = max(1, b.left)
	return every, nil
}

// begin takes the first sample, and refuses to go on where it is of drives and has none.
func (b *sampleBody) begin() error {
	first := b.s.takeSample(b.scope)
	if b.scope.types == diskType && len(first.ByDisk) == 0 {
		return errNotImplemented.with(noDriveMetrics + strings.Join(first.Errors[:min(1, len(first.Errors))], ""))
	}
	return b.put(first)
}

// put has a sample be read next.
func (b *sampleBody) put(now *sample) error {
	b.left = max(0, b.left-1)
	now.Final = !b.endless && b.left == 0
	line, err := json.Marshal(now)
	b.next = append(line, '\n')
	return err //nolint:wrapcheck // it has numbers and names only
}

// Read waits for the next sample.
func (b *sampleBody) Read(p []byte) (int, error) {
	if len(b.next) == 0 {
		if !b.endless && b.left == 0 {
			return 0, io.EOF
		}
		select {
		case <-b.ticker.C:
		case <-b.s.attending.Done():
			return 0, io.EOF
		}
		if err := b.put(b.s.takeSample(b.scope)); err != nil {
			return 0, err
		}
	}
	n := copy(p, b.next)
	b.next = b.next[n:]
	return n, nil
}

// Close implements io.Closer: the client has all, or is gone.
func (b *sampleBody) Close() error {
	b.ticker.Stop()
	b.s.sampling.Add(-1)
	return nil
}
