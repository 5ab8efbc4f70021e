package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"github.com/shoal-storage/shoal/internal/adminclient"
)

func (f *adminFlags) infoCommand() *cobra.Command {
	return f.verb(&cobra.Command{
		Use: "info", Short: "Show the gateways, and what they serve", Args: cobra.NoArgs,
		Long: "Show the gateways that serve one tree, their drives, and what is in it. The exit code is\n3 if a gateway or a drive is offline.",
	}, func(ctx context.Context, r *adminRun, _ []string) error {
		info, err := r.Info(ctx)
		if err != nil {
			return err
		}
		if err := r.print(info, func(w io.Writer) error { return writeInfo(w, info) }); err != nil {
			return err
		}
		return missing(info)
	})
}

// writeInfo writes what is known of the gateways, for people.
func writeInfo(w io.Writer, info adminclient.Info) error {
	rows := [][]string{{"GATEWAY", "STATUS", "ROLE", "UP", "VERSION", "DRIVES ONLINE"}}
	for _, g := range info.Gateways {
		status, role, up := "offline", "", ""
		if g.Online {
			status, up = "online", g.Up().String()
		}
		if g.Leader {
			role = "leader"
		}
		online, healing := drivesOf(g)
		drives := fmt.Sprintf("%d of %d", online, len(g.Drives))
		if healing > 0 {
			drives += fmt.Sprintf(" (%d healing)", healing)
		}
		rows = append(rows, []string{g.Endpoint, status, role, up, g.Version, drives})
	}
	if err := writeRows(w, rows); err != nil {
		return err
	}
	held := "not counted yet"
	if h := info.Held; h != nil {
		held = fmt.Sprintf("%s, %s, %s", plural(int(h.Objects), "object"), plural(int(h.Versions), "version"), sizeText(h.Bytes))
	}
	if info.Partial != "" {
		held += " (" + printable(info.Partial) + ")"
	}
	if info.Error != "" {
		_, err := fmt.Fprintf(w, "\nthe buckets are not known: %s\n", printable(info.Error))
		return err
	}
	_, err := fmt.Fprintf(w, "\n%s: %s\n", plural(int(info.Buckets), "bucket"), held)
	return err
}

func drivesOf(g adminclient.Gateway) (online, healing int) {
	for _, d := range g.Drives {
		if d.Online {
			online++
		}
		if d.Healing {
			healing++
		}
	}
	return online, healing
}

// missing returns an error if a gateway or a drive is offline.
func missing(info adminclient.Info) error {
	for _, g := range info.Gateways {
		if online, _ := drivesOf(g); !g.Online || online < len(g.Drives) {
			return &failure{code: exitFindings, what: printable(g.Endpoint) + " or one of its drives is offline", remedy: "its log says more"}
		}
	}
	if info.Error != "" {
		return &failure{code: exitFailed, what: "the buckets are not known: " + printable(info.Error), remedy: "the log of the gateway that was asked says more"}
	}
	return nil
}

func (f *adminFlags) usageCommand() *cobra.Command {
	return f.verb(&cobra.Command{
		Use: "usage [BUCKET...]", Short: "Show what buckets hold, as they were counted", Args: cobra.ArbitraryArgs,
		Long: "Show what buckets hold, as one gateway has counted them (shoal server --usage-interval).",
	}, func(ctx context.Context, r *adminRun, args []string) error {
		u, err := r.Usage(ctx)
		if err != nil {
			return err
		}
		for _, name := range args {
			if !slices.ContainsFunc(u.Buckets, func(b adminclient.BucketUsage) bool { return b.Bucket == name }) {
				return failed("admin usage", errors.New(printable(name)+" was not counted, or is no bucket"), "buckets are counted minutes after they were made, once in a --usage-interval of the gateways, and when a quota is set")
			}
		}
		if len(args) > 0 {
			u.Buckets = slices.DeleteFunc(u.Buckets, func(b adminclient.BucketUsage) bool { return !slices.Contains(args, b.Bucket) })
		}
		return r.print(u, func(w io.Writer) error { return writeUsage(w, u) })
	})
}

// writeUsage writes what buckets hold, for people.
func writeUsage(w io.Writer, u adminclient.Usage) error {
	rows := [][]string{{"BUCKET", "OBJECTS", "VERSIONS", "DELETE MARKERS", "SIZE"}}
	for _, b := range u.Buckets {
		rows = append(rows, []string{b.Bucket, decimal(b.Objects), decimal(b.Versions), decimal(b.DeleteMarkers), sizeText(b.Bytes)})
	}
	if err := writeRows(w, rows); err != nil {
		return err
	}
	counted := "not counted yet"
	if !u.Counted.IsZero() {
		counted = "counted " + dated(u.Counted)
	}
	_, err := fmt.Fprintf(w, "\n%s; %s\n", plural(int(u.All), "bucket"), counted)
	return err
}
