package remote_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/object/objecttest"
	"github.com/shoal-storage/shoal/internal/object/remote"
)

// serve serves a store on this machine and returns how to connect to it.
func serve(t *testing.T, store object.Store) func(ctx context.Context) (net.Conn, error) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := remote.NewServer(t.Context(), store)
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go server.Serve(conn)
		}
	}()
	t.Cleanup(func() { _ = ln.Close() })
	return func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", ln.Addr().String())
	}
}

func client(t *testing.T, store object.Store) *remote.Client {
	t.Helper()
	c := remote.NewClient(context.WithoutCancel(t.Context()), serve(t, store))
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestAStoreThatIsElsewhereIsAStore(t *testing.T) {
	objecttest.Run(t, func(t *testing.T) object.Store { return client(t, objecttest.NewMemory()) })
}

// ref is an object of the one bucket of these tests.
func ref(key string) object.Ref { return object.Ref{Bucket: "bucket", Key: key} }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// cutting is a Store some of whose calls end with the end of all connections.
type cutting struct {
	object.Store
	cut func()
}

func (s *cutting) Stat(ctx context.Context, ref object.Ref) (object.Info, error) {
	s.cut()
	return s.Store.Stat(ctx, ref)
}

func (s *cutting) Delete(ctx context.Context, ref object.Ref, check object.Check) (object.Deleted, error) {
	s.cut()
	return s.Store.Delete(ctx, ref, check)
}

// cuttable is a Client whose connections can be cut.
func cuttable(t *testing.T) (c *remote.Client, memory object.Store, cut func()) {
	t.Helper()
	var mu sync.Mutex
	var conns []net.Conn
	cut = func() {
		mu.Lock()
		defer mu.Unlock()
		for _, c := range conns {
			_ = c.Close()
		}
	}
	memory = objecttest.NewMemory()
	must(t, memory.CreateBucket(t.Context(), object.Bucket{Name: "bucket"}))
	dial := serve(t, &cutting{memory, cut})
	c = remote.NewClient(context.WithoutCancel(t.Context()), func(ctx context.Context) (net.Conn, error) {
		conn, err := dial(ctx)
		mu.Lock()
		defer mu.Unlock()
		conns = append(conns, conn)
		return conn, err
	})
	t.Cleanup(func() { _ = c.Close() })
	return c, memory, cut
}

func TestALostConnectionTellsWhatMayHaveHappened(t *testing.T) {
	c, memory, cut := cuttable(t)
	_, err := c.Stat(t.Context(), ref("key"))
	if object.KindOf(err) != object.Unavailable || !errors.Is(err, remote.ErrAgain) {
		t.Errorf("what only reads can be asked for again: %v", err)
	}
	_, err = c.Delete(t.Context(), ref("key"), nil)
	if object.KindOf(err) != object.Unknown || errors.Is(err, remote.ErrAgain) {
		t.Errorf("of what changes it is not known whether it has: %v", err)
	}
	content := &interrupted{Body: objecttest.NewBody(make([]byte, 1<<20), object.CRC32), then: cut}
	_, err = c.Put(t.Context(), ref("key"), object.PutInput{Body: content})
	if object.KindOf(err) != object.Unavailable || errors.Is(err, remote.ErrAgain) {
		t.Errorf("a body that was not sent whole changes nothing, and cannot be read again: %v", err)
	}
	if _, err = memory.Stat(t.Context(), ref("key")); !errors.Is(err, object.NoSuchKey) {
		t.Errorf("half a body was stored: %v", err)
	}
	_, err = c.ListBuckets(t.Context())
	must(t, err)
}

// interrupted is a body in the middle of which something happens.
type interrupted struct {
	object.Body
	then func()
	read int
}

func (b *interrupted) Read(p []byte) (int, error) {
	if b.read > 1<<19 && b.then != nil {
		b.then()
		b.then = nil
	}
	n, err := b.Body.Read(p[:min(len(p), 4096)])
	b.read += n
	return n, err
}

func TestACallThatIsRefusedLeavesItsBodyUnread(t *testing.T) {
	c := client(t, objecttest.NewMemory())
	body := &interrupted{Body: objecttest.NewBody([]byte("content"), object.CRC32)}
	_, err := c.Put(t.Context(), ref("key"), object.PutInput{Body: body})
	if !errors.Is(err, object.NoSuchBucket) || body.read > 0 {
		t.Errorf("%v, after %d bytes", err, body.read)
	}
}

func TestManyRangesOfOneHandle(t *testing.T) {
	c, memory, _ := cuttable(t)
	content := make([]byte, 5<<20)
	_, _ = rand.NewChaCha8([32]byte{}).Read(content)
	_, err := memory.Put(t.Context(), ref("key"), object.PutInput{Body: objecttest.NewBody(content, object.CRC32)})
	must(t, err)
	h, err := c.Open(t.Context(), ref("key"))
	must(t, err)
	for i := range 20 {
		offset := i * 200_000
		r := h.Range(int64(offset), int64(len(content)-offset))
		got := make([]byte, 1+i*17_000) // and leave the rest
		if _, err := io.ReadFull(r, got); err != nil || !bytes.Equal(got, content[offset:offset+len(got)]) {
			t.Errorf("range %d: %v", i, err)
		}
	}
	must(t, h.Close())
	h, err = c.Open(t.Context(), ref("key"))
	must(t, err)
	got, err := io.ReadAll(h.Range(0, int64(len(content))))
	if err != nil || !bytes.Equal(got, content) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	must(t, h.Close())
}

func TestAContentThatIsCutOffIsNotWhole(t *testing.T) {
	c, memory, cut := cuttable(t)
	_, err := memory.Put(t.Context(), ref("key"), object.PutInput{Body: objecttest.NewBody(make([]byte, 8<<20), object.CRC32)})
	must(t, err)
	h, err := c.Open(t.Context(), ref("key"))
	must(t, err)
	defer h.Close()
	r := h.Range(0, 8<<20)
	_, err = io.ReadFull(r, make([]byte, 1000))
	must(t, err)
	cut()
	if n, err := io.Copy(io.Discard, r); err == nil {
		t.Errorf("%d bytes, and no error", n)
	}
}

func TestErrorsKeepTheirKindNameAndDetails(t *testing.T) {
	c, _, _ := cuttable(t)
	up, err := c.CreateUpload(t.Context(), object.Upload{UploadRef: object.UploadRef{Ref: ref("key")}, Algorithm: object.CRC32})
	must(t, err)
	_, err = c.CompleteUpload(t.Context(), up.UploadRef, object.CompleteInput{Size: -1, Parts: []object.CompletedPart{{Number: 7, ETag: "none"}}})
	part, ok := errors.AsType[*object.PartError](err)
	if !errors.Is(err, object.InvalidPart) || !ok || part.Number != 7 || part.ETag != "none" {
		t.Errorf("got %v", err)
	}
	c = client(t, &obstructed{Store: objecttest.NewMemory()})
	err = c.CreateBucket(t.Context(), object.Bucket{Name: "bucket"})
	if o, ok := errors.AsType[*object.Obstacle](err); !errors.Is(err, object.BucketExists) || !ok || o.Path != "bucket" {
		t.Errorf("got %v", err)
	}
}

// failing is a Store that answers with an error.
type failing struct {
	object.Store
	kind object.Kind
}

func (f *failing) Stat(context.Context, object.Ref) (object.Info, error) {
	return object.Info{}, object.E("stat", "", f.kind, errors.New("cause"))
}

func TestEveryKindOfErrorKeepsItsKind(t *testing.T) {
	f := &failing{Store: objecttest.NewMemory()}
	c := client(t, f)
	for f.kind = object.Internal; !strings.HasPrefix(f.kind.Error(), "kind "); f.kind++ {
		if _, err := c.Stat(t.Context(), ref("key")); object.KindOf(err) != f.kind {
			t.Errorf("%v came as %v", f.kind, err)
		}
	}
}

// obstructed is a Store in which no bucket can be made.
type obstructed struct{ object.Store }

func (o *obstructed) CreateBucket(_ context.Context, b object.Bucket) error {
	return object.E("create bucket", b.Name, object.BucketExists, &object.Obstacle{Path: b.Name})
}

// FuzzConnection lets anything come in at either end.
func FuzzConnection(f *testing.F) {
	f.Add([]byte{1, 0, 0, 0})
	f.Add([]byte{2, 0, 0, 1, 7, 3, 0, 0, 1, 255})
	f.Fuzz(func(t *testing.T, sent []byte) {
		c := remote.NewClient(t.Context(), func(context.Context) (net.Conn, error) {
			here, there := net.Pipe()
			go func() {
				go io.Copy(io.Discard, there)
				_, _ = there.Write(sent)
				_ = there.Close()
			}()
			return here, nil
		})
		if _, err := c.Stat(t.Context(), ref("key")); err == nil && len(sent) < 10 {
			t.Error("an answer was made of nothing")
		}
		here, there := net.Pipe()
		go func() {
			go io.Copy(io.Discard, here)
			_, _ = here.Write(sent)
			_ = here.Close()
		}()
		remote.NewServer(t.Context(), objecttest.NewMemory()).Serve(there)
	})
}

// given is a Store that remembers what files were to be given.
type given struct {
	object.Store
	files []object.Files
}

func (g *given) Put(ctx context.Context, ref object.Ref, in object.PutInput) (object.Info, error) {
	g.files = append(g.files, in.Files)
	return g.Store.Put(ctx, ref, in)
}

func (g *given) CreateBucket(ctx context.Context, b object.Bucket) error {
	g.files = append(g.files, b.Dir)
	return g.Store.CreateBucket(ctx, b)
}

func (g *given) Copy(_ context.Context, _, _ object.Ref, in object.CopyInput) (object.Info, error) {
	g.files = append(g.files, in.Files)
	return object.Info{}, nil
}

func (g *given) Rename(_ context.Context, _, _ object.Ref, in object.CopyInput) error {
	g.files = append(g.files, in.Files)
	return nil
}

func (g *given) CompleteUpload(_ context.Context, _ object.UploadRef, in object.CompleteInput) (object.Info, error) {
	g.files = append(g.files, in.Files)
	return object.Info{}, nil
}

// TestWhatFilesAreGivenArrives also where it is the root user's: 0 is not none.
func TestWhatFilesAreGivenArrives(t *testing.T) {
	g, ctx := &given{Store: objecttest.NewMemory()}, t.Context()
	c := client(t, g)
	root := object.Files{UID: new(uint32(0)), FileMode: new(object.Permissions(0o640))}
	must(t, c.CreateBucket(ctx, object.Bucket{Name: "bucket", Files: root, Dir: root}))
	b, err := c.StatBucket(ctx, "bucket")
	must(t, err)
	g.files = append(g.files, b.Files)
	if !b.Dir.IsZero() {
		t.Errorf("what the directory was given is kept: %+v", b.Dir)
	}
	_, err = c.Put(ctx, ref("k"), object.PutInput{Body: objecttest.NewBody([]byte("x"), object.CRC32), Files: root})
	must(t, err)
	_, err = c.Copy(ctx, ref("k"), ref("copy"), object.CopyInput{Files: root})
	must(t, err)
	must(t, c.Rename(ctx, ref("k"), ref("new"), object.CopyInput{Files: root}))
	_, err = c.CompleteUpload(ctx, object.UploadRef{Ref: ref("k"), ID: "1"}, object.CompleteInput{Files: root})
	must(t, err)
	if len(g.files) != 6 {
		t.Fatalf("%d calls arrived", len(g.files))
	}
	for i, f := range g.files {
		if f.UID == nil || *f.UID != 0 || f.GID != nil || f.FileMode == nil || *f.FileMode != 0o640 || f.DirMode != nil {
			t.Errorf("call %d came with %+v", i, f)
		}
	}
}
