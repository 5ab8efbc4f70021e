package gateway

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
)

// TestAnyRequestHasAnAnswer sends requests of which every part may be anything: rows of the
// table of operations, with parameters, headers and bodies of others. None is an internal error,
// which is also what a panic is answered with.
func TestAnyRequestHasAnAnswer(t *testing.T) {
	const requests = 10_000
	f := withKeys(t, nil)
	a := newAnyRequest(t)
	for i := range requests {
		if i%20 == 0 { // some of them remove what the others are about
			f.do(call{method: "PUT", path: "/bucket"})
			f.do(call{method: "PUT", path: "/locked", header: headers{"x-amz-bucket-object-lock-enabled": "true"}})
			f.do(call{method: "PUT", path: "/bucket/k", body: "content"})
			f.do(call{method: "PUT", path: "/bucket", query: "policy=", body: `{"Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:*","Resource":["arn:aws:s3:::bucket","arn:aws:s3:::bucket/*"]}]}`})
		}
		c := a.call()
		r := f.do(c)
		if r.status == 500 || r.status == 503 {
			t.Fatalf("%s %s?%s %q %q %q: %d %s", c.method, c.path, c.query, c.header, c.payload, c.body, r.status, r.body)
		}
		if r.status >= 400 && c.method != "HEAD" && !strings.Contains(r.body, "Code") {
			t.Fatalf("%s %s?%s %q %q %q: %d %q names no code", c.method, c.path, c.query, c.header, c.payload, c.body, r.status, r.body)
		}
	}
}

// anyRequest makes requests.
type anyRequest struct {
	rng        *rand.Rand
	operations []*operation
	parameters []string
}

