package gateway

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/quota"
	"github.com/shoal-storage/shoal/internal/usage"
)

// counted is a Usage that counts and remembers.
type counted struct {
	store object.Store
	last  map[string]usage.Usage
}

func (c *counted) Known(b object.Bucket) (usage.Usage, bool, error) {
	u, known := c.last[b.Name]
	return u, known, nil
}

func (c *counted) Count(ctx context.Context, b object.Bucket) (usage.Usage, error) {
	u, err := usage.Count(ctx, c.store, b.Name, time.Now)
	c.last[b.Name] = u
	return u, err
}

// serveUsage serves an office that knows what its buckets hold.
func serveUsage(t *testing.T) *office {
	o := serveOffice(t)
	o.server.api.Usage = &counted{store: o.store, last: map[string]usage.Usage{}}
	return o
}

func TestAQuotaIsSetShownAndClearedByWhoMay(t *testing.T) {
	o := serveUsage(t)
	set := func(user, body string) reply {
		return o.do(call{method: "PUT", path: "/minio/admin/v3/set-bucket-quota", query: "bucket=bucket", body: body, user: user, secret: secretOf(user)})
	}
	shown := func() string {
		return o.ok(call{method: "GET", path: "/minio/admin/v3/get-bucket-quota", query: "bucket=bucket", user: "boss", secret: secretOf("boss")}).body
	}
	if got := shown(); got != `{"quota":0,"size":0,"rate":0,"requests":0}` {
		t.Errorf("without a quota shown is %s", got)
	}
	if r := set("ann", `{"quota":10,"size":10,"rate":0,"requests":0,"quotatype":"hard"}`); r.status != 403 {
		t.Errorf("who may not set a quota is answered %d", r.status)
	}
	if r := set("boss", `{"quota":10,"size":10,"rate":0,"requests":0,"quotatype":"hard"}`); r.status != 200 {
		t.Errorf("setting it: %d %s", r.status, r.body)
	}
	if got := shown(); got != `{"quota":10,"size":10,"rate":0,"requests":0,"quotatype":"hard"}` {
		t.Errorf("shown is %s", got)
	}
	for body, code := range map[string]string{
		`{"quota":-1,"quotatype":"hard"}`:           "XMinioAdminInvalidArgument",
		`{"quota":1,"size":2,"quotatype":"hard"}`:   "XMinioAdminInvalidArgument",
		`{"quota":1,"quotatype":"fifo"}`:            "NotImplemented",
		`{"quota":1,"rate":1,"quotatype":"hard"}`:   "NotImplemented",
		`{"quota":1,"requests":1,"quotatype":"no"}`: "NotImplemented",
		`no document`: "XMinioAdminConfigBadJSON",
	} {
		if r := set("boss", body); !strings.Contains(r.body, `"Code":"`+code+`"`) {
			t.Errorf("%s: %d %s, want %s", body, r.status, r.body, code)
		}
	}
	if r := set("boss", `{"quota":0,"size":0,"quotatype":"hard"}`); r.status != 200 || strings.Contains(shown(), "hard") {
		t.Errorf("clearing it: %d, shown is %s", r.status, shown())
	}
	if r := o.do(call{method: "GET", path: "/minio/admin/v3/get-bucket-quota", query: "bucket=no-such", user: "boss", secret: secretOf("boss")}); r.status != 404 {
		t.Errorf("that of a bucket that is not there: %d", r.status)
	}
}

func TestWhatBucketsHoldIsToldWithoutLooking(t *testing.T) {
	o := serveUsage(t)
	o.put("k", "12345")
	tell := func(what string) string {
		return o.ok(call{method: "GET", path: "/minio/admin/v3/" + what, user: "boss", secret: secretOf("boss")}).body
	}
	if got := tell("info"); !strings.Contains(got, "not counted yet") {
		t.Errorf("before anything was counted, info tells %s", got)
	}
	b, err := o.store.StatBucket(t.Context(), "bucket")
	o.must(t, err)
	_, err = o.server.api.Usage.Count(t.Context(), b)
	o.must(t, err)
	o.put("later", "12345")
	for what, want := range map[string]string{
		"info": `"usage":{"size":5}`, "accountinfo": `"size":5`, "datausageinfo": `"bucketsSizes":{"bucket":5}`,
	} {
		if got := tell(what); !strings.Contains(got, want) {
			t.Errorf("%s has no %s: %s", what, want, got)
		}
	}
	o.ok(call{method: "PUT", path: "/another"})
	if got := tell("info"); !strings.Contains(got, `"usage":{"error":"1 of 2 buckets were not counted yet","size":5}`) {
		t.Errorf("where a bucket was not counted, info tells %s", got)
	}
}

func TestAWriteBeyondAQuotaIsRefused(t *testing.T) {
	o := serveOffice(t)
	o.server.Store = overQuota{o.store}
	o.refused("XMinioAdminBucketQuotaExceeded", call{method: "PUT", path: "/bucket/k", body: "x"})
}

// overQuota is a Store without room.
type overQuota struct{ object.Store }

func (overQuota) Put(context.Context, object.Ref, object.PutInput) (object.Info, error) {
	return object.Info{}, object.E("put", quota.Document, object.OverQuota, nil)
}
