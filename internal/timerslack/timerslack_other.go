//go:build !linux

package timerslack

import "time"

// Widen does nothing: timers have slack on Linux.
func Widen(time.Duration) {}
