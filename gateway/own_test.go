package gateway

import (
	"testing"
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
	var drives []Drive
	f := serve(t, func(c *Config) { c.Node, c.Drives = "n1", func() []Drive { return drives } })
	drive := func(node string, online bool) Drive { return Drive{Node: node, Parity: 2, Online: online} }
	for what, tt := range map[string]struct {
		drives []Drive
		want   int
	}{
		"one of four":                    {[]Drive{drive("n1", true), drive("n2", true), drive("n3", true), drive("n4", true)}, 200},
		"one of three that are left":     {[]Drive{drive("n1", true), drive("n2", true), drive("n3", true), drive("n4", false)}, 412},
		"two of four drives":             {[]Drive{drive("n1", true), drive("n1", true), drive("n3", true), drive("n4", true)}, 412},
		"one whose drive is away anyway": {[]Drive{drive("n1", false), drive("n2", true), drive("n3", true), drive("n4", true)}, 200},
		"the only one":                   {[]Drive{drive("", true), drive("", true), drive("", true), drive("", true)}, 412},
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
