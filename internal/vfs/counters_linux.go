package vfs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Counters returns what the kernel has counted of a block device since that came, by its number
// (Stat.Dev): numbers in the order of Documentation/block/stat.rst, of which older kernels have
// fewer. It asks no disk. The error is ErrUnsupported where nothing is counted: at file servers, in
// memory, on file systems of several devices.
func Counters(dev uint64) ([]uint64, error) {
	major, minor := unix.Major(dev), unix.Minor(dev)
	if major == 0 { // it is no device
		return nil, fmt.Errorf("count what a file system does: it has no device: %w", ErrUnsupported)
	}
	name := fmt.Sprintf("/sys/dev/block/%d:%d/stat", major, minor)
	text, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w: %w", ErrUnsupported, err)
	}
	if err != nil {
		return nil, err
	}
	counters, err := parseCounters(string(text))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return counters, nil
}

// Where counters are that every kernel has, and how many there are at least.
const (
	readsAt       = 0
	writesAt      = 4
	leastCounters = 11
)

// parseCounters reads what a file of counters says. A device that nothing was ever read from or
// written to is one that does not count: it could not have been mounted otherwise.
func parseCounters(text string) (all []uint64, err error) {
	for _, field := range strings.Fields(text) {
		n, err := strconv.ParseUint(field, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("read counters: %w", err)
		}
		all = append(all, n)
	}
	switch {
	case len(all) < leastCounters:
		return nil, fmt.Errorf("read counters: there are %d: %w", len(all), ErrUnsupported)
	case all[readsAt] == 0 && all[writesAt] == 0:
		return nil, fmt.Errorf("the device does not count: %w", ErrUnsupported)
	}
	return all, nil
}
