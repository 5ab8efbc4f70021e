package gateway

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/shoal-storage/shoal/internal/sse"
)

// broken is master keys that are out of reach.
type broken struct{ sse.MasterKeys }

func (broken) Wrap(context.Context, string, sse.Key, []byte) ([]byte, error) {
	return nil, io.ErrClosedPipe
}

func (broken) Unwrap(context.Context, string, []byte, []byte) (sse.Key, error) {
	return sse.Key{}, io.ErrClosedPipe
}

// countedKeys is master keys that count how often they are used.
type countedKeys struct {
	sse.MasterKeys
	calls atomic.Int32
}

func (c *countedKeys) Wrap(ctx context.Context, name string, key sse.Key, bound []byte) ([]byte, error) {
	c.calls.Add(1)
	return c.MasterKeys.Wrap(ctx, name, key, bound)
}

func (c *countedKeys) Unwrap(ctx context.Context, name string, wrapped, bound []byte) (sse.Key, error) {
	c.calls.Add(1)
	return c.MasterKeys.Unwrap(ctx, name, wrapped, bound)
}

func TestBucketKeysSaveCallsWhereTheyAreAskedFor(t *testing.T) {
	keys := &countedKeys{MasterKeys: testKeys(t)}
	f := withKeys(t, func(c *Config) { c.MasterKeys = keys })
	spare := and(named("second"), headers{"x-amz-server-side-encryption-bucket-key-enabled": "true"})
	for _, tt := range []struct {
		header headers
		calls  int32
	}{{named("second"), 10}, {spare, 2}} {
		before := keys.calls.Load()
		for i := range 5 {
			f.ok(call{method: "PUT", path: fmt.Sprint("/bucket/k", i), body: "v", header: tt.header})
		}
		for i := range 5 {
			if got := f.get(fmt.Sprint("k", i)); got != "v" {
				t.Errorf("got %q", got)
			}
		}
		if got := keys.calls.Load() - before; got != tt.calls {
			t.Errorf("%v took %d calls, want %d", tt.header, got, tt.calls)
		}
	}
	f.ok(call{method: "PUT", path: "/bucket/k0", query: "encryption=", body: "<ObjectEncryption><Rewrap/></ObjectEncryption>"})
	if got := f.get("k0"); got != "v" {
		t.Errorf("after it was wrapped anew: %q", got)
	}
}

func TestWhetherThereIsABucketKeyIsTheRequestsToSay(t *testing.T) {
	f := withKeys(t, nil)
	const told = "x-amz-server-side-encryption-bucket-key-enabled"
	flag := func(value string) headers { return headers{told: value} }
	byDefault := func(enabled string) {
		t.Helper()
		document := strings.Replace(encryptionXML("aws:kms", "second", ""), "</Rule>", "<BucketKeyEnabled>"+enabled+"</BucketKeyEnabled></Rule>", 1)
		f.ok(call{method: "PUT", path: "/bucket", query: "encryption=", body: document})
	}
	is := func(what, want string, got reply) {
		t.Helper()
		if got.header.Get(told) != want {
			t.Errorf("%s: a bucket key: %q, want %q", what, got.header.Get(told), want)
		}
	}
	byDefault("true")
	is("by default", "true", f.ok(call{method: "PUT", path: "/bucket/k", body: "v"}))
	is("PUT", "", f.ok(call{method: "PUT", path: "/bucket/l", body: "v", header: flag("false")}))
	is("GET", "", f.ok(call{method: "GET", path: "/bucket/l"}))
	is("Create", "", f.ok(call{method: "POST", path: "/bucket/m", query: "uploads=", header: flag("false")}))
	is("Copy", "", f.ok(call{method: "PUT", path: "/bucket/copy", header: and(flag("false"), headers{"x-amz-copy-source": "bucket/k"})}))
	f.refused("InvalidArgument", call{method: "PUT", path: "/bucket/n", body: "v", header: flag("maybe")})
	f.missing("n")
	byDefault("false")
	is("asked for", "true", f.ok(call{method: "PUT", path: "/bucket/l", body: "v", header: flag("true")}))
	f.ok(call{method: "DELETE", path: "/bucket", query: "encryption="})
	is("a copy that keeps its master key", "", f.ok(call{method: "PUT", path: "/bucket/copy", header: and(flag("false"), headers{"x-amz-copy-source": "bucket/k"})}))
	is("not under a master key", "", f.ok(call{method: "PUT", path: "/bucket/plain", body: "v", header: flag("true")}))
}

