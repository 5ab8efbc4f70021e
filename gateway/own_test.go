package gateway

import (
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/shoal-storage/shoal/gateway/admin"
)

func TestOwnPages(t *testing.T) {
	f := serve(t, nil)
	for _, path := range []string{"/minio/health/live", "/minio/health/ready", "/livez", "/readyz"} {
		if r := f.do(call{method: "GET", path: path, anonymous: true}); r.status != 200 {
			t.Errorf("%s: %d", path, r.status)
		}
	}
	f.refused("AccessDenied", call{method: "GET", path: "/minio/v2/metrics/cluster", anonymous: true})
	f.server.Drain()
	if r := f.do(call{method: "GET", path: "/minio/health/ready", anonymous: true}); r.status != 503 {
		t.Errorf("draining and ready: %d", r.status)
	}
	if r := f.do(call{method: "GET", path: "/minio/health/live", anonymous: true}); r.status != 200 {
		t.Errorf("draining and not live: %d", r.status)
	}
}

func TestMaintenanceIsRefusedWhereNothingCouldBeWrittenMeanwhile(t *testing.T) {
	var drives []admin.Drive
	f := serve(t, func(c *Config) { c.Node, c.Admin.Drives = "n1", func() []admin.Drive { return drives } })
	drive := func(node string, online bool) admin.Drive { return admin.Drive{Node: node, Parity: 2, Online: online} }
	for what, tt := range map[string]struct {
		drives []admin.Drive
		want   int
	}{
		"one of four":                    {[]admin.Drive{drive("n1", true), drive("n2", true), drive("n3", true), drive("n4", true)}, 200},
		"one of three that are left":     {[]admin.Drive{drive("n1", true), drive("n2", true), drive("n3", true), drive("n4", false)}, 412},
		"two of four drives":             {[]admin.Drive{drive("n1", true), drive("n1", true), drive("n3", true), drive("n4", true)}, 412},
		"one whose drive is away anyway": {[]admin.Drive{drive("n1", false), drive("n2", true), drive("n3", true), drive("n4", true)}, 200},
		"the only one":                   {[]admin.Drive{drive("", true), drive("", true), drive("", true), drive("", true)}, 412},
	} {
		drives = tt.drives
		if r := f.do(call{method: "GET", path: "/minio/health/cluster", query: "maintenance=true", anonymous: true}); r.status != tt.want {
			t.Errorf("%s: %d %s, want %d", what, r.status, r.body, tt.want)
		}
		if r := f.do(call{method: "GET", path: "/minio/health/cluster", anonymous: true}); r.status != 200 {
			t.Errorf("%s, without maintenance: %d", what, r.status)
		}
	}
}

func TestTheQuorumIsToldWhereThereAreDrives(t *testing.T) {
	drives := []admin.Drive{
		{Parity: 2, Online: true},
		{Parity: 2, Online: true},
		{Parity: 2, Online: true},
		{Parity: 2},
		{Set: 1, Parity: 1, Online: true, Healing: true},
		{Set: 1, Parity: 1, Online: true},
		{Set: 1, Parity: 1, Online: true},
		{Set: 1, Parity: 1, Online: true},
		{Set: 1, Parity: 1, Online: true},
	}
	healed := slices.Clone(drives)
	healed[4].Healing = false
	for _, tt := range []struct {
		drives          []admin.Drive
		quorum, healing string
	}{{drives, "4", "1"}, {healed, "4", ""}, {drives[:4], "3", ""}, {nil, "", ""}} {
		f := serve(t, func(c *Config) {
			if tt.drives != nil {
				c.Admin.Drives = func() []admin.Drive { return tt.drives }
			}
		})
		got := f.ok(call{method: "GET", path: "/minio/health/cluster", anonymous: true}).header
		if q, h := got.Get("x-minio-write-quorum"), got.Get("x-minio-healing-drives"); q != tt.quorum || h != tt.healing {
			t.Errorf("quorum %q and healing %q are told, want %q and %q", q, h, tt.quorum, tt.healing)
		}
	}
}

func TestMetricsOfBucketsHaveAPage(t *testing.T) {
	f := serve(t, nil)
	held := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "minio_bucket_usage_total_bytes", Help: "Bytes."}, []string{"bucket"})
	held.WithLabelValues("photos").Set(5)
	f.server.Metrics.Buckets.MustRegister(held)
	ask := call{method: "GET", path: "/minio/v2/metrics/bucket", anonymous: true}
	f.refused("AccessDenied", ask)
	f.server.PublicMetrics = true
	page := f.ok(ask).body
	if !strings.Contains(page, `minio_bucket_usage_total_bytes{bucket="photos"} 5`) || strings.Contains(page, "shoal_s3") || strings.Contains(page, "go_") {
		t.Errorf("the page is %s", page)
	}
	ask.path = "/minio/v2/metrics/resource"
	if page := f.ok(ask).body; !strings.Contains(page, "process_resident_memory_bytes") {
		t.Errorf("that of resources is %s", page)
	}
}
