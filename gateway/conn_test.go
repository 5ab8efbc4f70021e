package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
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

// fasthttp may set the deadline of a connection that it was just handed after
// the listener was closed.
func TestNoDeadlineForTheFirstRequestIsLaterThanTheLastCall(t *testing.T) {
	tcp, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	l := &listener{TCPListener: tcp, fresh: map[*conn]struct{}{}}
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
