package dirsnap

import (
	"github.com/shoal-storage/shoal/internal/vfs"
	"github.com/shoal-storage/shoal/nasfs/keypath"
)

// Read makes a snapshot of a directory.
func Read(dir vfs.Dir, codec keypath.Codec) (*Snapshot, error) {
	return read(dir, Config{Codec: codec})
}
