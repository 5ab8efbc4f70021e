package gateway

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/sse"
)

// testKeys are two master keys, the first of which is the default.
func testKeys(t *testing.T) sse.MasterKeys {
	t.Helper()
	keys, err := sse.ParseLocal("first:" + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{1}, sse.KeySize)) +
		",second:" + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{2}, sse.KeySize)))
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// withKeys serves a bucket, with master keys, and takes customers' keys over HTTP.
func withKeys(t *testing.T, change func(*Config)) *fixture {
	t.Helper()
	f := serve(t, func(c *Config) {
		c.MasterKeys, c.InsecureCustomerKeys = testKeys(t), true
		if change != nil {
			change(c)
		}
	})
	f.ok(call{method: "PUT", path: "/bucket"})
	return f
}

type headers = map[string]string

// customer returns the headers that bring a key.
func customer(key string) headers { return customerWith("x-amz-server-side-encryption-customer-", key) }

func customerWith(prefix, key string) headers {
	return headers{
		prefix + "algorithm": "AES256", prefix + "key": base64.StdEncoding.EncodeToString([]byte(key)), prefix + "key-MD5": md5Base64(key),
	}
}

func managed() headers { return headers{"x-amz-server-side-encryption": "AES256"} }

func named(key string) headers {
	return headers{"x-amz-server-side-encryption": "aws:kms", "x-amz-server-side-encryption-aws-kms-key-id": key}
}

// and joins headers.
func and(all ...headers) headers {
	joined := headers{}
	for _, h := range all {
		maps.Copy(joined, h)
	}
	return joined
}

// Two keys of customers.
var (
	keyA = strings.Repeat("A", 32)
	keyB = strings.Repeat("B", 32)
)

// kinds are the ways to encrypt: what the writer sends, the reader sends, and the
// answers to both tell.
func kinds() map[string]struct{ write, read, told headers } {
	return map[string]struct{ write, read, told headers }{
		"SSE-C":   {customer(keyA), customer(keyA), headers{"x-amz-server-side-encryption-customer-algorithm": "AES256", "x-amz-server-side-encryption-customer-key-md5": md5Base64(keyA)}},
		"SSE-S3":  {managed(), nil, managed()},
		"SSE-KMS": {named("second"), nil, named("arn:aws:kms:second")},
	}
}

// tells checks the headers of server-side encryption of an answer: all of them.
func tells(t *testing.T, what string, r reply, want headers) {
	t.Helper()
	got := headers{}
	for name := range r.header {
		if low := strings.ToLower(name); strings.HasPrefix(low, "x-amz-server-side-encryption") {
			got[low] = r.header.Get(name)
		}
	}
	if !maps.Equal(got, want) {
		t.Errorf("%s tells %v, want %v", what, got, want)
	}
}

// held returns the bytes that the Store has of an object.
func (f *fixture) held(key string) (object.Info, []byte) {
	f.t.Helper()
	h, err := f.store.Open(context.Background(), object.Ref{Bucket: "bucket", Key: key})
	if err != nil {
		f.t.Fatal(err)
	}
	defer h.Close()
	info := h.Info()
	b, err := io.ReadAll(h.Range(0, info.Held()))
	if err != nil {
		f.t.Fatal(err)
	}
	return info, b
}

func TestAnEncryptedObjectComesBackAsItWasPut(t *testing.T) {
	f := withKeys(t, nil)
	content := strings.Repeat("marker of the content ", 10000)
	plain := f.ok(call{method: "PUT", path: "/bucket/plain", body: content})
	checksum := plain.header.Get("x-amz-checksum-crc64nvme")
	for name, kind := range kinds() {
		key := "/bucket/" + name
		put := f.ok(call{method: "PUT", path: key, body: content, header: kind.write})
		tells(t, name+": PUT", put, kind.told)
		if got := put.header.Get("x-amz-checksum-crc64nvme"); got != checksum {
			t.Errorf("%s: PUT tells the checksum %q, want %q", name, got, checksum)
		}
		if isMD5 := put.header.Get("ETag") == plain.header.Get("ETag"); isMD5 != (name == "SSE-S3") {
			t.Errorf("%s: the ETag is %s", name, put.header.Get("ETag"))
		}
		for _, method := range []string{"GET", "HEAD"} {
			r := f.ok(call{method: method, path: key, header: and(kind.read, headers{"x-amz-checksum-mode": "ENABLED"})})
			tells(t, name+": "+method, r, kind.told)
			for header, want := range map[string]string{
				"ETag": put.header.Get("ETag"), "Content-Length": fmt.Sprint(len(content)), "x-amz-checksum-crc64nvme": checksum,
			} {
				if got := r.header.Get(header); got != want {
					t.Errorf("%s: %s has the %s %q, want %q", name, method, header, got, want)
				}
			}
			if method == "GET" && r.body != content {
				t.Errorf("%s: %d other bytes came back", name, len(r.body))
			}
		}
		r := f.ok(call{method: "GET", path: key, header: and(kind.read, headers{"Range": "bytes=65530-131080"})})
		if r.body != content[65530:131081] || r.header.Get("Content-Range") != fmt.Sprintf("bytes 65530-131080/%d", len(content)) {
			t.Errorf("%s: a range came back as %d others, %s", name, len(r.body), r.header.Get("Content-Range"))
		}
		if info, held := f.held(name); bytes.Contains(held, []byte("marker")) || info.Overhead == 0 {
			t.Errorf("%s: the content lies open in the Store", name)
		}
		var page struct{ Contents []struct{ Size int } }
		list := f.ok(call{method: "GET", path: "/bucket", query: "prefix=" + name})
		if err := xml.Unmarshal([]byte(list.body), &page); err != nil || len(page.Contents) != 1 || page.Contents[0].Size != len(content) {
			t.Errorf("%s: listed as %s", name, list.body)
		}
		attributes := f.ok(call{method: "GET", path: key, query: "attributes=", header: and(kind.read, headers{"x-amz-object-attributes": "Checksum,ObjectSize"})})
		if !strings.Contains(attributes.body, checksum) || !strings.Contains(attributes.body, fmt.Sprintf("<ObjectSize>%d<", len(content))) {
			t.Errorf("%s: its attributes are %s", name, attributes.body)
		}
	}
}

