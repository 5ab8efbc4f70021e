package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"testing"

	"github.com/shoal-storage/shoal/internal/object"
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
		cfg.Parities = func() (standard, reduced int) { return 1, 1 }
		cfg.Gateways = func(context.Context) []Gateway { return nil }
		cfg.Drives = func() []Drive {
			return []Drive{{Node: "n1:9000", Path: "/d", Parity: 1, Online: true}, {Node: "n2:9000", Path: "/d", Parity: 1}}
		}
		change(cfg)
	})
}

// toldInfo is what info tells.
type toldInfo struct {
	Buckets, Objects, Usage struct{ Error string }
	Servers                 []struct {
		Endpoint, State, Version string
		Drives                   []struct{ State string }
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
	o.server.Store = fewDrives{o.store}
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
	drives := []Drive{{Node: "n1:9000"}, {Node: "n2:9000", Online: true}, {Node: "n3:9000"}, {Node: "n4:9000"}, {Node: "n4:9000", Online: true}}
	o := serveTwoNodes(t, func(cfg *Config) {
		cfg.Version = "v1"
		cfg.Gateways = func(context.Context) []Gateway { return []Gateway{{Endpoint: "n2:9000"}, {Endpoint: "n3:9000"}} }
		cfg.Drives = func() []Drive { return drives }
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

func TestMetricsCountNodesThatOnlyTheirDrivesAreKnownOf(t *testing.T) {
	o := serveTwoNodes(t, func(cfg *Config) { cfg.PublicMetrics = true })
	for _, want := range []string{`minio_cluster_nodes_online_total{server="n1:9000"} 1`, `minio_cluster_nodes_offline_total{server="n1:9000"} 1`} {
		if got := o.minioLines(); !slices.Contains(got, want) {
			t.Errorf("there is no %s in %q", want, got)
		}
	}
}