// newAnyRequest draws from SHOAL_SEED, or from a seed that it prints.
func newAnyRequest(t *testing.T) *anyRequest {
	t.Helper()
	seed := rand.Uint64()
	if text := os.Getenv("SHOAL_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("SHOAL_SEED=%d", seed)
	a := &anyRequest{rng: rand.New(rand.NewPCG(seed, 0))} //nolint:gosec // a test is to be repeated
	for _, o := range operations() {
		if strings.HasPrefix(o.name, "Listen") {
			continue // what it answers has no end
		}
		a.operations = append(a.operations, o)
		if o.query != "" {
			a.parameters = append(a.parameters, o.query)
		}
	}
	a.parameters = append(a.parameters, anyParameters...)
	return a
}

func pick[T any](a *anyRequest, of []T) T { return of[a.rng.IntN(len(of))] }

// sometimes reports true in one of n cases.
func (a *anyRequest) sometimes(n int) bool { return a.rng.IntN(n) == 0 }

func (a *anyRequest) call() call {
	o := pick(a, a.operations)
	c := call{method: o.method, path: a.path(o.level), header: headers{}}
	if a.sometimes(10) {
		c.method = pick(a, []string{"GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS", "PATCH"})
	}
	if o.query != "" {
		c.query = a.parameter(o.query)
	}
	for range a.rng.IntN(2) {
		c.query = strings.TrimPrefix(c.query+"&"+a.parameter(pick(a, a.parameters)), "&")
	}
	for _, h := range anyHeaders {
		if strings.EqualFold(h[0], o.header) || a.sometimes(len(anyHeaders)) {
			c.header[h[0]] = a.value(h)
		}
	}
	a.fill(&c)
	if c.anonymous = a.sometimes(10); c.anonymous && c.payload != "" {
		c.header["x-amz-content-sha256"] = c.payload
	}
	return c
}

func (a *anyRequest) path(l level) string {
	bucket := pick(a, []string{"/bucket", "/bucket", "/bucket", "/bucket", "/bucket", "/bucket", "/locked", "/locked", "/none", "/..", "/" + strings.Repeat("b", 70)})
	switch {
	case l == service || a.sometimes(50):
		return "/"
	case l == bucketLevel:
		return bucket
	}
	return bucket + "/" + pick(a, []string{"k", "k", "k", "a/b", "a", "a//b", "../x", "%00", "%C3%A9", "dir/", "%FF", strings.Repeat("x", 1025), "a/../b", "%2F", "%20", ".shoal.sys/x"})
}

func (a *anyRequest) value(header []string) string {
	if a.sometimes(4) {
		return pick(a, anyValues)
	}
	return pick(a, header[1:])
}

func (a *anyRequest) parameter(name string) string {
	if a.sometimes(2) {
		return name + "="
	}
	return name + "=" + pick(a, []string{"null", "abc", "0", "1", "-1", "99999999999999999999", "%00", "%FF", "%2F", "a%2Fb", "true", "url", "k", "bucket", "first", "2026-01-01T00%3A00%3A00Z"})
}

// fill gives a request a body, and says of what kind it is.
func (a *anyRequest) fill(c *call) {
	if c.method == "GET" || c.method == "HEAD" {
		return
	}
	c.body = pick(a, anyDocuments)
	if len(c.body) > 0 && a.sometimes(4) {
		c.body = c.body[:a.rng.IntN(len(c.body))]
	}
	switch a.rng.IntN(6) {
	case 0:
		c.payload = "UNSIGNED-PAYLOAD"
	case 1:
		c.payload = pick(a, []string{"STREAMING-UNSIGNED-PAYLOAD-TRAILER", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER", "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD", "rubbish"})
		c.header["x-amz-decoded-content-length"] = fmt.Sprint(len(c.body))
		if a.sometimes(2) {
			c.header["x-amz-trailer"] = pick(a, []string{"x-amz-checksum-crc32", "x-amz-checksum-sha256", "x-amz-meta-a", ""})
		}
		if a.sometimes(2) {
			c.body = fmt.Sprintf("%x\r\n%s\r\n0\r\nx-amz-checksum-crc32:%s\r\n\r\n", len(c.body), c.body, crcOfHello)
		}
	}
}

var anyParameters = []string{
	"prefix", "delimiter", "marker", "key-marker", "version-id-marker", "upload-id-marker", "part-number-marker", "start-after", "continuation-token",
	"max-keys", "max-parts", "max-uploads", "encoding-type", "fetch-owner", "metadata", "versionId", "uploadId", "partNumber", "response-content-type",
	"response-expires", "x-id", "torrent", "restore", "select", "inventory", "session",
	"X-Amz-Expires", "X-Amz-Signature", "AWSAccessKeyId", "Expires",
}

// anyHeaders are headers, each with values that make sense or nearly do.
var anyHeaders = [][]string{
	{"Range", "bytes=0-0", "bytes=-5", "bytes=5-1", "bytes=0-1,3-4", "bytes=99999999999999999999-"},
	{"If-Match", "*", `"abc"`},
	{"If-None-Match", "*", `"abc"`},
	{"If-Range", `"abc"`, aDate},
	{"If-Modified-Since", aDate},
	{"If-Unmodified-Since", aDate},
	{"Content-MD5", "1B2M2Y8AsgTpgAmY7PhCfg=="},
	{"Content-Encoding", "gzip", "aws-chunked", "aws-chunked,gzip"},
	{"Content-Type", "text/plain", "multipart/form-data"},
	{"Expires", aDate},
	{"Cache-Control", "no-cache"},
	{"Date", aDate},
	{"X-Forwarded-For", "1.2.3.4, x"},
	{"Origin", "http://x"},
	{"Access-Control-Request-Method", "GET"},
	{"Access-Control-Request-Headers", "x-amz-date"},
	{"x-amz-copy-source", "/bucket/k", "bucket/k", "bucket", "/", "bucket/k?versionId=null", "bucket/%", "none/k?versionId=x", "/bucket/../k"},
	{"x-amz-copy-source-range", "bytes=0-1", "bytes=0-", "0-1"},
	{"x-amz-copy-source-if-match", "*", `"abc"`},
	{"x-amz-copy-source-if-modified-since", aDate},
	{"x-amz-metadata-directive", "COPY", "REPLACE"},
	{"x-amz-tagging-directive", "COPY", "REPLACE"},
	{"x-amz-tagging", "a=b", "a=b&a=c", "%"},
	{"x-amz-acl", "private", "public-read"},
	{"x-amz-grant-read", "id=x"},
	{"x-amz-storage-class", "STANDARD", "GLACIER"},
	{"x-amz-server-side-encryption", "AES256", "aws:kms", "aws:kms:dsse"},
	{"x-amz-server-side-encryption-aws-kms-key-id", "first"},
	{"x-amz-server-side-encryption-context", "e30="},
	{"x-amz-server-side-encryption-bucket-key-enabled", "true"},
	{"x-amz-server-side-encryption-customer-algorithm", "AES256"},
	{"x-amz-server-side-encryption-customer-key", "YWJj"},
	{"x-amz-server-side-encryption-customer-key-MD5", "YWJj"},
	{"x-amz-object-lock-mode", "GOVERNANCE", "COMPLIANCE"},
	{"x-amz-object-lock-retain-until-date", "2030-01-01T00:00:00Z", "2000-01-01T00:00:00Z"},
	{"x-amz-object-lock-legal-hold", "ON", "OFF"},
	{"x-amz-bypass-governance-retention", "true"},
	{"x-amz-bucket-object-lock-enabled", "true"},
	{"x-amz-expected-bucket-owner", "000000000000"},
	{"x-amz-request-payer", "requester"},
	{"x-amz-mfa", "a b"},
	{"x-amz-security-token", "x"},
	{"x-amz-checksum-crc32", "AAAAAA==", crcOfHello},
	{"x-amz-checksum-sha256", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="},
	{"x-amz-checksum-md5", "XUFAKrxLKna5cZ2REBfFkg=="},
	{"x-amz-checksum-xxhash3", "lVXoVVxi3P0=", "AAAAAAAAAAA="},
	{"x-amz-checksum-algorithm", "CRC32", "SHA256", "MD5", "XXHASH128"},
	{"x-amz-sdk-checksum-algorithm", "CRC32", "CRC64NVME"},
	{"x-amz-checksum-mode", "ENABLED"},
	{"x-amz-checksum-type", "COMPOSITE", "FULL_OBJECT"},
	{"x-amz-trailer", "x-amz-checksum-crc32"},
	{"x-amz-decoded-content-length", "5"},
	{"x-amz-meta-a", "b"},
	{"x-amz-website-redirect-location", "/x"},
	{"x-amz-write-offset-bytes", "0", "5", "7"},
	{"x-amz-object-attributes", "ETag,Checksum,ObjectParts", "ETag"},
	{"x-amz-optional-object-attributes", "RestoreStatus"},
	{"x-amz-max-parts", "1"},
	{"x-amz-part-number-marker", "3"},
	{"x-amz-mp-object-size", "5"},
	{"x-amz-if-match-size", "7"},
	{"x-amz-if-match-last-modified-time", aDate},
	{"x-amz-rename-source", "/bucket/k", "k"},
	{"x-amz-object-ownership", "BucketOwnerEnforced", "ObjectWriter"},
	{"x-minio-force-delete", "true"},
	{"x-amz-meta-snowball-auto-extract", "true"},
	{"x-amz-transition-default-minimum-object-size", "all_storage_classes_128K"},
}

const aDate = "Fri, 27 Nov 2026 07:00:00 GMT"

// anyValues make sense nowhere.
var anyValues = []string{"", "*", "x", "0", "1", "-1", "99999999999999999999", "%", "/", "true", "null", "a=b", "e30=", "bytes=0-0", aDate}

var anyDocuments = []string{
	"", "hello", "<", "<a/>", strings.Repeat("<a>", 5000),
	"<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>", "<Tagging/>",
	"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>", "<VersioningConfiguration><Status>Suspended</Status></VersioningConfiguration>",
	"<Delete><Object><Key>k</Key></Object><Object><Key>a</Key><VersionId>x</VersionId></Object></Delete>", "<Delete><Object><Key></Key></Object></Delete>",
	`<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>"x"</ETag></Part></CompleteMultipartUpload>`, "<CompleteMultipartUpload/>",
	"<LifecycleConfiguration><Rule><ID>a</ID><Status>Enabled</Status><Filter><Prefix>x</Prefix></Filter><Expiration><Days>1</Days></Expiration></Rule></LifecycleConfiguration>",
	"<LifecycleConfiguration><Rule/></LifecycleConfiguration>",
	"<CORSConfiguration><CORSRule><AllowedOrigin>*</AllowedOrigin><AllowedMethod>GET</AllowedMethod></CORSRule></CORSConfiguration>", "<CORSConfiguration><CORSRule/></CORSConfiguration>",
	"<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention><Mode>GOVERNANCE</Mode><Days>1</Days></DefaultRetention></Rule></ObjectLockConfiguration>",
	"<ObjectLockConfiguration/>", "<Retention><Mode>GOVERNANCE</Mode><RetainUntilDate>2030-01-01T00:00:00Z</RetainUntilDate></Retention>", "<Retention/>",
	"<LegalHold><Status>ON</Status></LegalHold>", "<LegalHold/>", "<CreateBucketConfiguration><LocationConstraint>us-east-1</LocationConstraint></CreateBucketConfiguration>",
	"<NotificationConfiguration/>", "<NotificationConfiguration><QueueConfiguration><Queue>x</Queue><Event>y</Event></QueueConfiguration></NotificationConfiguration>",
	"<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>AES256</SSEAlgorithm></ApplyServerSideEncryptionByDefault></Rule></ServerSideEncryptionConfiguration>",
	"<ObjectEncryption><SSE-KMS><KMSKeyArn>first</KMSKeyArn></SSE-KMS></ObjectEncryption>", "<ObjectEncryption><Rewrap/></ObjectEncryption>",
	`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::bucket/*"}]}`, `{}`, `[]`, `null`, `{"Statement":null}`,
	"<WebsiteConfiguration><IndexDocument><Suffix>i</Suffix></IndexDocument></WebsiteConfiguration>", "<PublicAccessBlockConfiguration/>",
	"<OwnershipControls><Rule><ObjectOwnership>BucketOwnerEnforced</ObjectOwnership></Rule></OwnershipControls>", "<AccessControlPolicy/>", "<BucketLoggingStatus/>",
	"<RequestPaymentConfiguration><Payer>BucketOwner</Payer></RequestPaymentConfiguration>", `<!DOCTYPE a [<!ENTITY x "y">]><Tagging>&x;</Tagging>`,
	"Action=AssumeRole&Version=2011-06-15", "Action=GetCallerIdentity&Version=2011-06-15", "Action=x", `{"requests":1,"bytes":-1}`, `{"uid":1,"mode":"rubbish"}`,
}
