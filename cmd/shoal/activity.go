package main

import (
	"context"

	"github.com/shoal-storage/shoal/erasure/format"
	"github.com/shoal-storage/shoal/gateway"
)

// activity returns what the nodes have done.
func (n *nodes) activity(ctx context.Context) (all []gateway.Activity) {
	for _, a := range n.cluster.Activity(ctx) {
		shown := gateway.Activity{Node: a.Node, Drives: shownActivity(a.Drives), Peers: make(map[string]gateway.PeerTraffic), Err: a.Err}
		for node, t := range a.Traffic {
			shown.Peers[node] = gateway.PeerTraffic(t)
		}
		all = append(all, shown)
	}
	return all
}

// activity returns what the drives have done.
func (s localSets) activity(context.Context) []gateway.Activity {
	var drives []gateway.DriveActivity
	for _, set := range s.all {
		drives = append(drives, shownActivity(set.Activity())...)
	}
	return []gateway.Activity{{Drives: drives}}
}

func shownActivity(drives []format.Activity) (all []gateway.DriveActivity) {
	for _, d := range drives {
		all = append(all, gateway.DriveActivity(d))
	}
	return all
}