func TestEmptyAndSmallObjectsAreEncryptedToo(t *testing.T) {
	f := withKeys(t, nil)
	for name, kind := range kinds() {
		for _, content := range []string{"", "x"} {
			f.ok(call{method: "PUT", path: "/bucket/k", body: content, header: kind.write})
			if r := f.ok(call{method: "GET", path: "/bucket/k", header: kind.read}); r.body != content {
				t.Errorf("%s: %q came back as %q", name, content, r.body)
			}
		}
	}
}

func TestOnlyTheCustomersKeyOpensAnObject(t *testing.T) {
	f := withKeys(t, nil)
	const needs = "The object was stored using a form of Server Side Encryption. The correct parameters must be provided to retrieve the object."
	const wrong = "Requests specifying Server Side Encryption with Customer provided keys must provide the correct secret key."
	f.ok(call{method: "PUT", path: "/bucket/k", body: "v", header: customer(keyA)})
	short := customer("too short")
	noDigest := customer(keyA)
	delete(noDigest, "x-amz-server-side-encryption-customer-key-MD5")
	for _, tt := range []struct {
		name, code, message string
		status              int
		header              headers
	}{
		{"no key", "InvalidRequest", needs, 400, nil},
		{"another key", "AccessDenied", wrong, 403, customer(keyB)},
		{"a key of another size", "AccessDenied", wrong, 403, short},
	} {
		for _, c := range []call{
			{method: "GET", path: "/bucket/k", header: tt.header},
			{method: "GET", path: "/bucket/k", query: "attributes=", header: and(tt.header, headers{"x-amz-object-attributes": "ETag"})},
			{method: "PUT", path: "/bucket/copy", header: and(sourceOf(tt.header), headers{"x-amz-copy-source": "bucket/k"})},
		} {
			r := f.refused(tt.code, c)
			if r.status != tt.status || !strings.Contains(r.body, tt.message) {
				t.Errorf("%s: %s %s: %d %s", tt.name, c.method, c.path, r.status, r.body)
			}
		}
		if r := f.do(call{method: "HEAD", path: "/bucket/k", header: tt.header}); r.status != tt.status {
			t.Errorf("%s: HEAD: %d", tt.name, r.status)
		}
	}
	if r := f.ok(call{method: "GET", path: "/bucket/k", header: noDigest}); r.body != "v" {
		t.Errorf("without the digest of the key: %q", r.body)
	}
	f.missing("copy")
	f.ok(call{method: "DELETE", path: "/bucket/k"})
}

// sourceOf returns headers as they are for the source of a copy.
func sourceOf(h headers) headers {
	source := headers{}
	for name, value := range h {
		source[strings.Replace(name, "x-amz-", "x-amz-copy-source-", 1)] = value
	}
	return source
}

