//go:build !linux

package vfs

import "fmt"

// Permit finds out whether somebody may have something of a directory. Outside Linux that
// is not known.
func Permit(Dir, string, Person, Permission) error { return fmt.Errorf("permit: %w", ErrUnsupported) }

// PermitFile does the same for an open file.
func PermitFile(File, Person, Permission) error { return fmt.Errorf("permit: %w", ErrUnsupported) }
