package samehost

import (
	"net"

	"golang.org/x/sys/unix"
)

// What a host may send by (tcp(7), TCP_CONGESTION): the one that paces, and the one that everybody
// may choose.
const (
	pacing = "bbr"
	plain  = "reno"
)

// Unpace has this end of a connection send as fast as the other takes it, if both are on this host
// and its congestion control paces. Where the system does not let it, that goes on as before.
func Unpace(c *net.TCPConn) { exchange(c, pacing, plain) }

// exchange has this end send by another congestion control, if it sends by a certain one within this host.
func exchange(c *net.TCPConn, from, to string) {
	if !within(c.LocalAddr(), c.RemoteAddr()) {
		return
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return // it is closed
	}
	_ = raw.Control(func(fd uintptr) {
		if name, err := unix.GetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION); err == nil && name == from {
			_ = unix.SetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION, to)
		}
	})
}
