package nasfs

import (
	"time"

	"github.com/shoal-storage/shoal/internal/vfs"
	"github.com/shoal-storage/shoal/nasfs/dirsnap"
)

// Quiesce waits until what requests left behind is cleaned up, but for what is only tried now and then.
func Quiesce(s *Store) {
	r := &s.reaper
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.queue) > 0 || r.running || r.waiting > r.seldom {
		r.changed.Wait()
	}
}

// QuiesceFleet is Quiesce for a gateway of a fleet.
func QuiesceFleet(f *Fleet) { Quiesce(&Store{tree: f.tree}) }

// FreshDirs returns how many directories a Store takes for ones that may not be durable.
func FreshDirs(s *Store) int { return int(s.fresh.count.Load()) }

// LoseNumbers has a Store notice that its inode numbers are made up, and RegainNumbers that they are not
// any more, long after.
func LoseNumbers(s *Store) {
	now := time.Now()
	_, _ = s.numbers.note(vfs.ErrNumbers, now)
	_, _ = s.numbers.note(vfs.ErrNumbers, now.Add(time.Minute))
}

func RegainNumbers(s *Store) { _, _ = s.numbers.note(nil, time.Now().Add(time.Hour)) }

// Swept waits until a gateway is in the session, and has swept in it.
func Swept(f *Fleet, session string) {
	for {
		f.mu.Lock()
		t, again := f.current, f.fresh
		f.mu.Unlock()
		if t.locker.Session().ID() == session {
			<-t.swept
			return
		}
		<-again
	}
}

// HasGaps has a gateway take its file system for one that replaces files in two
// steps.
func HasGaps(f *Fleet) { f.gaps = true }

// IsStateless has a gateway take its file server for one that keeps no file for who has it
// open, as one of NFSv3.
func IsStateless(f *Fleet) { f.gaps, f.stateless = true, true }

// TreatAsLarge has a gateway take directories of so many entries for large ones.
func TreatAsLarge(f *Fleet, entries int) {
	f.snaps = dirsnap.NewCache(dirsnap.Config{Codec: f.codec, Large: entries, Shared: true})
}

// Components is what a listing makes of the names of locks.
func Components(names []string, below, whole string) (changed []string, ok bool) {
	return components(names, below, whole)
}

// SplitHistories has segments of histories begin with so many versions in a part.
func (t *tree) SplitHistories(versions int) { t.segments = versions }
