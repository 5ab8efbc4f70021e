package vfs

import (
	"errors"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

func TestCountersAreThoseThatTheKernelHas(t *testing.T) {
	for text, want := range map[string][]uint64{
		"   396        9    13320       50     6772    50581   656388    11962        0     8424    18299\n": {396, 9, 13320, 50, 6772, 50581, 656388, 11962, 0, 8424, 18299},
		"1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17":                                                          {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17},
		"0 0 0 0 5 6 7 8 9 10 11": {0, 0, 0, 0, 5, 6, 7, 8, 9, 10, 11},
	} {
		if got, err := parseCounters(text); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
}

func TestADeviceThatDoesNotCountHasNoCounters(t *testing.T) {
	for _, text := range []string{"", "1 2 3", "0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0"} {
		if got, err := parseCounters(text); !errors.Is(err, ErrUnsupported) {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	if got, err := parseCounters("1 2 3 4 5 6 7 8 9 10 eleven"); err == nil {
		t.Errorf("no number: %v", got)
	}
	const never = 4095 // a number that no device has
	for what, dev := range map[string]uint64{"no device": unix.Mkdev(0, 42), "one that is gone": unix.Mkdev(never, never)} {
		if got, err := Counters(dev); !errors.Is(err, ErrUnsupported) {
			t.Errorf("%s: %v, %v", what, got, err)
		}
	}
}