func TestHeadersOfEncryptionThatMakeNoSenseAreRefused(t *testing.T) {
	f := withKeys(t, nil)
	f.put("plain", "v")
	f.ok(call{method: "PUT", path: "/bucket/managed", body: "v", header: managed()})
	without := func(name string) headers {
		h := customer(keyA)
		delete(h, "x-amz-server-side-encryption-customer-"+name)
		return h
	}
	with := func(name, value string) headers {
		return and(customer(keyA), headers{"x-amz-server-side-encryption-customer-" + name: value})
	}
	const please = "Requests specifying Server Side Encryption with Customer provided keys must provide "
	for _, tt := range []struct {
		code, message string
		header        headers
	}{
		{"InvalidArgument", "Server Side Encryption with Customer provided key is incompatible with the encryption method specified", and(customer(keyA), managed())},
		{"InvalidEncryptionAlgorithmError", "The Encryption request you specified is not valid. Supported value: AES256.", with("algorithm", "AES128")},
		{"InvalidArgument", please + "a valid encryption algorithm.", without("algorithm")},
		{"InvalidArgument", please + "an appropriate secret key.", without("key")},
		{"InvalidArgument", please + "the client calculated MD5 of the secret key.", without("key-MD5")},
		{"InvalidArgument", "The secret key was invalid for the specified algorithm.", customer("short")},
		{"InvalidArgument", "The secret key was invalid for the specified algorithm.", with("key", "no base64")},
		{"InvalidArgument", "The calculated MD5 hash of the key did not match the hash that was provided.", with("key-MD5", md5Base64(keyB))},
		{"InvalidArgument", "The encryption method specified is not supported", headers{"x-amz-server-side-encryption": "aes:kms"}},
		{"InvalidArgument", "The encryption method specified is not supported", headers{"x-amz-server-side-encryption": ""}},
		{"NotImplemented", "Dual-layer", headers{"x-amz-server-side-encryption": "aws:kms:dsse"}},
		{"InvalidArgument", "requires HTTP header x-amz-server-side-encryption : aws:kms", headers{"x-amz-server-side-encryption-aws-kms-key-id": "second"}},
		{"InvalidArgument", "requires HTTP header x-amz-server-side-encryption : aws:kms", and(named("second"), managed())},
		{"KMS.NotFoundException", "Key 'arn:aws:kms:third' does not exist", named("third")},
		{"KMS.NotFoundException", "Invalid keyId '../x'", named("../x")},
		{"InvalidArgument", "represents a string-string map", and(named("second"), headers{"x-amz-server-side-encryption-context": "e30"})},
		{"InvalidArgument", "represents a string-string map", and(named("second"), headers{"x-amz-server-side-encryption-context": base64.StdEncoding.EncodeToString([]byte(`{"a":1}`))})},
		{"InvalidArgument", "Invalid Argument", and(named("second"), headers{"x-amz-server-side-encryption-bucket-key-enabled": "maybe"})},
	} {
		for _, c := range []call{
			{method: "PUT", path: "/bucket/k", body: "x", header: tt.header},
			{method: "POST", path: "/bucket/k", query: "uploads=", header: tt.header},
			{method: "PUT", path: "/bucket/k", header: and(tt.header, headers{"x-amz-copy-source": "bucket/plain"})},
		} {
			if r := f.refused(tt.code, c); !strings.Contains(r.body, tt.message) {
				t.Errorf("%v: %s, want %q", tt.header, r.body, tt.message)
			}
		}
		f.missing("k")
	}
	for _, path := range []string{"/bucket/plain", "/bucket/managed"} {
		r := f.refused("InvalidRequest", call{method: "GET", path: path, header: customer(keyA)})
		if !strings.Contains(r.body, "The encryption parameters are not applicable to this object.") {
			t.Errorf("a key for what needs none: %s", r.body)
		}
		r = f.refused("InvalidArgument", call{method: "GET", path: path, header: managed()})
		if !strings.Contains(r.body, "x-amz-server-side-encryption header is not supported for this operation.") {
			t.Errorf("a choice where there is none: %s", r.body)
		}
	}
}

func TestKeysOfCustomersAreNotTakenInTheClear(t *testing.T) {
	f := withKeys(t, func(c *Config) { c.InsecureCustomerKeys = false })
	f.put("k", "v")
	for _, c := range []call{
		{method: "PUT", path: "/bucket/new", body: "x", header: customer(keyA)},
		{method: "GET", path: "/bucket/k", header: customer(keyA)},
		{method: "PUT", path: "/bucket/new", header: and(sourceOf(customer(keyA)), headers{"x-amz-copy-source": "bucket/k"})},
	} {
		if r := f.refused("InvalidRequest", c); !strings.Contains(r.body, "must be made over a secure connection") {
			t.Errorf("%s", r.body)
		}
	}
	f.missing("new")
}

func TestWithoutMasterKeysOnlyCustomersEncrypt(t *testing.T) {
	f := withKeys(t, func(c *Config) { c.MasterKeys = nil })
	for _, h := range []headers{managed(), named("first"), {"x-amz-server-side-encryption": "aws:kms"}} {
		r := f.refused("NotImplemented", call{method: "PUT", path: "/bucket/k", body: "x", header: h})
		if r.status != 501 || !strings.Contains(r.body, "Server side encryption specified but KMS is not configured") {
			t.Errorf("%d %s", r.status, r.body)
		}
		f.missing("k")
	}
	f.refused("NotImplemented", call{method: "PUT", path: "/bucket", query: "encryption=", body: encryptionXML("AES256", "", "")})
	f.ok(call{method: "PUT", path: "/bucket/k", body: "v", header: customer(keyA)})
	if r := f.ok(call{method: "GET", path: "/bucket/k", header: customer(keyA)}); r.body != "v" {
		t.Errorf("got %q", r.body)
	}
}

