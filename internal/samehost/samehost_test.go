//go:build linux

package samehost

import (
	"context"
	"net"
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

// control returns what a socket sends by, after it was told to by what, unless that is "".
func control(t *testing.T, c syscall.RawConn, what string) (name string) {
	t.Helper()
	var err error
	if failed := c.Control(func(fd uintptr) {
		if what != "" {
			err = unix.SetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION, what)
		}
		if err == nil {
			name, err = unix.GetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION)
		}
	}); failed != nil {
		t.Fatal(failed)
	}
	if err != nil {
		t.Skipf("the host does not let tests send by %s: %v", what, err)
	}
	return name
}

func TestWithinAHostNothingIsPaced(t *testing.T) {
	for _, was := range []string{pacing, "cubic", plain} {
		t.Run(was, func(t *testing.T) {
			lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
				control(t, c, was)
				return nil
			}}
			ln, err := lc.Listen(context.Background(), "tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			client, err := net.Dial("tcp", ln.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			c, err := ln.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			Unpace(c)
			raw, err := c.(*net.TCPConn).SyscallConn()
			if err != nil {
				t.Fatal(err)
			}
			want := was
			if was == pacing {
				want = plain
			}
			if got := control(t, raw, ""); got != want {
				t.Errorf("it sends by %s", got)
			}
		})
	}
}
