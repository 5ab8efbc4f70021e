package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/shoal-storage/shoal/gateway"
)

// front is where S3 is served. Until it can be, requests are answered that they have to wait.
type front struct {
	ln   *net.TCPListener
	tls  *tls.Config // nil: no HTTPS
	log  *slog.Logger
	stop func()
}

// Bounds on who asks before there is anything to ask for.
const (
	waitingTime   = 10 * time.Second // for a request
	waitingHeader = 16 << 10         // bytes
)

// notYet is the answer to requests before they can be served.
const notYet = `<?xml version="1.0" encoding="UTF-8"?>
<Error><Code>ServerNotInitialized</Code><Message>The server waits for other nodes or drives.</Message></Error>`

// wait answers requests until serve is called: what this node is to others that look for it,
// that it lives, to the root user who asks how it is that it waits, and to all else that they have to.
func (f *front) wait(n gateway.Node, creds credentials) {
	mux := http.NewServeMux()
	mux.HandleFunc(gateway.NodePath, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(n) // whoever asks again finds out
	})
	mux.HandleFunc("/minio/health/live", func(http.ResponseWriter, *http.Request) {})
	later := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/xml")
		w.Header().Set("Retry-After", "5")
		w.Header().Set("Connection", "close")
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = w.Write([]byte(notYet)) // as above
	}
	mux.HandleFunc("/", later)
	mux.Handle(infoPath, newInitializing(creds, later))
	server := &http.Server{Handler: mux, ReadTimeout: waitingTime, WriteTimeout: waitingTime, MaxHeaderBytes: waitingHeader, ErrorLog: slog.NewLogLogger(f.log.Handler(), slog.LevelDebug)}
	var ln net.Listener = &lent{TCPListener: f.ln}
	if f.tls != nil {
		ln = tls.NewListener(ln, f.tls)
	}
	var running sync.WaitGroup
	running.Go(func() {
		if err := server.Serve(ln); !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
			f.log.Error("requests cannot be told to wait", "error", err)
		}
	})
	f.stop = func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second) //nolint:forbidigo // whoever asks is told the same by who serves next
		defer cancel()
		_ = server.Shutdown(ctx) // who is slower than that is cut off
		running.Wait()
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
