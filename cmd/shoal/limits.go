package main

import (
	"net/url"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

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
			return r, usage("--"+flag+" "+text+" names no rate but requests, up and down", remedy)
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

// limitFlags are the flags of "shoal bucket limits" and "shoal user limits".
type limitFlags struct {
	client             clientFlags
	requests, up, down string
	reset              bool
}

func (f *limitFlags) declare(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringVar(&f.requests, "requests", "", "`number` of requests a second, 0 for as many as come")
	fl.StringVar(&f.up, "up", "", "`bytes` a second that requests may bring, such as 10MiB, 0 for as many as come")
	fl.StringVar(&f.down, "down", "", "`bytes` a second that answers may take along")
	fl.BoolVar(&f.reset, "reset", false, "begin without limits: what other flags do not name has none")
	f.client.declare(fl)
}

func newBucketLimitsCommand() *cobra.Command {
	var f limitFlags
	cmd := &cobra.Command{
		Use:   "limits [flags] URL/BUCKET",
		Short: "Show or set how many requests and bytes a second a bucket takes",
		Long: `Show the limits of a bucket, as a JSON document, or set them. They are of all
gateways together, each of which keeps to its share, and count at once.

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
		return f.run(cmd, at, at, "limits of "+args[0])
	}
	f.declare(cmd)
	return cmd
}

func newUserCommand() *cobra.Command {
	user := &cobra.Command{
		Use: "user", Short: "Set up a user in ways that mc has no command for", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	var f limitFlags
	of := &cobra.Command{
		Use:   "limits [flags] URL USER",
		Short: "Show or set how many requests and bytes a second a user has",
		Long: `Show the limits of a user, as a JSON document, or set them. Service accounts and
temporary credentials count as the user does whose they are. The limits are of all
gateways together, each of which keeps to its share, and count at once.

Credentials are looked for as "shoal bench" does.`,
		Example: "  shoal user limits --requests 100 --up 10MiB http://nas:9000 ann\n  shoal user limits --reset http://nas:9000 ann",
		Args:    cobra.ExactArgs(2),
	}
	of.RunE = func(cmd *cobra.Command, args []string) error {
		at, err := url.Parse(args[0])
		if err != nil || at.Host == "" || strings.Trim(at.Path, "/") != "" {
			return usage(args[0]+" is not the URL of an endpoint", "take one such as http://nas:9000")
		}
		get, put := *at, *at
		get.Path, put.Path = gateway.UserLimitsPath, gateway.SetUserLimitsPath
		get.RawQuery = url.Values{"accessKey": args[1:]}.Encode()
		put.RawQuery = get.RawQuery
		return f.run(cmd, &get, &put, "limits of "+args[1])
	}
	f.declare(of)
	user.AddCommand(of)
	return user
}

// run shows the limits at a URL, or sets those at another one.
func (f *limitFlags) run(cmd *cobra.Command, get, put *url.URL, what string) error {
	var rates limits.Rates
	if !f.reset {
		if err := f.client.get(cmd.Context(), get, &rates); err != nil {
			return failed(what, err, "")
		}
	}
	changed := f.reset
	for _, given := range []struct {
		name, text string
		to         *int64
	}{{"requests", f.requests, &rates.Requests}, {"up", f.up, &rates.Up}, {"down", f.down, &rates.Down}} {
		if given.text == "" {
			continue
		}
		n, err := parseRate(given.text, given.name != "requests")
		if err != nil {
			return usage("--"+given.name+" "+given.text+" is not a rate", "take one such as 100, or of bytes 10MiB")
		}
		*given.to, changed = n, true
	}
	if err := rates.Validate(); err != nil {
		return usage(err.Error(), "take 0 for no limit")
	}
	if changed {
		if err := f.client.put(cmd.Context(), put, rates); err != nil {
			return failed(what, err, "")
		}
	}
	return show(cmd, rates)
}
