package gateway

import (
	"encoding/xml"
	"fmt"
	"strings"
	"testing"
)

// serveBucket serves one empty bucket.
func serveBucket(t *testing.T) *fixture {
	t.Helper()
	f := serve(t, nil)
	f.ok(call{method: "PUT", path: "/bucket"})
	return f
}

// versioning sets the state of the fixture's bucket.
func (f *fixture) versioning(state string) {
	f.t.Helper()
	f.ok(call{method: "PUT", path: "/bucket", query: "versioning", body: "<VersioningConfiguration><Status>" + state + "</Status></VersioningConfiguration>"})
}

// putVersion stores an object and returns the ID of its version.
func (f *fixture) putVersion(key, body string) string {
	f.t.Helper()
	return f.ok(call{method: "PUT", path: "/bucket/" + key, body: body, header: map[string]string{"Content-MD5": md5Base64(body)}}).header.Get("X-Amz-Version-Id")
}

// listedVersion is a Version or DeleteMarker of a listing.
type listedVersion struct {
	XMLName        xml.Name
	Key, VersionId string //nolint:revive,staticcheck // the name in S3's XML
	IsLatest       bool
	ETag           string
	Size           int64
}

// versions returns what a listing holds, as text.
func (f *fixture) versions(query string) (text []string, next string) {
	f.t.Helper()
	var doc struct {
		IsTruncated                        bool
		NextKeyMarker, NextVersionIdMarker string          //nolint:revive,staticcheck // the names in S3's XML
		All                                []listedVersion `xml:",any"`
	}
	body := f.ok(call{method: "GET", path: "/bucket", query: "versions" + query}).body
	if err := xml.Unmarshal([]byte(body), &doc); err != nil {
		f.t.Fatalf("%v: %s", err, body)
	}
	for _, v := range doc.All {
		switch v.XMLName.Local {
		case "Version":
			text = append(text, fmt.Sprintf("%s %s %d %v", v.Key, v.VersionId, v.Size, v.IsLatest))
		case "DeleteMarker":
			text = append(text, fmt.Sprintf("%s %s marker %v", v.Key, v.VersionId, v.IsLatest))
		}
	}
	if doc.IsTruncated {
		next = "&key-marker=" + doc.NextKeyMarker + "&version-id-marker=" + doc.NextVersionIdMarker
	}
	return text, next
}

func TestABucketTellsItsVersioning(t *testing.T) {
	f := serveBucket(t)
	if body := f.ok(call{method: "GET", path: "/bucket", query: "versioning"}).body; strings.Contains(body, "Status") {
		t.Errorf("never set: %s", body)
	}
	for _, state := range []string{"Enabled", "Suspended"} {
		f.versioning(state)
		if body := f.ok(call{method: "GET", path: "/bucket", query: "versioning"}).body; !strings.Contains(body, "<Status>"+state+"</Status>") {
			t.Errorf("%s: %s", state, body)
		}
	}
	for code, body := range map[string]string{
		"IllegalVersioningConfigurationException": "<VersioningConfiguration></VersioningConfiguration>",
		"MalformedXML":   "<VersioningConfiguration><Status>On</Status></VersioningConfiguration>",
		"NotImplemented": "<VersioningConfiguration><Status>Enabled</Status><MfaDelete>Enabled</MfaDelete></VersioningConfiguration>",
	} {
		f.refused(code, call{method: "PUT", path: "/bucket", query: "versioning", body: body})
	}
	f.refused("NoSuchBucket", call{method: "PUT", path: "/none-such", query: "versioning", body: "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"})
}

func TestWithoutVersioningNobodyIsToldOfVersions(t *testing.T) {
	f := serveBucket(t)
	for _, c := range []call{{method: "PUT", path: "/bucket/k", body: "x"}, {method: "GET", path: "/bucket/k"}, {method: "DELETE", path: "/bucket/k"}} {
		if id, there := f.ok(c).header["X-Amz-Version-Id"]; there {
			t.Errorf("%s: version %q", c.method, id)
		}
	}
	f.put("k", "x")
	if all, _ := f.versions(""); len(all) != 1 || all[0] != "k null 1 true" {
		t.Errorf("listed %q", all)
	}
}

