package logs_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/shoal-storage/shoal/internal/logs"
)

// newLog returns a log that can be watched, and what it writes.
func newLog(opts *slog.HandlerOptions) (*slog.Logger, *logs.Handler, *logs.Hub, *bytes.Buffer) {
	hub, out := logs.NewHub(), new(bytes.Buffer)
	h := logs.NewHandler(slog.NewJSONHandler(out, opts), hub, opts)
	return slog.New(h), h, hub, out
}

func watch(t *testing.T, hub *logs.Hub, i logs.Interest) func() []logs.Line {
	t.Helper()
	l, err := hub.Listen(t.Context(), i)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return func() (heard []logs.Line) {
		for {
			select {
			case text := <-l.Lines():
				var line logs.Line
				if err := json.Unmarshal(text, &line); err != nil {
					t.Fatal(err)
				}
				heard = append(heard, line)
			default:
				return heard
			}
		}
	}
}

func messages(lines []logs.Line) string {
	var all []string
	for _, l := range lines {
		all = append(all, l.Message)
	}
	return strings.Join(all, " ")
}

func TestWhoWatchesHearsWhatIsLogged(t *testing.T) {
	log, h, hub, out := newLog(nil)
	h.Name("gw1:9000")
	heard := watch(t, hub, logs.Interest{})
	log.With("drive", 3).Warn("slow", "ms", 1200)
	log.Debug("of no interest")
	log.Error("failed", "request", "R1", "error", "no space")
	lines := heard()
	if len(lines) != 2 || !strings.Contains(out.String(), `"msg":"slow"`) {
		t.Fatalf("%+v, and written was %s", lines, out)
	}
	first, second := lines[0], lines[1]
	if first.Node != "gw1:9000" || first.Kind != logs.Process || first.Level != "WARN" || !strings.HasSuffix(first.Text, "level=WARN msg=slow drive=3 ms=1200") {
		t.Errorf("%+v", first)
	}
	if second.Kind != logs.Request || second.Request != "R1" || second.Deployment == "" || second.Time.IsZero() {
		t.Errorf("%+v", second)
	}
}

func TestWatchersHearTheNodesAndKindsThatTheyAskFor(t *testing.T) {
	log, h, hub, _ := newLog(nil)
	h.Name("gw1:9000")
	for i, want := range map[logs.Interest]string{
		{}:                                     "a b",
		{Kind: logs.Request}:                   "b",
		{Kind: logs.Process}:                   "a",
		{Node: "gw1:9000"}:                     "a b",
		{Node: "gw2:9000"}:                     "",
		{Node: "gw1:9000", Kind: logs.Request}: "b",
	} {
		heard := watch(t, hub, i)
		log.Info("a")
		log.With("request", "R1").Info("b")
		if got := messages(heard()); got != want {
			t.Errorf("%+v hears %q, want %q", i, got, want)
		}
	}
}

func TestWatchersHearTheLastLinesFirst(t *testing.T) {
	log, _, hub, _ := newLog(nil)
	for i := range 2 * logs.MaxLast {
		log.Info(fmt.Sprint(i))
	}
	log.Info("last", "request", "R1")
	for i, want := range map[logs.Interest]string{
		{Last: 2}:                     "1999 last",
		{Last: 2, Kind: logs.Process}: "1998 1999",
		{Last: 5, Kind: logs.Request}: "last",
		{}:                            "",
	} {
		if got := messages(watch(t, hub, i)()); got != want {
			t.Errorf("%+v hears %q, want %q", i, got, want)
		}
	}
	all := watch(t, hub, logs.Interest{Last: 1 << 30})()
	if len(all) != logs.MaxLast || all[0].Message != "1001" || all[len(all)-1].Message != "last" {
		t.Errorf("%d lines are kept, from %s on", len(all), all[0].Message)
	}
}

func TestWhatTheLogLeavesOutWatchersDoNotHear(t *testing.T) {
	log, _, hub, _ := newLog(&slog.HandlerOptions{Level: slog.LevelError, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == "user" {
			return slog.String("user", "-")
		}
		return a
	}})
	heard := watch(t, hub, logs.Interest{})
	log.Info("quiet")
	log.Error("loud", "user", "ann", "text", strings.Repeat("x", 1<<20))
	lines := heard()
	if len(lines) != 1 || strings.Contains(lines[0].Text, "ann") || len(lines[0].Text) > 64<<10 {
		t.Errorf("%.300v", lines)
	}
}