func TestAContextIsToldToWhoMakesAnObjectAndToNobodyElse(t *testing.T) {
	f := withKeys(t, nil)
	context := headers{"x-amz-server-side-encryption-context": base64.StdEncoding.EncodeToString([]byte(`{"a":"1","b":"2"}`))}
	more := headers{"x-amz-server-side-encryption-bucket-key-enabled": "true"}
	told := and(named("arn:aws:kms:first"), more)
	asked := and(headers{"x-amz-server-side-encryption": "aws:kms"}, context, more)
	tells(t, "PUT", f.ok(call{method: "PUT", path: "/bucket/k", body: "v", header: asked}), and(told, context))
	tells(t, "GET", f.ok(call{method: "GET", path: "/bucket/k"}), told)
	tells(t, "HEAD", f.ok(call{method: "HEAD", path: "/bucket/k"}), told)
	tells(t, "Create", f.ok(call{method: "POST", path: "/bucket/m", query: "uploads=", header: asked}), and(told, context))
	tells(t, "a copy", f.ok(call{method: "PUT", path: "/bucket/c", header: headers{"x-amz-copy-source": "bucket/k"}}), told)
	for _, id := range []string{"second", "arn:aws:kms:second", "arn:aws:kms:us-east-1:123456789012:key/second"} {
		tells(t, id, f.ok(call{method: "PUT", path: "/bucket/k", body: "v", header: named(id)}), named("arn:aws:kms:second"))
	}
}

// encryptionXML is a default encryption of a bucket.
func encryptionXML(algorithm, key, blocked string) string {
	x := "<ServerSideEncryptionConfiguration><Rule>"
	if algorithm != "" {
		x += "<ApplyServerSideEncryptionByDefault><SSEAlgorithm>" + algorithm + "</SSEAlgorithm>"
		if key != "" {
			x += "<KMSMasterKeyID>" + key + "</KMSMasterKeyID>"
		}
		x += "</ApplyServerSideEncryptionByDefault>"
	}
	if blocked != "" {
		x += "<BlockedEncryptionTypes><EncryptionType>" + blocked + "</EncryptionType></BlockedEncryptionTypes>"
	}
	return x + "</Rule></ServerSideEncryptionConfiguration>"
}

func TestABucketSaysHowItsObjectsAreEncrypted(t *testing.T) {
	f := withKeys(t, nil)
	set := func(document string) {
		t.Helper()
		f.ok(call{method: "PUT", path: "/bucket", query: "encryption=", body: document})
	}
	f.refused("ServerSideEncryptionConfigurationNotFoundError", call{method: "GET", path: "/bucket", query: "encryption="})
	tells(t, "without a default", f.ok(call{method: "PUT", path: "/bucket/k", body: "v"}), headers{})
	for _, tt := range []struct {
		algorithm, key string
		told           headers
	}{
		{"AES256", "", managed()},
		{"aws:kms", "", named("arn:aws:kms:first")},
		{"aws:kms", "arn:aws:kms:second", named("arn:aws:kms:second")},
	} {
		set(encryptionXML(tt.algorithm, tt.key, ""))
		got := f.ok(call{method: "GET", path: "/bucket", query: "encryption="})
		for _, want := range []string{"<SSEAlgorithm>" + tt.algorithm + "</SSEAlgorithm>", tt.key, "<BucketKeyEnabled>false</BucketKeyEnabled>"} {
			if !strings.Contains(got.body, want) {
				t.Errorf("%s is shown as %s", tt.algorithm, got.body)
			}
		}
		tells(t, "PUT", f.ok(call{method: "PUT", path: "/bucket/k", body: "v"}), tt.told)
		tells(t, "GET", f.ok(call{method: "GET", path: "/bucket/k"}), tt.told)
		tells(t, "Create", f.ok(call{method: "POST", path: "/bucket/m", query: "uploads="}), tt.told)
		tells(t, "another wish", f.ok(call{method: "PUT", path: "/bucket/c", body: "v", header: customer(keyA)}), kinds()["SSE-C"].told)
		copied := f.ok(call{method: "PUT", path: "/bucket/copy", header: and(sourceOf(customer(keyA)), headers{"x-amz-copy-source": "bucket/c"})})
		tells(t, "a copy", copied, tt.told)
	}
	for range 2 {
		f.ok(call{method: "DELETE", path: "/bucket", query: "encryption="})
	}
	f.refused("ServerSideEncryptionConfigurationNotFoundError", call{method: "GET", path: "/bucket", query: "encryption="})
	tells(t, "after that", f.ok(call{method: "PUT", path: "/bucket/k", body: "v"}), headers{})
}

