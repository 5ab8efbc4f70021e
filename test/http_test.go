package test

import (
	"bufio"
	"bytes"
	"crypto/hmac"
	"crypto/sha512"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// unsignedPayload leaves the content out of the signature, so that it can be
// read once only.
func unsignedPayload(o *s3.Options) {
	o.APIOptions = append(o.APIOptions, v4.SwapComputePayloadSHA256ForUnsignedPayloadMiddleware)
	o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
}

// readResponse reads the next answer of a connection.
func readResponse(t *testing.T, conn net.Conn) *http.Response {
	t.Helper()
	must(t, conn.SetReadDeadline(time.Now().Add(20*time.Second)))
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	must(t, err)
	return resp
}

// TestBodyIsAskedForAfterTheSignature sends no body before it is told to.
func TestBodyIsAskedForAfterTheSignature(t *testing.T) {
	s := start(t)
	c := newS3(s)
	_, err := c.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("bucket")})
	must(t, err)
	link, err := s3.NewPresignClient(c).PresignPutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("bucket"), Key: aws.String("k")})
	must(t, err)
	good, err := url.Parse(link.URL)
	must(t, err)
	for _, test := range []struct {
		name, uri string
		status    int
	}{
		{"allowed", good.RequestURI(), http.StatusContinue},
		{"forged", forged(good.RequestURI()), http.StatusForbidden},
	} {
		t.Run(test.name, func(t *testing.T) {
			conn, err := net.Dial("tcp", good.Host)
			must(t, err)
			defer conn.Close()
			_, err = fmt.Fprintf(conn, "PUT %s HTTP/1.1\r\nHost: %s\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n", test.uri, good.Host)
			must(t, err)
			if resp := readResponse(t, conn); resp.StatusCode != test.status {
				t.Fatalf("%s, want %d", resp.Status, test.status)
			}
			if test.status != http.StatusContinue {
				return
			}
			_, err = io.WriteString(conn, "hello")
			must(t, err)
			if resp := readResponse(t, conn); resp.StatusCode != http.StatusOK {
				t.Fatal(resp.Status)
			}
		})
	}
}

// forged changes one digit of the signature in a presigned URL.
func forged(url string) string {
	start := strings.Index(url, "X-Amz-Signature=") + len("X-Amz-Signature=")
	digit := "0"
	if url[start] == '0' {
		digit = "1"
	}
	return url[:start] + digit + url[start+1:]
}

// TestBucketAsHostName lets the SDK put the bucket before the domain.
func TestBucketAsHostName(t *testing.T) {
	s := start(t, "--domain", "s3.example.com,other.example.com")
	server := strings.TrimPrefix(s.url, "http://")
	for _, domain := range []string{"s3.example.com", "other.example.com"} {
		var hosts []string
		c := newS3(s, func(o *s3.Options) {
			o.BaseEndpoint, o.UsePathStyle = aws.String("http://"+domain), false
			o.HTTPClient = &http.Client{Transport: &http.Transport{Proxy: func(req *http.Request) (*url.URL, error) {
				hosts = append(hosts, req.URL.Host)
				return &url.URL{Scheme: "http", Host: server}, nil
			}}}
		})
		bucket := aws.String("bucket-of-" + domain[:2])
		_, err := c.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: bucket})
		must(t, err)
		_, err = c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: bucket, Key: aws.String("a/b"), Body: strings.NewReader("hello")})
		must(t, err)
		got, err := readS3(newS3(s).GetObject(t.Context(), &s3.GetObjectInput{Bucket: bucket, Key: aws.String("a/b")}))
		if err != nil || string(got) != "hello" {
			t.Errorf("by path: %q, %v", got, err)
		}
		if want := *bucket + "." + domain; hosts[0] != want {
			t.Errorf("the SDK asked %s, want %s", hosts[0], want)
		}
	}
}

