package foreign_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/shoal-storage/shoal/internal/lock"
)

// removals has a gateway look through a share with a file of others, "theirs", and an object
// of S3, "ours".
func removals(t *testing.T, test func(s *share, locker lock.Locker)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := newShare(t, asked)
		locker := lock.NewLocal(1)
		defer locker.Close()
		s.write("dir/theirs", theirs)
		s.change("ours", ours)
		time.Sleep(time.Minute)
		stop := s.gateway(locker)
		time.Sleep(90 * time.Second)
		s.is("what was there before", "")
		test(s, locker)
		stop()
	})
}

func TestFilesThatOthersRemoveAreTold(t *testing.T) {
	removals(t, func(s *share, _ lock.Locker) {
		s.remove("dir/theirs")
		s.remove("ours")
		time.Sleep(time.Minute)
		s.is("what is gone", "-dir/theirs -ours")
		time.Sleep(time.Hour)
		s.is("what stays gone", "")
		s.write("dir/theirs", theirs)
		time.Sleep(time.Minute)
		s.is("what is back", "dir/theirs")
	})
}

func TestADirectoryThatIsRenamedIsToldFileByFile(t *testing.T) {
	removals(t, func(s *share, _ lock.Locker) {
		s.remove("dir/theirs")
		s.write("new/theirs", theirs)
		time.Sleep(time.Minute)
		s.is("what has moved", "-dir/theirs new/theirs")
	})
}

func TestWhatClientsOfS3RemoveIsNotToldAsForeign(t *testing.T) {
	removals(t, func(s *share, _ lock.Locker) {
		s.change("dir/theirs", "")
		s.change("ours", "")
		time.Sleep(time.Minute)
		s.is("what they removed", "")
		s.change("ours", ours)
		time.Sleep(2 * time.Minute)
		s.remove("ours")
		time.Sleep(time.Minute)
		s.is("what others remove later", "-ours")
	})
}

func TestWhatAClientOfS3RemovesWhileItIsLookedForIsNotTold(t *testing.T) {
	removals(t, func(s *share, _ lock.Locker) {
		s.mu.Lock()
		s.listing = func() { s.change("ours", "") }
		s.mu.Unlock()
		time.Sleep(time.Minute)
		s.is("what is gone", "")
	})
}

func TestWhatAListingMissesIsLookedForOnceMore(t *testing.T) {
	removals(t, func(s *share, _ lock.Locker) {
		s.mu.Lock()
		s.hidden = "dir/theirs"
		s.mu.Unlock()
		time.Sleep(time.Minute)
		s.is("what is gone", "")
	})
}

func TestARemovalIsNotToldWhereS3MayHaveMadeIt(t *testing.T) {
	removals(t, func(s *share, _ lock.Locker) {
		s.remove("dir/theirs")
		s.forget()
		time.Sleep(time.Minute)
		s.is("after a gap", "")
		s.remove("ours")
		time.Sleep(time.Minute)
		s.is("after the next look", "-ours")
	})
}

func TestTheNextGatewayTellsWhatWasRemovedMeanwhile(t *testing.T) {
	for name, c := range map[string]struct {
		before, meanwhile func(s *share)
		want              string
	}{
		"by others":                    {nil, func(s *share) { s.remove("dir/theirs") }, "-dir/theirs"},
		"by a client of S3":            {nil, func(s *share) { s.change("dir/theirs", "") }, ""},
		"by a client of S3, and asked": {func(s *share) { s.change("dir/theirs", "") }, nil, ""},
		"by nobody knows whom":         {nil, func(s *share) { s.remove("dir/theirs"); s.forget() }, ""},
		"what was told already":        {nil, nil, ""},
		"what had come late":           {nil, func(s *share) { s.remove("late") }, "-late"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newShare(t, asked)
				locker := lock.NewLocal(1)
				defer locker.Close()
				s.write("dir/theirs", theirs)
				s.write("told", theirs)
				time.Sleep(time.Minute)
				stop := s.gateway(locker)
				time.Sleep(90 * time.Second)
				s.write("late", theirs)
				s.remove("told")
				time.Sleep(time.Minute)
				s.is("before", "-told late")
				if c.before != nil {
					c.before(s)
					time.Sleep(10 * time.Second) // not until the next look
				}
				stop()
				if c.meanwhile != nil {
					c.meanwhile(s)
				}
				time.Sleep(time.Hour)
				defer s.gateway(locker)()
				time.Sleep(2*time.Minute + time.Second)
				s.is("what the next one finds", c.want)
				s.mu.Lock()
				defer s.mu.Unlock()
				if len(s.batches) != 1 && c.want == "" {
					t.Errorf("%d batches are remembered", len(s.batches))
				}
			})
		})
	}
}
