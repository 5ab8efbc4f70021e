package nasfs

import (
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"
)

// TestWhatCannotBeCleanedUpIsTriedUntilItCan: a gateway runs for months, and its file server is away for an hour.
func TestWhatCannotBeCleanedUpIsTriedUntilItCan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r reaper
		r.start(slog.New(slog.DiscardHandler))
		back := time.Now().Add(time.Hour)
		tries, done := 0, false
		r.add("trash", func() error {
			if tries++; time.Now().Before(back) {
				return errors.New("the file server is away")
			}
			done = true
			return nil
		})
		time.Sleep(time.Hour + choreLater)
		r.stop()
		if !done || tries > choreTries+int(time.Hour/choreLater)+1 {
			t.Errorf("it was done: %t, after %d tries", done, tries)
		}
	})
}

// TestWhatFailsIsBounded: while a file system fails each request may leave something.
func TestWhatFailsIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r reaper
		r.start(slog.New(slog.DiscardHandler))
		for range 2 * maxReaperQueue {
			r.add("trash", func() error { return errors.New("it fails") })
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Minute)
		r.mu.Lock()
		if n := r.waiting + len(r.queue); n > maxReaperQueue {
			t.Errorf("%d are to be tried again", n)
		}
		r.mu.Unlock()
		r.stop()
		time.Sleep(2 * choreLater)
	})
}
