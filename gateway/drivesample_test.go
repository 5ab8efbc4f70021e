package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shoal-storage/shoal/gateway/admin"
)

// countersFrom returns so many numbers, from a first one on.
func countersFrom(first uint64, n int) (all []uint64) {
	for i := range n {
		all = append(all, first+uint64(i)) //nolint:gosec // a handful
	}
	return all
}

// serveDrives serves with drives of three nodes: of "a:9000" two on one device and one whose device is
// not counted, of "b:9000" one, by an older kernel, and of "c:9000" one, which does not answer.
func serveDrives(t *testing.T) *office {
	t.Helper()
	return serveOfficeWith(t, func(cfg *Config) {
		cfg.Node, cfg.Self = "a:9000", Node{ID: "a"}
		cfg.Admin.Drives = func() []admin.Drive {
			return []admin.Drive{
				{Node: "a:9000", Path: "/d1", Online: true},
				{Node: "a:9000", Path: "/d2", Online: true, Healing: true},
				{Node: "a:9000", Path: "/d3", Online: true},
				{Node: "b:9000", Path: "/d1", Online: true},
				{Node: "c:9000", Path: "/d1"},
			}
		}
		cfg.Admin.Activity = func(context.Context) []admin.Activity {
			return []admin.Activity{
				{Node: "a:9000", Drives: []admin.DriveActivity{
					{Path: "/d1", Device: 1, Counters: countersFrom(100, 17)}, {Path: "/d2", Device: 1, Counters: countersFrom(100, 17)}, {Path: "/d3", Device: 2, Why: "it has no device"},
				}, Peers: map[string]admin.PeerTraffic{"b:9000": {Online: true, Connected: 3, Age: 60e9, Sent: 1000, Received: 2000, Asked: 10, Answered: 9, Waiting: 1, Shards: 2, Silence: 1e9, RoundTrip: 3e6, Longest: 7e6}, "c:9000": {}}},
				{Node: "b:9000", Drives: []admin.DriveActivity{{Path: "/d1", Device: 1, Counters: countersFrom(1, 11)}}, Peers: map[string]admin.PeerTraffic{"a:9000": {Online: true, Connected: 1, Sent: 500, Silence: 2e9, RoundTrip: 4e6, Longest: 5e6}, "c:9000": {}}},
				{Node: "c:9000", Err: errors.New("c:9000: it is away")},
			}
		}
	})
}

// told is a sample as MinIO's tools read it.
type told struct {
	Errors, Hosts []string
	Aggregated    toldOfHost
	ByHost        map[string]toldOfHost `json:"by_host"`
	ByDisk        map[string]toldOfDisk `json:"by_disk"`
	Final         bool
}

type toldOfHost struct {
	Disk *toldOfDisk
	RPC  *toldOfPeers
	Net  *struct {
		Collected     time.Time
		InterfaceName string
		NetStats      struct {
			Received uint64 `json:"rx_bytes"`
			Sent     uint64 `json:"tx_bytes"`
		}
	}
}

type toldOfDisk struct {
	Drives           int `json:"n_disks"`
	Offline, Healing int
	IOStats          map[string]uint64
}

type toldOfPeers struct {
	Connected, Disconnected, ReconnectCount, OutgoingStreams, OutQueue int
	OutgoingBytes, IncomingBytes, OutgoingMessages, IncomingMessages   int64
	LastPingMS, MaxPingDurMS                                           float64
	CollectedAt, LastPongTime, LastConnectTime                         string
	ByDestination                                                      map[string]toldOfPeers
}

// sampleOf returns the one sample that a query asks for.
func (o *office) sampleOf(query string) (s told) {
	o.t.Helper()
	answer, code := o.admin("boss", "GET", "metrics", query+"&n=1", "")
	if code != "" {
		o.t.Fatal(answer.body)
	}
	o.must(o.t, json.Unmarshal([]byte(answer.body), &s))
	return s
}

func TestSamplesTellWhatTheDevicesOfDrivesHaveDone(t *testing.T) {
	o := serveDrives(t)
	got := o.sampleOf("types=2&by-disk=true")
	if names := slices.Sorted(maps.Keys(got.ByDisk)); !slices.Equal(names, []string{"http://a:9000/d1", "http://a:9000/d2", "http://b:9000/d1"}) {
		t.Errorf("drives: %v", names)
	}
	of := got.ByDisk["http://a:9000/d2"]
	for name, want := range map[string]uint64{"read_ios": 100, "read_sectors": 102, "read_ticks": 103, "write_ios": 104, "wrte_sectors": 106, "current_ios": 108, "total_ticks": 109, "discard_secotrs": 113, "flush_ticks": 116} {
		if of.IOStats[name] != want {
			t.Errorf("%s: %d, want %d", name, of.IOStats[name], want)
		}
	}
	if of.Drives != 1 || of.Healing != 1 || of.Offline != 0 {
		t.Errorf("one that heals: %+v", of)
	}
	if _, known := got.ByDisk["http://b:9000/d1"].IOStats["discard_ios"]; known || len(got.ByDisk["http://b:9000/d1"].IOStats) != 11 {
		t.Error("what an older kernel does not count is known")
	}
	if a := got.ByHost["a:9000"].Disk; a == nil || a.Drives != 3 || a.IOStats["read_ios"] != 100 {
		t.Errorf("a device with two drives counts once for its host: %+v", a)
	}
	if all := got.Aggregated.Disk; all == nil || all.Drives != 5 || all.Offline != 1 || all.Healing != 1 || all.IOStats["read_ios"] != 101 || len(all.IOStats) != 11 {
		t.Errorf("all together: %+v", all)
	}
	if want := []string{"c:9000: it is away", "http://a:9000/d3: it has no device"}; !slices.Equal(got.Errors, want) {
		t.Errorf("what is not known: %q", got.Errors)
	}
}

