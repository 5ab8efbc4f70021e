package gateway

import (
	"net/http"
	"strings"
	"testing"
)

const publicRead = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":["s3:GetObject"],"Resource":["arn:aws:s3:::bucket/*"]}]}`

const plainWebsite = `<WebsiteConfiguration><IndexDocument><Suffix>index.html</Suffix></IndexDocument><ErrorDocument><Key>error.html</Key></ErrorDocument></WebsiteConfiguration>`

// withWebsite serves the bucket "bucket" to browsers at bucket.web.test.
func withWebsite(t *testing.T, configuration, policy string) *fixture {
	t.Helper()
	f := serve(t, func(c *Config) { c.WebsiteDomains = []string{"web.test"}; c.ConsoleURL = "http://console.test" })
	f.ok(call{method: "PUT", path: "/bucket"})
	if configuration != "" {
		f.ok(call{method: "PUT", path: "/bucket", query: "website", body: configuration})
	}
	if policy != "" {
		f.ok(call{method: "PUT", path: "/bucket", query: "policy", body: policy})
	}
	return f
}

// browse asks for a page.
func (f *fixture) browse(method, path string, header ...string) reply {
	f.t.Helper()
	all := map[string]string{"Host": "bucket.web.test", "User-Agent": "Mozilla/5.0"}
	for i := 0; i+1 < len(header); i += 2 {
		all[header[i]] = header[i+1]
	}
	return f.do(call{method: method, path: path, anonymous: true, header: all})
}

func TestWebsiteShowsPagesAndTheIndexOfDirectories(t *testing.T) {
	f := withWebsite(t, plainWebsite, publicRead)
	f.put("index.html", "home")
	f.put("docs/index.html", "docs")
	f.put("minio/health/live", "a page")
	f.put("page", "0123456789")
	for path, want := range map[string]string{"/": "home", "/index.html": "home", "/docs/": "docs", "/page?versionId=x&partNumber=y": "0123456789", "/minio/health/live": "a page"} {
		if r := f.browse("GET", path); r.status != 200 || r.body != want {
			t.Errorf("GET %s: %d %q, want %q", path, r.status, r.body, want)
		}
	}
	if r := f.browse("HEAD", "/page"); r.status != 200 || r.header.Get("Content-Length") != "10" {
		t.Errorf("HEAD: %d %v", r.status, r.header)
	}
	if r := f.browse("GET", "/page", "Range", "bytes=2-3"); r.status != 206 || r.body != "23" {
		t.Errorf("a range: %d %q", r.status, r.body)
	}
	etag := f.browse("GET", "/page").header.Get("ETag")
	if r := f.browse("GET", "/page", "If-None-Match", etag); r.status != 304 || r.body != "" {
		t.Errorf("what the browser has: %d %q", r.status, r.body)
	}
	if r := f.browse("GET", "/docs"); r.status != 302 || r.header.Get("Location") != "/docs/" {
		t.Errorf("a directory without its slash: %d, to %q", r.status, r.header.Get("Location"))
	}
	for _, method := range []string{"PUT", "POST", "DELETE"} {
		if r := f.browse(method, "/page"); r.status != 405 || !strings.Contains(r.body, "<li>Method: "+method+"</li>\n<li>ResourceType: OBJECT</li>") {
			t.Errorf("%s: %d %s", method, r.status, r.body)
		}
	}
}

func TestAnErrorPageNamesWhatIsMissing(t *testing.T) {
	f := withWebsite(t, plainWebsite, strings.Replace(strings.Replace(publicRead, `["s3:GetObject"]`, `["s3:GetObject","s3:ListBucket"]`, 1),
		`["arn:aws:s3:::bucket/*"]`, `["arn:aws:s3:::bucket/*","arn:aws:s3:::bucket"]`, 1))
	for path, want := range map[string]string{"/": "Key: index.html", "/none&<": "Key: none&amp;&lt;", "/dir/": "Key: dir/index.html"} {
		if r := f.browse("GET", path); r.status != 404 || !strings.Contains(r.body, "<li>"+want+"</li>\n<li>RequestId: ") {
			t.Errorf("GET %s: %d %s", path, r.status, r.body)
		}
	}
	if r := f.browse("GET", "/", "Host", "no-bucket.web.test"); r.status != 404 || !strings.Contains(r.body, "<li>BucketName: no-bucket</li>") {
		t.Errorf("no bucket: %d %s", r.status, r.body)
	}
}

func TestWebsiteAnswersErrorsWithPages(t *testing.T) {
	f := withWebsite(t, plainWebsite, publicRead)
	r := f.browse("GET", "/missing&<")
	if r.status != 403 || r.header.Get("Content-Type") != "text/html; charset=utf-8" || !strings.Contains(r.body, "<li>Code: AccessDenied</li>") {
		t.Errorf("to who may not list, what is missing is: %d %s", r.status, r.body)
	}
	f.ok(call{method: "PUT", path: "/bucket", query: "policy", body: strings.Replace(strings.Replace(publicRead, `["s3:GetObject"]`, `["s3:GetObject","s3:ListBucket"]`, 1),
		`["arn:aws:s3:::bucket/*"]`, `["arn:aws:s3:::bucket/*","arn:aws:s3:::bucket"]`, 1)})
	if r := f.browse("GET", "/missing"); r.status != 404 || !strings.Contains(r.body, "<li>Code: NoSuchKey</li>") {
		t.Errorf("what is missing is: %d %s", r.status, r.body)
	}
	f.ok(call{method: "PUT", path: "/bucket/error.html", body: "sorry", header: map[string]string{"Content-Type": "text/x-error"}})
	if r := f.browse("GET", "/missing", "Range", "bytes=1-2"); r.status != 404 || r.body != "sorry" || r.header.Get("Content-Type") != "text/x-error" {
		t.Errorf("with an error document, what is missing is: %d %q %v", r.status, r.body, r.header)
	}
	for host, code := range map[string]string{"other.web.test": "NoSuchBucket", "empty.web.test": "NoSuchWebsiteConfiguration"} {
		f.do(call{method: "PUT", path: "/empty"})
		if r := f.browse("GET", "/", "Host", host); r.status != 404 || !strings.Contains(r.body, "<li>Code: "+code+"</li>") {
			t.Errorf("%s: %d %s", host, r.status, r.body)
		}
	}
}

func TestWebsiteShowsStrangersOnlyWhatThePolicyLetsThemRead(t *testing.T) {
	f := withWebsite(t, plainWebsite, "")
	f.put("page", "secret")
	f.put("error.html", "secret")
	f.put("dir/index.html", "secret")
	f.put("moved", "")
	f.ok(call{method: "PUT", path: "/bucket/moved", header: map[string]string{"x-amz-website-redirect-location": "/secret"}})
	for _, path := range []string{"/page", "/dir/", "/dir", "/moved", "/missing"} {
		r := f.browse("GET", path)
		if r.status != 403 || strings.Contains(r.body, "secret") || r.header.Get("Location") != "" {
			t.Errorf("GET %s: %d %s, to %q", path, r.status, r.body, r.header.Get("Location"))
		}
	}
}

func TestWebsiteRedirectsByItsRules(t *testing.T) {
	f := withWebsite(t, `<WebsiteConfiguration><IndexDocument><Suffix>index.html</Suffix></IndexDocument><RoutingRules>
		<RoutingRule><Condition><KeyPrefixEquals>old/</KeyPrefixEquals></Condition><Redirect><ReplaceKeyPrefixWith>new/</ReplaceKeyPrefixWith></Redirect></RoutingRule>
		<RoutingRule><Condition><KeyPrefixEquals>one</KeyPrefixEquals></Condition><Redirect><Protocol>https</Protocol><HostName>else.test</HostName><ReplaceKeyWith>a b</ReplaceKeyWith><HttpRedirectCode>307</HttpRedirectCode></Redirect></RoutingRule>
		<RoutingRule><Condition><HttpErrorCodeReturnedEquals>403</HttpErrorCodeReturnedEquals></Condition><Redirect><HostName>login.test</HostName><HttpRedirectCode>302</HttpRedirectCode></Redirect></RoutingRule>
		</RoutingRules></WebsiteConfiguration>`, publicRead)
	f.ok(call{method: "PUT", path: "/bucket/moved", header: map[string]string{"x-amz-website-redirect-location": "https://there.test/x"}})
	for path, want := range map[string]struct {
		status   int
		location string
	}{
		"/old/a?b": {301, "http://bucket.web.test/new/a"},
		"/one":     {307, "https://else.test/a%20b"},
		"/missing": {302, "http://login.test/missing"},
		"/moved":   {301, "https://there.test/x"},
	} {
		if r := f.browse("GET", path); r.status != want.status || r.header.Get("Location") != want.location {
			t.Errorf("GET %s: %d to %q, want %v", path, r.status, r.header.Get("Location"), want)
		}
	}
	f.ok(call{method: "PUT", path: "/bucket", query: "website", body: `<WebsiteConfiguration><RedirectAllRequestsTo><HostName>all.test</HostName><Protocol>https</Protocol></RedirectAllRequestsTo></WebsiteConfiguration>`})
	if r := f.browse("GET", "/any/key"); r.status != 301 || r.header.Get("Location") != "https://all.test/any/key" {
		t.Errorf("everything goes to %q with %d", r.header.Get("Location"), r.status)
	}
}

func TestWebsiteConfigurationIsKeptOrRefusedAsByS3(t *testing.T) {
	f := withBucket(t)
	site := call{method: "GET", path: "/bucket", query: "website"}
	f.refused("NoSuchWebsiteConfiguration", site)
	index := `<IndexDocument><Suffix>i</Suffix></IndexDocument>`
	rule := func(inner string) string {
		return index + "<RoutingRules><RoutingRule>" + inner + "</RoutingRule></RoutingRules>"
	}
	for body, code := range map[string]string{
		"": "InvalidArgument",
		"<IndexDocument><Suffix></Suffix></IndexDocument>":                                                                                          "InvalidArgument",
		"<IndexDocument><Suffix>a/b</Suffix></IndexDocument>":                                                                                       "InvalidArgument",
		"<RedirectAllRequestsTo><HostName>h</HostName></RedirectAllRequestsTo>" + index:                                                             "InvalidRequest",
		"<RedirectAllRequestsTo><HostName>h</HostName><Protocol>ftp</Protocol></RedirectAllRequestsTo>":                                             "InvalidRequest",
		"<RedirectAllRequestsTo></RedirectAllRequestsTo>":                                                                                           "MalformedXML",
		index + "<ErrorDocument></ErrorDocument>":                                                                                                   "MalformedXML",
		index + "<ErrorDocument><Key></Key></ErrorDocument>":                                                                                        "InvalidArgument",
		rule("<Redirect></Redirect>"):                                                                                                               "MalformedXML",
		rule("<Condition></Condition><Redirect><HostName>h</HostName></Redirect>"):                                                                  "InvalidRequest",
		rule("<Redirect><ReplaceKeyWith>a</ReplaceKeyWith><ReplaceKeyPrefixWith>b</ReplaceKeyPrefixWith></Redirect>"):                               "InvalidRequest",
		rule("<Redirect><HostName>h</HostName><HttpRedirectCode>300</HttpRedirectCode></Redirect>"):                                                 "InvalidRequest",
		rule("<Condition><HttpErrorCodeReturnedEquals>200</HttpErrorCodeReturnedEquals></Condition><Redirect><HostName>h</HostName></Redirect>"):    "InvalidRequest",
		rule("<Redirect><HostName>h</HostName><HttpRedirectCode>306</HttpRedirectCode></Redirect>"):                                                 "InvalidRequest",
		rule("<Redirect><HostName>h</HostName><HttpRedirectCode>3xx</HttpRedirectCode></Redirect>"):                                                 "MalformedXML",
		rule("<Condition><HttpErrorCodeReturnedEquals>418</HttpErrorCodeReturnedEquals></Condition><Redirect><HostName>h</HostName></Redirect>"):    "InvalidRequest",
		rule("<Condition><HttpErrorCodeReturnedEquals>4xx</HttpErrorCodeReturnedEquals></Condition><Redirect><HostName>h</HostName></Redirect>"):    "MalformedXML",
		index + "<RoutingRules>" + strings.Repeat("<RoutingRule><Redirect><HostName>h</HostName></Redirect></RoutingRule>", 51) + "</RoutingRules>": "InvalidRequest",
	} {
		f.refused(code, call{method: "PUT", path: "/bucket", query: "website", body: "<WebsiteConfiguration>" + body + "</WebsiteConfiguration>"})
	}
	for body, want := range map[string]string{
		"": "<Message>A value for IndexDocument Suffix must be provided if RedirectAllRequestsTo is empty</Message><ArgumentName>IndexDocument</ArgumentName><ArgumentValue>null</ArgumentValue>",
		index + "<ErrorDocument><Key></Key></ErrorDocument>": "<Message>The ErrorDocument Key is not well formed</Message><ArgumentName>ErrorDocument</ArgumentName>",
	} {
		if r := f.do(call{method: "PUT", path: "/bucket", query: "website", body: "<WebsiteConfiguration>" + body + "</WebsiteConfiguration>"}); r.status != 400 || !strings.Contains(r.body, want) {
			t.Errorf("%s: %d %s", body, r.status, r.body)
		}
	}
	f.ok(call{method: "PUT", path: "/bucket", query: "website", body: plainWebsite})
	if r := f.ok(site); !strings.Contains(r.body, "<Suffix>index.html</Suffix>") || !strings.Contains(r.body, "<Key>error.html</Key>") || strings.Contains(r.body, "RoutingRules") {
		t.Errorf("kept is %s", r.body)
	}
	if r := f.do(call{method: "DELETE", path: "/bucket", query: "website"}); r.status != http.StatusNoContent {
		t.Errorf("removing it: %d", r.status)
	}
	f.refused("NoSuchWebsiteConfiguration", site)
}
