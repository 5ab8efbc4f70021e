package vfs

import (
	"io/fs"
	"strings"
	"syscall"
)

// pathError wraps err with the operation and the path.
func pathError(op, path string, err error) error {
	return &fs.PathError{Op: op, Path: path, Err: err}
}

// classed is an error of a class that callers ask for, with its cause.
type classed struct{ class, cause error }

func (e *classed) Error() string   { return e.class.Error() + ": " + e.cause.Error() }
func (e *classed) Unwrap() []error { return []error{e.class, e.cause} }

// checkPath returns EINVAL for what is no path as Dir defines it. The system
// would resolve some of these; none of them is ever meant.
func checkPath(path string) error {
	if path == "." {
		return nil
	}
	for rest := path; ; {
		name, after, more := strings.Cut(rest, "/")
		if !validName(name) {
			return syscall.EINVAL
		}
		if !more {
			return nil
		}
		rest = after
	}
}

// checkName returns EINVAL for what is no name.
func checkName(name string) error {
	if !validName(name) || strings.IndexByte(name, '/') >= 0 {
		return syscall.EINVAL
	}
	return nil
}

func validName(name string) bool {
	return name != "" && name != "." && name != ".." && strings.IndexByte(name, 0) < 0
}