func TestSamplesNameDrivesAsInfoDoes(t *testing.T) {
	o := serveDrives(t)
	o.server.api.Gateways = func(context.Context) []admin.Gateway { return []admin.Gateway{{Endpoint: "a:9000", Online: true}} }
	var info struct {
		Servers []struct{ Drives []struct{ Endpoint string } }
	}
	answer, _ := o.admin("boss", "GET", "info", "", "")
	o.must(t, json.Unmarshal([]byte(answer.body), &info))
	names := make(map[string]bool)
	for _, s := range info.Servers {
		for _, d := range s.Drives {
			names[d.Endpoint] = true
		}
	}
	for name := range o.sampleOf("types=2").ByDisk {
		if !names[name] {
			t.Errorf("info does not know %s: %v", name, names)
		}
	}
}

func TestWhereNoDeviceIsCountedThatIsSaid(t *testing.T) {
	o := serveOfficeWith(t, func(cfg *Config) {
		cfg.Admin.Drives = func() []admin.Drive { return []admin.Drive{{Path: "/d1", Online: true}} }
		cfg.Admin.Activity = func(context.Context) []admin.Activity {
			return []admin.Activity{{Drives: []admin.DriveActivity{{Path: "/d1", Why: "it has no device"}}}}
		}
	})
	if answer, code := o.admin("boss", "GET", "metrics", "types=2&n=1", ""); code != "NotImplemented" || !strings.Contains(answer.body, "/d1: it has no device") {
		t.Errorf("%q: %s", code, answer.body)
	}
	if _, code := o.admin("boss", "GET", "metrics", "types=256&n=1", ""); code != "NotImplemented" {
		t.Errorf("between nodes, where there is one: %q", code)
	}
}

func TestSamplesTellWhatGoesBetweenNodes(t *testing.T) {
	o := serveDrives(t)
	got := o.sampleOf("types=256&by-host=true")
	if got.Aggregated.RPC == nil || got.ByHost["a:9000"].RPC == nil || got.Aggregated.Disk != nil {
		t.Fatalf("%+v", got)
	}
	b := got.Aggregated.RPC.ByDestination["b:9000"]
	if b.Connected != 1 || b.Disconnected != 0 || b.ReconnectCount != 2 || b.OutgoingStreams != 2 || b.OutQueue != 1 || b.OutgoingBytes != 1000 || b.IncomingBytes != 2000 || b.OutgoingMessages != 10 || b.IncomingMessages != 9 || b.LastPingMS != 3 || b.MaxPingDurMS != 7 || b.LastPongTime == "" || b.LastConnectTime == "" {
		t.Errorf("to a node: %+v", b)
	}
	if c := got.Aggregated.RPC.ByDestination["c:9000"]; c.Connected != 0 || c.Disconnected != 2 || c.LastPongTime != "" || c.ReconnectCount != 0 {
		t.Errorf("to one that is away: %+v", c)
	}
	all := got.Aggregated.RPC
	if all.Connected != 2 || all.Disconnected != 2 || all.OutgoingBytes != 1500 || all.LastPingMS != 3 || all.MaxPingDurMS != 7 {
		t.Errorf("all together, with the latest ping: %+v", all)
	}
	if from := got.ByHost["b:9000"].RPC; from.OutgoingBytes != 500 || from.ByDestination["a:9000"].OutgoingBytes != 500 || from.LastPingMS != 4 {
		t.Errorf("from a node: %+v", from)
	}
	if !slices.Equal(got.Errors, []string{"c:9000: it is away"}) {
		t.Errorf("what is not known: %q", got.Errors)
	}
}

func TestSamplesAreOfTheHostsThatAreNamed(t *testing.T) {
	got := serveDrives(t).sampleOf("types=258&hosts=b:9000,")
	if !slices.Equal(got.Hosts, []string{"b:9000"}) || len(got.ByHost) != 1 || len(got.ByDisk) != 1 || got.Aggregated.RPC.OutgoingBytes != 500 || len(got.Errors) != 0 {
		t.Errorf("%+v", got)
	}
}
