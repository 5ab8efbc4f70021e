package gateway

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/shoal-storage/shoal/internal/iam"
	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/object/objecttest"
)

// Clients open connections in advance and may never use them.

func TestSilentConnectionDoesNotHoldUpShutdown(t *testing.T) {
	f := serve(t, nil)
	_, silent := f.raw("")
	// The listener takes clients in turn: this answer comes after it took the
	// silent one.
	if got := f.do(call{method: "GET", path: "/"}); got.status != 200 {
		t.Fatalf("%d %s", got.status, got.body)
	}
	f.client.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(context.Background(), DefaultConfig().HeaderTimeout/2)
	defer cancel()
	if err := f.server.Shutdown(ctx); err != nil {
		t.Errorf("shutdown: %v", err)
	}
	if text, err := io.ReadAll(silent); err != nil || len(text) > 0 {
		t.Errorf("the silent client got %q, %v", text, err)
	}
}

// A client may take all day, but not stand still: what is sent from a file, and from memory.
// TestConnectionsLeaveFilesForWhatTheyAskFor: and for the storage, which keeps some open all the time.
func TestConnectionsLeaveFilesForWhatTheyAskFor(t *testing.T) {
	for _, tt := range []struct{ requests, kept, files, most, spare int }{
		{1024, 0, 1 << 20, 4096, 256},
		{1024, 0, 1024, 512, 128},
		{1024, 364, 1024, 330, 82},
		{1024, 364, 400, 32, 8},
		{4, 1264, 1 << 20, 16, 256},
	} {
		s := &Server{Config: Config{MaxRequests: tt.requests, FilesKept: tt.kept}}
		if most, spare := s.connections(tt.files); most != tt.most || spare != tt.spare {
			t.Errorf("%d files of which %d are kept, %d requests: %d connections and %d more, want %d and %d", tt.files, tt.kept, tt.requests, most, spare, tt.most, tt.spare)
		}
	}
}

func TestASlowClientIsSentAllAndOneThatStandsStillIsNot(t *testing.T) {
	const size = 3 << 20
	content := bytes.Repeat([]byte("0123456789abcdef"), size/16)
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, send := range map[string]func(c *conn) (int64, error){
		"a file": func(c *conn) (int64, error) {
			f, err := os.Open(path)
			if err != nil {
				return 0, err
			}
			defer func() { _ = f.Close() }()
			return c.ReadFrom(&io.LimitedReader{R: f, N: size})
		},
		"memory": func(c *conn) (int64, error) {
			n, err := c.Write(content)
			return int64(n), err
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, client := connect(t, 100*time.Millisecond)
			received := make(chan []byte)
			go func() {
				var got []byte
				piece := make([]byte, 64<<10)
				for {
					n, err := client.Read(piece)
					got = append(got, piece[:n]...)
					if err != nil {
						received <- got
						return
					}
					time.Sleep(20 * time.Millisecond) // all of it takes a second
				}
			}()
			if n, err := send(c); n != size || err != nil {
				t.Errorf("%d bytes were sent: %v", n, err)
			}
			if err := c.TCPConn.Close(); err != nil {
				t.Error(err)
			}
			if got := <-received; !bytes.Equal(got, content) {
				t.Errorf("%d other bytes came", len(got))
			}
		})
		t.Run(name+", and nobody reads", func(t *testing.T) {
			c, _ := connect(t, 100*time.Millisecond)
			if n, err := send(c); n == size || !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%d bytes were sent: %v", n, err)
			}
		})
	}
}

// connect returns both ends of a connection that holds little.
func connect(t *testing.T, stall time.Duration) (*conn, *net.TCPConn) {
	t.Helper()
	ln := listen(t)
	client, err := net.DialTCP("tcp", nil, ln.Addr().(*net.TCPAddr))
	if err != nil {
		t.Fatal(err)
	}
	tcp, err := ln.AcceptTCP()
	if err == nil {
		err = errors.Join(tcp.SetWriteBuffer(64<<10), client.SetReadBuffer(64<<10), ln.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = tcp.Close(), client.Close() })
	return &conn{TCPConn: tcp, stall: stall}, client
}

