package vfs

// Allocator is implemented by a File whose file system can keep room for it.
type Allocator interface {
	// Allocate makes the file at least n bytes long, and has the file system keep room for them,
	// as fallocate(2) does: ErrUnsupported where it cannot, ENOSPC where there is not so much.
	Allocate(n int64) error
}
