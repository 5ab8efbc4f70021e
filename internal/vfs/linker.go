package vfs

// Linker is implemented by a File that can be given a further name while it is open,
// whatever has become of those that it had.
type Linker interface {
	// LinkTo makes name in dir a link to the file; fs.ErrExist if taken, fs.ErrNotExist
	// if the file has no name any more, and EXDEV if it was opened by another mount than
	// dir. May be called while the file is read.
	LinkTo(dir Dir, name string) error
}
