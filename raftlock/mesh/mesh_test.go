package mesh

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

var secret = []byte("0123456789abcdef")

// node serves a Mesh that echoes, and returns its address.
func node(t *testing.T, cfg Config) (*Mesh, string, *logText) {
	t.Helper()
	log := &logText{}
	cfg.Logger = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	if cfg.Cluster == "" {
		cfg.Cluster = "c"
	}
	if cfg.Secrets == nil {
		cfg.Secrets = [][]byte{secret}
	}
	m, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	m.Handle("echo/1", func(c *Conn) {
		if _, err := c.Write([]byte(c.Peer + " " + cfg.Node + "\n")); err == nil {
			_, _ = io.Copy(c, c)
		}
	})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- m.Serve(ln) }()
	t.Cleanup(func() {
		if err := m.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return m, ln.Addr().String(), log
}

// logText is a log that can be read while it is written.
type logText struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func TestNodesOfOneClusterTalk(t *testing.T) {
	a, _, _ := node(t, Config{Node: "a"})
	_, at, _ := node(t, Config{Node: "b"})
	c, err := a.Dial(t.Context(), at, "b", "echo/1")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if c.Peer != "b" || c.Version != newestVersion {
		t.Errorf("peer %q, version %d", c.Peer, c.Version)
	}
	if _, err := c.Write([]byte("hi\n")); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 7)
	if _, err := io.ReadFull(c, got); err != nil || string(got) != "a b\nhi\n" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestStrangersAreRefused(t *testing.T) {
	_, at, log := node(t, Config{Node: "b"})
	for name, tt := range map[string]struct {
		cfg  Config
		node string
		says string // in the log of the node that refuses, or in the error
	}{
		"who does not know the secret": {Config{Node: "a", Secrets: [][]byte{[]byte("another secret..")}}, "b", "does not know the cluster's secret"},
		"a node of another cluster":    {Config{Node: "a", Cluster: "d"}, "b", `of the cluster \"d\"`},
		"who looks for another node":   {Config{Node: "a"}, "x", "node b is there, not x"},
	} {
		t.Run(name, func(t *testing.T) {
			a, _, _ := node(t, tt.cfg)
			_, err := a.Dial(t.Context(), at, tt.node, "echo/1")
			if !errors.Is(err, ErrRefused) {
				t.Fatalf("%v", err)
			}
			if !strings.Contains(err.Error(), tt.says) && !strings.Contains(log.String(), tt.says) {
				t.Errorf("%v, log: %s", err, log)
			}
		})
	}
}

func TestAProtocolThatIsNotServedIsRefusedAndNobodyIsWarned(t *testing.T) {
	a, _, _ := node(t, Config{Node: "a"})
	b, at, log := node(t, Config{Node: "b"})
	if c, err := a.Dial(t.Context(), at, "b", "other/1"); err == nil {
		c.Close()
		t.Error("accepted")
	}
	if err := b.Close(); err != nil { // and so all has been said
		t.Fatal(err)
	}
	if l := log.String(); !strings.Contains(l, "other/1") || strings.Contains(l, "WARN") {
		t.Errorf("log: %s", log)
	}
}

// Who is refused comes again and again.
func TestARefusalIsLoggedOnce(t *testing.T) {
	b, at, log := node(t, Config{Node: "b"})
	a, _, _ := node(t, Config{Node: "a", Secrets: [][]byte{[]byte("another secret..")}})
	c, _, _ := node(t, Config{Node: "a", Cluster: "d"})
	for range 10 {
		for _, m := range []*Mesh{a, c} {
			if _, err := m.Dial(t.Context(), at, "b", "echo/1"); err == nil {
				t.Fatal("accepted")
			}
		}
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if lines := strings.Count(log.String(), "\n"); lines != 2 {
		t.Errorf("%d lines for two reasons: %s", lines, log)
	}
}

// A secret is changed by giving every node both, the new one second, and then
// the new one first.
func TestASecretCanBeChangedWhileAllRun(t *testing.T) {
	next := []byte("the next secret!")
	a, _, _ := node(t, Config{Node: "a", Secrets: [][]byte{next, secret}})
	_, at, _ := node(t, Config{Node: "b", Secrets: [][]byte{secret, next}})
	c, err := a.Dial(t.Context(), at, "b", "echo/1")
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}

// A hello that was heard on one connection proves nothing on another.
func TestAHelloCannotBeReplayed(t *testing.T) {
	a, _, _ := node(t, Config{Node: "a"})
	var heard bytes.Buffer
	_, at, log := node(t, Config{Node: "b"})
	listen := func(record bool) *tls.Conn {
		raw, err := net.Dial("tcp", at)
		if err != nil {
			t.Fatal(err)
		}
		cfg := a.tls.Clone()
		cfg.NextProtos = []string{"echo/1"}
		c := tls.Client(raw, cfg)
		if err := c.Handshake(); err != nil {
			t.Fatal(err)
		}
		if record {
			h := hello{oldest: 1, newest: 1, cluster: "c", node: "a"}
			if h.proofs[0], err = prove(c, secret, roleClient, h); err != nil {
				t.Fatal(err)
			}
			heard.Write(h.encode())
		}
		return c
	}
	listen(true).Close()
	c := listen(false)
	defer c.Close()
	if _, err := c.Write(heard.Bytes()); err != nil {
		t.Fatal(err)
	}
	if n, err := c.Read(make([]byte, 100)); err == nil {
		t.Errorf("answered with %d bytes", n)
	}
	if !strings.Contains(log.String(), "does not know the cluster's secret") {
		t.Errorf("log: %s", log)
	}
}

func TestGarbageIsClosedAndCostsNothing(t *testing.T) {
	_, at, _ := node(t, Config{Node: "b"})
	for _, garbage := range []string{"", "GET / HTTP/1.1\r\n\r\n", strings.Repeat("\xff", 1<<16)} {
		c, err := net.Dial("tcp", at)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = c.Write([]byte(garbage))
		if garbage != "" {
			_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
			if _, err := io.Copy(io.Discard, c); errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%.10q was not closed", garbage)
			}
		}
		c.Close()
	}
}

// Whoever stands at the door and says nothing keeps no node out, from wherever he comes.
func TestStrangersThatSayNothingKeepNobodyOut(t *testing.T) {
	for _, from := range []string{"127.0.0.1", "127.0.0.2"} {
		t.Run(from, func(t *testing.T) {
			_, at, _ := node(t, Config{Node: "b"})
			for range 2 * maxStrangers {
				c, err := net.Dial("tcp", at)
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close() //nolint:errcheck // a stranger
			}
			here := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
			a, _, _ := node(t, Config{Node: "a", Dial: func(ctx context.Context, address string) (net.Conn, error) {
				return here.DialContext(ctx, "tcp", address)
			}})
			c, err := a.Dial(t.Context(), at, "b", "echo/1")
			if err != nil {
				t.Fatal(err)
			}
			_ = c.Close()
		})
	}
}

// Room is made at the cost of the host that has the most connections at the door.
func TestAHostWithManyStrangersMakesRoom(t *testing.T) {
	m, at, _ := node(t, Config{Node: "b"})
	other := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP("127.0.0.2")}}
	first, err := other.Dial("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close() //nolint:errcheck // a stranger
	for range 3 * maxStrangers {
		c, err := net.Dial("tcp", at)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close() //nolint:errcheck // a stranger
	}
	_ = first.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
	if _, err := first.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the only one of its host was hung up on: %v", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if n := len(m.strange); n > maxStrangers {
		t.Errorf("%d strangers are at the door", n)
	}
}

