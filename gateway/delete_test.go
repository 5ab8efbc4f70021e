package gateway

import (
	"strconv"
	"strings"
	"testing"

	"github.com/shoal-storage/shoal/internal/object/objecttest"
)

func TestDeleteObjects(t *testing.T) {
	f := withBucket(t)
	f.put("a", "x")
	f.put("b", "y")
	body := `<Delete><Object><Key>a</Key></Object><Object><Key>b</Key><ETag>"wrong"</ETag></Object><Object><Key>none</Key></Object></Delete>`
	f.refused("InvalidRequest", call{method: "POST", path: "/bucket", query: "delete=", body: body})
	r := f.ok(call{method: "POST", path: "/bucket", query: "delete=", body: body, header: map[string]string{"Content-MD5": md5Base64(body)}})
	if strings.Count(r.body, "<Deleted>") != 2 || !strings.Contains(r.body, "<Code>PreconditionFailed</Code>") {
		t.Errorf("%s", r.body)
	}
	f.missing("a")
	if got := f.get("b"); got != "y" {
		t.Errorf("b is %q", got)
	}
	for _, body := range []string{"<Delete>", "<Delete><Object></Object></Delete>", "<Delete><Object><Key>k</Key></Object><Object><Key></Key></Object></Delete>"} {
		f.refused("MalformedXML", call{method: "POST", path: "/bucket", query: "delete=", body: body, header: map[string]string{"Content-MD5": md5Base64(body)}})
	}
}

func TestDeletionsOfOneRequestShareWhatTheyWaitFor(t *testing.T) {
	const together = 64
	store := &sharing{Store: objecttest.NewMemory()}
	store.others.Add(together)
	f := serve(t, func(c *Config) { c.Store = store })
	f.ok(call{method: "PUT", path: "/bucket"})
	body := "<Delete>"
	for i := range together {
		body += "<Object><Key>" + strconv.Itoa(i) + "</Key></Object>"
	}
	body += "</Delete>"
	r := f.ok(call{method: "POST", path: "/bucket", query: "delete", body: body, header: map[string]string{"Content-MD5": md5Base64(body)}})
	if n := strings.Count(r.body, "<Deleted>"); n != together {
		t.Errorf("%d were deleted: %s", n, r.body)
	}
}
