package main

import (
	"testing"
	"time"
)

func TestWhenAnAccessKeyExpires(t *testing.T) {
	now := time.Date(2026, 11, 1, 12, 0, 0, 5, time.UTC)
	at := func(text string) *time.Time {
		then, err := time.Parse(time.RFC3339, text)
		if err != nil {
			t.Fatal(err)
		}
		return &then
	}
	for text, want := range map[string]*time.Time{
		"": nil, "never": {}, "30d": at("2026-12-01T12:00:00Z"), "90m": at("2026-11-01T13:30:00Z"), "2027-01-31T12:00:00Z": at("2027-01-31T12:00:00Z"),
	} {
		if got, err := parseExpiry(text, now); err != nil || (got == nil) != (want == nil) || got != nil && !got.Equal(*want) {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"0d", "-1h", "-1d", "70000d", "d", "soon", "2027-01-31"} {
		if got, err := parseExpiry(text, now); got != nil || code(t, err) != exitUsage {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
}
