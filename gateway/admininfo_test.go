package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"testing"

	"github.com/shoal-storage/shoal/gateway/admin"
	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/upkeep"
	"github.com/shoal-storage/shoal/internal/usage"
)

// fewDrives is a Store that lacks the drives for any answer.
type fewDrives struct{ object.Store }

var errFewDrives = errors.New("1 of 4 drives can be reached")

func (fewDrives) ListBuckets(context.Context) ([]object.Bucket, error) {
	return nil, object.E("list buckets", "", object.Unavailable, errFewDrives)
}

// serveTwoNodes serves by the first of two nodes with a drive each, of which the second is away and no
// majority is left that knows members.
func serveTwoNodes(t *testing.T, change func(*Config)) *office {
	t.Helper()
	return serveOfficeWith(t, func(cfg *Config) {
		cfg.Node = "n1:9000"
		cfg.Admin.Parities = func() (standard, reduced int) { return 1, 1 }
		cfg.Admin.Gateways = func(context.Context) []admin.Gateway { return nil }
		cfg.Admin.Drives = func() []admin.Drive {
			return []admin.Drive{{Node: "n1:9000", Path: "/d", Parity: 1, Online: true}, {Node: "n2:9000", Path: "/d", Parity: 1}}
		}
		change(cfg)
	})
}

// toldInfo is what info tells.
type toldInfo struct {
	DeploymentID            string
	Buckets, Objects, Usage struct{ Error string }
	Pools                   map[int]map[int]map[string]uint64
	Backend                 struct{ TotalSets, TotalDrivesPerSet []int }
	Servers                 []struct {
		Endpoint, State, Version string
		Drives                   []struct {
			State string
			Place int `json:"disk_index"`
		}
	}
}

func (o *office) info() (told toldInfo) {
	o.t.Helper()
	answer, code := o.admin(testUser, "GET", "info", "", "")
	if code != "" {
		o.t.Fatalf("info: %s", answer.body)
	}
	o.must(o.t, json.Unmarshal([]byte(answer.body), &told))
	return told
}

func TestNodesAndDrivesAreToldWhileTheBucketsAreNotKnown(t *testing.T) {
	o := serveTwoNodes(t, func(*Config) {})
	o.server.api.Store = fewDrives{o.store}
	told := o.info()
	if len(told.Servers) != 2 || len(told.Servers[1].Drives) != 1 || told.Servers[1].Drives[0].State != "offline" {
		t.Errorf("of the nodes is told %+v", told.Servers)
	}
	why := object.E("list buckets", "", object.Unavailable, errFewDrives).Error()
	if told.Buckets.Error != why || told.Objects.Error != why || told.Usage.Error != why {
		t.Errorf("of the buckets is told %+v", told)
	}
}

func TestWithoutAMajorityTheNodesThatAreThereAreOnline(t *testing.T) {
	drives := []admin.Drive{{Node: "n1:9000"}, {Node: "n2:9000", Online: true}, {Node: "n3:9000"}, {Node: "n4:9000"}, {Node: "n4:9000", Online: true}}
	o := serveTwoNodes(t, func(cfg *Config) {
		cfg.Version = "v1"
		cfg.Admin.Gateways = func(context.Context) []admin.Gateway {
			return []admin.Gateway{{Endpoint: "n2:9000"}, {Endpoint: "n3:9000"}}
		}
		cfg.Admin.Drives = func() []admin.Drive { return drives }
	})
	states := make(map[string]string)
	for _, s := range o.info().Servers {
		states[s.Endpoint] = s.State + s.Version
	}
	for node, want := range map[string]string{"n1:9000": "onlinev1", "n2:9000": "online", "n3:9000": "offline", "n4:9000": "online"} {
		if states[node] != want {
			t.Errorf("%s is %s, want %s", node, states[node], want)
		}
	}
}

func TestSetsAreToldSoThatTheRoomOfPoolsCanBeSummedUp(t *testing.T) {
	drives := []admin.Drive{{Pool: 0, Set: 0}, {Pool: 0, Set: 0}, {Pool: 0, Set: 1}, {Pool: 0, Set: 1}, {Pool: 1}, {Pool: 1}, {Pool: 1}, {Pool: 1}}
	for i := range drives {
		drives[i].Node = []string{"n1:9000", "n2:9000"}[i%2]
	}
	told := serveTwoNodes(t, func(cfg *Config) { cfg.Admin.Drives = func() []admin.Drive { return drives } }).info()
	if b := told.Backend; !slices.Equal(b.TotalSets, []int{2, 1}) || !slices.Equal(b.TotalDrivesPerSet, []int{2, 4}) {
		t.Errorf("the sets are told as %+v", b)
	}
	for i, want := range [][]int{{0, 0, 0, 2}, {1, 1, 1, 3}} {
		for j, d := range told.Servers[i].Drives {
			if d.Place != want[j] {
				t.Errorf("drive %d of node %d has place %d, want %d", j, i, d.Place, want[j])
			}
		}
	}
}

func TestTheDeploymentAndItsSetsAreTold(t *testing.T) {
	drives := []admin.Drive{
		{Online: true, Room: upkeep.Room{Free: 60, Total: 100}},
		{Online: true, Healing: true, Room: upkeep.Room{Free: 50, Total: 100}},
		{Pool: 1, Online: true, Room: upkeep.Room{Free: 5, Total: 10}},
		{Pool: 1},
	}
	tell := func(drives []admin.Drive) toldInfo {
		o := serveTwoNodes(t, func(cfg *Config) {
			cfg.Admin.Deployment, cfg.Admin.Drives = "one", func() []admin.Drive { return drives }
		})
		o.server.api.Usage = &counted{store: o.store, last: map[string]usage.Usage{"bucket": {Bytes: 9, Objects: 2, Versions: 3, Markers: 4}}}
		return o.info()
	}
	told := tell(drives)
	want := map[int]map[int]map[string]uint64{
		0: {0: {"id": 0, "rawUsage": 90, "rawCapacity": 200, "healDisks": 1}},
		1: {0: {"id": 0, "rawUsage": 5, "rawCapacity": 10, "healDisks": 0}},
	}
	if told.DeploymentID != "one" || !reflect.DeepEqual(told.Pools, want) {
		t.Errorf("told are %q and %v", told.DeploymentID, told.Pools)
	}
	want = map[int]map[int]map[string]uint64{0: {0: {
		"id": 0, "rawUsage": 90, "rawCapacity": 200, "healDisks": 1, "usage": 9, "objectsCount": 2, "versionsCount": 3, "deleteMarkersCount": 4,
	}}}
	if told := tell(drives[:2]); !reflect.DeepEqual(told.Pools, want) {
		t.Errorf("of a single set is told %v", told.Pools)
	}
}

func TestMetricsCountNodesThatOnlyTheirDrivesAreKnownOf(t *testing.T) {
	o := serveTwoNodes(t, func(cfg *Config) { cfg.PublicMetrics = true })
	for _, want := range []string{`minio_cluster_nodes_online_total{server="n1:9000"} 1`, `minio_cluster_nodes_offline_total{server="n1:9000"} 1`} {
		if got := o.minioLines(); !slices.Contains(got, want) {
			t.Errorf("there is no %s in %q", want, got)
		}
	}
}
