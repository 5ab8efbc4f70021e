package main

import (
	"context"
	"log/slog"
	"sync/atomic"
)

// orderly is the log of a process that may be told to stop. What it meets then is nothing to warn of: it is told
// as any other thing.
type orderly struct {
	slog.Handler
	stops func() bool
	most  slog.Level // of what is told so
}

// untilStopped returns a log, of what this process does with others, in which nothing is a warning any more when
// life has ended: they may stop as well.
func untilStopped(life context.Context, log *slog.Logger) *slog.Logger {
	return slog.New(orderly{log.Handler(), func() bool { return life.Err() != nil }, slog.LevelWarn})
}

// untilServing returns a log in which nothing is an error either when life ends before it serves: whatever is under
// way fails then.
func untilServing(life context.Context, serving *atomic.Bool, log *slog.Logger) *slog.Logger {
	return slog.New(orderly{log.Handler(), func() bool { return life.Err() != nil && !serving.Load() }, slog.LevelError})
}

// Handle implements slog.Handler.
func (h orderly) Handle(ctx context.Context, r slog.Record) error {
	if r.Level >= slog.LevelWarn && r.Level <= h.most && h.stops() {
		if r.Level = slog.LevelInfo; !h.Enabled(ctx, r.Level) {
			return nil
		}
	}
	return h.Handler.Handle(ctx, r) //nolint:wrapcheck // it is that of the other
}

// WithAttrs implements slog.Handler.
func (h orderly) WithAttrs(attrs []slog.Attr) slog.Handler {
	return orderly{h.Handler.WithAttrs(attrs), h.stops, h.most}
}

// WithGroup implements slog.Handler.
func (h orderly) WithGroup(name string) slog.Handler {
	return orderly{h.Handler.WithGroup(name), h.stops, h.most}
}
