package raftlock

import (
	"testing"

	"github.com/shoal-storage/shoal/raftlock/mount"
)

// TestAGenerationIsServedAsLongAsNodesKeepItAlive asks as who has no part in it.
func TestAGenerationIsServedAsLongAsNodesKeepItAlive(t *testing.T) {
	inWorld(t, 0, func(t *testing.T, w *world) {
		m, err := mount.Open(t.Context(), w.root, w.log)
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		is := func(when string, want bool) {
			t.Helper()
			if got, err := Serving(t.Context(), m); got != want || err != nil {
				t.Errorf("%s: %v, %v", when, got, err)
			}
		}
		is("before there was a node", false)
		p := w.start("a")
		w.whole(t)
		is("while a node is there", true)
		w.crash(p)
		is("after it has died", false)
		p = w.start("a")
		w.whole(t)
		w.leave(p)
		w.group.Wait()
		is("after it has left", false)
	})
}
