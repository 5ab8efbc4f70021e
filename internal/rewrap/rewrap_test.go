package rewrap_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"log/slog"
	"net"
	"net/http"
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
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	cfg := rewrap.Config{
		Endpoint: serve(t, store, keys(t, "new", "old")), Concurrency: 4, HTTP: &http.Client{Transport: transport},
		Credentials: sigv4.Credentials{AccessKey: "user", Secret: "password", Region: object.DefaultRegion},
		Failed:      func(bucket, key, _ string, _ error) { failed = append(failed, bucket+"/"+key) },
	}
	got, err := rewrap.Run(t.Context(), cfg)
	if want := (rewrap.Result{Done: 7, Skipped: 1101, Failed: 1}); err != nil || got != want {
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
