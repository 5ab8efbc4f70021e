package gateway

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
)

// These tests hold the facts about fasthttp that this package is built on. One
// that fails after an upgrade says which code to look at.

// contractServer serves h as New's server is set up, and returns its address.
func contractServer(t *testing.T, change func(*fasthttp.Server), h fasthttp.RequestHandler) string {
	t.Helper()
	srv := &fasthttp.Server{
		Handler: h, StreamRequestBody: true, MaxRequestBodySize: 8 << 10, DisablePreParseMultipartForm: true, NoDefaultContentType: true,
		Logger: discard{},
	}
	if change != nil {
		change(srv)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(ln) }()
	t.Cleanup(func() {
		if err := errors.Join(srv.Shutdown(), <-done); err != nil {
			t.Error(err)
		}
	})
	return ln.Addr().String()
}

type discard struct{}

func (discard) Printf(string, ...any) {}

// dial sends raw over a new connection.
func dial(t *testing.T, addr, raw string) (*net.TCPConn, *bufio.Reader) {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, raw); err != nil {
		t.Fatal(err)
	}
	return c.(*net.TCPConn), bufio.NewReader(c)
}

// answer reads one response.
func answer(t *testing.T, r *bufio.Reader) *fasthttp.Response {
	t.Helper()
	var resp fasthttp.Response
	if err := resp.Read(r); err != nil {
		t.Fatal(err)
	}
	return &resp
}

