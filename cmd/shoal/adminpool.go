package main

import (
	"context"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/shoal-storage/shoal/internal/adminclient"
)

func (f *adminFlags) poolCommands() *cobra.Command {
	return noun("pool", "Pools of drives, and how to take one away", f.poolList(), f.poolDrain(), f.poolKeep())
}

func (f *adminFlags) poolList() *cobra.Command {
	return f.verb(&cobra.Command{
		Use: "ls", Short: "List the pools, and how far one is drained", Args: cobra.NoArgs,
		Long: `List the pools of drives as they were named, and of one that is drained how much of
it the last pass has moved.`,
	}, func(ctx context.Context, r *adminRun, _ []string) error {
		pools, err := r.Pools(ctx)
		if err != nil {
			return err
		}
		return r.print(pools, func(w io.Writer) error { return writePools(w, pools) })
	})
}

func (f *adminFlags) poolDrain() *cobra.Command {
	cmd := f.each(&cobra.Command{Use: "drain POOL...", Short: "Move what pools hold to the others"},
		func(c *adminclient.Client, ctx context.Context, pool string) error {
			return c.DrainPool(ctx, pool, true)
		},
		func(pool string) (any, string) {
			return adminclient.Pool{Name: pool, State: adminclient.PoolDraining}, "pool " + pool + " is being drained"
		})
	cmd.Long = `Move what pools hold to the others, which need the room for it. When "shoal admin pool ls"
shows one as drained, start all nodes without it. The first pool cannot be drained, and
only the last one can be left out.`
	cmd.Example = "  shoal admin pool drain 'http://node{5...8}/mnt/d{1...4}'"
	return cmd
}

func (f *adminFlags) poolKeep() *cobra.Command {
	return f.each(&cobra.Command{Use: "keep POOL...", Short: "Give pools that are drained their share again"},
		func(c *adminclient.Client, ctx context.Context, pool string) error {
			return c.DrainPool(ctx, pool, false)
		},
		func(pool string) (any, string) {
			return adminclient.Pool{Name: pool, State: adminclient.PoolActive}, "pool " + pool + " is kept"
		})
}

// writePools writes pools, for people.
func writePools(w io.Writer, pools []adminclient.Pool) error {
	rows := [][]string{{"POOL", "STATE", "SINCE", "MOVED", "SIZE", "FAILED"}}
	for _, p := range pools {
		since, moved, size, failed := "-", "-", "-", "-"
		if p.Draining != nil {
			since, moved, size, failed = dated(*p.Draining), strconv.FormatInt(p.Names, 10), sizeText(p.Bytes), strconv.FormatInt(p.Failed, 10)
		}
		rows = append(rows, []string{p.Name, p.State, since, moved, size, failed})
	}
	return writeRows(w, rows)
}