// Who serves and who shuts down are two goroutines: either may be the first.
func TestServingEndsWhenTheServerIsShutDownWhileOrBeforeItBegins(t *testing.T) {
	for i := range 200 {
		cfg := DefaultConfig()
		cfg.Store, cfg.Authority, cfg.Logger = objecttest.NewMemory(), iam.NewRoot(testUser, testSecret), slog.New(slog.DiscardHandler)
		s, err := New(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		ln := listen(t)
		served := make(chan error, 1)
		serve := func() { served <- s.Serve(ln) }
		if i > 0 {
			go serve()
		}
		if err := s.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			go serve()
		}
		select {
		case err := <-served:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("run %d: it goes on", i)
		}
	}
}

// fasthttp may set the deadline of a connection that it was just handed after
// the listener was closed.
func TestNoDeadlineForTheFirstRequestIsLaterThanTheLastCall(t *testing.T) {
	tcp := listen(t)
	l := &listener{TCPListener: tcp, most: 1}
	client, err := net.Dial("tcp", tcp.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := c.SetReadDeadline(time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	speak := time.AfterFunc(10*lastCall, func() { _, _ = client.Write([]byte("G")) }) // when nothing else ends the Read
	if n, err := c.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("read %d bytes, %v, want the end", n, err)
	}
	speak.Stop()
	if err := errors.Join(c.Close(), client.Close()); err != nil {
		t.Error(err)
	}
}

func TestSilentConnectionIsClosedWithoutAnAnswer(t *testing.T) {
	f := serve(t, func(c *Config) { c.HeaderTimeout = 50 * time.Millisecond })
	_, silent := f.raw("")
	if _, err := silent.ReadByte(); !errors.Is(err, io.EOF) {
		t.Errorf("%v, want the end of the connection", err)
	}
	_, slow := f.raw("GET / HT")
	if got := readReply(t, slow); got.code() != "RequestTimeout" {
		t.Errorf("a request that does not come to its end: %d %s", got.status, got.body)
	}
}

// location is a request that a connection can go on after.
func (f *fixture) location() string {
	return f.rawRequest(call{method: "GET", path: "/bucket", query: "location="}, -1)
}

// serveFew serves as many connections as one request has, with a bucket.
func serveFew(t *testing.T, grace time.Duration) *fixture {
	t.Helper()
	f := serve(t, func(cfg *Config) { cfg.MaxRequests, cfg.grace = 1, grace })
	f.server.Tune(Tuning{MaxRequests: 2 * ConnectionsPerRequest}) // of requests there may be more
	if err := f.store.CreateBucket(t.Context(), object.Bucket{Name: "bucket"}); err != nil {
		t.Fatal(err)
	}
	return f
}

// fill opens as many connections as are served, with a request that is answered on each.
func (f *fixture) fill(n int) (all []*net.TCPConn, answers []*bufio.Reader) {
	f.t.Helper()
	for range n {
		c, r := f.raw(f.location())
		if got := readReply(f.t, r); got.status != 200 {
			f.t.Fatalf("%d %s", got.status, got.body)
		}
		all, answers = append(all, c), append(answers, r)
	}
	return all, answers
}

func TestAConnectionThatWaitsMakesRoomForAnother(t *testing.T) {
	f := serveFew(t, 0)
	all, answers := f.fill(ConnectionsPerRequest)
	for range 3 {
		if _, r := f.raw(f.location()); readReply(t, r).status != 200 {
			t.Fatal("a connection more is not served")
		}
	}
	closed := 0
	for i := range all {
		if _, err := io.WriteString(all[i], f.location()); err != nil {
			t.Fatal(err)
		}
		if _, err := answers[i].Peek(1); err != nil {
			closed++
		}
	}
	if closed == 0 || closed == len(all) {
		t.Errorf("%d of %d connections were closed", closed, len(all))
	}
}

func TestAConnectionThatHasNotWaitedLongStays(t *testing.T) {
	f := serveFew(t, time.Hour)
	all, answers := f.fill(ConnectionsPerRequest)
	_, r := f.raw(f.location())
	if got := readReply(t, r); got.code() != "SlowDown" {
		t.Errorf("one more: %d %s", got.status, got.body)
	}
	for i := range all {
		if _, err := io.WriteString(all[i], f.location()); err != nil || readReply(t, answers[i]).status != 200 {
			t.Errorf("connection %d does not go on: %v", i, err)
		}
	}
}

func TestWhoComesWhenEveryConnectionIsBusyIsToldToSlowDown(t *testing.T) {
	f := serveFew(t, 0)
	put := f.rawRequest(call{method: "PUT", path: "/bucket/k"}, 5, "Expect: 100-continue")
	var uploads []*net.TCPConn
	var answers []*bufio.Reader
	for range ConnectionsPerRequest {
		c, r := f.raw(put)
		if line, err := r.ReadString('\n'); err != nil || !strings.Contains(line, "100 Continue") {
			t.Fatalf("%q, %v", line, err)
		}
		if _, err := r.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		uploads, answers = append(uploads, c), append(answers, r)
	}
	_, r := f.raw(f.location())
	got := readReply(t, r)
	if got.code() != "SlowDown" || got.header.Get("Retry-After") == "" {
		t.Errorf("%d %v %s", got.status, got.header, got.body)
	}
	if _, err := r.ReadByte(); !errors.Is(err, io.EOF) {
		t.Errorf("the connection goes on: %v", err)
	}
	_, probe := f.raw("GET /minio/health/live HTTP/1.1\r\nHost: x\r\n\r\n")
	if got := readReply(t, probe); got.status != 200 {
		t.Errorf("a probe: %d %s", got.status, got.body)
	}
	for i := range uploads {
		if _, err := io.WriteString(uploads[i], "hello"); err != nil {
			t.Fatal(err)
		}
		if got := readReply(t, answers[i]); got.status != 200 {
			t.Errorf("upload %d: %d %s", i, got.status, got.body)
		}
	}
}

func TestAClientThatSpeaksPlainHTTPToHTTPSIsToldSo(t *testing.T) {
	pair := httptest.NewTLSServer(nil)
	pair.Close()
	f := serve(t, func(cfg *Config) { cfg.TLS = &tls.Config{Certificates: pair.TLS.Certificates} })
	answer, err := f.client.Get("http://" + f.addr + "/bucket")
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(answer.Body)
	if err := errors.Join(err, answer.Body.Close()); err != nil || answer.StatusCode != 400 || !strings.Contains(string(body), "use https://") {
		t.Errorf("%d %s, %v", answer.StatusCode, body, err)
	}
	upload, err := http.NewRequest(http.MethodPut, "http://"+f.addr+"/bucket/k", strings.NewReader(strings.Repeat("x", 1<<20)))
	if err != nil {
		t.Fatal(err)
	}
	if answer, err = f.client.Do(upload); err != nil || answer.StatusCode != 400 {
		t.Fatalf("an upload: %v", err)
	}
	_ = answer.Body.Close()
	secure := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}}
	if answer, err = secure.Get("https://" + f.addr + "/minio/health/live"); err != nil || answer.StatusCode != 200 {
		t.Fatalf("over HTTPS: %v", err)
	}
	_ = answer.Body.Close()
}

// TestConnectionsThatSayNothingLockNobodyOut has more of them come than are served, and than can be told
// that there is no room.
func TestConnectionsThatSayNothingLockNobodyOut(t *testing.T) {
	pair := httptest.NewTLSServer(nil)
	pair.Close()
	for scheme, secure := range map[string]*tls.Config{"http": nil, "https": {Certificates: pair.TLS.Certificates}} {
		t.Run(scheme, func(t *testing.T) {
			const grace = 100 * time.Millisecond
			f := serve(t, func(cfg *Config) { cfg.MaxRequests, cfg.grace, cfg.TLS = 1, grace, secure })
			for range ConnectionsPerRequest + spareConnections + 50 {
				f.raw("")
			}
			time.Sleep(2 * grace)
			client := &http.Client{
				Timeout:   5 * time.Second,
				Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true},
			}
			for range 3 {
				answer, err := client.Get(scheme + "://" + f.addr + "/bucket")
				if err != nil {
					t.Fatal(err)
				}
				_ = answer.Body.Close()
				if answer.StatusCode != http.StatusNotFound {
					t.Errorf("answered %d", answer.StatusCode)
				}
			}
		})
	}
}
