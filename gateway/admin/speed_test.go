package admin

import (
	"io"
	"testing"
	"testing/synctest"
	"time"
)

// TestTheLastLineOfATestIsItsResult has beats come behind it, as while objects are removed.
func TestTheLastLineOfATestIsItsResult(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &testBody{lines: make(chan []byte), ctx: t.Context(), beat: []byte("pending\n")}
		go func() {
			defer close(b.lines)
			time.Sleep(testBeat * 3 / 2)
			b.lines <- []byte("result\n")
			time.Sleep(testBeat * 5 / 2)
		}()
		if got, err := io.ReadAll(b); err != nil || string(got) != "pending\nresult\nresult\nresult\n" {
			t.Errorf("%q, %v", got, err)
		}
	})
}
