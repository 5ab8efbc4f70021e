package gateway

import (
	"encoding/xml"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"

	"github.com/shoal-storage/shoal/internal/object"
)

func TestListings(t *testing.T) {
	f := withBucket(t)
	for _, k := range []string{"a-b", "a/b", "a/c", "a0", "b%01%3C"} {
		f.put(k, "x")
	}
	type listing struct {
		IsTruncated           bool
		NextContinuationToken string
		NextMarker            string
		Contents              []struct{ Key, ETag, StorageClass string }
		CommonPrefixes        []struct{ Prefix string }
	}
	list := func(query string) (l listing) {
		t.Helper()
		if err := xml.Unmarshal([]byte(f.ok(call{method: "GET", path: "/bucket", query: query}).body), &l); err != nil {
			t.Fatal(err)
		}
		return l
	}
	names := func(l listing) string {
		var out []string
		for _, c := range l.Contents {
			out = append(out, c.Key)
		}
		for _, p := range l.CommonPrefixes {
			out = append(out, p.Prefix)
		}
		return strings.Join(out, " ")
	}
	if got := names(list("encoding-type=url&list-type=2")); got != "a-b a/b a/c a0 b%01%3C" {
		t.Errorf("all: %s", got)
	}
	if got := names(list("delimiter=%2F&encoding-type=url")); got != "a-b a0 b%01%3C a/" {
		t.Errorf("folders: %s", got)
	}
	var paged []string
	token := ""
	for range 10 {
		q := "delimiter=%2F&encoding-type=url&list-type=2&max-keys=1"
		if token != "" {
			q = "continuation-token=" + token + "&" + q
		}
		l := list(q)
		paged = append(paged, names(l))
		if token = l.NextContinuationToken; !l.IsTruncated {
			break
		}
	}
	if got := strings.Join(paged, " "); got != "a-b a/ a0 b%01%3C" {
		t.Errorf("pages: %s", got)
	}
	f.refused("InvalidArgument", call{method: "GET", path: "/bucket", query: "max-keys=-1"})
	f.refused("InvalidArgument", call{method: "GET", path: "/bucket", query: "encoding-type=x"})
	f.refused("InvalidArgument", call{method: "GET", path: "/bucket", query: "continuation-token=%21&list-type=2"})
	for _, other := range []string{"", "1", "two"} {
		if got := f.ok(call{method: "GET", path: "/bucket", query: "encoding-type=url&list-type=" + other}).body; !strings.Contains(got, "<Marker>") || strings.Contains(got, "<KeyCount>") {
			t.Errorf("list-type=%s is not taken for version 1: %s", other, got)
		}
	}
	f.refused("NoSuchBucket", call{method: "GET", path: "/no-such-bucket"})
	if r := f.ok(call{method: "GET", path: "/bucket", query: "versions="}); strings.Count(r.body, "<VersionId>null</VersionId>") != 5 {
		t.Errorf("versions: %s", r.body)
	}
}

func TestAListingTellsTheRegionOfItsBucketWithoutAnotherLookAtIt(t *testing.T) {
	f := withBucket(t)
	if err := f.store.CreateBucket(t.Context(), object.Bucket{Name: "older", Region: "eu-west-1"}); err != nil {
		t.Fatal(err)
	}
	l := &looked{Store: f.store}
	f.server.Store = l
	for path, region := range map[string]string{"/bucket": "us-east-1", "/older": "eu-west-1"} {
		for _, query := range []string{"", "list-type=2"} {
			got := f.ok(call{method: "GET", path: path, query: query}).header.Get("x-amz-bucket-region")
			if n := l.times.Swap(0); got != region || n != 1 {
				t.Errorf("%s?%s: region %q, want %q; looks at the bucket %d times", path, query, got, region, n)
			}
		}
	}
}

// Stores that know their buckets let requests do without a look at them.
func TestAListingTellsTheServersRegionWhereItKnowsNoOther(t *testing.T) {
	s := &Server{Config: Config{Region: "eu-west-1"}}
	r := &request{ctx: new(fasthttp.RequestCtx)}
	s.setRegion(r)
	if got := string(r.ctx.Response.Header.Peek("x-amz-bucket-region")); got != "eu-west-1" {
		t.Errorf("region %q", got)
	}
}