func TestMasterKeysThatAreOutOfReachAreToBeTriedAgain(t *testing.T) {
	keys := testKeys(t)
	f := withKeys(t, nil)
	f.ok(call{method: "PUT", path: "/bucket/k", body: "v", header: managed()})
	f.server.MasterKeys = broken{keys}
	for _, c := range []call{
		{method: "PUT", path: "/bucket/new", body: "v", header: managed()},
		{method: "GET", path: "/bucket/k"},
		{method: "POST", path: "/bucket/new", query: "uploads=", header: managed()},
	} {
		if r := f.refused("ServiceUnavailable", c); r.status != 503 {
			t.Errorf("%d", r.status)
		}
	}
	f.missing("new")
	f.ok(call{method: "HEAD", path: "/bucket/k"})
	f.server.MasterKeys = keys
	if got := f.get("k"); got != "v" {
		t.Errorf("got %q", got)
	}
}

// denying is master keys of a service that denies everything.
type denying struct{ sse.MasterKeys }

func (denying) Names(context.Context) ([]string, error) { return nil, sse.ErrDenied }
func (denying) Create(_ context.Context, name string) error {
	return fmt.Errorf("make %s: %w", name, sse.ErrDenied)
}

func (denying) Wrap(context.Context, string, sse.Key, []byte) ([]byte, error) {
	return nil, sse.ErrDenied
}

func (denying) Unwrap(context.Context, string, []byte, []byte) (sse.Key, error) {
	return sse.Key{}, sse.ErrDenied
}

func TestMasterKeysThatAreDeniedAreNotTriedAgain(t *testing.T) {
	keys := testKeys(t)
	f := withKeys(t, nil)
	spare := headers{"x-amz-server-side-encryption-bucket-key-enabled": "true"}
	f.ok(call{method: "PUT", path: "/bucket/k", body: "v", header: named("second")})
	f.server.MasterKeys = denying{keys}
	for _, c := range []call{
		{method: "PUT", path: "/bucket/new", body: "v", header: named("second")},
		{method: "PUT", path: "/bucket/new", body: "v", header: and(named("second"), spare)},
		{method: "POST", path: "/bucket/new", query: "uploads=", header: named("second")},
		{method: "GET", path: "/bucket/k"},
		{method: "PUT", path: "/bucket/new", header: headers{"x-amz-copy-source": "bucket/k"}},
		{method: "PUT", path: "/bucket/k", query: "encryption=", body: "<ObjectEncryption><Rewrap/></ObjectEncryption>"},
	} {
		r := f.refused("AccessDenied", c)
		if r.status != 403 || r.header.Get("Retry-After") != "" || !strings.Contains(r.body, "The key management service denies the use of the key 'arn:aws:kms:second'.") {
			t.Errorf("%s %s: %d %v %s", c.method, c.path, r.status, r.header, r.body)
		}
	}
	f.missing("new")
	f.ok(call{method: "HEAD", path: "/bucket/k"})
}