func TestFH3_BodyStreamIsClosedOnceInEveryCase(t *testing.T) {
	for _, method := range []string{"GET", "HEAD"} {
		var closed atomic.Int32
		addr := contractServer(t, nil, func(ctx *fasthttp.RequestCtx) {
			ctx.Response.SetBodyStream(&closeCounter{Reader: strings.NewReader("hello"), closed: &closed}, 5)
		})
		_, r := dial(t, addr, method+" / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		if _, err := io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
		if n := closed.Load(); n != 1 {
			t.Errorf("%s: closed %d times", method, n)
		}
	}
}

type closeCounter struct {
	io.Reader
	closed *atomic.Int32
}

func (c *closeCounter) Close() error {
	c.closed.Add(1)
	return nil
}

func TestFH3b_BodyStreamThatFailsCutsTheConnection(t *testing.T) {
	addr := contractServer(t, nil, func(ctx *fasthttp.RequestCtx) {
		broken := io.MultiReader(strings.NewReader(strings.Repeat("x", 1000)), brokenReader{})
		ctx.Response.SetBodyStream(broken, 2000)
	})
	_, r := dial(t, addr, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	all, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	if _, body, _ := strings.Cut(string(all), "\r\n\r\n"); len(body) >= 2000 {
		t.Errorf("the client got %d bytes of a broken body", len(body))
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, errors.New("broken") }

func TestFH4_RequestURIIsAsSent(t *testing.T) {
	addr := contractServer(t, nil, func(ctx *fasthttp.RequestCtx) {
		ctx.SetBody(ctx.Request.Header.RequestURI())
	})
	for _, target := range []string{"/b//a/../k%2Fx?q=%20+", "//b/k", "/b/./x"} {
		_, r := dial(t, addr, "GET "+target+" HTTP/1.1\r\nHost: x\r\n\r\n")
		if got := string(answer(t, r).Body()); got != target {
			t.Errorf("sent %s, got %s", target, got)
		}
	}
}

func TestFH5_TruncatedBodyEndsInPlainEOF(t *testing.T) {
	read := make(chan string, 1)
	addr := contractServer(t, nil, func(ctx *fasthttp.RequestCtx) {
		n, err := io.Copy(io.Discard, ctx.RequestBodyStream())
		read <- fmt.Sprint(n, err)
	})
	c, _ := dial(t, addr, "PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n"+strings.Repeat("x", 20000))
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got := <-read; got != "20000 <nil>" {
		t.Errorf("a truncated body now reads as %s: wireReader may be simpler", got)
	}
}

func TestFH6_UnreadBodyIsTakenForTheNextRequest(t *testing.T) {
	var targets []string
	done := make(chan struct{}, 10)
	addr := contractServer(t, nil, func(ctx *fasthttp.RequestCtx) {
		targets = append(targets, string(ctx.Request.Header.RequestURI()))
		done <- struct{}{}
	})
	padding := strings.Repeat("x", 8<<10)
	smuggled := "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
	dial(t, addr, fmt.Sprintf("PUT /first HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s%s", len(padding)+len(smuggled), padding, smuggled))
	<-done
	<-done
	if targets[1] != "/smuggled" {
		t.Errorf("fasthttp skips unread bodies now: settleBody may be simpler (%q)", targets)
	}
}

func TestFH8_ShortBodiesAreStreamedToo(t *testing.T) {
	addr := contractServer(t, nil, func(ctx *fasthttp.RequestCtx) {
		content, err := io.ReadAll(ctx.RequestBodyStream())
		ctx.SetBodyString(fmt.Sprint(string(content), err))
	})
	_, r := dial(t, addr, "PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi")
	if got := string(answer(t, r).Body()); got != "hi<nil>" {
		t.Errorf("got %q", got)
	}
}

func TestFH11_ExpectHandlersAnswerIsSentAndTheConnectionClosed(t *testing.T) {
	addr := contractServer(t, func(s *fasthttp.Server) {
		s.ExpectHandler = func(ctx *fasthttp.RequestCtx) int {
			ctx.Response.Header.Set("X-Why", "refused")
			ctx.Response.SetBodyString("no")
			return 403
		}
	}, func(*fasthttp.RequestCtx) { t.Error("the handler was called") })
	_, r := dial(t, addr, "PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n")
	resp := answer(t, r)
	if resp.StatusCode() != 403 || string(resp.Body()) != "no" || string(resp.Header.Peek("X-Why")) != "refused" {
		t.Errorf("got %s", resp.String())
	}
	if _, err := r.ReadByte(); !errors.Is(err, io.EOF) {
		t.Errorf("the connection goes on: %v", err)
	}
}

func TestFH13_AConnectionIsActiveBeforeItsFirstRequestAndWhenAnotherOneBegins(t *testing.T) {
	states := make(chan fasthttp.ConnState, 10)
	addr := contractServer(t, func(s *fasthttp.Server) {
		s.ConnState = func(_ net.Conn, state fasthttp.ConnState) { states <- state }
	}, func(*fasthttp.RequestCtx) {})
	c, r := dial(t, addr, "")
	for i, step := range []struct {
		send string
		want []fasthttp.ConnState
	}{
		{"", []fasthttp.ConnState{fasthttp.StateNew, fasthttp.StateActive}},
		{"GET / HTTP/1.1\r\nHost: x\r\n\r\n", []fasthttp.ConnState{fasthttp.StateIdle}},
		{"G", []fasthttp.ConnState{fasthttp.StateActive}},
		{"ET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", []fasthttp.ConnState{fasthttp.StateClosed}},
	} {
		if _, err := io.WriteString(c, step.send); err != nil {
			t.Fatal(err)
		}
		for _, want := range step.want {
			if got := <-states; got != want {
				t.Fatalf("step %d: %v, want %v", i, got, want)
			}
		}
	}
	answer(t, r)
	answer(t, r)
}

func TestFH14_TheHeaderCanBeChangedBeforeTheExpectationIsLookedAt(t *testing.T) {
	addr := contractServer(t, func(s *fasthttp.Server) {
		s.HeaderReceived = func(h *fasthttp.RequestHeader) fasthttp.RequestConfig {
			h.Set("Expect", "100-continue")
			return fasthttp.RequestConfig{}
		}
	}, func(*fasthttp.RequestCtx) {})
	_, r := dial(t, addr, "PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-Continue\r\n\r\n")
	if line, err := r.ReadString('\n'); err != nil || !strings.Contains(line, "100") {
		t.Errorf("%q, %v", line, err)
	}
}

func TestFH15_AShutdownBeforeServeEndsNothing(t *testing.T) {
	srv, ln := &fasthttp.Server{Handler: func(*fasthttp.RequestCtx) {}}, listen(t)
	if err := srv.Shutdown(); err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()
	_, r := dial(t, ln.Addr().String(), "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	if got := answer(t, r).StatusCode(); got != fasthttp.StatusOK {
		t.Errorf("%d", got)
	}
	if err := errors.Join(srv.Shutdown(), <-served); err != nil {
		t.Error(err)
	}
}

func TestFH12_UserValuesSurviveFromExpectHandlerToHandler(t *testing.T) {
	addr := contractServer(t, func(s *fasthttp.Server) {
		s.ExpectHandler = func(ctx *fasthttp.RequestCtx) int {
			ctx.SetUserValue(preparedKey{}, "kept")
			return fasthttp.StatusContinue
		}
	}, func(ctx *fasthttp.RequestCtx) {
		content, _ := io.ReadAll(ctx.RequestBodyStream())
		ctx.SetBodyString(fmt.Sprint(ctx.UserValue(preparedKey{}), string(content)))
	})
	c, r := dial(t, addr, "PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
	if line, err := r.ReadString('\n'); err != nil || !strings.Contains(line, "100") {
		t.Fatalf("%q, %v", line, err)
	}
	if _, err := r.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, "hi"); err != nil {
		t.Fatal(err)
	}
	if got := string(answer(t, r).Body()); got != "kepthi" {
		t.Errorf("got %q", got)
	}
	// ... but not to the next request of the connection.
	if _, err := io.WriteString(c, "PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if got := string(answer(t, r).Body()); got != "<nil>" {
		t.Errorf("got %q", got)
	}
}

// stuck is a connection that takes nothing, as one over TLS does whose client says nothing.
type stuck struct {
	net.Conn
	asked, let chan struct{}
}

func (s stuck) Write(p []byte) (int, error) {
	select {
	case s.asked <- struct{}{}:
	default: // it is written in pieces
	}
	<-s.let
	return s.Conn.Write(p)
}

// crowdedListener hands out the second connection as a stuck one.
type crowdedListener struct {
	net.Listener
	accepted atomic.Int32
	second   stuck
}

func (l *crowdedListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if l.accepted.Add(1) == 2 && err == nil {
		l.second.Conn = c
		return l.second, nil
	}
	return c, err
}

func TestFH16_BeyondItsConcurrencyAConnectionIsAnsweredBeforeTheNextOneIsTaken(t *testing.T) {
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln := &crowdedListener{Listener: tcp, second: stuck{asked: make(chan struct{}, 1), let: make(chan struct{})}}
	server := &fasthttp.Server{Concurrency: 1, Handler: func(*fasthttp.RequestCtx) {}, Logger: discard{}}
	done := make(chan error, 1)
	go func() { done <- server.Serve(ln) }()
	for range 3 {
		dial(t, tcp.Addr().String(), "")
	}
	<-ln.second.asked
	time.Sleep(100 * time.Millisecond)
	if n := ln.accepted.Load(); n != 2 {
		t.Errorf("%d connections were taken", n)
	}
	close(ln.second.let)
	if err := errors.Join(tcp.Close(), <-done); err != nil {
		t.Log(err)
	}
}
