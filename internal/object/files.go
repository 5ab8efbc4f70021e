package object

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
)

// Files says what the files and directories of a bucket's new objects are given,
// where a Store keeps objects as files that others see too. What is nil is left as
// the Store has it.
type Files struct {
	UID      *uint32      `json:"uid,omitempty"`
	GID      *uint32      `json:"gid,omitempty"`
	FileMode *Permissions `json:"file_mode,omitempty"`
	DirMode  *Permissions `json:"dir_mode,omitempty"`
}

// files is Files without methods.
type files Files

// MarshalBinary implements encoding.BinaryMarshaler, for gob, which does not tell a
// pointer to 0 from none: the root user's.
func (f Files) MarshalBinary() ([]byte, error) { return json.Marshal(files(f)) }

// UnmarshalBinary implements encoding.BinaryUnmarshaler.
func (f *Files) UnmarshalBinary(text []byte) error { return json.Unmarshal(text, (*files)(f)) }

// Permissions are those of chmod(2). As text they are octal.
type Permissions uint32

// The bits that files and directories may be given.
const (
	filePermissions = 0o777
	dirPermissions  = 0o3777 // with setgid and the sticky bit
)

// MarshalText implements encoding.TextMarshaler.
func (p Permissions) MarshalText() ([]byte, error) { return fmt.Appendf(nil, "%04o", uint32(p)), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (p *Permissions) UnmarshalText(text []byte) error {
	n, err := strconv.ParseUint(string(text), 8, 12)
	if err != nil {
		return fmt.Errorf("permissions %q are not octal digits", text)
	}
	*p = Permissions(n)
	return nil
}

// IsZero reports whether f says nothing.
func (f Files) IsZero() bool { return f == Files{} }

// Or returns f, and for what f does not say what others do.
func (f Files) Or(others Files) Files {
	return Files{
		UID: or(f.UID, others.UID), GID: or(f.GID, others.GID),
		FileMode: or(f.FileMode, others.FileMode), DirMode: or(f.DirMode, others.DirMode),
	}
}

func or[T any](a, b *T) *T {
	if a != nil {
		return a
	}
	return b
}

// Validate returns what is wrong with f, or nil.
func (f Files) Validate() error {
	for _, id := range []*uint32{f.UID, f.GID} {
		if id != nil && *id == ^uint32(0) {
			return errors.New("that is no user or group")
		}
	}
	if m := f.FileMode; m != nil && (*m&^filePermissions != 0 || *m&0o600 != 0o600) {
		return errors.New("the permissions of files must leave the owner reading and writing, and have no other bits than those of chmod 777")
	}
	if m := f.DirMode; m != nil && (*m&^dirPermissions != 0 || *m&0o700 != 0o700) {
		return errors.New("the permissions of directories must leave the owner in, and have no other bits than those of chmod 3777")
	}
	return nil
}
