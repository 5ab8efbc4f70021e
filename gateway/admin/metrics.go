package admin

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
func (a *API) liveMetrics(_ context.Context, c *Call) error {
	b := &sampleBody{api: a}
	every, err := b.parse(c)
	if err != nil {
		return err
	}
	if b.scope.types &= a.liveTypes(); b.scope.types == 0 {
		return errNotImplemented.with(noLiveMetrics)
	}
	if a.sampling.Add(1) > maxSamplers {
		a.sampling.Add(-1)
		return errSlowDown
	}
	if err := b.begin(); err != nil {
		a.sampling.Add(-1)
		return err
	}
	b.ticker = time.NewTicker(every)
	c.Stream(b)
	return nil
}

// liveTypes are the types that this gateway has samples of.
func (a *API) liveTypes() (types uint64) {
	if a.Traffic != nil {
		types |= netType
	}
	if a.Activity != nil {
		types |= diskType
	}
	if a.Activity != nil && a.Connected {
		types |= rpcType
	}
	return types
}

// takeSample returns what is known now.
func (a *API) takeSample(c scope) *sample {
	now := &sample{Hosts: []string{}, ByHost: make(map[string]*hostSample), scope: c}
	if c.types&netType != 0 && c.about(a.Node) {
		now.addNet(a)
	}
	if c.types&(diskType|rpcType) == 0 {
		return now
	}
	ctx, cancel := context.WithTimeout(a.root, statusTimeout)
	defer cancel()
	var known []Activity
	for _, of := range a.Activity(ctx) {
		switch {
		case !c.about(of.Node):
		case of.Err != nil:
			now.Errors = append(now.Errors, of.Err.Error())
		default:
			known = append(known, of)
		}
	}
	at := a.Now().UTC()
	if c.types&diskType != 0 {
		now.addDrives(at, a.drivesShown(), known)
	}
	if c.types&rpcType != 0 {
		now.addPeers(at, known)
	}
	return now
}

// drivesShown are the drives; what is served without any is one.
func (a *API) drivesShown() []Drive {
	if a.Drives == nil {
		return Gateway{Endpoint: a.Node, Online: true}.drives()
	}
	return a.Drives()
}

// sampleBody is samples, one every so often, until there are as many as were asked for, the
// client goes, or the gateway ends.
type sampleBody struct {
	api     *API
	scope   scope
	ticker  *time.Ticker
	left    int
	endless bool
	next    []byte // to be read first
}

// parse reads what a client wants, and returns how often.
func (b *sampleBody) parse(c *Call) (every time.Duration, err error) {
	b.scope, every = scope{types: diskType | netType | rpcType, self: b.api.Node}, sampleEvery
	if text := c.Query.Get("types"); text != "" {
		if b.scope.types, err = strconv.ParseUint(text, 10, 32); err != nil {
			return 0, errInvalid.because(err)
		}
	}
	b.scope.hosts = strings.FieldsFunc(c.Query.Get("hosts"), func(c rune) bool { return c == ',' })
	if text := c.Query.Get("interval"); text != "" {
		if every, err = time.ParseDuration(text); err != nil {
			return 0, errInvalid.because(err)
		}
		every = min(max(every, sampleEvery), maxSampleEvery)
	}
	if text := c.Query.Get("n"); text != "" {
		if b.left, err = strconv.Atoi(text); err != nil || b.left < 0 {
			return 0, errInvalid.with("The number of samples must be one.")
		}
	}
	b.endless = b.left == 0 && c.Query.Get("n") != ""
	b.left = max(1, b.left)
	return every, nil
}

// begin takes the first sample, and refuses to go on where it is of drives and has none.
func (b *sampleBody) begin() error {
	first := b.api.takeSample(b.scope)
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
		case <-b.api.attending.Done():
			return 0, io.EOF
		}
		if err := b.put(b.api.takeSample(b.scope)); err != nil {
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
	b.api.sampling.Add(-1)
	return nil
}
