package test

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// sizes are the lengths of the objects that clients move: nothing, a byte, more
// than one part, and large.
func sizes() []int64 {
	large := int64(48 << 20)
	if full() {
		large = 1 << 30
	}
	return []int64{0, 1, 70_000, 17 << 20, large}
}

// manyKeys is more than two full pages, or than ten. Clients take long to delete them.
func manyKeys() int {
	if full() {
		return 10_050
	}
	return 2_050
}

// fill makes a bucket with many objects by writing files, as a user of the
// share would.
func fill(t *testing.T, s *server, bucket string) {
	t.Helper()
	dir := filepath.Join(s.dir, bucket)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for i := range manyKeys() {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("key-%05d", i)), []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// random returns content that no two calls return alike.
func random(size int) []byte {
	content := make([]byte, size)
	_, _ = rand.Read(content) // never fails, as its package promises
	return content
}

// randomFile makes a file of size bytes that no two calls make alike.
func randomFile(t *testing.T, size int64) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), fmt.Sprintf("content-%d", size))
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := io.CopyN(f, rand.Reader, size); err != nil {
		t.Fatal(err)
	}
	return path
}

// readFile returns a file's content.
func readFile(t *testing.T, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// sameContent fails the test if two files differ.
func sameContent(t *testing.T, a, b string) {
	t.Helper()
	if out, err := exec.Command("cmp", a, b).CombinedOutput(); err != nil {
		t.Fatalf("%s and %s differ: %s", a, b, out)
	}
}

// fetch gets a presigned URL as a browser would and compares what comes.
func fetch(t *testing.T, url string, want []byte) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK || !bytes.Equal(got, want) {
		t.Fatalf("%s: %s, %d bytes, want %d", url, resp.Status, len(got), len(want))
	}
}

// send puts content of a length to a presigned URL.
func send(t *testing.T, url string, content io.Reader, length int64) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, url, content)
	if err != nil {
		t.Error(err)
		return
	}
	req.ContentLength = length
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Error(err)
		return
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		answer, _ := io.ReadAll(resp.Body) // only to show it
		t.Errorf("PUT %s: %s: %s", url, resp.Status, answer)
	}
}
