package gateway

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shoal-storage/shoal/gateway/admin"
	"github.com/shoal-storage/shoal/internal/upkeep"
)

// minioLines returns what the metrics page tells under MinIO's names.
func (f *fixture) minioLines() []string {
	f.t.Helper()
	var lines []string
	page := f.ok(call{method: "GET", path: "/minio/v2/metrics/cluster", anonymous: true})
	for line := range strings.Lines(page.body) {
		if strings.HasPrefix(line, "minio_") && !strings.HasPrefix(line, "minio_node_go_routine_total{") {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return lines
}

func TestMetricsHaveTheNamesThatMinIOsDashboardsAskFor(t *testing.T) {
	now := time.Now()
	f := serve(t, func(c *Config) {
		c.PublicMetrics, c.Node, c.Version = true, "one", "v1"
		c.Now = func() time.Time { return now }
		c.Admin.Gateways = func(context.Context) []admin.Gateway { return []admin.Gateway{{Online: true}, {Online: true}, {}} }
		c.Admin.Drives = func() []admin.Drive {
			return []admin.Drive{{Parity: 2, Path: "/a", Online: true}, {Parity: 2, Path: "/b", Slot: 1, Online: true}, {Parity: 2, Path: "/c", Slot: -1, Online: true, Healing: true}, {Parity: 2, Path: "/d", Slot: 3}}
		}
		c.Admin.Parities = func() (standard, reduced int) { return 2, 1 }
		c.Admin.Healing = &healer{passes: []upkeep.Pass{
			{Kind: upkeep.Everything, Token: "t", Begun: now.Add(-time.Minute), Told: now.Add(-time.Second), Names: 50, Expected: 100, Failed: 2},
			{Kind: upkeep.Scrub, Token: "u", Begun: now, Told: now, Ended: now},
		}}
	})
	f.ok(call{method: "PUT", path: "/bucket"})
	f.ok(call{method: "PUT", path: "/bucket/k", body: "four"})
	f.ok(call{method: "GET", path: "/bucket/k"})
	f.refused("NoSuchKey", call{method: "GET", path: "/bucket/none"})
	f.refused("NotImplemented", call{method: "PUT", path: "/bucket/k", header: map[string]string{"X-Amz-Server-Side-Encryption": "AES256"}})
	f.do(call{method: "GET", path: "/minio/admin/v3/info"}) // is none of S3
	got := f.minioLines()
	if all := strings.Join(got, ""); strings.Contains(all, "info\",server") || strings.Contains(all, "unknown") {
		t.Errorf("what is no request of S3 is counted: %s", all)
	}
	for _, want := range []string{
		`minio_cluster_nodes_online_total{server="one"} 2`,
		`minio_cluster_nodes_offline_total{server="one"} 1`,
		`minio_cluster_drive_online_total{server="one"} 3`,
		`minio_cluster_drive_offline_total{server="one"} 1`,
		`minio_cluster_drive_total{server="one"} 4`,
		`minio_cluster_health_status{server="one"} 1`,
		`minio_cluster_health_erasure_set_online_drives{pool="0",server="one",set="0"} 3`,
		`minio_cluster_health_erasure_set_healing_drives{pool="0",server="one",set="0"} 1`,
		`minio_cluster_health_erasure_set_read_quorum{pool="0",server="one",set="0"} 2`,
		`minio_cluster_health_erasure_set_write_quorum{pool="0",server="one",set="0"} 3`,
		`minio_heal_objects_total{server="one",type="object"} 50`,
		`minio_heal_objects_errors_total{server="one",type="object"} 2`,
		`minio_heal_time_last_activity_nano_seconds{server="one"} 1e+09`,
		`minio_node_process_starttime_seconds{server="one"} ` + fmt.Sprint(float64(now.Unix())),
		`minio_node_process_uptime_seconds{server="one"} 0`,
		`minio_software_version_info{server="one",version="v1"} 1`,
		`minio_s3_requests_total{api="getobject",server="one"} 2`,
		`minio_s3_requests_total{api="putobject",server="one"} 2`,
		`minio_s3_requests_4xx_errors_total{api="getobject",server="one"} 1`,
		`minio_s3_requests_5xx_errors_total{api="putobject",server="one"} 1`,
		`minio_s3_requests_errors_total{api="getobject",server="one"} 1`,
		`minio_s3_requests_errors_total{api="putobject",server="one"} 1`,
		`minio_s3_traffic_received_bytes{server="one"} 4`,
	} {
		if !slices.Contains(got, want) {
			t.Errorf("there is no %s in\n%s", want, strings.Join(got, "\n"))
		}
	}
}
