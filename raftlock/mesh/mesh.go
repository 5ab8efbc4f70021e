// Package mesh connects the nodes of a fleet over one port: TLS 1.3, in which
// ALPN tells the protocols apart, each on connections of its own, so that a
// bulk transfer never stands in front of a lock.
//
// Both sides prove that they know the cluster's secret, by a MAC over keying
// material that only the two ends of this very connection share (RFC 9266 has
// the idea): certificates are made at start and say nothing, nobody in between
// can pass a proof on, and there is no PKI to look after. What a node says that
// has not proved itself is never more than one small frame.
package mesh

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/shoal-storage/shoal/internal/accept"
)

// Config says who this node is and whom it talks to.
type Config struct {
	Cluster string   // nodes of another are refused
	Node    string   // this node's UUID
	Secrets [][]byte // of the cluster, two at most: any is accepted, so that one can be changed while all run
	Logger  *slog.Logger
	// Dial connects to an address; nil: TCP.
	Dial func(ctx context.Context, address string) (net.Conn, error)
}

// Conn is a connection whose other end has proved itself.
type Conn struct {
	*tls.Conn
	Peer    string // node at the other end
	Version uint32 // of the protocols, the lower of both ends
}

// Node returns the node at the other end.
func (c *Conn) Node() string { return c.Peer }

// Handler serves a connection that came in. It closes it when it is done.
type Handler func(c *Conn)

// Mesh is this node's place among the others. Create one with New.
type Mesh struct {
	cfg      Config
	tls      *tls.Config
	mu       sync.Mutex
	handlers map[string]Handler
	plain    func(c net.Conn) // serves plain connections; nil: there are none
	tickets  tickets
	conns    map[net.Conn]struct{}
	listener net.Listener
	closed   bool
	refused  map[string]time.Time // when which complaint was logged last
	group    sync.WaitGroup
	strange  []net.Conn // connections that have not proved themselves, in the order in which they came
}

// Bounds on those who have not proved themselves.
const (
	handshakeTime = 5 * time.Second
	maxStrangers  = 64
)

// ErrRefused is returned by Dial where the other end is not the node that was
// meant, is of another cluster, or does not know the secret.
var ErrRefused = errors.New("mesh: refused")

// ErrOtherNode is an ErrRefused: at the address is another node of the cluster,
// so the one that was meant is there no more.
var ErrOtherNode = fmt.Errorf("%w: another node is there", ErrRefused)

// New returns the Mesh of a node.
func New(cfg Config) (*Mesh, error) {
	if cfg.Cluster == "" || cfg.Node == "" || len(cfg.Secrets) == 0 || cfg.Logger == nil {
		return nil, errors.New("mesh: cluster, node, secret and logger are required")
	}
	if len(cfg.Secrets) > maxSecrets {
		return nil, fmt.Errorf("mesh: there are %d secrets, and %d can be known", len(cfg.Secrets), maxSecrets)
	}
	for _, s := range cfg.Secrets {
		if len(s) < minSecret {
			return nil, fmt.Errorf("mesh: a secret has at least %d bytes", minSecret)
		}
	}
	certificate, err := makeCertificate()
	if err != nil {
		return nil, fmt.Errorf("mesh: make certificate: %w", err)
	}
	if cfg.Dial == nil {
		var d net.Dialer
		cfg.Dial = func(ctx context.Context, address string) (net.Conn, error) { return d.DialContext(ctx, "tcp", address) }
	}
	return &Mesh{
		cfg: cfg, handlers: make(map[string]Handler), tickets: make(tickets), conns: make(map[net.Conn]struct{}), refused: make(map[string]time.Time),
		tls: &tls.Config{
			MinVersion:             tls.VersionTLS13,
			Certificates:           []tls.Certificate{certificate},
			InsecureSkipVerify:     true, //nolint:gosec // who is there the proof tells
			SessionTicketsDisabled: true,
		},
	}, nil
}

// Handle has h serve the connections of a protocol.
func (m *Mesh) Handle(protocol string, h Handler) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.handlers[protocol] == nil {
		m.tls.NextProtos = append(m.tls.NextProtos, protocol)
	}
	m.handlers[protocol] = h
}

// config returns the configuration of TLS with the protocols that there are now.
func (m *Mesh) config() *tls.Config {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.tls.Clone()
}

// Serve serves nodes that come to ln, until Close. It closes ln.
func (m *Mesh) Serve(ln net.Listener) error {
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return errors.Join(net.ErrClosed, ln.Close())
	}
	m.listener = ln
	m.mu.Unlock()
	for {
		c, err := accept.Next(ln.Accept, func(error) {}) // whoever means it comes again
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return nil
			}
			return fmt.Errorf("mesh: accept: %w", err)
		}
		if !m.keep(c) {
			return nil
		}
		go m.welcome(c)
	}
}

// keep notes a connection so that Close closes it; false once that has begun.
func (m *Mesh) keep(c net.Conn) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		_ = c.Close()
		return false
	}
	m.conns[c] = struct{}{}
	m.group.Add(1)
	if len(m.strange) >= maxStrangers {
		m.makeRoom()
	}
	m.strange = append(m.strange, c)
	return true
}

// makeRoom hangs up on a stranger: on the one that has been at the door for the longest time, of the
// host that has the most there. Who only stands there keeps no node out, least of all from another host. The
// caller holds mu.
func (m *Mesh) makeRoom() {
	most, of := 0, make(map[string]int)
	for _, c := range m.strange {
		host := hostOf(c)
		of[host]++
		most = max(most, of[host])
	}
	at := slices.IndexFunc(m.strange, func(c net.Conn) bool { return of[hostOf(c)] == most })
	_ = m.strange[at].Close() // who means it comes again
	m.strange = slices.Delete(m.strange, at, at+1)
}