// TestASecretIsChangedNodeByNode has nodes that know the old one, both, and the new one.
func TestASecretIsChangedNodeByNode(t *testing.T) {
	next := []byte("the next secret..")
	known := map[string][][]byte{"old": {secret}, "both": {next, secret}, "both, the other way": {secret, next}, "new": {next}}
	for from, secrets := range known {
		for to, theirs := range known {
			a, _, _ := node(t, Config{Node: "a", Secrets: secrets})
			_, at, _ := node(t, Config{Node: "b", Secrets: theirs})
			c, err := a.Dial(t.Context(), at, "b", "echo/1")
			if err == nil {
				_ = c.Close()
			}
			if apart := from == "old" && to == "new" || from == "new" && to == "old"; (err != nil) != apart {
				t.Errorf("who knows the %s meets who knows the %s: %v", from, to, err)
			}
		}
	}
}

func FuzzHello(f *testing.F) {
	f.Add(hello{oldest: 1, newest: 2, cluster: "c", node: "n", proofs: [maxSecrets][]byte{make([]byte, 32), {1}}}.encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := decodeHello(bytes.NewReader(b))
		if err != nil {
			return
		}
		again, err := decodeHello(bytes.NewReader(h.encode()))
		if err != nil || again.node != h.node || !bytes.Equal(again.proofs[0], h.proofs[0]) || !bytes.Equal(again.proofs[1], h.proofs[1]) {
			t.Errorf("%+v came back as %+v, %v", h, again, err)
		}
	})
}
