package main

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
)

func TestWhatAProcessMeetsThatStopsIsNoWarning(t *testing.T) {
	for least, want := range map[slog.Level]string{
		slog.LevelInfo: "WARN=before WARN=before INFO=after INFO=after ERROR=wrong",
		slog.LevelWarn: "WARN=before WARN=before ERROR=wrong",
	} {
		life, end := context.WithCancel(t.Context())
		var out bytes.Buffer
		log := untilStopped(life, slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: least})))
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
		if strings.Join(got, " ") != want {
			t.Errorf("from %s on it logs %q, not %q", least, got, want)
		}
	}
}
