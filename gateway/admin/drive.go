package admin

import (
	"cmp"
	"slices"
	"strconv"

	"github.com/shoal-storage/shoal/internal/upkeep"
)

// Drive is one of those that a gateway spreads objects over.
type Drive struct {
	Node    string // the Endpoint of its gateway, where several have drives
	Path    string
	ID      string
	Pool    int // that it is of
	Set     int // of the pool
	Parity  int // so many drives of the set may be lost
	Slot    int // its place among those of all sets; -1: it has none, or that is not known
	Online  bool
	Healing bool // it stands for another one, and does not have all of that yet
	Room    upkeep.Room
	place   int // in its set
}

// Labels are those by which metrics name the drive.
func (d Drive) Labels() map[string]string {
	slot := ""
	if d.Slot >= 0 {
		slot = strconv.Itoa(d.Slot)
	}
	return map[string]string{"node": d.Node, "path": d.Path, "slot": slot}
}

// endpoint names the drive among those of all gateways.
func (d Drive) endpoint() string {
	if d.Node == "" {
		return d.Path
	}
	return "http://" + d.Node + d.Path
}

// document is the drive as info shows it. mc sums up the room of those of each set whose index is
// below the number of data shards.
func (d Drive) document() map[string]any {
	state := "ok"
	if !d.Online {
		state = "offline"
	}
	return map[string]any{
		"endpoint": d.endpoint(), "path": d.Path, "uuid": d.ID, "state": state, "healing": d.Healing, "pool_index": d.Pool, "set_index": d.Set, "disk_index": d.place,
		"totalspace": d.Room.Total, "usedspace": d.Room.Used(), "availspace": d.Room.Free,
	}
}

// placed returns drives with their places in their sets.
func placed(all []Drive) []Drive {
	all = slices.Clone(all)
	next := make(map[[2]int]int) // by pool and set
	for i := range all {
		set := [2]int{all[i].Pool, all[i].Set}
		all[i].place = next[set]
		next[set]++
	}
	return all
}

// DriveSet is drives that share objects.
type DriveSet struct {
	Pool, Set, Parity int
	Drives            []Drive
}

// SetsOf returns the sets of drives, in their order.
func SetsOf(all []Drive) (sets []DriveSet) {
	for _, d := range all {
		i, found := slices.BinarySearchFunc(sets, d, func(s DriveSet, d Drive) int {
			return cmp.Or(cmp.Compare(s.Pool, d.Pool), cmp.Compare(s.Set, d.Set))
		})
		if !found {
			sets = slices.Insert(sets, i, DriveSet{Pool: d.Pool, Set: d.Set, Parity: d.Parity})
		}
		sets[i].Drives = append(sets[i].Drives, d)
	}
	return sets
}

// Quorums is how many drives of a set there are, and how many are needed.
type Quorums struct{ Online, Healing, Read, Write int }

// Quorums returns those of the set.
func (s *DriveSet) Quorums() (q Quorums) {
	for _, d := range s.Drives {
		if d.Online {
			q.Online++
		}
		if d.Online && d.Healing {
			q.Healing++
		}
	}
	q.Read = len(s.Drives) - s.Parity
	q.Write = max(q.Read, len(s.Drives)/2+1)
	return q
}