func TestVersionsAreReadListedAndDeletedByTheirID(t *testing.T) {
	f := serveBucket(t)
	f.versioning("Enabled")
	one, two := f.putVersion("k", "1"), f.putVersion("k", "22")
	if one == "" || two == "" || one == two {
		t.Fatalf("versions %q, %q", one, two)
	}
	for id, want := range map[string]string{one: "1", two: "22"} {
		got := f.ok(call{method: "GET", path: "/bucket/k", query: "versionId=" + id})
		head := f.ok(call{method: "HEAD", path: "/bucket/k", query: "versionId=" + id})
		if got.body != want || got.header.Get("X-Amz-Version-Id") != id || head.header.Get("X-Amz-Version-Id") != id {
			t.Errorf("version %s: %q, %v", id, got.body, got.header)
		}
	}
	if current := f.ok(call{method: "GET", path: "/bucket/k"}); current.body != "22" || current.header.Get("X-Amz-Version-Id") != two {
		t.Errorf("current: %q, %v", current.body, current.header)
	}
	marked := f.ok(call{method: "DELETE", path: "/bucket/k"})
	marker := marked.header.Get("X-Amz-Version-Id")
	if marked.status != 204 || marked.header.Get("X-Amz-Delete-Marker") != "true" || marker == "" {
		t.Errorf("delete: %d, %v", marked.status, marked.header)
	}
	want := []string{"k " + marker + " marker true", "k " + two + " 2 false", "k " + one + " 1 false"}
	if all, _ := f.versions(""); fmt.Sprint(all) != fmt.Sprint(want) {
		t.Errorf("listed %q, want %q", all, want)
	}
	var paged []string
	for next := ""; ; {
		var page []string
		page, next = f.versions("&max-keys=1" + next)
		if paged = append(paged, page...); next == "" {
			break
		}
	}
	if fmt.Sprint(paged) != fmt.Sprint(want) {
		t.Errorf("in pages: %q, want %q", paged, want)
	}
	if undone := f.ok(call{method: "DELETE", path: "/bucket/k", query: "versionId=" + marker}); undone.header.Get("X-Amz-Delete-Marker") != "true" {
		t.Errorf("delete of the marker: %v", undone.header)
	}
	if got := f.get("k"); got != "22" {
		t.Errorf("after the delete of the marker: %q", got)
	}
	f.ok(call{method: "DELETE", path: "/bucket/k", query: "versionId=" + two})
	if got := f.get("k"); got != "1" {
		t.Errorf("after the delete of the current version: %q", got)
	}
}

func TestABucketIsDeletedAfterAllItsVersions(t *testing.T) {
	f := serveBucket(t)
	f.putVersion("k", "1")
	remove := call{method: "DELETE", path: "/bucket"}
	const message = "<Message>The bucket you tried to delete is not empty"
	if r := f.refused("BucketNotEmpty", remove); !strings.Contains(r.body, message+"</Message>") {
		t.Errorf("without versions: %s", r.body)
	}
	f.versioning("Enabled")
	if r := f.refused("BucketNotEmpty", remove); !strings.Contains(r.body, message+". You must delete all versions in the bucket.</Message>") {
		t.Errorf("with versions: %s", r.body)
	}
}

func TestADeleteMarkerIsToldOf(t *testing.T) {
	f := serveBucket(t)
	f.versioning("Enabled")
	f.putVersion("k", "1")
	marker := f.ok(call{method: "DELETE", path: "/bucket/k"}).header.Get("X-Amz-Version-Id")
	for _, tt := range []struct {
		code, query string
		status      int
	}{{"NoSuchKey", "", 404}, {"MethodNotAllowed", "versionId=" + marker, 405}} {
		got := f.refused(tt.code, call{method: "GET", path: "/bucket/k", query: tt.query})
		head := f.do(call{method: "HEAD", path: "/bucket/k", query: tt.query})
		for _, h := range []reply{got, head} {
			if h.status != tt.status || h.header.Get("X-Amz-Delete-Marker") != "true" || h.header.Get("X-Amz-Version-Id") != marker {
				t.Errorf("%q: %d, %v", tt.query, h.status, h.header)
			}
			if tt.status == 405 && (h.header.Get("Last-Modified") == "" || h.header.Get("Allow") != "DELETE") {
				t.Errorf("%q: %v", tt.query, h.header)
			}
		}
	}
	if got := f.refused("NoSuchKey", call{method: "GET", path: "/bucket/none"}); got.header.Get("X-Amz-Delete-Marker") != "" {
		t.Errorf("no marker: %v", got.header)
	}
}

func TestDeleteObjectsTellsOfMarkersAndVersions(t *testing.T) {
	f := serveBucket(t)
	f.versioning("Enabled")
	one := f.putVersion("k", "1")
	f.putVersion("l", "1")
	remove := func(objects string) string {
		t.Helper()
		body := "<Delete>" + objects + "</Delete>"
		return f.ok(call{method: "POST", path: "/bucket", query: "delete", body: body, header: map[string]string{"Content-MD5": md5Base64(body)}}).body
	}
	got := remove("<Object><Key>k</Key><VersionId>" + one + "</VersionId></Object>")
	if !strings.Contains(got, "<Deleted><Key>k</Key><VersionId>"+one+"</VersionId></Deleted>") {
		t.Errorf("by version: %s", got)
	}
	got = remove("<Object><Key>l</Key></Object>")
	if !strings.Contains(got, "<Deleted><Key>l</Key><DeleteMarker>true</DeleteMarker><DeleteMarkerVersionId>") {
		t.Errorf("by key: %s", got)
	}
}

