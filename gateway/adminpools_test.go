package gateway

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/shoal-storage/shoal/internal/upkeep"
)

// twoPools are pools of which only the second one can be drained.
type twoPools struct{ since time.Time }

func (p *twoPools) Pools() ([]upkeep.Pool, error) {
	return []upkeep.Pool{
		{Name: "/a{1...4}", Coming: 0.5, Room: upkeep.Room{Free: 30, Total: 40}},
		{Name: "/b{1...4}", Leaving: 0.5, Draining: p.since, Began: 10, Room: upkeep.Room{Free: 20, Total: 40}, Moved: upkeep.Progress{Names: 7, Versions: 8, Bytes: 9}},
	}, nil
}

func (p *twoPools) Drain(_ context.Context, pool int, drain bool) error {
	if pool == 0 {
		return upkeep.ErrLastPool
	}
	p.since = time.Time{}
	if drain {
		p.since = time.Unix(1, 0)
	}
	return nil
}

func TestPoolsAreDrainedAndShown(t *testing.T) {
	o := serveOfficeWith(t, func(cfg *Config) { cfg.Admin.DrivePools = &twoPools{} })
	for _, step := range []struct{ method, path, query, code, want string }{
		{"GET", "pools/list", "", "", `"startTime":"0001-01-01T00:00:00Z"`},
		{"POST", "pools/decommission", "pool=/a{1...4}", "XMinioAdminInvalidArgument", ""},
		{"POST", "pools/decommission", "pool=/c{1...4}", "XMinioAdminInvalidArgument", ""},
		{"POST", "pools/decommission", "pool=/b{1...4}", "", ""},
		{"GET", "pools/status", "pool=1&by-id=true", "", `"objectsDecommissioned":7`},
		{"GET", "pools/status", "pool=1&by-id=true", "", `"startSize":10,"totalSize":40,"currentSize":20`},
		{"GET", "rebalance/status", "", "", `{"id":0,"status":"Started","used":0.25,"progress":{"objects":0,"versions":0,"bytes":0,"elapsed":0}},{"id":1,"status":"Started","used":0.5,"progress":{"objects":7,"versions":8,"bytes":9,"elapsed":0}}`},
		{"POST", "rebalance/start", "", "NotImplemented", ""},
		{"POST", "pools/cancel", "pool=/b{1...4}", "", ""},
		{"GET", "pools/status", "pool=/b{1...4}", "", `"startTime":"0001-01-01T00:00:00Z","startSize":0,"totalSize":40`},
	} {
		answer, code := o.admin("boss", step.method, step.path, strings.NewReplacer("{", "%7B", "}", "%7D", "/", "%2F").Replace(step.query), "")
		if code != step.code || !strings.Contains(string(answer.body), step.want) {
			t.Errorf("%s %s?%s is %s %s", step.method, step.path, step.query, code, answer.body)
		}
	}
	if _, code := o.admin("ann", "GET", "pools/list", "", ""); code != "AccessDenied" {
		t.Errorf("somebody without rights gets %q", code)
	}
}
