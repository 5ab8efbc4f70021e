package main

import (
	"context"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/shoal-storage/shoal/internal/adminclient"
)

func (f *adminFlags) locksCommand() *cobra.Command {
	most := 10
	cmd := f.verb(&cobra.Command{
		Use: "locks", Short: "Show the locks that gateways hold for the longest time", Args: cobra.NoArgs,
		Long: `Show the oldest locks that the gateways of a fleet hold. A lock of an object is held
while a change of it is made; what is held for long is mostly work that one gateway
does for all. Those of a gateway that is gone end by themselves.`,
		Example: "  shoal admin locks --count 100",
	}, func(ctx context.Context, r *adminRun, _ []string) error {
		locks, err := r.Locks(ctx, most)
		if err != nil {
			return err
		}
		return r.print(locks, func(w io.Writer) error { return writeLocks(w, locks) })
	})
	cmd.Flags().IntVar(&most, "count", most, "`number` of locks to show at most")
	return cmd
}

// writeLocks writes locks, for people.
func writeLocks(w io.Writer, locks []adminclient.Lock) error {
	rows := [][]string{{"RESOURCE", "MODE", "HELD FOR", "GATEWAY"}}
	for _, l := range locks {
		mode := "shared"
		if l.Exclusive {
			mode = "exclusive"
		}
		rows = append(rows, []string{l.Resource, mode, l.Held.Round(time.Millisecond).String(), l.Gateway})
	}
	return writeRows(w, rows)
}
