package erasure_test

import (
	"bytes"
	"fmt"
	"testing"
	"testing/synctest"
)

func TestALargeObjectIsReadFromTheNearDriveAndOneMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // in which no drive is late
		const near = 2
		s, all := askedDrives(t, near)
		content := bytes.Repeat([]byte("shoal"), 400_000)
		for i := range 8 { // their first shards are on any drive
			ref := put(t, s, fmt.Sprint(i), content)
			for _, a := range all {
				a.shards.Store(0)
			}
			if b := get(t, s, ref, 0, len(content)); !bytes.Equal(b, content) {
				t.Errorf("object %d came as %d other bytes", i, len(b))
			}
			others := 0
			for d, a := range all {
				if d != near && a.shards.Load() > 0 {
					others++
				}
			}
			if all[near].shards.Load() == 0 || others != 1 {
				t.Errorf("object %d: the near drive was asked %d times, and %d others were", i, all[near].shards.Load(), others)
			}
		}
	})
}
