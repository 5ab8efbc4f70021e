package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"iter"
	"maps"
	"net/http"
	"time"

	"github.com/shoal-storage/shoal/internal/lock"
	"github.com/shoal-storage/shoal/internal/sigv4"
)

// infoPath is where the admin API tells how a server is.
const infoPath = "/minio/admin/v3/info"

// guessTime is how long who does not prove to be the root user keeps others from trying.
const guessTime = time.Second

// initializing tells the root user of a server that it waits. Nobody else is known before it has what it waits for.
type initializing struct {
	front     *front
	of        *waiting
	otherwise http.HandlerFunc // answers everybody else
	begun     time.Time
	proving   chan struct{} // holds one while somebody is
}

func newInitializing(f *front, of *waiting, otherwise http.HandlerFunc) *initializing {
	return &initializing{front: f, of: of, otherwise: otherwise, begun: time.Now(), proving: make(chan struct{}, 1)}
}

// ServeHTTP implements http.Handler.
func (i *initializing) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !i.isRoot(r) {
		i.otherwise(w, r)
		return
	}
	node := map[string]any{"endpoint": r.Host, "state": "initializing", "uptime": int64(time.Since(i.begun).Seconds()), "version": version}
	unknown := map[string]string{"error": i.front.reason(i.of)}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Connection", "close")
	_ = json.NewEncoder(w).Encode(map[string]any{ // whoever asks again finds out
		"mode": "initializing", "backend": map[string]string{"backendType": "Erasure"}, "servers": []any{node},
		"buckets": unknown, "usage": unknown, "objects": unknown, "versions": unknown, "deletemarkers": unknown,
	})
}

// isRoot reports whether the request is signed by the root user, for whichever region: which one counts the nodes
// have yet to agree upon. One at a time may fail to prove it.
func (i *initializing) isRoot(r *http.Request) bool {
	signed := sigv4.Request{Method: r.Method, Path: r.URL.EscapedPath(), Query: r.URL.RawQuery, Header: signedHeader{r}}
	auth, err := sigv4.Parse(signed)
	if err != nil || r.Method != http.MethodGet || auth.Presigned || auth.V2 || auth.AccessKey != i.of.creds.user || auth.CheckScope("") != nil {
		return false
	}
	none := sha256.Sum256(nil)
	if auth.PayloadHash != hex.EncodeToString(none[:]) || r.ContentLength != 0 {
		return false
	}
	select {
	case i.proving <- struct{}{}:
	default:
		return false
	}
	defer func() { <-i.proving }()
	if new(sigv4.Verifier).Verify(auth, signed, i.of.creds.password, time.Now()) != nil {
		lock.Pause(r.Context(), guessTime)
		return false
	}
	return true
}

// signedHeader is the header of a request as it is signed: with the host, which net/http keeps apart.
type signedHeader struct{ r *http.Request }

// Get implements sigv4.Header.
func (h signedHeader) Get(name string) string {
	if http.CanonicalHeaderKey(name) == "Host" {
		return h.r.Host
	}
	return h.r.Header.Get(name)
}

// Values implements sigv4.Header.
func (h signedHeader) Values(name string) []string {
	if http.CanonicalHeaderKey(name) == "Host" {
		return []string{h.r.Host}
	}
	return h.r.Header.Values(name)
}

// Names implements sigv4.Header.
func (h signedHeader) Names() iter.Seq[string] {
	return func(yield func(string) bool) {
		if !yield("Host") {
			return
		}
		maps.Keys(h.r.Header)(yield)
	}
}
