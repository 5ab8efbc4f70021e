package format

import "github.com/shoal-storage/shoal/internal/vfs"

// Activity is what the device of a drive has done.
type Activity struct {
	Path     string   `json:"path"`
	Device   uint64   `json:"device"`             // its number: several drives may be on one
	Counters []uint64 `json:"counters,omitempty"` // see vfs.Counters
	Why      string   `json:"why,omitempty"`      // there are none
}

// Activity returns that of the drives that are there, in the order of the paths. It asks no disk.
func (l *Local) Activity() (all []Activity) {
	l.mu.Lock()
	for _, p := range l.places {
		if p.dir != nil {
			all = append(all, Activity{Path: p.path, Device: p.at.Dev})
		}
	}
	l.mu.Unlock()
	for i := range all {
		var err error
		if all[i].Counters, err = vfs.Counters(all[i].Device); err != nil {
			all[i].Why = err.Error()
		}
	}
	return all
}

// Activity returns that of the drives of the set that are there.
func (s *Set) Activity() []Activity { return s.local.Activity() }