func TestEverythingCanBeEncryptedByDefault(t *testing.T) {
	f := withKeys(t, func(c *Config) { c.EncryptAll = true })
	if r := f.ok(call{method: "GET", path: "/bucket", query: "encryption="}); !strings.Contains(r.body, "<SSEAlgorithm>AES256</SSEAlgorithm>") {
		t.Errorf("the default is %s", r.body)
	}
	tells(t, "PUT", f.ok(call{method: "PUT", path: "/bucket/k", body: "v"}), managed())
	tells(t, "a key of one's own", f.ok(call{method: "PUT", path: "/bucket/c", body: "v", header: customer(keyA)}), kinds()["SSE-C"].told)
	f.ok(call{method: "PUT", path: "/bucket", query: "encryption=", body: encryptionXML("", "", "SSE-C")})
	tells(t, "where only a key is blocked", f.ok(call{method: "PUT", path: "/bucket/k", body: "v"}), managed())
	f.ok(call{method: "PUT", path: "/bucket", query: "encryption=", body: encryptionXML("aws:kms", "second", "")})
	tells(t, "where the bucket says otherwise", f.ok(call{method: "PUT", path: "/bucket/k", body: "v"}), named("arn:aws:kms:second"))
}

func TestABucketCanBlockTheKeysOfCustomers(t *testing.T) {
	f := withKeys(t, nil)
	f.ok(call{method: "PUT", path: "/bucket/before", body: "v", header: customer(keyA)})
	f.ok(call{method: "PUT", path: "/bucket", query: "encryption=", body: encryptionXML("", "", "SSE-C")})
	f.refused("AccessDenied", call{method: "PUT", path: "/bucket/k", body: "v", header: customer(keyA)})
	f.missing("k")
	f.put("plain", "v")
	if r := f.ok(call{method: "GET", path: "/bucket/before", header: customer(keyA)}); r.body != "v" {
		t.Errorf("got %q", r.body)
	}
	f.ok(call{method: "PUT", path: "/bucket", query: "encryption=", body: encryptionXML("", "", "NONE")})
	f.ok(call{method: "PUT", path: "/bucket/k", body: "v", header: customer(keyA)})
}

func TestADefaultEncryptionThatMakesNoSenseIsRefused(t *testing.T) {
	f := withKeys(t, nil)
	for _, tt := range []struct{ code, document string }{
		{"MalformedXML", "<ServerSideEncryptionConfiguration/>"},
		{"MalformedXML", "<x/>"},
		{"MalformedXML", encryptionXML("", "", "")},
		{"MalformedXML", encryptionXML("AES512", "", "")},
		{"MalformedXML", encryptionXML("AES256", "", "SSE-S3")},
		{"InvalidArgument", encryptionXML("AES256", "second", "")},
		{"NotImplemented", encryptionXML("aws:kms:dsse", "", "")},
	} {
		f.refused(tt.code, call{method: "PUT", path: "/bucket", query: "encryption=", body: tt.document})
	}
	two := encryptionXML("AES256", "", "")
	two = strings.Replace(two, "</Rule>", "</Rule><Rule/>", 1)
	f.refused("MalformedXML", call{method: "PUT", path: "/bucket", query: "encryption=", body: two})
	f.refused("NoSuchBucket", call{method: "PUT", path: "/none-such", query: "encryption=", body: encryptionXML("AES256", "", "")})
	f.refused("ServerSideEncryptionConfigurationNotFoundError", call{method: "GET", path: "/bucket", query: "encryption="})
}

func TestPoliciesCanDemandEncryption(t *testing.T) {
	f := withKeys(t, nil)
	f.ok(call{method: "PUT", path: "/bucket", query: "policy=", body: `{"Version":"2012-10-17","Statement":[
		{"Effect":"Deny","Principal":"*","Action":"s3:PutObject","Resource":"arn:aws:s3:::bucket/kms/*",
		 "Condition":{"StringNotEquals":{"s3:x-amz-server-side-encryption-aws-kms-key-id":"second"}}},
		{"Effect":"Deny","Principal":"*","Action":"s3:PutObject","Resource":"arn:aws:s3:::bucket/any/*",
		 "Condition":{"Null":{"s3:x-amz-server-side-encryption":"true"}}},
		{"Effect":"Deny","Principal":"*","Action":"s3:PutObject","Resource":"arn:aws:s3:::bucket/own/*",
		 "Condition":{"Null":{"s3:x-amz-server-side-encryption-customer-algorithm":"true"}}}]}`})
	for _, tt := range []struct {
		path    string
		header  headers
		allowed bool
	}{
		{"/bucket/kms/k", named("second"), true},
		{"/bucket/kms/k", named("first"), false},
		{"/bucket/kms/k", nil, false},
		{"/bucket/any/k", managed(), true},
		{"/bucket/any/k", customer(keyA), false},
		{"/bucket/own/k", customer(keyA), true},
		{"/bucket/own/k", managed(), false},
	} {
		r := f.do(call{method: "PUT", path: tt.path, body: "v", header: tt.header})
		if (r.status == 200) != tt.allowed || !tt.allowed && r.code() != "AccessDenied" {
			t.Errorf("%s with %v: %d %s", tt.path, tt.header, r.status, r.body)
		}
	}
}

