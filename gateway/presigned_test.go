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

// presign returns the query of a presigned URL of version 4 with the given parameters.
func (f *fixture) presign(method, path, query string) string {
	creds := sigv4.Credentials{AccessKey: testUser, Secret: testSecret, Region: "us-east-1"}
	r := sigv4.Request{Method: method, Path: path, Query: query, Header: sigv4.Fields{{Name: "Host", Value: f.addr}}}
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
