package main

import (
	"context"

	"github.com/shoal-storage/shoal/erasure/format"
	"github.com/shoal-storage/shoal/gateway/admin"
)

// activity returns what the nodes have done.
func (n *nodes) activity(ctx context.Context) (all []admin.Activity) {
	for _, a := range n.cluster.Activity(ctx) {
		shown := admin.Activity{Node: a.Node, Drives: shownActivity(a.Drives), Peers: make(map[string]admin.PeerTraffic), Err: a.Err}
		for node, t := range a.Traffic {
			shown.Peers[node] = admin.PeerTraffic(t)
		}
		all = append(all, shown)
	}
	return all
}

// activity returns what the drives have done.
func (s localSets) activity(context.Context) []admin.Activity {
	var drives []admin.DriveActivity
	for _, set := range s.all {
		drives = append(drives, shownActivity(set.Activity())...)
	}
	return []admin.Activity{{Drives: drives}}
}

func shownActivity(drives []format.Activity) (all []admin.DriveActivity) {
	for _, d := range drives {
		all = append(all, admin.DriveActivity(d))
	}
	return all
}
