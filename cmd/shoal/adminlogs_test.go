package main

import (
	"context"
	"io"
	"log/slog"
	"strings"
	"testing"

	"github.com/shoal-storage/shoal/gateway"
	"github.com/shoal-storage/shoal/internal/logs"
)

func TestLogsAreShownUntilTheyAreInterrupted(t *testing.T) {
	hub := logs.NewHub()
	handler := logs.NewHandler(slog.NewTextHandler(io.Discard, nil), hub, nil)
	handler.Name("here:9000")
	log := slog.New(handler)
	c := openConsole(t, func(cfg *gateway.Config) { cfg.Admin.Logs = hub })
	log.Warn("too early")
	log.Warn("about a request", "request", "1234")
	log.Warn("about none")
	for flags, want := range map[string]string{
		"--last 1":               `msg="about none"` + "\n",
		"--last 1 --requests":    `msg="about a request" request=1234` + "\n",
		"--last 1 --no-requests": `msg="about none"` + "\n",
		"--last 1 --json":        `"message":"about none"`,
		"here:9000 --last 1":     `msg="about none"` + "\n",
	} {
		ctx, interrupt := context.WithCancel(t.Context())
		out := &writes{each: interrupt}
		root := newRoot()
		root.SetOut(out)
		if code := run(ctx, root, append([]string{"admin", "logs"}, strings.Fields(flags)...)); code != exitOK {
			t.Errorf("%s: interrupted it ends with %d", flags, code)
		}
		interrupt()
		if got := out.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, want) || !strings.Contains(got, "here:9000") {
			t.Errorf("%s: %s, want %s", flags, got, want)
		}
	}
	for _, flags := range []string{"--last -1", "--requests --no-requests", "a b"} {
		if _, said, code := c.run("", append([]string{"logs"}, strings.Fields(flags)...)...); code != exitUsage || strings.Count(said, "\n") != 1 {
			t.Errorf("%s: exit %d, %s", flags, code, said)
		}
	}
}
