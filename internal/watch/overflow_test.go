package watch_test

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/shoal-storage/shoal/internal/watch"
)

func TestChangesThatTheKernelHasNoRoomForAreSeenAsAChangeAnywhere(t *testing.T) {
	text, err := os.ReadFile("/proc/sys/fs/inotify/max_queued_events")
	if err != nil {
		t.Skip("it is not known how much room there is")
	}
	room, err := strconv.Atoi(strings.TrimSpace(string(text)))
	must(t, err)
	if room > 1<<16 {
		t.Skip("there is too much room")
	}
	w := newWorld(t, 100)
	hold, lost := make(chan struct{}), make(chan struct{}, 1)
	slow, err := watch.New(watch.Config{Root: w.root, Limit: 100, Saw: func(c watch.Change) {
		if c == (watch.Change{Dir: true}) {
			lost <- struct{}{}
			return
		}
		<-hold
	}})
	must(t, err)
	must(t, slow.Add("bucket"))
	for n := range room + 10000 { // those that are read, but not taken yet, have room as well
		must(t, os.Symlink("x", w.path(fmt.Sprint("bucket/", n))))
	}
	close(hold)
	select {
	case <-lost:
	case <-time.After(time.Minute):
		t.Error("the overflow was not seen")
	}
	must(t, slow.Close())
}
