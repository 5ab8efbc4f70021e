package rewrap_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/shoal-storage/shoal/gateway"
	"github.com/shoal-storage/shoal/internal/iam"
	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/object/objecttest"
	"github.com/shoal-storage/shoal/internal/rewrap"
	"github.com/shoal-storage/shoal/internal/sigv4"
	"github.com/shoal-storage/shoal/internal/sse"
)

// serve serves a Store with master keys, and returns the URL.
func serve(t *testing.T, store object.Store, keys sse.MasterKeys) string {
	t.Helper()
	cfg := gateway.DefaultConfig()
	cfg.Store, cfg.Authority, cfg.Logger, cfg.MasterKeys = store, iam.NewRoot("user", "password"), slog.New(slog.DiscardHandler), keys
	s, err := gateway.New(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(ln) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		<-served
	})
	return "http://" + ln.Addr().String()
}

func keys(t *testing.T, names ...string) sse.MasterKeys {
	t.Helper()
	var text []string
	for _, name := range names {
		text = append(text, name+":"+base64.StdEncoding.EncodeToString(bytes.Repeat([]byte(name[:1]), sse.KeySize)))
	}
	k, err := sse.ParseLocal(strings.Join(text, ","))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// put stores an object, encrypted under a master key, or plain if that is "".
func put(t *testing.T, store object.Store, bucket, key string, mode sse.Mode, master string) object.Info {
	t.Helper()
	body, meta := objecttest.NewBody([]byte("content"), object.CRC64NVME), object.Meta{}
	if mode != "" {
		objectKey, seal := sse.NewKey(), sse.Seal{Mode: mode, MasterKey: master}
		if mode == sse.Customer {
			seal.WrapUnder(sse.NewKey(), objectKey)
		} else if err := seal.Wrap(t.Context(), keys(t, master), objectKey); err != nil {
			t.Fatal(err)
		}
		body, meta.Seal = sse.Encrypt(body, objectKey, "", true), seal.Encode()
	}
	info, err := store.Put(t.Context(), object.Ref{Bucket: bucket, Key: key}, object.PutInput{Body: body, Meta: meta})
	if err != nil {
		t.Fatal(err)
	}
	return info
}

// master returns the master key that a version is under.
func master(t *testing.T, store object.Store, ref object.Ref) string {
	t.Helper()
	info, err := store.Stat(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	seal, err := sse.ParseSeal(info.Meta.Seal)
	if err != nil {
		t.Fatal(err)
	}
	return seal.MasterKey
}

// configOf returns what a run at a server needs.
func configOf(t *testing.T, url string) rewrap.Config {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return rewrap.Config{
		Endpoint: url, Concurrency: 4, HTTP: &http.Client{Transport: transport},
		Credentials: sigv4.Credentials{AccessKey: "user", Secret: "password", Region: object.DefaultRegion},
		Failed:      func(bucket, key, version string, err error) { t.Errorf("%s/%s (%s): %v", bucket, key, version, err) },
	}
}

func TestEveryVersionIsWrappedAnewThatIsUnderAMasterKey(t *testing.T) {
	store := objecttest.NewMemory()
	for _, b := range []object.Bucket{{Name: "plain"}, {Name: "versioned", Versioning: object.Versioned}} {
		if err := store.CreateBucket(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	var refs []object.Ref
	for _, key := range []string{"k", "a b/ü+%", "..//x"} {
		put(t, store, "plain", key, sse.Managed, "old")
		refs = append(refs, object.Ref{Bucket: "plain", Key: key})
	}
	for i := range 1100 { // more than a page
		put(t, store, "plain", fmt.Sprint("page/", i), "", "")
	}
	put(t, store, "plain", "customers", sse.Customer, "")
	for range 3 {
		info := put(t, store, "versioned", "k", sse.Managed, "old")
		refs = append(refs, object.Ref{Bucket: "versioned", Key: "k", Version: info.Version})
	}
	if _, err := store.Delete(t.Context(), object.Ref{Bucket: "versioned", Key: "k"}, nil); err != nil {
		t.Fatal(err)
	}
	put(t, store, "versioned", "named", sse.Named, "old")
	put(t, store, "versioned", "lost", sse.Managed, "gone")
	var failed []string
	cfg := configOf(t, serve(t, store, keys(t, "new", "old")))
	cfg.Failed = func(bucket, key, _ string, _ error) { failed = append(failed, bucket+"/"+key) }
	got, err := rewrap.Run(t.Context(), cfg)
	want := rewrap.Result{Done: 6, Same: 1, Skipped: 1101, Failed: 1, Under: map[string]int64{"new": 6, "old": 1}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	if len(failed) != 1 || failed[0] != "versioned/lost" {
		t.Errorf("failed: %q", failed)
	}
	for _, ref := range refs {
		if m := master(t, store, ref); m != "new" {
			t.Errorf("%+v is under %s", ref, m)
		}
	}
	if m := master(t, store, object.Ref{Bucket: "versioned", Key: "named"}); m != "old" {
		t.Errorf("an object of SSE-KMS is under %s", m)
	}
	cfg.Buckets, cfg.Credentials.Secret = []string{"plain"}, "wrong"
	if _, err := rewrap.Run(t.Context(), cfg); err == nil {
		t.Error("with a wrong password it ran")
	}
}

func TestUploadsInProgressAreCounted(t *testing.T) {
	store := objecttest.NewMemory()
	for _, bucket := range []string{"many", "one"} {
		if err := store.CreateBucket(t.Context(), object.Bucket{Name: bucket}); err != nil {
			t.Fatal(err)
		}
	}
	begin := func(bucket, key string) {
		t.Helper()
		up := object.Upload{UploadRef: object.UploadRef{Ref: object.Ref{Bucket: bucket, Key: key}}, Algorithm: object.CRC64NVME, Implied: true}
		if _, err := store.CreateUpload(t.Context(), up); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 1100 { // more than a page
		begin("many", fmt.Sprint("ü +%/", i/3)) // three of a key, between which a page ends
	}
	begin("one", "k")
	cfg := configOf(t, serve(t, store, keys(t, "new", "old")))
	if got, err := rewrap.Run(t.Context(), cfg); err != nil || got.Uploads != 1101 {
		t.Errorf("got %+v, %v", got, err)
	}
	cfg.Buckets = []string{"one"}
	if got, err := rewrap.Run(t.Context(), cfg); err != nil || got.Uploads != 1 {
		t.Errorf("in one bucket: %+v, %v", got, err)
	}
}

func TestAServerThatDoesNotTellOfKeysCountsAsOneThatWrapsAnew(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && r.URL.Query().Has("versions") {
			_, _ = io.WriteString(w, "<ListVersionsResult><Version><Key>k</Key></Version></ListVersionsResult>") // or the run fails
		} else if r.Method == http.MethodGet {
			_, _ = io.WriteString(w, "<ListMultipartUploadsResult/>") // or the run fails
		}
	}))
	defer server.Close()
	cfg := configOf(t, server.URL)
	cfg.Buckets = []string{"one"}
	if got, err := rewrap.Run(t.Context(), cfg); err != nil || got.Done != 1 || len(got.Under) != 0 {
		t.Errorf("got %+v, %v", got, err)
	}
}
