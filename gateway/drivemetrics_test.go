package gateway

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/shoal-storage/shoal/gateway/admin"
	"github.com/shoal-storage/shoal/internal/upkeep"
)

func TestHowDrivesStandAndPassesAreMeasured(t *testing.T) {
	now := time.Now()
	f := serve(t, func(c *Config) {
		c.PublicMetrics, c.Admin.Parities = true, func() (standard, reduced int) { return 2, 1 }
		c.Now = func() time.Time { return now }
		c.Admin.Drives = func() []admin.Drive {
			return []admin.Drive{{Node: "one", Parity: 2, Path: "/a", Online: true}, {Parity: 2, Path: "/b", Slot: -1, Online: true, Healing: true}, {Parity: 2, Path: "/c", Slot: 2}, {Parity: 2, Path: "/d", Slot: 3}}
		}
		c.Admin.Healing = &healer{passes: []upkeep.Pass{
			{Kind: upkeep.Everything, Token: "t", Begun: now.Add(-30 * time.Second), Told: now, Complete: now.Add(-time.Hour), Names: 50, Expected: 100, Failed: 2, Shards: 3, Bytes: 99},
			{Kind: upkeep.Scrub, Token: "u", Begun: now, Told: now, Ended: now, Damaged: 4},
		}}
	})
	page := f.ok(call{method: "GET", path: "/minio/v2/metrics/cluster", anonymous: true}).body
	for _, want := range []string{
		`shoal_drive_online{node="one",path="/a",slot="0"} 1`,
		`shoal_drive_online{node="",path="/d",slot="3"} 0`,
		`shoal_drive_healing{node="",path="/b",slot=""} 1`,
		`shoal_set_spare_drives{for="read",pool="0",set="0"} -1`,
		`shoal_set_spare_drives{for="write",pool="0",set="0"} -1`,
		`shoal_heal_pass_running{pass="everything"} 1`,
		`shoal_heal_pass_running{pass="scrub"} 0`,
		`shoal_heal_pass_names{pass="everything"} 50`,
		`shoal_heal_pass_expected_names{pass="everything"} 100`,
		`shoal_heal_pass_failed_names{pass="everything"} 2`,
		`shoal_heal_pass_shards{pass="everything"} 3`,
		`shoal_heal_pass_bytes{pass="everything"} 99`,
		`shoal_heal_pass_eta_seconds{pass="everything"} 30`,
		`shoal_heal_pass_damaged_shards{pass="scrub"} 4`,
		`shoal_heal_pass_complete_time_seconds{pass="everything"} ` + fmt.Sprint(float64(now.Add(-time.Hour).Unix())),
		`shoal_heal_pass_complete_time_seconds{pass="scrub"} ` + fmt.Sprint(float64(now.Unix())),
	} {
		if !strings.Contains(page, "\n"+want+"\n") {
			t.Errorf("there is no %s", want)
		}
	}
}