func TestTheKeyOfAnObjectIsWrappedAnewAndTheContentStays(t *testing.T) {
	f := withKeys(t, nil)
	content := strings.Repeat("marker of the content ", 10000)
	update := func(body string) call {
		return call{method: "PUT", path: "/bucket/k", query: "encryption=", body: "<ObjectEncryption>" + body + "</ObjectEncryption>"}
	}
	toSecond := update("<SSE-KMS><KMSKeyArn>arn:aws:kms:us-east-1:123456789012:key/second</KMSKeyArn></SSE-KMS>")
	for _, tt := range []struct {
		name  string
		write headers
		do    call
		told  headers
	}{
		{"SSE-S3 to SSE-KMS", managed(), toSecond, named("arn:aws:kms:second")},
		{"from one master key to another", named("first"), toSecond, named("arn:aws:kms:second")},
		{"SSE-S3 as it is", managed(), update("<Rewrap/>"), managed()},
		{"SSE-KMS as it is", named("second"), update("<Rewrap/>"), named("arn:aws:kms:second")},
	} {
		put := f.ok(call{method: "PUT", path: "/bucket/k", body: content, header: and(tt.write, headers{"x-amz-meta-a": "b"})})
		before, heldBefore := f.held("k")
		f.ok(tt.do)
		after, held := f.held("k")
		if after.Meta.Seal == before.Meta.Seal || !bytes.Equal(held, heldBefore) || !after.Modified.Equal(before.Modified) {
			t.Errorf("%s: the seal is %s, was %s; %d bytes of %d", tt.name, after.Meta.Seal, before.Meta.Seal, len(held), len(heldBefore))
		}
		got := f.ok(call{method: "GET", path: "/bucket/k"})
		tells(t, tt.name, got, tt.told)
		if got.body != content || got.header.Get("ETag") != put.header.Get("ETag") || got.header.Get("x-amz-meta-a") != "b" {
			t.Errorf("%s: %d bytes came back, %v", tt.name, len(got.body), got.header)
		}
	}
	for _, body := range []string{"", "<SSE-KMS/>", "<SSE-S3/>", "<Rewrap/><SSE-KMS><KMSKeyArn>second</KMSKeyArn></SSE-KMS>"} {
		f.refused("MalformedXML", update(body))
	}
	f.refused("KMS.NotFoundException", update("<SSE-KMS><KMSKeyArn>third</KMSKeyArn></SSE-KMS>"))
	f.put("k", "plain")
	f.refused("InvalidRequest", toSecond)
	f.ok(call{method: "PUT", path: "/bucket/k", body: "v", header: customer(keyA)})
	f.refused("InvalidRequest", toSecond)
	f.refused("NoSuchKey", call{method: "PUT", path: "/bucket/none", query: "encryption=", body: toSecond.body})
}

func TestAMasterKeyCanGoWhenEverythingIsWrappedAnew(t *testing.T) {
	key := func(name string, b byte) string {
		return name + ":" + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{b}, sse.KeySize))
	}
	keys := func(text string) sse.MasterKeys {
		keys, err := sse.ParseLocal(text)
		if err != nil {
			t.Fatal(err)
		}
		return keys
	}
	f := withKeys(t, func(c *Config) { c.MasterKeys = keys(key("old", 1)) })
	f.ok(call{method: "PUT", path: "/bucket/k", body: "v", header: managed()})
	f.server.MasterKeys = keys(key("new", 2) + "," + key("old", 1))
	f.ok(call{method: "PUT", path: "/bucket/k", query: "encryption=", body: "<ObjectEncryption><Rewrap/></ObjectEncryption>"})
	f.server.MasterKeys = keys(key("new", 2))
	if got := f.get("k"); got != "v" {
		t.Errorf("got %q", got)
	}
}

// rotated is master keys that can have newer versions.
type rotated struct{ sse.MasterKeys }

func (rotated) HasVersions(string) bool { return true }

func TestWhoHasAKeyWrappedAnewIsToldUnderWhichMasterKeyItIs(t *testing.T) {
	f := withKeys(t, nil)
	fixed := f.server.MasterKeys
	for _, tt := range []struct {
		name         string
		write        headers
		keys         sse.MasterKeys
		master, anew string
	}{
		{"SSE-S3 under the default key", managed(), fixed, "first", "false"},
		{"SSE-KMS", named("second"), fixed, "second", "false"},
		{"SSE-KMS with a key that has versions", named("second"), rotated{fixed}, "second", "true"},
		{"SSE-S3 under another default key", managed(), defaulting{fixed}, "second", "true"},
	} {
		f.ok(call{method: "PUT", path: "/bucket/k", body: "v", header: tt.write})
		f.server.MasterKeys = tt.keys
		r := f.ok(call{method: "PUT", path: "/bucket/k", query: "encryption=", body: "<ObjectEncryption><Rewrap/></ObjectEncryption>"})
		f.server.MasterKeys = fixed
		if master, anew := r.header.Get("x-shoal-master-key"), r.header.Get("x-shoal-wrapped-anew"); master != tt.master || anew != tt.anew {
			t.Errorf("%s: under %q, wrapped anew: %q", tt.name, master, anew)
		}
	}
	r := f.ok(call{method: "PUT", path: "/bucket/k", query: "encryption=", body: "<ObjectEncryption><SSE-KMS><KMSKeyArn>second</KMSKeyArn></SSE-KMS></ObjectEncryption>"})
	if r.header.Get("x-shoal-master-key") != "" || r.header.Get("x-shoal-wrapped-anew") != "" {
		t.Errorf("what AWS has too tells %v", r.header)
	}
}

// defaulting is master keys of which the second is the default.
type defaulting struct{ sse.MasterKeys }

func (defaulting) Default() string { return "second" }
