package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"strings"

	"github.com/shoal-storage/shoal/internal/neighbours"
	"github.com/shoal-storage/shoal/internal/uuid"
	"github.com/shoal-storage/shoal/raftlock/mesh"
)

// neighbourProtocol is how gateways of one host that share a mount have one another let
// go of a file.
const neighbourProtocol = "neighbours/1"

// askNeighbours has this gateway ask those that use its mount, and answer them.
func (fl *fleet) askNeighbours(ctx context.Context) error {
	here, err := fl.here()
	if err != nil {
		return err
	}
	group := neighbours.New(ctx, neighbours.Config{Here: here, Others: fl.others, Dial: fl.dialNeighbour, LetGo: fl.letGo, Logger: fl.log})
	fl.mesh.Handle(neighbourProtocol, func(c *mesh.Conn) { group.Serve(c) })
	fl.near.Store(group)
	return nil
}

// here is the same for two processes if they use the same mount of one kernel, whatever
// containers they are in.
func (fl *fleet) here() (string, error) {
	st, err := fl.root.Stat(".")
	if err != nil {
		return "", err
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return uuid.New(), nil // where the system does not tell there are no neighbours
	}
	return fmt.Sprintf("%s %d", strings.TrimSpace(string(boot)), st.Dev), nil
}

// others are the gateways that serve the tree, or may still.
func (fl *fleet) others() []neighbours.Peer {
	node := fl.joined.Load()
	if node == nil {
		return nil
	}
	var all []neighbours.Peer
	for _, o := range node.Others() {
		all = append(all, neighbours.Peer{Node: o.Node, Address: o.Address})
	}
	return all
}

func (fl *fleet) dialNeighbour(ctx context.Context, p neighbours.Peer) (net.Conn, error) {
	return fl.mesh.Dial(ctx, p.Address, p.Node, neighbourProtocol)
}

// holdNeighbours is vfs.Sharing.Others.
func (fl *fleet) holdNeighbours(path string) (done func()) {
	near := fl.near.Load()
	if near == nil {
		return func() {}
	}
	return near.Hold(path)
}

// letGo has this gateway let go of a file. Before it has opened the tree it uses none.
func (fl *fleet) letGo(path string) (done func()) {
	own := fl.own.Load()
	if own == nil {
		return func() {}
	}
	return own.LetGo(path)
}