func hostOf(c net.Conn) string {
	host, _, _ := net.SplitHostPort(c.RemoteAddr().String())
	return host
}

// leaveDoor notes that a connection is at the door no more.
func (m *Mesh) leaveDoor(c net.Conn) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.strange = slices.DeleteFunc(m.strange, func(s net.Conn) bool { return s == c })
}

func (m *Mesh) forget(c net.Conn) {
	_ = c.Close() // whatever was to be said on it has been
	m.mu.Lock()
	delete(m.conns, c)
	m.mu.Unlock()
	m.group.Done()
}

// welcome finds out who came, and has the handler of the protocol serve it.
func (m *Mesh) welcome(c net.Conn) {
	defer m.forget(c)
	serve, err := m.accept(c)
	m.leaveDoor(c)
	if err != nil {
		m.complain(c.RemoteAddr(), err)
		return
	}
	serve()
}

// How often one complaint about one host is logged: who is refused comes again
// many times a second.
const (
	complainEvery = time.Minute
	maxComplaints = 256
)

// complain logs why a connection was refused.
func (m *Mesh) complain(from net.Addr, err error) {
	level := slog.LevelWarn
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, net.ErrClosed):
		return // somebody who only knocks, as health checks do, or goes
	case errors.Is(err, errNotServed):
		level = slog.LevelDebug // who came says so, if it goes on
	}
	key, _, _ := net.SplitHostPort(from.String())
	if errors.Is(err, ErrRefused) {
		key += err.Error()
	}
	m.mu.Lock()
	last, said := m.refused[key]
	if !said && len(m.refused) >= maxComplaints {
		clear(m.refused)
	}
	if said = said && time.Since(last) < complainEvery; !said {
		m.refused[key] = time.Now()
	}
	m.mu.Unlock()
	if !said {
		m.cfg.Logger.Log(context.Background(), level, "a connection to the cluster port was refused", "from", from, "error", err) //nolint:forbidigo // logging has no caller
	}
}

// accept finds out who came, and returns what serves him.
func (m *Mesh) accept(c net.Conn) (serve func(), err error) {
	if err := c.SetDeadline(time.Now().Add(handshakeTime)); err != nil {
		return nil, err
	}
	var first [1]byte
	if _, err := io.ReadFull(c, first[:]); err != nil {
		return nil, err
	}
	if first[0] == plainMark {
		h, err := m.admitPlain(c)
		return func() { h(c) }, err
	}
	conn, err := m.acceptTLS(&begun{c, first[:]})
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	h := m.handlers[conn.ConnectionState().NegotiatedProtocol]
	m.mu.Unlock()
	return func() { h(conn) }, nil
}

// errNotServed says that a node speaks a protocol that is not served here: not yet, where nodes are
// started at the same moment, or it is of a newer version.
var errNotServed = errors.New("the protocol is not served")

func (m *Mesh) acceptTLS(c net.Conn) (*Conn, error) {
	cfg, asked := m.config(), []string(nil)
	cfg.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		asked = hello.SupportedProtos
		return nil, nil //nolint:nilnil // it stays as it is
	}
	t := tls.Server(c, cfg)
	if err := t.Handshake(); err != nil {
		if len(asked) > 0 && !slices.ContainsFunc(asked, func(p string) bool { return slices.Contains(cfg.NextProtos, p) }) {
			return nil, fmt.Errorf("%w: %q", errNotServed, asked)
		}
		return nil, err
	}
	if t.ConnectionState().NegotiatedProtocol == "" {
		return nil, errors.New("no protocol was named")
	}
	theirs, err := m.readHello(t, roleClient)
	if err != nil {
		return nil, err
	}
	if err := m.writeHello(t, roleServer); err != nil {
		return nil, err
	}
	return m.admitted(t, theirs)
}

// Dial connects to the node that is to be at an address, to speak a protocol.
// An empty node takes whoever of the cluster is there.
func (m *Mesh) Dial(ctx context.Context, address, node, protocol string) (*Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, handshakeTime)
	defer cancel()
	c, err := m.cfg.Dial(ctx, address)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", address, err)
	}
	conn, err := m.introduce(ctx, c, node, protocol)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("connect to %s: %w", address, err), c.Close())
	}
	return conn, nil
}

func (m *Mesh) introduce(ctx context.Context, c net.Conn, node, protocol string) (*Conn, error) {
	deadline, _ := ctx.Deadline()
	if err := c.SetDeadline(deadline); err != nil {
		return nil, err
	}
	cfg := m.config()
	cfg.NextProtos = []string{protocol}
	t := tls.Client(c, cfg)
	if err := t.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	if err := m.writeHello(t, roleClient); err != nil {
		return nil, err
	}
	theirs, err := m.readHello(t, roleServer)
	if errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w by the other end: its log says why", ErrRefused)
	}
	if err != nil {
		return nil, err
	}
	if node != "" && theirs.node != node {
		return nil, fmt.Errorf("%w: node %s is there, not %s", ErrOtherNode, theirs.node, node)
	}
	return m.admitted(t, theirs)
}

func (m *Mesh) admitted(t *tls.Conn, theirs hello) (*Conn, error) {
	if err := t.SetDeadline(time.Time{}); err != nil {
		return nil, err
	}
	return &Conn{Conn: t, Peer: theirs.node, Version: min(theirs.newest, newestVersion)}, nil
}

// Close closes the listener and all connections that came in, and waits for
// their handlers.
func (m *Mesh) Close() error {
	m.mu.Lock()
	m.closed = true
	var err error
	if m.listener != nil {
		err = m.listener.Close()
	}
	for c := range m.conns {
		_ = c.Close() // its handler notices
	}
	m.mu.Unlock()
	m.group.Wait()
	return err
}
