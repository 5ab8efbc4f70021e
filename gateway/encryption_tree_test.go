package gateway

import (
	"bytes"
	"crypto/md5"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/nasfs"
)

// tree is a directory that is served, and what must not be in it.
type tree struct {
	*fixture
	path   string
	secret [][]byte
}

// serveTree serves a directory whose files are all there is: no attributes.
func serveTree(t *testing.T) *tree {
	t.Helper()
	cfg := nasfs.DefaultConfig()
	cfg.Path, cfg.Logger, cfg.Metadata = t.TempDir(), slog.New(slog.DiscardHandler), nasfs.Sidecar
	store, err := nasfs.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return &tree{fixture: withKeys(t, func(c *Config) { c.Store = store }), path: cfg.Path, secret: [][]byte{[]byte("marker")}}
}

// hides checks that no file of the tree has any of the secrets in it, and that the
// files have at least so many bytes.
func (tr *tree) hides(what string, least int64) {
	tr.t.Helper()
	if sum := tr.search(what); sum < least {
		tr.t.Errorf("%s: the files have %d bytes, want %d at least: the test does not see them", what, sum, least)
	}
}

// search looks for the secrets and returns how many bytes there are.
func (tr *tree) search(what string) int64 {
	tr.t.Helper()
	var sum int64
	err := filepath.WalkDir(tr.path, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // the trash is emptied meanwhile
		}
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		for _, secret := range tr.secret {
			if bytes.Contains(b, secret) {
				tr.t.Errorf("%s: %q is in %s", what, secret, path)
			}
		}
		sum += int64(len(b))
		return err
	})
	if err != nil {
		tr.t.Fatal(err)
	}
	return sum
}

func TestNothingOfTheContentLiesInTheTree(t *testing.T) {
	content := strings.Repeat("marker of the content ", 250000) // 5.5 MB
	crc, _ := base64.StdEncoding.DecodeString(checksumOf("CRC64NVME", content))
	sum := md5.Sum([]byte(content))
	for name, kind := range kinds() {
		t.Run(name, func(t *testing.T) {
			tr := serveTree(t)
			tr.secret = append(tr.secret, crc, []byte(keyA))
			if name != "SSE-S3" {
				tr.secret = append(tr.secret, sum[:], fmt.Appendf(nil, "%x", sum))
			}
			tr.ok(call{method: "PUT", path: "/bucket/k", body: content, header: kind.write})
			tr.hides("an object", int64(len(content)))
			tr.ok(call{method: "PUT", path: "/bucket/copy", header: and(kind.write, sourceOf(kind.read), headers{"x-amz-copy-source": "bucket/k"})})
			tr.hides("a copy", 2*int64(len(content)))
			id, _ := tr.create("m", kind.write)
			etag := tr.part("m", id, 1, content, kind.read).header.Get("ETag")
			tr.hides("an upload", 3*int64(len(content)))
			tr.ok(call{method: "POST", path: "/bucket/m", query: "uploadId=" + id, body: completion([]string{etag}, noChecksum), header: kind.read})
			tr.hides("a completed upload", 3*int64(len(content)))
			id, _ = tr.create("m", kind.write)
			tr.part("m", id, 1, content, kind.read)
			tr.ok(call{method: "DELETE", path: "/bucket/m", query: "uploadId=" + id})
			tr.hides("an aborted upload", 0)
			for key, want := range map[string]string{"k": content, "copy": content, "m": content} {
				if got := tr.ok(call{method: "GET", path: "/bucket/" + key, header: kind.read}); got.body != want {
					t.Errorf("%s came back as %d other bytes", key, len(got.body))
				}
			}
		})
	}
}

func TestNothingOfAnUploadUnderWayLiesInTheTree(t *testing.T) {
	tr := serveTree(t)
	content := strings.Repeat("marker of the content ", 250000)
	req := tr.request(call{method: "PUT", path: "/bucket/k", header: managed(), payload: "UNSIGNED-PAYLOAD"})
	body, send := io.Pipe()
	req.Body, req.ContentLength = body, int64(len(content))
	answered := make(chan error, 1)
	go func() {
		resp, err := tr.client.Do(req)
		if err == nil {
			err = resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				err = fmt.Errorf("status %d", resp.StatusCode)
			}
		}
		answered <- err
	}()
	const most = 4 << 20
	if _, err := io.WriteString(send, content[:most]); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); tr.search("under way") < 1<<20; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("nothing of it comes into the tree")
		}
	}
	tr.missing("k")
	if _, err := io.WriteString(send, content[most:]); err != nil {
		t.Fatal(err)
	}
	if err := <-answered; err != nil {
		t.Fatal(err)
	}
	tr.hides("after that", int64(len(content)))
	if got := tr.get("k"); got != content {
		t.Errorf("%d other bytes came back", len(got))
	}
}

func TestARenamedObjectIsStillEncrypted(t *testing.T) {
	tr := serveTree(t)
	tr.ok(call{method: "PUT", path: "/bucket/k", body: "marker", header: customer(keyA)})
	tr.ok(call{method: "PUT", path: "/bucket/new", query: "renameObject=", header: headers{"x-amz-rename-source": "bucket/k"}})
	if got := tr.ok(call{method: "GET", path: "/bucket/new", header: customer(keyA)}); got.body != "marker" {
		t.Errorf("it came back as %q", got.body)
	}
	tr.hides("a renamed object", 22)
}

func TestAFileThatIsPutInThePlaceOfAnEncryptedOneIsPlain(t *testing.T) {
	tr := serveTree(t)
	tr.ok(call{method: "PUT", path: "/bucket/k", body: "marker", header: managed()})
	if err := os.WriteFile(filepath.Join(tr.path, "bucket", "k"), []byte("of somebody else"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := tr.ok(call{method: "GET", path: "/bucket/k"})
	tells(t, "a foreign file", r, headers{})
	if r.body != "of somebody else" || !strings.HasSuffix(r.header.Get("ETag"), `-0"`) {
		t.Errorf("it is %q with ETag %s", r.body, r.header.Get("ETag"))
	}
	if _, err := tr.store.Stat(t.Context(), object.Ref{Bucket: "bucket", Key: "k"}); err != nil {
		t.Error(err)
	}
}
