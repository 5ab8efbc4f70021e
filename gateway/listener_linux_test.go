package gateway

import (
	"errors"
	"net"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Who is served on the gateway's own host, such as a proxy, is sent to without pacing.
func TestWhatIsSentToTheOwnHostIsNotPaced(t *testing.T) {
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
		failed := c.Control(func(fd uintptr) { err = unix.SetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION, "bbr") })
		return errors.Join(failed, err)
	}}
	ln, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Skipf("this host has no BBR, or does not let the tests choose it (internal/samehost tries what it has): %v", err)
	}
	l := &listener{TCPListener: ln.(*net.TCPListener), stall: time.Second, most: 1}
	defer func() { _ = l.Close() }()
	client, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	raw, err := c.(*conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if failed := raw.Control(func(fd uintptr) {
		if name, err := unix.GetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION); err != nil || name == "bbr" {
			t.Errorf("it sends by %s, %v", name, err)
		}
	}); failed != nil {
		t.Fatal(failed)
	}
}
