package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestSizesForPeople(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0 B", 1023: "1023 B", 1024: "1 KiB", 1536: "1.5 KiB", 1 << 20: "1 MiB", 1000 << 10: "0.977 MiB", 10 << 30: "10 GiB", 123 << 40: "123 TiB", 1 << 62: "4 EiB",
	} {
		if got := sizeText(n); got != want {
			t.Errorf("%d is %s, want %s", n, got, want)
		}
	}
	for text, want := range map[string]int64{"0": 0, "7B": 7, "4KiB": 4096, "8 TiB": 8 << 40, "8388607TiB": 8388607 << 40} {
		if got, err := parseSize(text); err != nil || got != want {
			t.Errorf("%s is %d, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "-1", "1XiB", "8388608TiB", "KiB"} {
		if got, err := parseSize(text); err == nil {
			t.Errorf("%q is %d", text, got)
		}
	}
}

func TestNothingThatOthersHaveNamedMovesTheCursor(t *testing.T) {
	var b bytes.Buffer
	err := writeRows(&b, [][]string{{"a\x1b[2Jb", "ü \u202e"}, {"new\nline", "plain text"}})
	if got := b.String(); err != nil || strings.ContainsAny(got, "\x1b\u202e") || strings.Count(got, "\n") != 2 || !strings.Contains(got, "plain text\n") {
		t.Errorf("%v: %q", err, got)
	}
}
