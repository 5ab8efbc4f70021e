package bench_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// server is as much of an S3 server as a run talks to: it remembers what it is
// asked and what it holds.
type server struct {
	*httptest.Server
	refuse func(op, key string) (status int, code string) // status 0: not refused

	mu       sync.Mutex
	buckets  map[string]map[string]string
	asked    map[string]int // by operation, such as "PUT object"
	payloads map[string]int // by what the signature says of the body: "unsigned", "signed" or "wrong"
}

func newServer(t *testing.T) *server {
	s := &server{buckets: map[string]map[string]string{}, asked: map[string]int{}, payloads: map[string]int{}}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil || !strings.HasPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 Credential=user/") {
		fail(w, http.StatusForbidden, "AccessDenied")
		return
	}
	bucket, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	op := r.Method + " object"
	switch {
	case r.URL.Query().Get("list-type") == "2":
		op = "LIST"
	case key == "":
		op = r.Method + " bucket"
	}
	if s.refuse != nil {
		if status, code := s.refuse(op, key); status != 0 {
			fail(w, status, code)
			return
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked[op]++
	s.payloads[payload(r.Header.Get("X-Amz-Content-Sha256"), body)]++
	s.answer(w, op, bucket, key, string(body))
}

// answer carries out an operation. The caller holds mu.
func (s *server) answer(w http.ResponseWriter, op, bucket, key, body string) {
	objects, there := s.buckets[bucket]
	content, found := objects[key]
	switch {
	case op == "PUT bucket":
		s.buckets[bucket] = map[string]string{}
	case !there:
		fail(w, http.StatusNotFound, "NoSuchBucket")
	case op == "PUT object":
		objects[key] = body
	case op == "DELETE object":
		delete(objects, key)
		w.WriteHeader(http.StatusNoContent)
	case op == "DELETE bucket" && len(objects) > 0:
		fail(w, http.StatusConflict, "BucketNotEmpty")
	case op == "DELETE bucket":
		delete(s.buckets, bucket)
		w.WriteHeader(http.StatusNoContent)
	case strings.HasSuffix(op, "object") && !found:
		fail(w, http.StatusNotFound, "NoSuchKey")
	case op == "GET object":
		_, _ = io.WriteString(w, content) // the client tells
	}
}

func fail(w http.ResponseWriter, status int, code string) {
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, "<Error><Code>%s</Code><Message>as the test says</Message></Error>", code) // the client tells
}

func payload(declared string, body []byte) string {
	sum := sha256.Sum256(body)
	switch declared {
	case "UNSIGNED-PAYLOAD":
		return "unsigned"
	case hex.EncodeToString(sum[:]):
		return "signed"
	}
	return "wrong"
}

// holds checks what the server holds: bucket to key to content.
func (s *server) holds(t *testing.T, want map[string]map[string]string) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !maps.EqualFunc(s.buckets, want, maps.Equal) {
		t.Errorf("the server holds %.300q, want %.300q", s.buckets, want)
	}
}

// count returns how often an operation was asked for.
func (s *server) count(op string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked[op]
}
