package main

import (
	"context"
	"net"
	"strings"
)

// listenedTo is the other gateways of a fleet as they are listened to by a protocol.
type listenedTo struct {
	fleet    *fleet
	protocol string
}

// Others implements relay.Peers.
func (l listenedTo) Others() []string {
	var all []string
	for _, o := range l.fleet.node.Others() {
		all = append(all, o.Node+" "+o.Address)
	}
	return all
}

// Dial implements relay.Peers.
func (l listenedTo) Dial(ctx context.Context, peer string) (net.Conn, error) {
	node, address, _ := strings.Cut(peer, " ")
	return l.fleet.network.Dial(ctx, address, node, l.protocol)
}

// How gateways tell one another of the calls that they serve, and of what they log.
const (
	traceProtocol = "trace/1"
	logProtocol   = "log/1"
)

// serveTrace tells another gateway of the calls here.
func (fl *fleet) serveTrace(c net.Conn, node string) {
	if err := fl.trace.Serve(context.Background(), c); err != nil {
		fl.log.Debug("a gateway that traced calls is gone", "node", node, "error", err)
	}
}

// serveLogs tells another gateway what is logged here.
func (fl *fleet) serveLogs(c net.Conn, node string) {
	if err := fl.logs.Serve(context.Background(), c); err != nil {
		fl.log.Debug("a gateway that watched the log is gone", "node", node, "error", err)
	}
}
