// Package accept takes connections for a server that may run out of files.
package accept

import (
	"errors"
	"syscall"
	"time"
)

// How long it is waited for a file, at first and at most.
const (
	firstWait = 5 * time.Millisecond
	mostWait  = 250 * time.Millisecond
)

// Next returns what accept returns, but for what is no reason for a server to end: where the process
// or the system has no more files, or no memory, for a connection that fact is told to lacking, and
// accept is called again after a while; whoever has hung up before he was accepted is passed over.
// It returns when accept does, within 250 ms of that.
func Next[C any](accept func() (C, error), lacking func(error)) (C, error) {
	wait := firstWait
	for {
		c, err := accept()
		switch {
		case isAny(err, syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM):
			lacking(err)
			time.Sleep(wait)
			wait = min(2*wait, mostWait)
		case isAny(err, syscall.ECONNABORTED, syscall.ECONNRESET, syscall.EPROTO): // accept(2): as EAGAIN
		default:
			return c, err
		}
	}
}

func isAny(err error, these ...syscall.Errno) bool {
	for _, e := range these {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
