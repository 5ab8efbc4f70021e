package main

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shoal-storage/shoal/gateway"
	"github.com/shoal-storage/shoal/internal/upkeep"
)

// shownPools are pools as they are shown.
type shownPools []upkeep.Pool

func (p shownPools) Pools() ([]upkeep.Pool, error) { return slices.Clone(p), nil }

func (p shownPools) Drain(_ context.Context, pool int, drain bool) error {
	if pool == 0 {
		return upkeep.ErrLastPool
	}
	p[pool].Draining = time.Time{}
	if drain {
		p[pool].Draining = time.Now()
	}
	return nil
}

func TestAPoolIsDrainedAndKeptFromTheConsole(t *testing.T) {
	pools := shownPools{
		{Name: "/a{1...4}", Share: 0.5, Room: upkeep.Room{Free: 1 << 30, Total: 4 << 30}}, {Name: "/b{1...4}", Share: 0.5, Moved: upkeep.Progress{Names: 7, Bytes: 3 << 20}},
	}
	c := openConsole(t, func(cfg *gateway.Config) { cfg.Admin.DrivePools = pools })
	shows := func(want string) {
		t.Helper()
		out, said, code := c.run("", "pool", "ls")
		if code != 0 || !strings.Contains(strings.Join(strings.Fields(out), " "), want) {
			t.Errorf("exit %d, %s\n%s, want %s", code, said, out, want)
		}
	}
	shows("/a{1...4} active - 3 GiB 4 GiB 50% - - - -")
	shows("/b{1...4} active - - - 50% - - - -")
	pools[0].Leaving, pools[1].Coming, pools[1].Moved.Looked = 0.25, 0.25, 12
	shows("50% -25% 0 0 B 0")
	shows("50% +25% 7 3 MiB 0")
	shows("12 names were looked at")
	pools[0].Leaving, pools[1].Coming, pools[1].Moved.Looked = 0, 0, 0
	c.does("pool", "drain", "/b{1...4}")
	if out, _, _ := c.run("", "pool", "ls"); !strings.Contains(out, "draining") || !strings.Contains(out, "3 MiB") {
		t.Errorf("it is not shown that the pool is drained:\n%s", out)
	}
	pools[1].Empty = true
	if out, _, _ := c.run("", "pool", "ls"); !strings.Contains(out, "drained") {
		t.Errorf("it is not shown that nothing is left:\n%s", out)
	}
	c.does("pool", "keep", "/b{1...4}")
	shows("/b{1...4} active")
	if _, said, code := c.run("", "pool", "drain", "/a{1...4}"); code == 0 || !strings.Contains(said, "nowhere to move") {
		t.Errorf("exit %d, %s", code, said)
	}
}
