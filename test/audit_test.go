package test

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// TestTheAuditComesToAFileAndAWebhook moves the file away meanwhile.
func TestTheAuditComesToAFileAndAWebhook(t *testing.T) {
	var mu sync.Mutex
	var posted []string
	hook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body) // what is missing of it is missed below
		mu.Lock()
		defer mu.Unlock()
		posted = append(posted, objectOf(body))
	}))
	t.Cleanup(hook.Close)
	file := filepath.Join(t.TempDir(), "audit.log")
	s := startWith(t, []string{"MINIO_AUDIT_WEBHOOK_ENABLE_A=on", "MINIO_AUDIT_WEBHOOK_ENDPOINT_A=" + hook.URL, "SHOAL_AUDIT_FILE=" + file}, place{host: "127.0.0.1"}, t.TempDir())
	c := newS3(s, noRetry)
	_, err := c.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("bucket")})
	must(t, err)
	put := func(key string) {
		_, err := c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("bucket"), Key: aws.String(key), Body: strings.NewReader("x")})
		must(t, err)
	}
	put("first")
	eventually(t, "the record is in the file", func() bool { return contains(file, "first") })
	must(t, os.Rename(file, file+".1"))
	must(t, s.cmd.Process.Signal(syscall.SIGHUP))
	eventually(t, "the file is opened anew", func() bool { return contains(file, "") })
	put("second")
	eventually(t, "the next record is in the new file", func() bool { return contains(file, "second") })
	if contains(file, "first") || contains(file+".1", "second") {
		t.Error("the files are not as they were before and after the signal")
	}
	eventually(t, "the webhook has both", func() bool {
		mu.Lock()
		defer mu.Unlock()
		all := strings.Join(posted, " ")
		return strings.Contains(all, "first second")
	})
}

// objectOf returns the key that a record of the audit is about.
func objectOf(record []byte) string {
	var r struct{ API struct{ Object string } }
	if json.Unmarshal(record, &r) != nil {
		return ""
	}
	return r.API.Object
}

// contains reports whether a file of the audit is there and has a record about a key; ""
// is in each.
func contains(path, key string) bool {
	file, err := os.Open(path)
	if err != nil {
		return false
	}
	defer file.Close()
	found := key == ""
	for in := bufio.NewScanner(file); in.Scan(); {
		found = found || objectOf(in.Bytes()) == key
	}
	return found
}
