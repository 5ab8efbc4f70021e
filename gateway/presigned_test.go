package gateway

import (
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // version 2 is defined by it
	"encoding/base64"
	"fmt"
	"net/url"
	"testing"
	"time"
)

// presignV2 returns the query of a presigned URL of version 2.
func presignV2(method, path string) string {
	expires := time.Now().Add(time.Hour).Unix()
	mac := hmac.New(sha1.New, []byte(testSecret))
	fmt.Fprintf(mac, "%s\n\n\n%d\n%s", method, expires, path)
	return url.Values{
		"AWSAccessKeyId": {testUser}, "Expires": {fmt.Sprint(expires)},
		"Signature": {base64.StdEncoding.EncodeToString(mac.Sum(nil))},
	}.Encode()
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
