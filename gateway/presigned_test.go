package gateway

import (
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // version 2 is defined by it
	"encoding/base64"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/shoal-storage/shoal/internal/sigv4"
)

// presignV2 returns the query of a presigned URL of version 2.
func presignV2(method, path string) string {
	return presignV2With(testUser, testSecret, "", method, path)
}

// presignV2With is presignV2 with other credentials, whose token is "" if they last.
func presignV2With(key, secret, token, method, path string) string {
	expires := time.Now().Add(time.Hour).Unix()
	query := url.Values{"AWSAccessKeyId": {key}, "Expires": {fmt.Sprint(expires)}}
	signed := path
	if token != "" {
		query.Set("x-amz-security-token", token)
		signed = "x-amz-security-token:" + token + "\n" + path
	}
	mac := hmac.New(sha1.New, []byte(secret))
	fmt.Fprintf(mac, "%s\n\n\n%d\n%s", method, expires, signed)
	query.Set("Signature", base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	return query.Encode()
}

func TestPresignedURLOfVersion2IsGoodForOneOperation(t *testing.T) {
	f := withBucket(t)
	f.put("k", "hello")
	names := subresources()
	for _, op := range operations() {
		if op.query != "" && op.name != "ListObjectsV2" { // a listing by either version
			names = append(names, op.query)
		}
	}
	for _, path := range []string{"/bucket", "/bucket/k"} {
		query := presignV2("GET", path)
		f.ok(call{method: "GET", path: path, query: query, anonymous: true})
		for _, name := range names {
			f.refused("SignatureDoesNotMatch", call{method: "GET", path: path, query: query + "&" + name + "=", anonymous: true})
		}
		for _, method := range []string{"PUT", "DELETE"} {
			f.refused("SignatureDoesNotMatch", call{method: method, path: path, query: query, anonymous: true})
		}
	}
	if got := f.get("k"); got != "hello" {
		t.Errorf("k holds %q", got)
	}
}

// signedV2 is a call that is signed in the header by version 2.
func signedV2(c call, secret string) call {
	date := time.Now().UTC().Format("Mon, 02 Jan 2006 15:04:05 GMT")
	mac := hmac.New(sha1.New, []byte(secret))
	fmt.Fprintf(mac, "%s\n\n\n%s\n%s", c.method, date, c.path)
	if c.query != "" {
		fmt.Fprintf(mac, "?%s", c.query)
	}
	c.anonymous, c.header = true, headers{"Date": date, "Authorization": "AWS " + testUser + ":" + base64.StdEncoding.EncodeToString(mac.Sum(nil))}
	return c
}

func TestRequestsOfVersion2AreServedWhereTheyAreToBe(t *testing.T) {
	put, get := call{method: "PUT", path: "/bucket/k", body: "hello"}, call{method: "GET", path: "/bucket/k"}
	f := withBucket(t)
	if r := f.refused("InvalidRequest", signedV2(put, testSecret)); !strings.Contains(r.body, "Please use AWS4-HMAC-SHA256") {
		t.Error(r.body)
	}
	f.missing("k")

	f = serve(t, func(c *Config) { c.SignatureV2 = true })
	f.ok(signedV2(call{method: "PUT", path: "/bucket"}, testSecret))
	f.ok(signedV2(put, testSecret))
	if got := f.ok(signedV2(get, testSecret)).body; got != "hello" {
		t.Errorf("read %q", got)
	}
	f.ok(signedV2(call{method: "GET", path: "/bucket", query: "location"}, testSecret))
	location := signedV2(call{method: "GET", path: "/bucket", query: "location"}, testSecret)
	location.query = "location="
	f.ok(location)
	f.refused("SignatureDoesNotMatch", signedV2(put, "x"))
	other := signedV2(get, testSecret)
	other.query = "tagging"
	f.refused("SignatureDoesNotMatch", other)
	f.ok(call{method: "PUT", path: "/bucket", query: "policy", body: `{"Statement":[{"Effect":"Deny","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::bucket/*",` +
		`"Condition":{"StringEquals":{"s3:signatureversion":"AWS"}}}]}`})
	f.ok(get)
	f.refused("AccessDenied", call{method: "GET", path: "/bucket/k", query: presignV2("GET", "/bucket/k"), anonymous: true})
}

// presign returns the query of a presigned URL of version 4 with the given parameters.
func (f *fixture) presign(method, path, query string) string {
	return f.presignWith(method, path, query)
}

// presignWith returns that of a request that is signed with further headers.
func (f *fixture) presignWith(method, path, query string, more ...sigv4.Field) string {
	creds := sigv4.Credentials{AccessKey: testUser, Secret: testSecret, Region: "us-east-1"}
	r := sigv4.Request{Method: method, Path: path, Query: query, Header: append(sigv4.Fields{{Name: "Host", Value: f.addr}}, more...)}
	return creds.Presign(r, time.Hour, time.Now())
}

// The JavaScript SDK moves headers into the URL; whoever uses it sends none of them.
func TestHeadersThatWereMovedIntoAPresignedURLCount(t *testing.T) {
	f := withBucket(t)
	put := func(query string) call {
		return call{method: "PUT", path: "/bucket/k", query: f.presign("PUT", "/bucket/k", query), body: "hello", anonymous: true}
	}
	f.ok(put("x-amz-meta-color=light%20blue&x-amz-storage-class=STANDARD_IA&x-amz-acl=private"))
	head := f.ok(call{method: "HEAD", path: "/bucket/k"}).header
	if head.Get("X-Amz-Meta-Color") != "light blue" || head.Get("X-Amz-Storage-Class") != "STANDARD_IA" {
		t.Errorf("got %v", head)
	}
	f.refused("AccessControlListNotSupported", put("x-amz-acl=public-read"))
	f.refused("NotImplemented", put("x-amz-server-side-encryption=AES256"))
	f.refused("InvalidArgument", put("x-amz-meta-color=a%0D%0Ab"))
	f.refused("InvalidArgument", put("x-amz-meta-a%20b=c"))
	f.ok(put("x-amz-checksum-crc32=AAAAAA%3D%3D&x-amz-sdk-checksum-algorithm=CRC32"))
	changed := put("x-amz-meta-color=blue")
	changed.query = strings.Replace(changed.query, "blue", "red", 1)
	f.refused("SignatureDoesNotMatch", changed)
	signed := call{method: "PUT", path: "/bucket/k", query: "x-amz-meta-color=blue", body: "x"}
	f.ok(signed)
	if got := f.ok(call{method: "HEAD", path: "/bucket/k"}).header.Get("X-Amz-Meta-Color"); got != "" {
		t.Errorf("a parameter of a request that is signed in the header: %q", got)
	}
}

// Version 2 of the JavaScript SDK does so, and leaves them among the signed headers.
func TestMovedHeadersMayBeSignedAsHeadersToo(t *testing.T) {
	f := withBucket(t)
	put := func(parameter string, signed sigv4.Field, sent map[string]string) call {
		return call{method: "PUT", path: "/bucket/k", query: f.presignWith("PUT", "/bucket/k", parameter, signed), body: "hello", header: sent, anonymous: true}
	}
	color := func(value string) sigv4.Field { return sigv4.Field{Name: "x-amz-meta-color", Value: value} }
	f.ok(put("x-amz-meta-color=light%20blue", color("light blue"), nil))
	if got := f.ok(call{method: "HEAD", path: "/bucket/k"}).header.Get("X-Amz-Meta-Color"); got != "light blue" {
		t.Errorf("got %q", got)
	}
	f.ok(put("x-amz-meta-color=blue", color("blue"), map[string]string{"x-amz-meta-color": "blue"}))
	f.refused("SignatureDoesNotMatch", put("x-amz-meta-color=blue", color("red"), nil))
	f.refused("SignatureDoesNotMatch", put("x-amz-meta-color=blue", color("blue"), map[string]string{"x-amz-meta-color": "red"}))
	f.refused("AccessControlListNotSupported", put("x-amz-acl=public-read", sigv4.Field{Name: "x-amz-acl", Value: "public-read"}, nil))
	// What does not count as a header is not signed as one either, or it would be left out in silence.
	f.refused("SignatureDoesNotMatch", put("x-amz-tagging=a%3Db", sigv4.Field{Name: "x-amz-tagging", Value: "a=b"}, nil))
}
