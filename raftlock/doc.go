// Package raftlock makes one fleet of gateways that share a namespace: it finds
// the others, agrees with them on who is alive, grants locks that outlive their
// owner, fences the dead before anything of theirs passes on, and keeps the
// settings that all of them follow.
//
// The rules are in package protocol, without clock or I/O; the connections in
// package mesh; what lies on the shared storage in package mount. This package
// gives the rules time, a network and a Raft. See DESIGN.md.
package raftlock
