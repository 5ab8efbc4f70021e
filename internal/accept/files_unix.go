//go:build unix

package accept

import (
	"math"

	"golang.org/x/sys/unix"
)

// Files returns how many files the process may have open, which Go's runtime has raised as far as
// that is allowed.
func Files() int {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return math.MaxInt32
	}
	return int(min(uint64(limit.Cur), math.MaxInt32)) //nolint:gosec,unconvert // the type differs between systems
}