func TestMetricsNeedATokenUnlessPublic(t *testing.T) {
	t.Parallel()
	token := prometheusToken(password)
	for _, test := range []struct {
		name, mode, token string
		status            int
	}{
		{"no token", "jwt", "", http.StatusForbidden},
		{"forged token", "jwt", prometheusToken("another secret"), http.StatusForbidden},
		{"token", "jwt", token, http.StatusOK},
		{"public", "public", "", http.StatusOK},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := start(t, "--metrics-auth", test.mode)
			_, err := newS3(s).ListBuckets(t.Context(), &s3.ListBucketsInput{})
			must(t, err)
			for _, path := range []string{"/minio/v2/metrics/cluster", "/minio/v2/metrics/node"} {
				status, body := get(t, s.url+path, test.token)
				if status != test.status {
					t.Errorf("%s: %d, want %d", path, status, test.status)
				}
				if counted := strings.Contains(body, `shoal_s3_requests_total{operation="ListBuckets",status="200"} 1`); counted != (status == http.StatusOK) {
					t.Errorf("%s:\n%s", path, tail(body))
				}
			}
		})
	}
}

// prometheusToken makes a token as "mc admin prometheus generate" does.
func prometheusToken(secret string) string {
	encode := base64.RawURLEncoding.EncodeToString
	signed := encode([]byte(`{"alg":"HS512","typ":"JWT"}`)) + "." +
		encode(fmt.Appendf(nil, `{"exp":%d,"sub":%q,"iss":"prometheus"}`, time.Now().Add(time.Hour).Unix(), user))
	mac := hmac.New(sha512.New, []byte(secret))
	mac.Write([]byte(signed))
	return signed + "." + encode(mac.Sum(nil))
}

// get returns the answer to a request with a bearer token, unless that is "".
func get(t *testing.T, url, token string) (status int, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	must(t, err)
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(req)
	must(t, err)
	defer resp.Body.Close()
	content, err := io.ReadAll(resp.Body)
	must(t, err)
	return resp.StatusCode, string(content)
}

func TestEachRequestHasALineWithoutSecrets(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"json", "text"} {
		t.Run(format, func(t *testing.T) {
			s := start(t, "--log-format", format, "--log-level", "debug")
			c := newS3(s)
			_, err := c.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("bucket")})
			must(t, err)
			_, err = c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("bucket"), Key: aws.String("a key"), Body: bytes.NewReader(random(1234))})
			must(t, err)
			link, err := s3.NewPresignClient(c).PresignGetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String("bucket"), Key: aws.String("a key")})
			must(t, err)
			status, _ := get(t, forged(link.URL), "")
			if status != http.StatusForbidden {
				t.Errorf("a forged URL: %d", status)
			}
			s.stop(t)
			log := s.log(t)
			wants := []string{`"operation":"PutObject","bucket":"bucket","key":"a key","status":200,"received":1234`, `"code":"SignatureDoesNotMatch"`, `"user":"tester"`}
			if format == "text" {
				wants = []string{`operation=PutObject bucket=bucket key="a key" status=200 received=1234`, "code=SignatureDoesNotMatch", "user=tester"}
			}
			for _, want := range wants {
				if !strings.Contains(log, want) {
					t.Errorf("the log lacks %s:\n%s", want, log)
				}
			}
			parsed, err := url.Parse(link.URL)
			must(t, err)
			for _, secret := range []string{password, url.QueryEscape(password), parsed.Query().Get("X-Amz-Signature"), "AWS4-HMAC-SHA256"} {
				if strings.Contains(log, secret) {
					t.Errorf("the log holds %q", secret)
				}
			}
		})
	}
}

// logged reports whether the log has a line of the level that holds the text.
func logged(t *testing.T, s *server, level, text string) bool {
	t.Helper()
	for _, line := range s.lines(t) {
		if line["level"] == level && strings.Contains(line["text"].(string), text) {
			return true
		}
	}
	return false
}
