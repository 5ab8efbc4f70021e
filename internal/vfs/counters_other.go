//go:build !linux

package vfs

import "fmt"

// Counters returns what has been counted of a block device. Outside Linux that is not known.
func Counters(uint64) ([]uint64, error) {
	return nil, fmt.Errorf("count what a device does: %w", ErrUnsupported)
}
