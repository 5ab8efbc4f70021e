package main

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
)

func TestWhatAProcessMeetsThatStopsIsNoWarning(t *testing.T) {
	var serving atomic.Bool
	begun := new(atomic.Bool)
	begun.Store(true)
	for _, tt := range []struct {
		least slog.Level
		log   func(life context.Context, log *slog.Logger) *slog.Logger
		want  string
	}{
		{slog.LevelInfo, untilStopped, "WARN=before WARN=before INFO=after INFO=after ERROR=wrong"},
		{slog.LevelWarn, untilStopped, "WARN=before WARN=before ERROR=wrong"},
		{slog.LevelInfo, before(&serving), "WARN=before WARN=before INFO=after INFO=after INFO=wrong"},
		{slog.LevelWarn, before(&serving), "WARN=before WARN=before"},
		{slog.LevelWarn, before(begun), "WARN=before WARN=before WARN=after WARN=after ERROR=wrong"},
	} {
		life, end := context.WithCancel(t.Context())
		var out bytes.Buffer
		log := tt.log(life, slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: tt.least})))
		of := log.With("of", "one").WithGroup("group")
		log.Warn("before")
		of.Warn("before")
		end()
		log.Warn("after")
		of.Warn("after")
		log.Error("wrong")
		var got []string
		for line := range strings.Lines(out.String()) {
			fields := strings.Fields(line)
			got = append(got, strings.TrimPrefix(fields[1], "level=")+strings.TrimPrefix(fields[2], "msg"))
		}
		if strings.Join(got, " ") != tt.want {
			t.Errorf("from %s on it logs %q, not %q", tt.least, got, tt.want)
		}
	}
}

func before(serving *atomic.Bool) func(life context.Context, log *slog.Logger) *slog.Logger {
	return func(life context.Context, log *slog.Logger) *slog.Logger { return untilServing(life, serving, log) }
}
