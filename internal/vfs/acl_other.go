//go:build !linux

package vfs

import "io/fs"

// ACL is what a directory has files inherit that are made in it. Outside Linux
// nothing is known of it.
type ACL struct{}

// IsZero reports whether there is none.
func (ACL) IsZero() bool { return true }

// InheritedACL returns what files inherit in a directory.
func InheritedACL(Dir) (ACL, error) { return ACL{}, nil }

// Inherit gives a file what it would have inherited.
func (ACL) Inherit(File, fs.FileMode) error { return nil }
