package vfs

// Person is somebody as the file system knows him.
type Person struct {
	UID, GID uint32
	Groups   []uint32 // supplementary ones
}

// Permission is what somebody wants of a file or directory, in the bits of access(2).
type Permission uint32

// The permissions.
const (
	Search Permission = 1 << iota
	Write
	Read
)
