package main

import (
	"net/url"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/shoal-storage/shoal/erasure"
	"github.com/shoal-storage/shoal/gateway"
	"github.com/shoal-storage/shoal/internal/limits"
)

// parseRates parses rates as a flag has them: requests=100,up=10MiB,down=1GiB.
func parseRates(flag, text string) (r limits.Rates, err error) {
	const remedy = "take one such as requests=100,up=10MiB,down=1GiB"
	for part := range strings.SplitSeq(text, ",") {
		if part == "" {
			continue
		}
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		to := map[string]*int64{"requests": &r.Requests, "up": &r.Up, "down": &r.Down}[name]
		if to == nil {
			return r, usage("--"+flag+" "+text+": there is no rate "+name, remedy)
		}
		if *to, err = parseRate(strings.TrimSpace(value), name != "requests"); err != nil {
			return r, usage("--"+flag+" "+text+": "+value+" is not a rate", remedy)
		}
	}
	if err := r.Validate(); err != nil {
		return r, usage("--"+flag+" "+text+": "+err.Error(), remedy)
	}
	return r, nil
}

// parseRate parses a number, or bytes, a second. 0 is without limit.
func parseRate(text string, bytes bool) (int64, error) {
	if n, err := strconv.ParseInt(text, 10, 64); err == nil || !bytes {
		return n, err
	}
	return parseSize(text)
}

// healing returns how many bytes a second are made anew on drives that lack something, 0 for as
// many as go.
func (f *serverFlags) healing() (int64, error) {
	if f.healRate == "" {
		return 0, nil
	}
	n, err := parseRate(f.healRate, true)
	if err != nil || n != 0 && n < erasure.MinHealRate {
		return 0, usage("--"+healRateFlag+" "+f.healRate+" is neither 0 nor 1MiB a second or more", "take one such as 20MiB, or 0 for as many as go")
	}
	return n, nil
}

// limitFlags say what limits are to be.
type limitFlags struct {
	requests, up, down string
	reset              bool
}

func (f *limitFlags) declare(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringVar(&f.requests, "requests", "", "`number` of requests a second, 0 for no limit")
	fl.StringVar(&f.up, "up", "", "`bytes` a second that requests may bring, such as 10MiB, 0 for no limit")
	fl.StringVar(&f.down, "down", "", "`bytes` a second that answers may take along")
	fl.BoolVar(&f.reset, "reset", false, "begin without limits: what other flags do not name has none")
}

// changes reports whether any flag says something.
func (f *limitFlags) changes() bool { return f.reset || f.requests+f.up+f.down != "" }

func newBucketLimitsCommand() *cobra.Command {
	var f bucketLimitFlags
	cmd := &cobra.Command{
		Use:   "limits [flags] URL/BUCKET",
		Short: "Show or set how many requests and bytes a second a bucket takes",
		Long: `Show the limits of a bucket, as a JSON document, or set them. They are of all
gateways together, each of which keeps to its share, and in force at once.

Credentials are looked for as "shoal bench" does.`,
		Example: "  shoal bucket limits --requests 500 --down 100MiB http://nas:9000/projects\n  shoal bucket limits --reset http://nas:9000/projects",
		Args:    cobra.ExactArgs(1),
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		at, err := bucketURL(args[0])
		if err != nil {
			return err
		}
		at.RawQuery = gateway.LimitsQuery + "="
		return f.run(cmd, at, "limits of "+args[0])
	}
	f.limits.declare(cmd)
	f.client.declare(cmd.Flags())
	return cmd
}

// bucketLimitFlags are the flags of "shoal bucket limits".
type bucketLimitFlags struct {
	client clientFlags
	limits limitFlags
}

// run shows the limits at a URL, or sets them.
func (f *bucketLimitFlags) run(cmd *cobra.Command, at *url.URL, what string) error {
	var have limits.Rates
	if !f.limits.reset {
		if err := f.client.get(cmd.Context(), at, &have); err != nil {
			return failed(what, err, certificateRemedy(err))
		}
	}
	rates, err := f.limits.change(have)
	if err != nil {
		return err
	}
	if f.limits.changes() {
		if err := f.client.put(cmd.Context(), at, rates); err != nil {
			return failed(what, err, certificateRemedy(err))
		}
	}
	return show(cmd, rates)
}

// change returns rates as the flags say that they are to be.
func (f *limitFlags) change(rates limits.Rates) (limits.Rates, error) {
	if f.reset {
		rates = limits.Rates{}
	}
	for _, given := range []struct {
		name, text string
		to         *int64
	}{{"requests", f.requests, &rates.Requests}, {"up", f.up, &rates.Up}, {"down", f.down, &rates.Down}} {
		if given.text == "" {
			continue
		}
		n, err := parseRate(given.text, given.name != "requests")
		if err != nil {
			return rates, usage("--"+given.name+" "+given.text+" is not a rate", "take one such as 100, or of bytes 10MiB")
		}
		*given.to = n
	}
	if err := rates.Validate(); err != nil {
		return rates, usage(err.Error(), "take 0 for no limit")
	}
	return rates, nil
}
