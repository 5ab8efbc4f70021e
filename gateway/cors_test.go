package gateway

import (
	"strings"
	"testing"
)

const corsExample = `<CORSConfiguration><CORSRule><ID>one</ID><AllowedOrigin>https://*.example.com</AllowedOrigin><AllowedMethod>PUT</AllowedMethod><AllowedMethod>GET</AllowedMethod>` +
	`<AllowedHeader>x-amz-*</AllowedHeader><AllowedHeader>Content-Type</AllowedHeader><ExposeHeader>ETag</ExposeHeader><MaxAgeSeconds>60</MaxAgeSeconds></CORSRule>` +
	`<CORSRule><AllowedOrigin>*</AllowedOrigin><AllowedMethod>GET</AllowedMethod></CORSRule></CORSConfiguration>`

func TestABucketTellsBrowsersWhoMayUseIt(t *testing.T) {
	f := serveBucket(t)
	f.put("k", "x")
	ask := func(origin, method, headers string) call {
		return call{method: "OPTIONS", path: "/bucket/k", anonymous: true, header: map[string]string{"Origin": origin, "Access-Control-Request-Method": method, "Access-Control-Request-Headers": headers}}
	}
	f.refused("AccessForbidden", ask("https://app.example.com", "GET", ""))
	f.ok(call{method: "PUT", path: "/bucket", query: "cors", body: corsExample})
	got := f.ok(ask("https://app.example.com", "PUT", "X-Amz-Date, content-type")).header
	for name, want := range map[string]string{
		"Access-Control-Allow-Origin": "https://app.example.com", "Access-Control-Allow-Methods": "PUT, GET", "Access-Control-Allow-Headers": "x-amz-date, content-type",
		"Access-Control-Expose-Headers": "ETag", "Access-Control-Max-Age": "60", "Access-Control-Allow-Credentials": "true",
	} {
		if got.Get(name) != want {
			t.Errorf("%s: %q, want %q", name, got.Get(name), want)
		}
	}
	if !strings.Contains(got.Get("Vary"), "Origin") {
		t.Errorf("Vary: %q", got.Get("Vary"))
	}
	if any := f.ok(ask("https://elsewhere.org", "GET", "")).header; any.Get("Access-Control-Allow-Origin") != "*" || any.Get("Access-Control-Allow-Credentials") != "" {
		t.Errorf("a rule for all: %v", any)
	}
	f.refused("AccessForbidden", ask("https://elsewhere.org", "PUT", ""))
	f.refused("AccessForbidden", ask("https://app.example.com", "PUT", "authorization"))
	f.refused("AccessForbidden", ask("https://app.example.com", "DELETE", ""))
	f.refused("BadRequest", ask("https://app.example.com", "BREW", ""))
	f.refused("BadRequest", ask("", "GET", ""))
}

func TestAPreflightForWhatCannotBeIsToldWhy(t *testing.T) {
	f := serveBucket(t)
	f.ok(call{method: "PUT", path: "/with-rules"})
	f.ok(call{method: "PUT", path: "/with-rules", query: "cors", body: corsExample})
	ask := func(path, headers string) call {
		return call{method: "OPTIONS", path: path, anonymous: true, header: map[string]string{"Origin": "https://app.example.com", "Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": headers}}
	}
	for path, want := range map[string]string{
		"/no-such-bucket":   "CORSResponse: Bucket not found</Message><Method>PUT</Method><ResourceType>BUCKET</ResourceType>",
		"/no-such-bucket/k": "CORSResponse: Bucket not found</Message><Method>PUT</Method><ResourceType>OBJECT</ResourceType>",
		"/bucket/k":         "CORSResponse: CORS is not enabled for this bucket.</Message><Method>PUT</Method><ResourceType>OBJECT</ResourceType>",
	} {
		if r := f.refused("AccessForbidden", ask(path, "content-type, bad@char")); r.status != 403 || !strings.Contains(r.body, want) {
			t.Errorf("%s: %d %s", path, r.status, r.body)
		}
	}
	for _, name := range []string{"invalid header", "X(Custom)", "bad@char"} {
		want := `<Message>Access-Control-Request-Headers "` + name + `" contains invalid character.</Message>`
		if r := f.refused("BadRequest", ask("/with-rules/k", "content-type, "+name)); r.status != 400 || !strings.Contains(r.body, want) {
			t.Errorf("%s: %d %s", name, r.status, r.body)
		}
	}
}

func TestAPreflightWithoutAMethodIsToldFirstThatThereAreNoRules(t *testing.T) {
	f := serveBucket(t)
	ask := call{method: "OPTIONS", path: "/bucket", anonymous: true, header: headers{"Origin": "https://app.example.com"}}
	if r := f.refused("AccessForbidden", ask); !strings.Contains(r.body, "<Method>OPTIONS</Method><ResourceType>BUCKET</ResourceType>") {
		t.Errorf("%s", r.body)
	}
	f.ok(call{method: "PUT", path: "/bucket", query: "cors", body: corsExample})
	f.refused("BadRequest", ask)
}

