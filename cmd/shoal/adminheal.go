package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/shoal-storage/shoal/internal/adminclient"
)

// healFlags are the flags of "shoal admin heal".
type healFlags struct{ start, deep, instead, stop bool }

// newHealCommand is "shoal admin heal", which is what people look for when a drive has failed, without
// "admin".
func newHealCommand() *cobra.Command {
	var f adminFlags
	cmd := f.healCommand()
	cmd.Example = strings.ReplaceAll(cmd.Example, "shoal admin heal", "shoal heal")
	f.declare(cmd.PersistentFlags())
	cmd.AddCommand(f.verb(&cobra.Command{Use: "status", Short: "Show what drives lack, and what is done about it", Args: cobra.NoArgs, Long: `The same as "shoal heal" without arguments.`},
		func(ctx context.Context, r *adminRun, _ []string) error { return showHealing(ctx, r) }))
	return cmd
}

func (f *adminFlags) healCommand() *cobra.Command {
	var h healFlags
	cmd := f.verb(&cobra.Command{
		Use: "heal [BUCKET[/PREFIX]]", Short: "Show what drives lack and what is done about it, or have it done now", Args: cobra.MaximumNArgs(1),
		Long: `Show which drives lack what others have, how far the pass is that brings it to them, and
what could not be healed. Passes start by themselves: within 15 seconds after drives may
have missed something, over that, and once a day over everything. --start asks for one now,
over everything or what is named; --deep has it read every shard too. The exit code is 3
while something is lacking.`,
		Example: "  shoal admin heal\n  shoal admin heal --start photos/2026/ --deep",
	}, func(ctx context.Context, r *adminRun, args []string) error {
		what := strings.Join(args, "")
		switch {
		case !h.start && (h.deep || h.instead || what != ""):
			return usage("admin heal shows all passes", "add --start to ask for one")
		case h.stop:
			if err := r.EndHealing(ctx); err != nil {
				return err
			}
			return r.say(endedDocument{true}, "the pass that was asked for is ended")
		case h.start:
			bucket, prefix, _ := strings.Cut(what, "/")
			token, err := r.Heal(ctx, bucket, prefix, h.deep, h.instead)
			if err != nil {
				return err
			}
			return r.say(startedDocument{token}, "a pass is asked for: shoal admin heal shows how far it is")
		}
		return showHealing(ctx, r)
	})
	fl := cmd.Flags()
	fl.BoolVar(&h.start, "start", false, "ask for a pass")
	fl.BoolVar(&h.deep, "deep", false, "have it read every shard, to see whether it is whole")
	fl.BoolVar(&h.instead, "instead", false, "end another one that was asked for")
	fl.BoolVar(&h.stop, "stop", false, "end the pass that was asked for")
	cmd.MarkFlagsMutuallyExclusive("start", "stop")
	return cmd
}

// startedDocument is a pass that was asked for.
type startedDocument struct {
	Token string `json:"token"`
}

// endedDocument says that a pass was ended.
type endedDocument struct {
	Ended bool `json:"ended"`
}

func showHealing(ctx context.Context, r *adminRun) error {
	h, err := r.Healing(ctx)
	if err != nil {
		return err
	}
	if err := r.print(h, func(w io.Writer) error { return writeHealing(w, &h) }); err != nil {
		return err
	}
	if why := lacking(&h); why != "" {
		return &failure{code: exitFindings, what: why, remedy: "see that all drives and gateways are there; what they lack is brought to them then"}
	}
	return nil
}

// lacking says what is not on all drives, "" if nothing is known to be missing.
func lacking(h *adminclient.Healing) string {
	if n := len(h.Healing); n > 0 {
		return plural(n, "drive") + " without all that should be there"
	}
	if n := len(h.Offline); n > 0 {
		return plural(n, "gateway") + " offline, whose drives miss what is stored now"
	}
	if n := len(h.Away); n > 0 {
		return plural(n, "drive") + " away, and missing what is stored now"
	}
	if h.Due {
		return "drives have come or just gone, and what they have missed is looked for"
	}
	last := lastPass(h.Passes)
	switch {
	case h.Error != "":
		return "nobody knows what drives lack"
	case last == nil:
	case last.Kind == "missed" && last.State == "running":
		return "drives are being given what they have missed"
	case last.Failed > 0:
		return plural(int(last.Failed), "name") + " could not be healed"
	case last.Away > 0:
		return plural(last.Away, "drive") + " away when drives were looked through last"
	case last.Pending > 0:
		return plural(int(last.Pending), "state") + " not on every drive when they were looked through last"
	case last.State == "stopped":
		return "the last pass over the drives ended before its end"
	}
	return ""
}

