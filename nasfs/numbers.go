package nasfs

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shoal-storage/shoal/internal/vfs"
)

// numbers says whether inode numbers are the server's. A client of SMB can begin to make them up
// (vfs.NumbersHold). When the share is remounted it takes the server's again, but for what
// is in use just then, which keeps the number that was made up. So once that is
// noticed no phase begins, until the share was remounted when everything had been closed.
type numbers struct {
	madeUp atomic.Bool   // lost is set
	losses atomic.Uint64 // how often it was noticed

	mu   sync.Mutex
	lost time.Time // when it was noticed that they are made up; zero: they are the server's
	seen time.Time // when that was last so
}

// closedLate is for how long a client of SMB may still use a file that was closed (closetimeo), and
// a second more.
const closedLate = 2 * time.Second

// note takes what vfs.NumbersHold has said, and returns what is to be gone by, and whether
// numbers were lost, or are back, by that.
func (n *numbers) note(said error, now time.Time) (changed bool, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case errors.Is(said, vfs.ErrNumbers):
		n.seen = now
		if changed = n.lost.IsZero(); changed {
			n.lost = now
			n.losses.Add(1)
			n.madeUp.Store(true)
		}
		return changed, said
	case said != nil || n.lost.IsZero():
		return false, said
	case n.seen.Sub(n.lost) < closedLate:
		return false, fmt.Errorf("%w; it was remounted while files were in use, and has to be unmounted", vfs.ErrNumbers)
	}
	n.lost = time.Time{}
	n.madeUp.Store(false)
	return true, nil
}

// state returns vfs.ErrNumbers from when it was noticed that inode numbers are made up until it
// was that they are not. Every phase asks.
func (n *numbers) state() error {
	if n.madeUp.Load() {
		return vfs.ErrNumbers
	}
	return nil
}

// numbersHold returns vfs.ErrNumbers unless inode numbers are the server's.
func (t *tree) numbersHold() error {
	if !t.smb {
		return nil
	}
	changed, err := t.numbers.note(vfs.NumbersHold(t.bare), time.Now())
	switch {
	case changed && err != nil:
		t.log.Error("nothing is served until the share is remounted", "error", err, "cure", vfs.CureNumbers)
	case changed:
		t.log.Info("the share was remounted, and is served again")
	}
	return err
}

// numbered returns vfs.ErrNumbers if the inode number of a staged file may be made up.
func (s *Store) numbered(st *staged) error {
	err := s.numbersHold()
	if err == nil && s.numbers.losses.Load() != st.losses {
		err = vfs.ErrNumbers
	}
	return err
}
