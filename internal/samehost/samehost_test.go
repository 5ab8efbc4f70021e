//go:build linux

package samehost

import (
	"errors"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func TestOnlyWhatStaysOnTheHostIsWithinIt(t *testing.T) {
	at := func(ip string) net.Addr { return &net.TCPAddr{IP: net.ParseIP(ip), Port: 1} }
	for name, tt := range map[string]struct {
		local, remote net.Addr
		want          bool
	}{
		"loopback":                 {at("127.0.0.1"), at("127.0.0.1"), true},
		"two addresses of it":      {at("127.0.0.1"), at("127.0.0.2"), true},
		"of IPv6":                  {at("::1"), at("::1"), true},
		"the host's own address":   {at("192.0.2.1"), at("192.0.2.1"), true},
		"as IPv6 writes it":        {at("::ffff:192.0.2.1"), at("192.0.2.1"), true},
		"another host":             {at("192.0.2.1"), at("192.0.2.2"), false},
		"what is no address of it": {at("127.0.0.1"), &net.UnixAddr{Name: "x"}, false},
	} {
		if got := within(tt.local, tt.remote); got != tt.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// control returns what a socket sends by.
func control(t *testing.T, c syscall.RawConn) (name string) {
	t.Helper()
	var err error
	if failed := c.Control(func(fd uintptr) {
		name, err = unix.GetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION)
	}); failed != nil || err != nil {
		t.Fatal(failed, err)
	}
	return name
}

// accepted returns the server's end of a connection of this host that sends by what, ok if it may.
func accepted(t *testing.T, what string) (c *net.TCPConn, ok bool) {
	t.Helper()
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
		failed := c.Control(func(fd uintptr) { err = unix.SetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION, what) })
		return errors.Join(failed, err)
	}}
	ln, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EPERM) {
		return nil, false
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	client, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	server, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	return server.(*net.TCPConn), true
}

// TestWithinAHostNothingIsPaced tries all that the host has, of which BBR may be none.
func TestWithinAHostNothingIsPaced(t *testing.T) {
	all, err := os.ReadFile("/proc/sys/net/ipv4/tcp_available_congestion_control")
	if err != nil {
		t.Fatal(err)
	}
	for _, was := range strings.Fields(string(all)) {
		c, ok := accepted(t, was)
		if !ok {
			continue // who runs the tests may not choose it
		}
		raw, err := c.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		Unpace(c)
		want := was
		if was == pacing {
			want = plain
		}
		if got := control(t, raw); got != want {
			t.Errorf("%s has become %s", was, got)
		}
		exchange(c, want, plain)
		if got := control(t, raw); got != plain {
			t.Errorf("%s could not be exchanged: %s", was, got)
		}
	}
}
