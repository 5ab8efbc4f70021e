package gateway

import "testing"

func TestABucketSaysWhoseItsNewFilesAre(t *testing.T) {
	f := serveBucket(t)
	files := func(method, body string) call {
		return call{method: method, path: "/bucket", query: FilesQuery, body: body}
	}
	if got := string(f.ok(files("GET", "")).body); got != "{}" {
		t.Errorf("at first: %s", got)
	}
	const document = `{"uid":1000,"gid":100,"file_mode":"0640","dir_mode":"2750"}`
	f.ok(files("PUT", document))
	if got := string(f.ok(files("GET", "")).body); got != document {
		t.Errorf("set: %s", got)
	}
	for _, wrong := range []string{``, `{"uid":-1}`, `{"user":1}`, `{"file_mode":"0999"}`, `{"file_mode":"4755"}`, `{"dir_mode":"0070"}`} {
		f.refused("InvalidArgument", files("PUT", wrong))
	}
	f.refused("NoSuchBucket", call{method: "GET", path: "/nowhere", query: FilesQuery})
	f.refused("NotImplemented", files("DELETE", ""))
	f.ok(files("PUT", "{}"))
	if got := string(f.ok(files("GET", "")).body); got != "{}" {
		t.Errorf("taken back: %s", got)
	}
}
