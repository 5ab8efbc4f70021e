package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/shoal-storage/shoal/internal/logs"
)

func (f *adminFlags) logsCommand() *cobra.Command {
	var interest logs.Interest
	var requests, others bool
	cmd := f.verb(&cobra.Command{
		Use: "logs [GATEWAY]", Short: "Show what all gateways have logged, and what they log from then on", Args: cobra.MaximumNArgs(1),
		Long: `Show the last lines that all gateways have logged, or one that is named as "shoal admin
info" does, and then each line as it comes, until you interrupt it. The lines of requests
that were served are not among them: see "shoal admin trace".`,
		Example: "  shoal admin logs --last 20\n  shoal admin logs --requests gw1:9000",
	}, func(ctx context.Context, r *adminRun, args []string) error {
		interest.Node = append(args, "")[0]
		switch {
		case interest.Last < 0:
			return usage("--last is the number of lines", "take one such as 20")
		case requests:
			interest.Kind = logs.Request
		case others:
			interest.Kind = logs.Process
		}
		return ofStream(ctx, r.Logs(ctx, interest, func(l *logs.Line) error {
			return r.print(l, func(w io.Writer) error {
				_, err := fmt.Fprintln(w, printable(l.Node), printable(l.Text))
				return err
			})
		}))
	})
	fl := cmd.Flags()
	fl.IntVar(&interest.Last, "last", 0, "`number` of lines of the past, of each gateway (default: all that are kept)")
	fl.BoolVar(&requests, "requests", false, "only lines about requests")
	fl.BoolVar(&others, "no-requests", false, "only lines about anything else")
	cmd.MarkFlagsMutuallyExclusive("requests", "no-requests")
	return cmd
}
