package main

import (
	"context"
	"fmt"
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
		Long: `List the pools of drives as they were named: how much of their drives is used, which
share of the objects each has or will have, which is on its way to it (+) or from it (-), and
while something moves how much the last pass has moved.`,
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
shows one as drained, stop all nodes, and start them without it. Any pool can be drained
for which there is another one.`
	cmd.Example = "  shoal admin pool drain 'http://node{1...4}/mnt/d{1...4}'"
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
	rows := [][]string{{"POOL", "STATE", "SINCE", "USED", "OF", "SHARE", "ON ITS WAY", "MOVED", "SIZE", "FAILED"}}
	looked := int64(0)
	for i := range pools {
		p := &pools[i]
		since, moved, size, failed := "-", "-", "-", "-"
		if p.Draining != nil {
			since = dated(*p.Draining)
		}
		if p.Draining != nil || p.Coming+p.Leaving > 0 {
			moved, size, failed = strconv.FormatInt(p.Names, 10), sizeText(p.Bytes), strconv.FormatInt(p.Failed, 10)
		}
		used, of := "-", "-"
		if p.Total > 0 {
			used, of = sizeText(int64(p.Total-min(p.Free, p.Total))), sizeText(int64(p.Total)) //nolint:gosec // bytes of disks
		}
		rows = append(rows, []string{p.Name, p.State, since, used, of, percent(p.Share), onItsWay(p), moved, size, failed})
		looked = max(looked, p.Looked)
	}
	if err := writeRows(w, rows); err != nil || looked == 0 {
		return err
	}
	_, err := fmt.Fprintf(w, "objects are to be moved: %d names were looked at until now where they will be\n", looked)
	return err //nolint:wrapcheck // the caller says what was printed
}

func percent(share float64) string { return strconv.FormatFloat(100*share, 'f', 0, 64) + "%" }

// onItsWay is what comes to a pool or leaves it, for people.
func onItsWay(p *adminclient.Pool) string {
	switch {
	case p.Coming > 0:
		return "+" + percent(p.Coming)
	case p.Leaving > 0:
		return "-" + percent(p.Leaving)
	}
	return "-"
}
