// Package samehost has connections that do not leave this host do without what networks need.
package samehost

import "net"

// within reports whether both ends are at one address: what is sent does not leave the host.
func within(local, remote net.Addr) bool {
	l, ok := local.(*net.TCPAddr)
	if !ok {
		return false
	}
	r, ok := remote.(*net.TCPAddr)
	return ok && (l.IP.Equal(r.IP) || l.IP.IsLoopback() && r.IP.IsLoopback())
}
