package gateway

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/shoal-storage/shoal/gateway/admin"
)

func TestTheOldestLocksAreTold(t *testing.T) {
	asked := 0
	o := serveOfficeWith(t, func(cfg *Config) {
		cfg.Admin.Locks = func(_ context.Context, most int) []admin.Lock {
			asked = most
			return []admin.Lock{{Name: "o/bucket/a/b", Exclusive: true, Age: time.Minute, ID: "7", Holder: "gw1:9000"}, {Name: "b/bucket"}}
		}
	})
	answer, code := o.admin("boss", "GET", "top/locks", "count=20&stale=false", "")
	if code != "" || asked != 20 {
		t.Fatalf("%d were asked for: %s", asked, answer.body)
	}
	var locks []struct {
		Resource, Type, Owner string
		Elapsed               int64
		Time                  time.Time
	}
	o.must(t, json.Unmarshal([]byte(answer.body), &locks))
	first := locks[0]
	if len(locks) != 2 || first.Resource != "bucket/a/b" || first.Type != "Write" || first.Owner != "gw1:9000" || first.Elapsed != int64(time.Minute) || first.Time.IsZero() {
		t.Errorf("%+v", locks)
	}
	if second := locks[1]; second.Resource != "bucket" || second.Type != "Read" {
		t.Errorf("%+v", second)
	}
	for query, want := range map[string]int{"": 10, "count=1000000": 1000} {
		if _, code := o.admin("boss", "GET", "top/locks", query, ""); code != "" || asked != want {
			t.Errorf("%q asks for %d, want %d", query, asked, want)
		}
	}
	for _, query := range []string{"count=0", "count=-1", "count=x"} {
		if _, code := o.admin("boss", "GET", "top/locks", query, ""); code != "XMinioAdminInvalidArgument" {
			t.Errorf("%s: %s", query, code)
		}
	}
	if _, code := o.admin("ann", "GET", "top/locks", "", ""); code != "AccessDenied" {
		t.Errorf("ann: %s", code)
	}
}

func TestWhoServesAloneTellsOfNoLocks(t *testing.T) {
	if answer, code := serveOffice(t).admin("boss", "GET", "top/locks", "", ""); code != "NotImplemented" {
		t.Errorf("%d %s", answer.status, answer.body)
	}
}
