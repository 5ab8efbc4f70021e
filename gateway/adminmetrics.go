package gateway

import (
	"cmp"
	"context"
	"encoding/json"
	"io"
	"strconv"
	"time"
)

// Traffic is what has come and gone over a network interface of the host since it was started.
type Traffic struct {
	Interface                    string
	Received, Sent               uint64 // bytes
	PacketsReceived, PacketsSent uint64
	ReceiveErrors, SendErrors    uint64
}

// netType is the type of metrics about the network, as MinIO's tools ask for it. Others are for
// Prometheus.
const netType = 1 << 5

// Bounds of samples.
const (
	maxSampleEvery = time.Hour
	sampleEvery    = time.Second // at least
)

// sample is what MinIO's tools are told of a gateway at a time.
type sample struct {
	Errors     []string               `json:"errors,omitempty"`
	Hosts      []string               `json:"hosts"`
	Aggregated hostSample             `json:"aggregated"`
	ByHost     map[string]*hostSample `json:"by_host,omitempty"`
	Final      bool                   `json:"final"`
}

type hostSample struct {
	Net *netSample `json:"net,omitempty"`
}

type netSample struct {
	Collected     time.Time `json:"collected"`
	InterfaceName string    `json:"interfaceName"`
	NetStats      netStats  `json:"netstats"`
}

type netStats struct {
	Name      string `json:"name"`
	RxBytes   uint64 `json:"rx_bytes"`
	RxPackets uint64 `json:"rx_packets"`
	RxErrors  uint64 `json:"rx_errors"`
	TxBytes   uint64 `json:"tx_bytes"`
	TxPackets uint64 `json:"tx_packets"`
	TxErrors  uint64 `json:"tx_errors"`
}

// liveMetrics serves metrics: a stream of JSON, a document every so often, of what this gateway's
// host has sent and received.
func (s *Server) liveMetrics(_ context.Context, r *request) error {
	types, err := strconv.ParseUint(cmp.Or(r.query.get("types"), strconv.Itoa(netType)), 10, 32)
	if err != nil {
		return errAdminInvalid.because(err)
	}
	if types&netType == 0 || s.Traffic == nil {
		return errNotImplemented.with(noLiveMetrics)
	}
	b := &sampleBody{s: s, every: sampleEvery}
	if text := r.query.get("interval"); text != "" {
		if b.every, err = time.ParseDuration(text); err != nil {
			return errAdminInvalid.because(err)
		}
		b.every = min(max(b.every, sampleEvery), maxSampleEvery)
	}
	if text := r.query.get("n"); text != "" {
		if b.left, err = strconv.Atoi(text); err != nil || b.left < 0 {
			return errAdminInvalid.with("The number of samples must be one.")
		}
		b.endless = b.left == 0
	}
	r.set("Content-Type", "application/json")
	r.ctx.Response.SetBodyStream(b, -1)
	return nil
}

// sampleHost returns what is known now.
func (s *Server) sampleHost() sample {
	now := sample{Hosts: []string{s.Node}}
	t, err := s.Traffic()
	if err != nil {
		now.Errors = []string{err.Error()}
		return now
	}
	host := hostSample{Net: &netSample{
		Collected: s.Now().UTC(), InterfaceName: t.Interface,
		NetStats: netStats{Name: t.Interface, RxBytes: t.Received, RxPackets: t.PacketsReceived, RxErrors: t.ReceiveErrors, TxBytes: t.Sent, TxPackets: t.PacketsSent, TxErrors: t.SendErrors},
	}}
	now.Aggregated, now.ByHost = host, map[string]*hostSample{s.Node: &host}
	return now
}

// sampleBody is samples, one every so often, until there are as many as were asked for, the
// client goes, or the gateway ends.
type sampleBody struct {
	s       *Server
	every   time.Duration
	left    int
	endless bool
	begun   bool
	next    []byte // to be read first
}

// Read waits for the next sample.
func (b *sampleBody) Read(p []byte) (int, error) {
	if len(b.next) == 0 {
		if b.begun && !b.endless && b.left == 0 {
			return 0, io.EOF
		}
		if b.begun {
			timer := time.NewTimer(b.every)
			defer timer.Stop()
			select {
			case <-timer.C:
			case <-b.s.attending.Done():
				return 0, io.EOF
			}
		}
		b.begun, b.left = true, max(0, b.left-1)
		now := b.s.sampleHost()
		now.Final = !b.endless && b.left == 0
		line, err := json.Marshal(now)
		if err != nil {
			return 0, err //nolint:wrapcheck // it has numbers and names only
		}
		b.next = append(line, '\n')
	}
	n := copy(p, b.next)
	b.next = b.next[n:]
	return n, nil
}
