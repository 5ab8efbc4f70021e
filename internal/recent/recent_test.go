package recent_test

import (
	"testing"

	"github.com/shoal-storage/shoal/internal/recent"
)

const room = 100

func TestAKeyIsRememberedUntilAsManyOthersWereUsedSince(t *testing.T) {
	m := recent.New[int, string](room)
	*m.Get(-1) = "kept"
	for i := range room - 1 {
		m.Get(i)
	}
	if got := *m.Get(-1); got != "kept" {
		t.Errorf("after %d others: %q", room-1, got)
	}
}

func TestAKeyThatIsUsedNowAndThenStaysForEver(t *testing.T) {
	m := recent.New[int, string](room)
	*m.Get(-1) = "kept"
	for i := range 100 * room {
		m.Get(i)
		if got := *m.Get(-1); i%10 == 0 && got != "kept" {
			t.Fatalf("after %d others: %q", i, got)
		}
	}
}

func TestWhatIsNotUsedIsForgotten(t *testing.T) {
	m := recent.New[int, string](room)
	*m.Get(-1) = "kept"
	for i := range 2*room + 1 {
		m.Get(i)
	}
	if got := *m.Get(-1); got != "" {
		t.Errorf("after %d others: %q", 2*room+1, got)
	}
}
