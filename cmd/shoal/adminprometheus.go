package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"github.com/shoal-storage/shoal/gateway"
)

// longLife is for how long a token is good that never ends: longer than who made it.
const longLife = 100 * 365 * 24 * time.Hour

// scrapeConfig is what Prometheus is to read, as it calls it.
type scrapeConfig struct {
	Job    string          `json:"job_name"`
	Token  string          `json:"bearer_token"`
	Path   string          `json:"metrics_path"`
	Scheme string          `json:"scheme"`
	Static []scrapeTargets `json:"static_configs"`
}

type scrapeTargets struct {
	Targets []string `json:"targets"`
}

func (f *adminFlags) prometheusCommand() *cobra.Command {
	var expires string
	cmd := f.verb(&cobra.Command{
		Use: "prometheus", Short: "Print what Prometheus needs to read the metrics of all gateways", Args: cobra.NoArgs,
		Long: `Print the scrape configuration for the gateways that there are now. The token in it is
that of the user who asks, and good as long as his secret key: keep it as you keep that. It
needs a policy that allows admin:Prometheus.`,
		Example: "  shoal admin prometheus > prometheus.yml",
	}, func(ctx context.Context, r *adminRun, _ []string) error {
		until, err := parseExpiry(cmp.Or(expires, "never"), time.Now())
		if err != nil {
			return err
		}
		config, err := r.scrapeConfig(ctx, *until)
		if err != nil {
			return err
		}
		return r.print(config, func(w io.Writer) error { return writeScrapeConfig(w, config) })
	})
	cmd.Flags().StringVar(&expires, "expires", "never", "`time` that the token ends: 365d or 12h from now, or 2027-01-31T12:00:00Z; never")
	return cmd
}

func (r *adminRun) scrapeConfig(ctx context.Context, until time.Time) (scrapeConfig, error) {
	info, err := r.Info(ctx)
	if err != nil {
		return scrapeConfig{}, err
	}
	at, err := url.Parse(r.cfg.Endpoint)
	if err != nil {
		return scrapeConfig{}, err
	}
	if until.IsZero() {
		until = time.Now().Add(longLife)
	}
	var targets scrapeTargets
	for _, g := range info.Gateways {
		targets.Targets = append(targets.Targets, g.Endpoint)
	}
	token, err := gateway.Token(r.cfg.AccessKey, r.cfg.Secret, until)
	return scrapeConfig{"shoal", token, "/minio/v2/metrics/node", at.Scheme, []scrapeTargets{targets}}, err
}

// writeScrapeConfig writes it as YAML. Strings of Go are strings of YAML.
func writeScrapeConfig(w io.Writer, c scrapeConfig) error {
	_, err := fmt.Fprintf(w, `scrape_configs:
- job_name: %q
  bearer_token: %q
  metrics_path: %q
  scheme: %q
  static_configs:
  - targets:
`, c.Job, c.Token, c.Path, c.Scheme)
	for _, target := range c.Static[0].Targets {
		if err == nil {
			_, err = fmt.Fprintf(w, "    - %q\n", target)
		}
	}
	return err
}
