package foreign_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shoal-storage/shoal/internal/lock"
)

// Add implements foreign.Watch.
func (s *share) Add(bucket string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.watched[bucket] = true
	return nil
}

// Remove implements foreign.Watch.
func (s *share) Remove(bucket string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.watched, bucket)
}

// Close implements foreign.Watch, beside object.Store.
func (s *share) Close() error { return nil }

// see has the watch see a change.
func (s *share) see(bucket, name string) {
	s.mu.Lock()
	saw := s.saw
	s.mu.Unlock()
	saw(bucket, name)
}

// arrive has somebody write a file that is seen.
func (s *share) arrive(key, etag string) {
	s.write(key, etag)
	s.see("bucket", key)
}

// watching has a gateway watch a share with two files, which it has looked through.
func watching(t *testing.T, test func(s *share, locker lock.Locker, stop func())) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := newShare(t, asked)
		s.watched = make(map[string]bool)
		locker := lock.NewLocal(1)
		defer locker.Close()
		s.write("dir/a", theirs)
		s.write("dir/b", theirs)
		time.Sleep(time.Minute)
		stop := s.gateway(locker)
		time.Sleep(15 * time.Second)
		s.mu.Lock()
		watched := s.watched["bucket"]
		s.mu.Unlock()
		if !watched {
			t.Fatal("the bucket is not watched")
		}
		s.is("what was there before", "")
		test(s, locker, stop)
		stop()
	})
}

// soon is long enough for what is watched, and far shorter than until the next look.
const soon = 2 * time.Second

func TestAFileThatIsSeenToArriveIsToldAtOnce(t *testing.T) {
	watching(t, func(s *share, _ lock.Locker, _ func()) {
		s.arrive("new", theirs)
		time.Sleep(soon)
		s.is("what arrives", "new")
		s.arrive("new", edited)
		time.Sleep(soon)
		s.is("what changes", "new")
		s.see("bucket", "new")
		s.arrive("object", ours)
		time.Sleep(time.Hour)
		s.is("what S3 makes, and what stays as it is", "")
	})
}

func TestAFileThatIsSeenToGoIsToldAtOnce(t *testing.T) {
	watching(t, func(s *share, _ lock.Locker, _ func()) {
		s.remove("dir/a")
		s.see("bucket", "dir/a")
		s.change("dir/b", "")
		s.see("bucket", "dir/b")
		time.Sleep(soon)
		s.is("what others and S3 have removed", "-dir/a")
		time.Sleep(time.Hour)
		s.is("later", "")
	})
}

func TestAFileIsToldOnceHoweverLongItIsWritten(t *testing.T) {
	watching(t, func(s *share, _ lock.Locker, _ func()) {
		for n := range 300 {
			s.arrive("large", fmt.Sprintf("%032x-0", n))
			time.Sleep(300 * time.Millisecond)
			if n%20 == 19 {
				time.Sleep(4 * time.Second) // and it goes on
			}
		}
		s.is("while it is written", "")
		time.Sleep(11 * time.Second)
		s.is("afterwards", "large")
	})
}

func TestAFileThatIsSavedByRenameIsNotToldAsRemoved(t *testing.T) {
	watching(t, func(s *share, _ lock.Locker, _ func()) {
		s.remove("dir/a")
		s.see("bucket", "dir/a")
		time.Sleep(100 * time.Millisecond)
		s.arrive("dir/a", edited)
		time.Sleep(soon)
		s.is("what was saved", "dir/a")
	})
}

func TestADirectoryThatIsSeenToMoveIsToldFileByFile(t *testing.T) {
	watching(t, func(s *share, _ lock.Locker, _ func()) {
		for _, leaf := range []string{"a", "b"} {
			s.remove("dir/" + leaf)
			s.write("moved/deep/"+leaf, theirs)
		}
		s.see("bucket", "dir/")
		s.see("bucket", "moved/")
		s.see("bucket", "moved/deep/")
		time.Sleep(2 * soon) // until the files in it have settled as well
		s.is("what has moved", "-dir/a -dir/b moved/deep/a moved/deep/b")
	})
}

func TestWhereTheWatchHasLostSomethingAllIsLookedThrough(t *testing.T) {
	watching(t, func(s *share, _ lock.Locker, _ func()) {
		s.write("new", theirs)
		s.remove("dir/a")
		s.see("", "")
		time.Sleep(2 * soon)
		s.is("after an overflow", "-dir/a new")
	})
}

func TestOfTooManyChangesAtOnceNoneIsLost(t *testing.T) {
	watching(t, func(s *share, _ lock.Locker, _ func()) {
		s.arrive("first", theirs)
		for n := range 1<<16 + 10 {
			s.see("bucket", fmt.Sprint("nothing", n))
		}
		s.write("last", theirs)
		time.Sleep(2 * soon)
		s.is("what there was among them", "first last")
	})
}

func TestWhatIsNotWatchedIsFoundByLooking(t *testing.T) {
	watching(t, func(s *share, _ lock.Locker, _ func()) {
		s.write("too/deep", theirs)
		time.Sleep(2 * soon)
		s.is("at once", "")
		time.Sleep(time.Minute)
		s.is("at the next look", "too/deep")
	})
}

func TestTheNextGatewayTellsNothingAgainThatWasSeen(t *testing.T) {
	watching(t, func(s *share, locker lock.Locker, stop func()) {
		s.arrive("new", theirs)
		s.remove("dir/a")
		s.see("bucket", "dir/a")
		time.Sleep(soon)
		s.is("what is seen", "-dir/a new")
		stop()
		s.write("meanwhile", theirs)
		s.remove("dir/b")
		time.Sleep(time.Hour)
		defer s.gateway(locker)()
		time.Sleep(15 * time.Second)
		s.is("what the next one finds", "-dir/b meanwhile")
	})
}

func TestTheNextGatewayKnowsWhatS3HasRemovedBeforeTheLastFileWasTold(t *testing.T) {
	watching(t, func(s *share, locker lock.Locker, stop func()) {
		s.change("dir/a", "") // where it is not watched
		time.Sleep(soon)
		s.arrive("new", theirs)
		time.Sleep(soon)
		s.is("what is seen", "new")
		stop()
		time.Sleep(time.Hour)
		defer s.gateway(locker)()
		time.Sleep(15 * time.Second)
		s.is("what the next one finds", "")
	})
}

func TestAFailureToTellWhatIsSeenIsMadeUpFor(t *testing.T) {
	watching(t, func(s *share, _ lock.Locker, _ func()) {
		s.mu.Lock()
		s.fails = fmt.Errorf("the disk is full")
		s.mu.Unlock()
		s.arrive("new", theirs)
		time.Sleep(soon)
		s.mu.Lock()
		s.fails = nil
		s.mu.Unlock()
		time.Sleep(soon)
		s.is("once it can be told", "new")
	})
}
