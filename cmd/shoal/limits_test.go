package main

import (
	"testing"

	"github.com/shoal-storage/shoal/internal/limits"
)

func TestRatesAreNumbersOfRequestsAndBytesWithUnits(t *testing.T) {
	for text, want := range map[string]limits.Rates{
		"":                                {},
		"requests=100":                    {Requests: 100},
		"up=10MiB, down=1GiB":             {Up: 10 << 20, Down: 1 << 30},
		"requests=5,up=2048,down=0":       {Requests: 5, Up: 2048},
		"down=1099511627776":              {Down: 1 << 40},
		"requests=1,up=4KiB,requests=200": {Requests: 200, Up: 4096},
	} {
		if got, err := parseRates("user-limits", text); err != nil || got != want {
			t.Errorf("%q: %+v, %v, want %+v", text, got, err, want)
		}
	}
	for _, text := range []string{"100", "speed=1", "requests=", "requests=1KiB", "up=fast", "up=1", "down=-5", "requests=-1"} {
		if got, err := parseRates("user-limits", text); err == nil {
			t.Errorf("%q: %+v", text, got)
		}
	}
}
