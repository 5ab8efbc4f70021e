package main

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// writes calls its function at each write, and keeps what is written.
type writes struct {
	bytes.Buffer
	each func()
}

func (w *writes) Write(p []byte) (int, error) {
	w.each()
	return w.Buffer.Write(p)
}

// tracedCall is a call as the admin API tells of it.
const tracedCall = `{"type":4,"nodename":"here:9000","funcname":"s3.GetObject","time":"2026-11-01T12:00:00.5Z","path":"/b/k\u001b[2J","dur":1500000,
 "error":"NoSuchKey","http":{"request":{"rawquery":"x=1","client":"10.0.0.5"},"response":{"statuscode":404},"stats":{"inputbytes":0,"outputbytes":2048}}}`

// traceOf serves a trace of one call, which ends with the request or at once.
func traceOf(t *testing.T, endless bool) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, " "+tracedCall+"\n ")
		if endless {
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func TestATraceIsALineForEachCallUntilItIsInterrupted(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "user")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	out := &writes{each: interrupt}
	root := newRoot()
	root.SetOut(out)
	if code := run(ctx, root, []string{"admin", "trace", "--url", traceOf(t, true)}); code != exitOK {
		t.Errorf("interrupted it ends with %d", code)
	}
	at := time.Date(2026, 11, 1, 12, 0, 0, 5e8, time.UTC).Local().Format("15:04:05.000")
	if got, want := out.String(), at+` here:9000 s3.GetObject "/b/k\x1b[2J?x=1" 404 NoSuchKey from 10.0.0.5, 1.5ms, in 0 B, out 2 KiB`+"\n"; got != want {
		t.Errorf("it says\n%swant\n%s", got, want)
	}
}

func TestATraceThatTheGatewayEndsIsAFailure(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "user")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	var out, said bytes.Buffer
	root := newRoot()
	root.SetOut(&out)
	root.SetErr(&said)
	code := run(t.Context(), root, []string{"admin", "trace", "--json", "--url", traceOf(t, false)})
	if code != exitFailed || !strings.Contains(said.String(), "the gateway has ended it") {
		t.Errorf("exit %d, %s", code, said.String())
	}
	if lines := strings.Count(out.String(), "\n"); lines != 1 || !strings.HasPrefix(out.String(), `{"type":4,`) {
		t.Errorf("%d lines: %s", lines, out.String())
	}
}
