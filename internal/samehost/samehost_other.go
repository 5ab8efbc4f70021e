//go:build !linux

package samehost

import "net"

// Unpace does nothing: congestion control is chosen on Linux.
func Unpace(*net.TCPConn) {}
