package main

import (
	"context"
	"log/slog"
)

// orderly is the log of what this process does with others. When it stops they may do so as well, and
// what it meets then is nothing to warn of: it is told as any other thing.
type orderly struct {
	slog.Handler
	life context.Context //nolint:containedctx // of the process: it ends when that is to stop
}

// untilStopped returns a log in which nothing is a warning any more when life has ended.
func untilStopped(life context.Context, log *slog.Logger) *slog.Logger {
	return slog.New(orderly{log.Handler(), life})
}

// Handle implements slog.Handler.
func (h orderly) Handle(ctx context.Context, r slog.Record) error {
	if r.Level == slog.LevelWarn && h.life.Err() != nil {
		if r.Level = slog.LevelInfo; !h.Enabled(ctx, r.Level) {
			return nil
		}
	}
	return h.Handler.Handle(ctx, r) //nolint:wrapcheck // it is that of the other
}

// WithAttrs implements slog.Handler.
func (h orderly) WithAttrs(attrs []slog.Attr) slog.Handler {
	return orderly{h.Handler.WithAttrs(attrs), h.life}
}

// WithGroup implements slog.Handler.
func (h orderly) WithGroup(name string) slog.Handler {
	return orderly{h.Handler.WithGroup(name), h.life}
}