// lastPass returns the pass that tells what drives lack, nil if there is none: what one has left the next
// one looks at as well.
func lastPass(all []adminclient.Pass) (last *adminclient.Pass) {
	for i := range all {
		p := &all[i]
		tells := p.Kind == "missed" || p.Kind == "everything" || p.Bucket == "" && p.State == "finished"
		if tells && (last == nil || last.Begun.Before(p.Begun)) {
			last = p
		}
	}
	return last
}

// lookedAtAgain reports whether a later pass has looked at all that one has left, and tells itself what it
// could not heal.
func lookedAtAgain(p *adminclient.Pass, all []adminclient.Pass) bool {
	return slices.ContainsFunc(all, func(q adminclient.Pass) bool {
		inside := q.Bucket == "" || q.Bucket == p.Bucket && strings.HasPrefix(p.Prefix, q.Prefix)
		whole := q.Deep || !p.Deep // that a shard is damaged only one sees that reads it
		return q.State == "finished" && q.Begun.After(p.Told) && inside && whole
	})
}

// writeHealing writes what is done about what drives lack, for people.
func writeHealing(w io.Writer, h *adminclient.Healing) error {
	rows := [][]string{{"PASS", "STATE", "OVER", "BEGUN", "LOOKED AT", "RECORDS", "SHARDS", "SIZE", "RATE", "DAMAGED", "FAILED", "PENDING", "TO GO"}}
	var notes []string
	for i := range h.Passes {
		p := &h.Passes[i]
		rows = append(rows, []string{
			p.Kind, p.State, over(p), dated(p.Begun), lookedAt(p), decimal(p.Records), decimal(p.Shards), sizeText(p.Bytes), rateOf(p), decimal(p.Damaged), decimal(p.Failed), decimal(p.Pending), toGo(p),
		})
		if p.Error != "" {
			notes = append(notes, p.Kind+" ended before its end: "+p.Error)
		}
		if lookedAtAgain(p, h.Passes) {
			continue
		}
		for _, l := range p.Left {
			notes = append(notes, "not healed: "+strings.TrimPrefix(l.Bucket+"/"+l.Name, "/")+": "+l.Reason)
		}
	}
	for _, drive := range h.Away {
		notes = append(notes, "drive away: "+drive)
	}
	for _, drive := range h.Healing {
		notes = append(notes, "drive being healed: "+drive)
	}
	if h.Error != "" {
		notes = append(notes, "the passes are not known: "+h.Error)
	}
	if len(rows) == 1 && len(notes) == 0 {
		_, err := fmt.Fprintln(w, "nothing is known to be missing, and no pass has been made")
		return err //nolint:wrapcheck // the caller says what was printed
	}
	if err := writeRows(w, rows); err != nil {
		return err
	}
	for _, note := range notes {
		if _, err := fmt.Fprintln(w, printable(note)); err != nil {
			return err //nolint:wrapcheck // the caller says what was printed
		}
	}
	return nil
}

// over is what a pass is over, for people.
func over(p *adminclient.Pass) string {
	what := "everything"
	if p.Bucket != "" {
		what = p.Bucket + "/" + p.Prefix
	}
	if p.Kind == "missed" {
		what = "what drives have missed"
	}
	if p.Deep {
		what += ", every shard"
	}
	return what
}

func lookedAt(p *adminclient.Pass) string {
	if p.State == "running" && p.Expected > 0 {
		return fmt.Sprintf("%d of about %d", p.Names, p.Expected)
	}
	return decimal(p.Names)
}

// rateOf is how fast a pass makes shards anew, and how fast it may, for people.
func rateOf(p *adminclient.Pass) string {
	text := ""
	if p.Bytes > 0 {
		text = sizeText(int64(p.Rate)) + "/s"
	}
	if p.Limit > 0 && p.State == "running" {
		text = strings.TrimSpace(text + " (limit " + sizeText(p.Limit) + "/s)")
	}
	return text
}

// toGo is how long a pass will still take, for people.
func toGo(p *adminclient.Pass) string {
	if p.ETA == 0 {
		return ""
	}
	return (time.Duration(p.ETA) * time.Second).String()
}
