package gateway

import (
	"context"
	"errors"
	"testing"
	"time"
)

func TestAChangeIsNotLeftToWaitForOthersThatAreAway(t *testing.T) {
	var waited time.Duration
	away, healed := false, false // healed: when somebody has waited for 3 s
	var moved time.Duration      // of the clock, by all who have waited
	began := time.Now()
	o := serveOfficeWith(t, func(cfg *Config) {
		cfg.Agreeing = func() error {
			if !away || healed && waited >= 3*time.Second {
				return nil
			}
			return errors.New("cut off")
		}
		cfg.Now = func() time.Time { return began.Add(moved) }
		cfg.wait = func(_ context.Context, d time.Duration) error {
			waited, moved = waited+d, moved+d
			return nil
		}
	})
	away = true
	changes := []call{
		{method: "PUT", path: "/new"},
		{method: "PUT", path: "/new", query: "tagging"},
		{method: "DELETE", path: "/new"},
		{method: "DELETE", path: "/minio/admin/v3/remove-user", query: "accessKey=ann"},
		{method: "POST", path: "/minio/admin/v3/idp/builtin/policy/attach"},
	}
	for i, c := range changes {
		waited = 0
		r := o.do(c)
		if r.status != 503 || i == 0 && waited < 4*time.Second || waited > 6*time.Second || i > 0 && waited > 0 {
			t.Errorf("%s %s: %d after %v: %s", c.method, c.path, r.status, waited, r.body)
		}
	}
	moved += time.Minute
	for _, c := range []call{
		{method: "GET", path: "/bucket"},
		{method: "PUT", path: "/bucket/k", body: "x"},
		{method: "GET", path: "/minio/admin/v3/info"},
		{method: "POST", path: "/minio/admin/v3/background-heal/status"},
	} {
		waited = 0
		if r := o.do(c); r.status == 503 || waited > 0 {
			t.Errorf("%s %s: %d after %v", c.method, c.path, r.status, waited)
		}
	}
	healed = true
	for _, name := range []string{"/new", "/newer"} { // the second right after the first
		waited = 0
		if r := o.do(call{method: "PUT", path: name}); r.status != 200 || waited != 3*time.Second {
			t.Errorf("%s made while a leader is chosen: %d after %v", name, r.status, waited)
		}
	}
}