func TestCopiesAndUploadsTellTheirVersion(t *testing.T) {
	f := serveBucket(t)
	f.versioning("Enabled")
	one := f.putVersion("k", "1")
	f.putVersion("k", "22")
	got := f.ok(call{method: "PUT", path: "/bucket/copy", header: map[string]string{"x-amz-copy-source": "/bucket/k?versionId=" + one}})
	if got.header.Get("X-Amz-Copy-Source-Version-Id") != one || got.header.Get("X-Amz-Version-Id") == "" || f.get("copy") != "1" {
		t.Errorf("copy: %v, %q", got.header, f.get("copy"))
	}
	back := f.ok(call{method: "PUT", path: "/bucket/k", header: map[string]string{"x-amz-copy-source": "/bucket/k?versionId=" + one}})
	if id := back.header.Get("X-Amz-Version-Id"); id == one || f.get("k") != "1" {
		t.Errorf("an old version copied over the current one: version %s, %q", id, f.get("k"))
	}
	f.refused("NoSuchVersion", call{method: "PUT", path: "/bucket/copy", header: map[string]string{"x-amz-copy-source": "/bucket/none?versionId=" + one}})
	marker := f.ok(call{method: "DELETE", path: "/bucket/k"}).header.Get("X-Amz-Version-Id")
	f.refused("InvalidRequest", call{method: "PUT", path: "/bucket/copy", header: map[string]string{"x-amz-copy-source": "/bucket/k?versionId=" + marker}})
	f.refused("NoSuchKey", call{method: "PUT", path: "/bucket/copy", header: map[string]string{"x-amz-copy-source": "/bucket/k"}})
	f.refused("InvalidArgument", call{method: "PUT", path: "/bucket/copy", header: map[string]string{"x-amz-copy-source": "/bucket/k?versionId="}})
}

func TestTagsOfAVersionAreItsOwn(t *testing.T) {
	f := serveBucket(t)
	f.versioning("Enabled")
	one := f.putVersion("k", "1")
	f.putVersion("k", "22")
	tags := "<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>"
	got := f.ok(call{method: "PUT", path: "/bucket/k", query: "tagging&versionId=" + one, body: tags})
	if got.header.Get("X-Amz-Version-Id") != one {
		t.Errorf("put: %v", got.header)
	}
	if body := f.ok(call{method: "GET", path: "/bucket/k", query: "tagging&versionId=" + one}).body; !strings.Contains(body, "<Key>a</Key>") {
		t.Errorf("tags of the version: %s", body)
	}
	if body := f.ok(call{method: "GET", path: "/bucket/k", query: "tagging"}).body; strings.Contains(body, "<Key>a</Key>") {
		t.Errorf("tags of the current one: %s", body)
	}
}

func TestVersionIDsThatCannotBeAreRefused(t *testing.T) {
	f := serveBucket(t)
	f.versioning("Enabled")
	f.putVersion("k", "1")
	f.refused("InvalidArgument", call{method: "GET", path: "/bucket/k", query: "versionId="})
	f.refused("InvalidArgument", call{method: "GET", path: "/bucket", query: "versions&version-id-marker=x"})
	f.refused("InvalidArgument", call{method: "GET", path: "/bucket", query: "versions&key-marker=k&version-id-marker=x"})
	f.refused("NoSuchVersion", call{method: "GET", path: "/bucket/k", query: "versionId=null"})
	const elsewhere = "VWVT9JkWTreQ95JbRmQt6T3LWrljLpRZ"
	for id, want := range map[string]string{
		"made-up": "<Code>InvalidArgument</Code><Message>Invalid version id specified</Message><ArgumentName>versionId</ArgumentName><ArgumentValue>made-up</ArgumentValue>",
		elsewhere: "<Code>NoSuchVersion</Code><Message>The specified version does not exist.</Message><Key>k</Key><VersionId>" + elsewhere + "</VersionId>",
	} {
		for _, c := range []call{
			{method: "GET", path: "/bucket/k", query: "versionId=" + id},
			{method: "GET", path: "/bucket/k", query: "tagging=&versionId=" + id},
			{method: "PUT", path: "/bucket/copy", header: map[string]string{"x-amz-copy-source": "/bucket/k?versionId=" + id}},
		} {
			if got := f.do(c); !strings.Contains(got.body, want) {
				t.Errorf("%s %s of %s: %d %s", c.method, c.query, id, got.status, got.body)
			}
		}
	}
	f.refused("InvalidArgument", call{method: "DELETE", path: "/bucket/k", query: "versionId=made-up"})
	f.ok(call{method: "DELETE", path: "/bucket/k", query: "versionId=" + elsewhere})
	body := "<Delete><Object><Key>k</Key><VersionId>made-up</VersionId></Object><Object><Key>k</Key><VersionId>" + elsewhere + "</VersionId></Object></Delete>"
	got := f.ok(call{method: "POST", path: "/bucket", query: "delete=", body: body, header: map[string]string{"Content-MD5": md5Base64(body)}}).body
	if !strings.Contains(got, "<VersionId>made-up</VersionId><Code>NoSuchVersion</Code>") || !strings.Contains(got, "<Deleted><Key>k</Key><VersionId>"+elsewhere) {
		t.Errorf("DeleteObjects: %s", got)
	}
}
