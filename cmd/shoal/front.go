package main

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shoal-storage/shoal/gateway"
)

// front is where S3 is served. Until it can be, requests are answered that they have to wait.
type front struct {
	ln   *net.TCPListener
	tls  *tls.Config // nil: no HTTPS
	log  *slog.Logger
	stop func()
	why  atomic.Pointer[func() error] // tells why requests have to wait; nil: waiting.what is all that is known
}

// Bounds on who asks before there is anything to ask for.
const (
	waitingTime   = 10 * time.Second // for a request
	waitingHeader = 16 << 10         // bytes
	lastAnswers   = time.Second      // for requests that are there when the listener is taken
)

// notYet is the answer to requests before they can be served.
const notYet = `<?xml version="1.0" encoding="UTF-8"?>
<Error><Code>ServerNotInitialized</Code><Message>The server waits for %s.</Message></Error>`

// waiting is what is told of a server that cannot serve yet.
type waiting struct {
	what  string       // it waits for
	node  gateway.Node // what others find it by; none: nobody looks for it
	creds credentials
}

// reason returns why requests have to wait, as far as that is known.
func (f *front) reason(w *waiting) string {
	if why := f.why.Load(); why != nil {
		if err := (*why)(); err != nil {
			return err.Error()
		}
	}
	return "the server waits for " + w.what
}

// because has who asks be told why requests have to wait.
func (f *front) because(why func() error) { f.why.Store(&why) }

// pages answer requests until they can be served: what this node is to others that look for it,
// that it lives, why it is not ready, to the root user who asks how it is that it waits, and to all else that they have to.
func (f *front) pages(of *waiting) http.Handler {
	later := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/xml")
		w.Header().Set("Retry-After", "5")
		w.Header().Set("Connection", "close")
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = fmt.Fprintf(w, notYet, of.what) // whoever asks again finds out
	}
	live := func(http.ResponseWriter, *http.Request) {}
	unready := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("x-minio-server-status", "offline")
		w.Header().Set("Retry-After", "1")
		w.Header().Set("Connection", "close")
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = fmt.Fprintln(w, f.reason(of)) // as above
	}
	mux := http.NewServeMux()
	if of.node.ID != "" {
		mux.HandleFunc(gateway.NodePath, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(of.node) // as above
		})
	}
	mux.HandleFunc("/", later)
	mux.Handle(infoPath, newInitializing(f, of, later))
	mux.HandleFunc("/minio/health/live", live)
	for _, path := range []string{"/minio/health/ready", "/minio/health/cluster", "/minio/health/cluster/read"} {
		mux.HandleFunc(path, unready)
	}
	mux.HandleFunc("/livez", probed(live, later))
	mux.HandleFunc("/readyz", probed(unready, later))
	return mux
}

// probed answers probes of a path that could be a bucket: they carry no signature.
func probed(probe, otherwise http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		reads := r.Method == http.MethodGet || r.Method == http.MethodHead
		if !reads || !gateway.Unsigned(r.Header.Get("Authorization"), r.RequestURI) {
			otherwise(w, r)
			return
		}
		probe(w, r)
	}
}

// wait answers requests until the listener is taken.
func (f *front) wait(of waiting) {
	var open sync.WaitGroup
	server := &http.Server{
		Handler: f.pages(&of), ReadTimeout: waitingTime, WriteTimeout: waitingTime, MaxHeaderBytes: waitingHeader,
		ErrorLog: slog.NewLogLogger(f.log.Handler(), slog.LevelDebug),
		ConnState: func(_ net.Conn, s http.ConnState) {
			switch s { //nolint:exhaustive // between these it is open
			case http.StateNew:
				open.Add(1)
			case http.StateClosed:
				open.Done()
			}
		},
	}
	on := &lent{TCPListener: f.ln}
	var ln net.Listener = on
	if f.tls != nil {
		ln = tls.NewListener(ln, f.tls)
	}
	var running sync.WaitGroup
	running.Go(func() {
		if err := server.Serve(ln); !errors.Is(err, net.ErrClosed) {
			f.log.Error("requests cannot be told to wait", "error", err)
		}
	})
	// Server.Shutdown would hang up on who has connected just now.
	f.stop = func() {
		_ = on.Close() // the listener is that of who serves next
		running.Wait()
		server.SetKeepAlivesEnabled(false)
		done := make(chan struct{})
		go func() { open.Wait(); close(done) }()
		select {
		case <-done:
		case <-time.After(lastAnswers):
		}
		_ = server.Close() // who is slower than that is cut off
	}
}

// take returns the listener to who serves S3.
func (f *front) take() (*net.TCPListener, error) {
	if f.stop != nil {
		f.stop()
		f.stop = nil
	}
	return f.ln, f.ln.SetDeadline(time.Time{})
}

// lent is a listener that goes back when it is closed.
type lent struct{ *net.TCPListener }

// Close ends Accept, and leaves the listener open.
func (l *lent) Close() error { return l.SetDeadline(time.Unix(1, 0)) }

// Accept implements net.Listener.
func (l *lent) Accept() (net.Conn, error) {
	c, err := l.TCPListener.Accept()
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = net.ErrClosed
	}
	return c, err
}
