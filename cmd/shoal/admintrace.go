package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/shoal-storage/shoal/internal/trace"
)

func (f *adminFlags) traceCommand() *cobra.Command {
	var all bool
	interest := trace.Interest{Types: trace.S3}
	cmd := f.verb(&cobra.Command{
		Use: "trace", Short: "Show the calls of all gateways as they happen", Args: cobra.NoArgs,
		Long: `Show each call of S3 at any gateway when it has been answered, until you interrupt it.
With --json there is a line with a document for each call, with its headers.`,
		Example: "  shoal admin trace --errors\n  shoal admin trace --all --threshold 1s --json",
	}, func(ctx context.Context, r *adminRun, _ []string) error {
		if all {
			interest.Types |= trace.Internal
		}
		return ofStream(ctx, r.Trace(ctx, interest, func(c *trace.Call) error {
			return r.print(c, func(w io.Writer) error { return writeCall(w, c) })
		}))
	})
	fl := cmd.Flags()
	fl.BoolVar(&all, "all", false, "calls of the administration too")
	fl.BoolVar(&interest.Errors, "errors", false, "only what failed")
	fl.DurationVar(&interest.Threshold, "threshold", 0, "only what took longer than this")
	return cmd
}

// ofStream is the error of a stream, nil if it was interrupted.
func ofStream(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return nil // that is how it ends
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		return errStreamEnded
	}
	return err
}

// errStreamEnded says that there was no more.
var errStreamEnded = errors.New("the gateway has ended it")

// writeCall writes a call as a line for people.
func writeCall(w io.Writer, c *trace.Call) error {
	target := c.Path
	if c.HTTP.Request.RawQuery != "" {
		target += "?" + c.HTTP.Request.RawQuery
	}
	outcome := strconv.Itoa(c.HTTP.Response.Status)
	if c.Error != "" {
		outcome += " " + c.Error
	}
	_, err := fmt.Fprintf(w, "%s %s %s %s %s from %s, %s, in %s, out %s\n", c.Time.Local().Format("15:04:05.000"), printable(c.Node), printable(c.Function), printable(target),
		printable(outcome), printable(c.HTTP.Request.Client), c.Took.Round(time.Microsecond), sizeText(c.HTTP.Stats.Received), sizeText(c.HTTP.Stats.Sent))
	return err
}