func TestAnAnswerSaysWhichPagesMaySeeIt(t *testing.T) {
	f := serveBucket(t)
	f.put("k", "x")
	f.ok(call{method: "PUT", path: "/bucket", query: "cors", body: corsExample})
	from := map[string]string{"Origin": "https://app.example.com"}
	if got := f.ok(call{method: "GET", path: "/bucket/k", header: from}).header.Get("Access-Control-Allow-Origin"); got != "https://app.example.com" {
		t.Errorf("an answer: %q", got)
	}
	if got := f.refused("NoSuchKey", call{method: "GET", path: "/bucket/none", header: from}).header.Get("Access-Control-Allow-Origin"); got != "https://app.example.com" {
		t.Errorf("an error: %q", got)
	}
	if got := f.ok(call{method: "DELETE", path: "/bucket/k", header: from}).header.Get("Access-Control-Allow-Origin"); got != "" {
		t.Errorf("a method that no rule has: %q", got)
	}
	if got := f.ok(call{method: "GET", path: "/bucket"}).header.Get("Access-Control-Allow-Origin"); got != "" {
		t.Errorf("no page: %q", got)
	}
	from["Origin"], from["Access-Control-Request-Method"] = "https://elsewhere.org", "PUT"
	if got := f.ok(call{method: "GET", path: "/bucket", header: from}).header.Get("Access-Control-Allow-Origin"); got != "" {
		t.Errorf("a method that is asked for as in a preflight: %q", got)
	}
}

func TestACORSConfigurationIsKeptOrRefused(t *testing.T) {
	f := serveBucket(t)
	f.refused("NoSuchCORSConfiguration", call{method: "GET", path: "/bucket", query: "cors"})
	f.ok(call{method: "PUT", path: "/bucket", query: "cors", body: corsExample})
	kept := f.ok(call{method: "GET", path: "/bucket", query: "cors"}).body
	if strings.Count(kept, "<CORSRule>") != 2 || !strings.Contains(kept, "<MaxAgeSeconds>60</MaxAgeSeconds>") || !strings.Contains(kept, "<ID>one</ID>") {
		t.Errorf("kept %s", kept)
	}
	rule := func(inside string) call {
		return call{method: "PUT", path: "/bucket", query: "cors", body: "<CORSConfiguration><CORSRule>" + inside + "</CORSRule></CORSConfiguration>"}
	}
	f.refused("InvalidRequest", rule("<AllowedOrigin>*</AllowedOrigin><AllowedMethod>PATCH</AllowedMethod>"))
	f.refused("InvalidRequest", rule("<AllowedOrigin>*.a.*</AllowedOrigin><AllowedMethod>GET</AllowedMethod>"))
	f.refused("InvalidRequest", rule("<AllowedOrigin>*</AllowedOrigin><AllowedMethod>GET</AllowedMethod><ExposeHeader>x-*</ExposeHeader>"))
	for _, name := range []string{"a b", "a:b", "a(b)", "a=b"} {
		f.refused("InvalidRequest", rule("<AllowedOrigin>*</AllowedOrigin><AllowedMethod>GET</AllowedMethod><AllowedHeader>"+name+"</AllowedHeader>"))
		f.refused("InvalidRequest", rule("<AllowedOrigin>*</AllowedOrigin><AllowedMethod>GET</AllowedMethod><ExposeHeader>"+name+"</ExposeHeader>"))
	}
	f.refused("MalformedXML", rule("<AllowedMethod>GET</AllowedMethod>"))
	f.refused("MalformedXML", rule("<AllowedOrigin>*</AllowedOrigin>"))
	f.refused("MalformedXML", rule("<AllowedOrigin>*</AllowedOrigin><AllowedOrigin></AllowedOrigin><AllowedMethod>GET</AllowedMethod>"))
	f.refused("MalformedXML", rule("<AllowedOrigin>*</AllowedOrigin><AllowedMethod>GET</AllowedMethod><MaxAgeSeconds>2147483648</MaxAgeSeconds>"))
	f.refused("MalformedXML", call{method: "PUT", path: "/bucket", query: "cors", body: "<CORSConfiguration></CORSConfiguration>"})
	if again := f.ok(call{method: "GET", path: "/bucket", query: "cors"}).body; again != kept {
		t.Errorf("after refusals: %s", again)
	}
	f.ok(rule("<AllowedOrigin>*</AllowedOrigin><AllowedMethod>GET</AllowedMethod><AllowedHeader>*</AllowedHeader><MaxAgeSeconds>-1</MaxAgeSeconds>"))
	f.ok(call{method: "DELETE", path: "/bucket", query: "cors"})
	f.refused("NoSuchCORSConfiguration", call{method: "GET", path: "/bucket", query: "cors"})
}

func TestBucketsWithoutRulesOfTheirOwnHaveThoseOfAll(t *testing.T) {
	f := serve(t, func(c *Config) { c.CORSOrigins = []string{"https://app.example.com"} })
	f.ok(call{method: "PUT", path: "/bucket"})
	ask := call{method: "OPTIONS", path: "/bucket/k", anonymous: true, header: map[string]string{"Origin": "https://app.example.com", "Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "authorization"}}
	f.ok(ask)
	elsewhere := ask
	elsewhere.path = "/no-such-bucket/k" // its page may see that there is none
	f.ok(elsewhere)
	f.ok(call{method: "PUT", path: "/bucket", query: "cors", body: corsExample})
	f.refused("AccessForbidden", ask)
}
