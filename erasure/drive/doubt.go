package drive

import (
	"errors"
	"io/fs"
	"syscall"

	"github.com/shoal-storage/shoal/erasure/register"
)

// doubt hears that a shard could not be written. Whether that is a matter of the shard or of
// the disk the store finds out by writing something as well: where it cannot it has failed, and
// the drive with it.
func (d *Drive) doubt(err error) {
	if err == nil || errors.Is(err, fs.ErrClosed) || errors.Is(err, register.ErrClaimed) || errors.Is(err, syscall.ENOSPC) || !d.doubted.CompareAndSwap(false, true) {
		return
	}
	defer d.doubted.Store(false)
	var b Batch
	b.Set([]byte{doubtKey}, nil)
	_ = d.kv.Apply(&b, true) // a store that has failed says so by itself
}
