package admin

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// Activity is what the drives of a node, and its connections to the others, have done.
type Activity struct {
	Node   string // the Endpoint of its gateway; "": this one's
	Drives []DriveActivity
	Peers  map[string]PeerTraffic // by the Endpoints of the others
	Err    error                  // why the rest is not known
}

// DriveActivity is what the device has done that a drive is on.
type DriveActivity struct {
	Path     string
	Device   uint64   // its number: several drives may be on one
	Counters []uint64 // in the order of Documentation/block/stat.rst of Linux; nil: they are not known
	Why      string   // that is so
}

// diskSample is what is told of a drive, or several.
type diskSample struct {
	Collected time.Time `json:"collected"`
	Drives    int       `json:"n_disks"`
	Offline   int       `json:"offline,omitempty"`
	Healing   int       `json:"healing,omitempty"`
	IOStats   ioStats   `json:"iostats,omitempty"`
}

// ioStats are counters of a device, or of several. There is none that is not known.
type ioStats []uint64

// ioStatNames are what MinIO's tools call them, in their order.
func ioStatNames() []string {
	return []string{
		"read_ios", "read_merges", "read_sectors", "read_ticks", "write_ios", "write_merges", "wrte_sectors", "write_ticks",
		"current_ios", "total_ticks", "req_ticks", "discard_ios", "discard_merges", "discard_secotrs", "discard_ticks", "flush_ios", "flush_ticks",
	}
}

// MarshalJSON implements json.Marshaler.
func (s ioStats) MarshalJSON() ([]byte, error) {
	named := make(map[string]uint64)
	for i, name := range ioStatNames()[:min(len(s), len(ioStatNames()))] {
		named[name] = s[i]
	}
	return json.Marshal(named)
}

// and returns what devices have done together, as far as that is known of all.
func (s ioStats) and(others ioStats) ioStats {
	if s == nil {
		return slices.Clone(others)
	}
	s = s[:min(len(s), len(others))]
	for i := range s {
		s[i] += others[i]
	}
	return s
}

// addDrives tells what drives do, as far as nodes know it. A drive whose device is not counted is
// left out of those that are told apart: tools would take what is missing for zeros.
func (now *sample) addDrives(at time.Time, drives []Drive, known []Activity) {
	all := &diskSample{Collected: at}
	now.Aggregated.Disk, now.ByDisk = all, make(map[string]*diskSample)
	devices := make(map[string]bool) // that are in all
	for _, d := range drives {
		if !now.scope.about(d.Node) {
			continue
		}
		one := &diskSample{Collected: at, Drives: 1}
		if !d.Online {
			one.Offline = 1
		}
		if d.Healing {
			one.Healing = 1
		}
		of := now.host(d.Node).disk(at)
		of.add(one)
		all.add(one)
		a := activityOf(known, d)
		if a.Why != "" {
			now.Errors = append(now.Errors, d.endpoint()+": "+a.Why)
		}
		if a.Counters == nil {
			continue
		}
		one.IOStats, now.ByDisk[d.endpoint()] = a.Counters, one
		if device := fmt.Sprint(d.Node, " ", a.Device); !devices[device] {
			devices[device] = true
			of.IOStats, all.IOStats = of.IOStats.and(a.Counters), all.IOStats.and(a.Counters)
		}
	}
}

// activityOf returns that of a drive.
func activityOf(known []Activity, d Drive) DriveActivity {
	for _, a := range known {
		at := slices.IndexFunc(a.Drives, func(has DriveActivity) bool { return has.Path == d.Path })
		if a.Node == d.Node && at >= 0 {
			return a.Drives[at]
		}
	}
	return DriveActivity{}
}

// disk returns what is told of the drives of the host.
func (h *hostSample) disk(at time.Time) *diskSample {
	if h.Disk == nil {
		h.Disk = &diskSample{Collected: at}
	}
	return h.Disk
}

// add counts drives in.
func (s *diskSample) add(others *diskSample) {
	s.Drives += others.Drives
	s.Offline += others.Offline
	s.Healing += others.Healing
}
