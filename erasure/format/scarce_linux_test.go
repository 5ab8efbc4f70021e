package format_test

import (
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shoal-storage/shoal/erasure"
	"github.com/shoal-storage/shoal/erasure/format"
	"github.com/shoal-storage/shoal/internal/object"
)

// leaveFiles leaves so many open files to this process, and returns what gives back the others.
func leaveFiles(t *testing.T, n int) (back func()) {
	t.Helper()
	open, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	var before unix.Rlimit
	must(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &before))
	must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: uint64(len(open) + 1000), Max: before.Max}))
	var taken []int
	for {
		fd, err := unix.Dup(2)
		if err != nil {
			break
		}
		taken = append(taken, fd)
	}
	for range n {
		must(t, unix.Close(taken[len(taken)-1]))
		taken = taken[:len(taken)-1]
	}
	return func() {
		t.Helper()
		for _, fd := range taken {
			must(t, unix.Close(fd))
		}
		must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &before))
	}
}

// TestWantOfFilesIsNoFailureOfADrive: one that is open stays so, and one that cannot be opened for want of files is
// tried again soon.
func TestWantOfFilesIsNoFailureOfADrive(t *testing.T) {
	paths := directories(t, 4)
	must(t, run(t, paths, func(set *format.Set, s *erasure.Store) {
		must(t, s.CreateBucket(t.Context(), object.Bucket{Name: "bucket"}))
		fill(t, s, "a")
		give := leaveFiles(t, 0)
		for range 3 {
			set.Look(t.Context())
		}
		if n := set.Online(); n != 4 {
			t.Errorf("%d drives are used while there is no file to look after them", n)
		}
		give()
		comeBack := putAway(t, paths[1])
		await(t, set, 3)
		time.Sleep(time.Second)  // it is given back
		give = leaveFiles(t, 12) // enough to see that it is there
		comeBack()
		for begun := time.Now(); time.Since(begun) < 5*time.Second; time.Sleep(100 * time.Millisecond) {
			set.Look(t.Context())
		}
		if n := set.Online(); n != 3 {
			t.Errorf("%d drives are used, and one takes more files than there are", n)
		}
		give()
		begun := time.Now()
		await(t, set, 4)
		if took := time.Since(begun); took > 15*time.Second {
			t.Errorf("with files enough it is used after %v", took)
		}
		checkAll(t, s, "a")
	}))
}
