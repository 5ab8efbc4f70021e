package nasfs

import (
	"errors"
	"testing"
	"time"

	"github.com/shoal-storage/shoal/internal/vfs"
)

// What was in use when a share was remounted keeps the inode number that was made up for it. So
// numbers are believed again only if nothing had been opened for long enough before that.
func TestInodeNumbersAreBelievedAgainOnlyIfNothingWasInUseWhenTheShareWasRemounted(t *testing.T) {
	hung := errors.New("hung")
	for name, c := range map[string]struct {
		said   []error // a second apart
		want   error
		losses uint64
	}{
		"never lost":           {[]error{nil, nil}, nil, 0},
		"lost":                 {[]error{nil, vfs.ErrNumbers}, vfs.ErrNumbers, 1},
		"not known":            {[]error{hung}, hung, 0},
		"remounted at once":    {[]error{vfs.ErrNumbers, nil, nil, nil, nil}, vfs.ErrNumbers, 1},
		"remounted when idle":  {[]error{vfs.ErrNumbers, vfs.ErrNumbers, vfs.ErrNumbers, nil}, nil, 1},
		"lost again":           {[]error{vfs.ErrNumbers, vfs.ErrNumbers, vfs.ErrNumbers, nil, vfs.ErrNumbers}, vfs.ErrNumbers, 2},
		"remounted once more":  {[]error{vfs.ErrNumbers, nil, vfs.ErrNumbers, nil}, nil, 1},
		"not known, then lost": {[]error{hung, vfs.ErrNumbers, hung}, hung, 1},
	} {
		var n numbers
		var err error
		now := time.Now()
		for _, said := range c.said {
			_, err = n.note(said, now)
			now = now.Add(time.Second)
		}
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
		losses, begun := n.losses.Load(), n.state()
		if losses != c.losses || (begun == nil) != (c.want == nil || c.losses == 0) {
			t.Errorf("%s: %d losses, and %v", name, losses, begun)
		}
	}
}
