package main

import (
	"os"
	"runtime/debug"
	"testing"
)

func TestGarbageOfDrivesIsCollectedEarlierUnlessGOGCSaysWhen(t *testing.T) {
	for said, want := range map[string]int{"": 50, "200": 77} {
		t.Setenv("GOGC", said)
		if said == "" {
			if err := os.Unsetenv("GOGC"); err != nil {
				t.Fatal(err)
			}
		}
		before := debug.SetGCPercent(77)
		collectEarlier()
		if got := debug.SetGCPercent(before); got != want {
			t.Errorf("GOGC %q: %d, want %d", said, got, want)
		}
	}
}