// damaging is a Store whose contents are changed on the way out.
type damaging struct {
	object.Store
	change func(held []byte) []byte
}

func (d *damaging) Open(ctx context.Context, ref object.Ref) (object.Handle, error) {
	h, err := d.Store.Open(ctx, ref)
	if err != nil {
		return nil, err
	}
	return damaged{h, d}, nil
}

type damaged struct {
	object.Handle
	by *damaging
}

func (d damaged) Range(offset, length int64) io.Reader {
	info := d.Info()
	held, err := io.ReadAll(d.Handle.Range(0, info.Held()))
	if err != nil {
		return strings.NewReader("")
	}
	held = d.by.change(held)
	return bytes.NewReader(held[min(int(offset), len(held)):min(int(offset+length), len(held))])
}

// flip changes a bit of the byte at a place, which is from the end if it is less than 0.
func flip(at int) func(held []byte) []byte {
	return func(held []byte) []byte {
		held[(at+len(held))%len(held)] ^= 1
		return held
	}
}

func TestAnAnswerWithDamagedContentIsBrokenOff(t *testing.T) {
	var store *damaging
	f := withKeys(t, func(c *Config) {
		store = &damaging{c.Store, nil}
		c.Store = store
	})
	content := strings.Repeat("0123456789abcdef", 20000)
	f.ok(call{method: "PUT", path: "/bucket/k", body: content, header: managed()})
	for name, change := range map[string]func(held []byte) []byte{
		"a bit in the middle": flip(200000),
		"the last bit":        flip(-1),
	} {
		store.change = change
		resp, err := f.client.Do(f.request(call{method: "GET", path: "/bucket/k"}))
		if err != nil {
			continue // broken off before anything was sent
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err == nil || !strings.HasPrefix(content, string(body)) {
			t.Errorf("with %s changed %d bytes came, %v", name, len(body), err)
		}
		f.client.Transport.(*http.Transport).CloseIdleConnections()
	}
	store.change = flip(200000)
	if r := f.ok(call{method: "GET", path: "/bucket/k", header: headers{"Range": "bytes=0-65535"}}); r.body != content[:65536] {
		t.Error("a range beside what is damaged is not what it was")
	}
	if r := f.do(call{method: "PUT", path: "/bucket/copy", header: and(customer(keyA), headers{"x-amz-copy-source": "bucket/k"})}); r.status != 500 {
		t.Errorf("a copy of it: %d %s", r.status, r.body)
	}
	f.missing("copy")
}

// TestAContentWhoseBeginningCannotBeReadIsRefused: with an error, about which nothing that the object says is told.
func TestAContentWhoseBeginningCannotBeReadIsRefused(t *testing.T) {
	store := &damaging{}
	f := withKeys(t, func(c *Config) {
		store.Store = c.Store
		c.Store = store
	})
	f.ok(call{method: "PUT", path: "/bucket/k", body: strings.Repeat("0123456789abcdef", 20000), header: and(managed(), headers{"Cache-Control": "max-age=9000"})})
	for name, change := range map[string]func(held []byte) []byte{
		"changed": flip(0),
		"gone":    func([]byte) []byte { return nil },
	} {
		store.change = change
		r := f.do(call{method: "GET", path: "/bucket/k", header: headers{"Range": "bytes=5-"}})
		if r.status != 500 || !strings.Contains(r.body, "<Code>InternalError</Code>") {
			t.Errorf("%s: %d %s", name, r.status, r.body)
		}
		for _, h := range []string{"Cache-Control", "ETag", "Content-Range", "x-amz-server-side-encryption"} {
			if v := r.header.Get(h); v != "" {
				t.Errorf("%s: the error comes with %s %q", name, h, v)
			}
		}
	}
}

func TestCopiesAreEncryptedAsTheyAreAskedFor(t *testing.T) {
	content := strings.Repeat("marker of the content ", 10000)
	for _, within := range []bool{true, false} {
		f := withKeys(t, func(c *Config) {
			if !within {
				c.Store = struct{ object.Store }{c.Store} // no Copier
			}
		})
		f.put("plain", content)
		sources := map[string]headers{"plain": nil}
		for name, kind := range kinds() {
			f.ok(call{method: "PUT", path: "/bucket/" + name, body: content, header: kind.write})
			sources[name] = sourceOf(kind.read)
		}
		for source, opens := range sources {
			for target, kind := range kinds() {
				r := f.ok(call{method: "PUT", path: "/bucket/copy", header: and(opens, kind.write, headers{"x-amz-copy-source": "bucket/" + source})})
				tells(t, source+" to "+target, r, kind.told)
				got := f.ok(call{method: "GET", path: "/bucket/copy", header: kind.read})
				if got.body != content {
					t.Errorf("%s to %s: %d other bytes", source, target, len(got.body))
				}
				if _, held := f.held("copy"); bytes.Contains(held, []byte("marker")) {
					t.Errorf("%s to %s: the content lies open in the Store", source, target)
				}
			}
			r := f.ok(call{method: "PUT", path: "/bucket/copy", header: and(opens, headers{"x-amz-copy-source": "bucket/" + source})})
			told := headers{}
			if source == "SSE-S3" || source == "SSE-KMS" {
				told = kinds()[source].told
			}
			tells(t, source+" to what is not said", r, told)
			if got := f.get("copy"); got != content {
				t.Errorf("%s to what is not said: %d other bytes", source, len(got))
			}
		}
	}
}

func TestACopyOntoItselfChangesTheEncryption(t *testing.T) {
	f := withKeys(t, nil)
	f.ok(call{method: "PUT", path: "/bucket/k", body: "content", header: and(customer(keyA), headers{"x-amz-meta-a": "b"})})
	self := headers{"x-amz-copy-source": "bucket/k"}
	f.refused("InvalidRequest", call{method: "PUT", path: "/bucket/k", header: and(self, sourceOf(customer(keyA)))})
	var last headers
	for i, to := range []struct{ write, read headers }{
		{customer(keyB), customer(keyB)}, {managed(), nil}, {named("first"), nil}, {named("second"), nil}, {customer(keyA), customer(keyA)}, {customer(keyA), customer(keyA)},
	} {
		if i == 0 {
			last = customer(keyA)
		}
		f.ok(call{method: "PUT", path: "/bucket/k", header: and(self, sourceOf(last), to.write)})
		r := f.ok(call{method: "GET", path: "/bucket/k", header: to.read})
		if r.body != "content" || r.header.Get("x-amz-meta-a") != "b" {
			t.Errorf("step %d: %q, %v", i, r.body, r.header)
		}
		last = to.read
	}
}

func TestACopyOntoItselfIsEncryptedAsTheBucketSays(t *testing.T) {
	f := withKeys(t, nil)
	f.put("k", "content")
	self := call{method: "PUT", path: "/bucket/k", header: headers{"x-amz-copy-source": "bucket/k"}}
	f.refused("InvalidRequest", self)
	f.ok(call{method: "PUT", path: "/bucket", query: "encryption=", body: encryptionXML("AES256", "", "")})
	for range 2 {
		tells(t, "the copy", f.ok(self), managed())
		if r := f.ok(call{method: "GET", path: "/bucket/k"}); r.body != "content" || r.header.Get(encryptionHeader) != "AES256" {
			t.Errorf("%q, %v", r.body, r.header)
		}
	}
}

func TestEveryVersionHasAKeyOfItsOwn(t *testing.T) {
	f := withKeys(t, nil)
	f.ok(call{method: "PUT", path: "/bucket", query: "versioning=", body: "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"})
	type version struct {
		id, content string
		read        headers
	}
	var versions []version
	for i, kind := range []struct{ write, read headers }{{nil, nil}, {customer(keyA), customer(keyA)}, {customer(keyB), customer(keyB)}, {managed(), nil}} {
		content := fmt.Sprint("content ", i)
		r := f.ok(call{method: "PUT", path: "/bucket/k", body: content, header: kind.write})
		versions = append(versions, version{r.header.Get("x-amz-version-id"), content, kind.read})
	}
	for _, v := range slices.Backward(versions) {
		if r := f.ok(call{method: "GET", path: "/bucket/k", query: "versionId=" + v.id, header: v.read}); r.body != v.content {
			t.Errorf("version %s is %q", v.id, r.body)
		}
	}
	f.refused("AccessDenied", call{method: "GET", path: "/bucket/k", query: "versionId=" + versions[1].id, header: customer(keyB)})
}

func TestAFormCanAskForEncryption(t *testing.T) {
	f := withKeys(t, nil)
	for name, kind := range kinds() {
		fields := [][2]string{{"key", "k"}}
		for _, header := range slices.Sorted(maps.Keys(kind.write)) {
			fields = append(fields, [2]string{header, kind.write[header]})
		}
		r := f.post(form{fields: fields, file: "marker"})
		if r.status != 204 {
			t.Fatalf("%s: %d %s", name, r.status, r.body)
		}
		tells(t, name, r, kind.told)
		if got := f.ok(call{method: "GET", path: "/bucket/k", header: kind.read}); got.body != "marker" {
			t.Errorf("%s: %q", name, got.body)
		}
		if _, held := f.held("k"); bytes.Contains(held, []byte("marker")) {
			t.Errorf("%s: the content lies open in the Store", name)
		}
	}
	f.ok(call{method: "PUT", path: "/bucket", query: "encryption=", body: encryptionXML("AES256", "", "")})
	tells(t, "by default", f.post(form{fields: [][2]string{{"key", "k"}}, file: "v"}), managed())
	f.ok(call{method: "PUT", path: "/bucket", query: "policy=", body: `{"Version":"2012-10-17","Statement":[
		{"Effect":"Deny","Principal":"*","Action":"s3:PutObject","Resource":"arn:aws:s3:::bucket/*",
		 "Condition":{"StringNotEquals":{"s3:x-amz-server-side-encryption":"aws:kms"}}}]}`})
	if r := f.post(form{fields: [][2]string{{"key", "k"}, {"x-amz-server-side-encryption", "aws:kms"}}, file: "v"}); r.status != 204 {
		t.Errorf("as the policy demands: %d %s", r.status, r.body)
	}
	if r := f.post(form{fields: [][2]string{{"key", "k"}, {"x-amz-server-side-encryption", "AES256"}}, file: "v"}); r.code() != "AccessDenied" {
		t.Errorf("against the policy: %d %s", r.status, r.body)
	}
}

func TestWhatIsAppendedIsEncryptedAsTheObjectIs(t *testing.T) {
	f := withKeys(t, nil)
	for name, kind := range kinds() {
		f.ok(call{method: "PUT", path: "/bucket/" + name, body: "marker", header: kind.write})
		r := f.ok(call{method: "PUT", path: "/bucket/" + name, body: " and more", header: and(kind.read, headers{"x-amz-write-offset-bytes": "6"})})
		tells(t, name, r, kind.told)
		if got := f.ok(call{method: "GET", path: "/bucket/" + name, header: kind.read}); got.body != "marker and more" {
			t.Errorf("%s: %q", name, got.body)
		}
		if _, held := f.held(name); bytes.Contains(held, []byte("mark")) {
			t.Errorf("%s: the content lies open in the Store", name)
		}
	}
	f.refused("InvalidRequest", call{method: "PUT", path: "/bucket/SSE-C", body: "x", header: headers{"x-amz-write-offset-bytes": "15"}})
	f.refused("AccessDenied", call{method: "PUT", path: "/bucket/SSE-C", body: "x", header: and(customer(keyB), headers{"x-amz-write-offset-bytes": "15"})})
	f.put("plain", "1")
	tells(t, "plain", f.ok(call{method: "PUT", path: "/bucket/plain", body: "2", header: headers{"x-amz-write-offset-bytes": "1"}}), headers{})
	tells(t, "new", f.ok(call{method: "PUT", path: "/bucket/new", body: "1", header: and(managed(), headers{"x-amz-write-offset-bytes": "0"})}), managed())
}

func TestTheObjectsOfAnArchiveAreEncryptedAsItAsks(t *testing.T) {
	f := withKeys(t, nil)
	for name, kind := range kinds() {
		archive := archived(t, file("a", "marker a"), file("b", "marker b"))
		f.ok(call{method: "PUT", path: "/bucket/x.tar", body: archive, header: and(kind.write, headers{"x-amz-meta-snowball-auto-extract": "true"})})
		for _, key := range []string{"a", "b"} {
			got := f.ok(call{method: "GET", path: "/bucket/" + key, header: kind.read})
			tells(t, name, got, kind.told)
			if got.body != "marker "+key {
				t.Errorf("%s: %s is %q", name, key, got.body)
			}
			if _, held := f.held(key); bytes.Contains(held, []byte("marker")) {
				t.Errorf("%s: the content of %s lies open in the Store", name, key)
			}
		}
	}
}

func TestAWebsiteShowsWhatAMasterKeyOpens(t *testing.T) {
	f := withWebsite(t, plainWebsite, publicRead)
	f.server.MasterKeys, f.server.InsecureCustomerKeys = testKeys(t), true
	f.ok(call{method: "PUT", path: "/bucket/index.html", body: "home", header: managed()})
	f.ok(call{method: "PUT", path: "/bucket/secret", body: "v", header: customer(keyA)})
	if r := f.browse("GET", "/"); r.status != 200 || r.body != "home" {
		t.Errorf("the index: %d %q", r.status, r.body)
	}
	if r := f.browse("GET", "/secret"); r.status != 400 || strings.Contains(r.body, "<h1>v") {
		t.Errorf("what needs a key: %d %q", r.status, r.body)
	}
}
