package format

import (
	"errors"
	"slices"

	"github.com/shoal-storage/shoal/internal/vfs"
)

// Inspection is what was seen at a path, by somebody who does not want to use it.
type Inspection struct {
	Identity *Identity // nil: it is no drive
	OnRoot   bool      // it is on the device of the root directory
	Mounted  bool      // it is the root of a file system
}

// Inspect looks whether a drive is at a path, which others may be using. An error says that there is one whose
// identity cannot be read.
func Inspect(path string) (i Inspection, err error) {
	root, err := vfs.OpenRoot(path)
	if err != nil {
		return i, err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	if i.Identity, err = readIdentity(root); err != nil || i.Identity == nil {
		return i, err
	}
	i.OnRoot, i.Mounted, err = devices(path, root)
	return i, err
}

// Slot returns the place of the drive in its set, from 0 on.
func (id *Identity) Slot() int { return slices.Index(id.Set, id.Drive) }
