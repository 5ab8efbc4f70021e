package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// newHealthCommand is the health check of containers that have no other program.
func newHealthCommand() *cobra.Command {
	var live bool
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "health [flags] [URL]",
		Short: "Ask a gateway whether it can serve",
		Long: `Ask the gateway at URL (default http://127.0.0.1:9000) whether it can serve
requests, and end with 0 if so, otherwise with 3. Certificates are not looked at:
the answer is worth no more than the address.`,
		Example: "  shoal health\n  shoal health --live https://127.0.0.1:9000",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			url, err := serverURL(args, localURL)
			if err != nil {
				return err
			}
			path := "/minio/health/ready"
			if live {
				path = "/minio/health/live"
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			if err := askHealth(ctx, url+path); err != nil {
				return &failure{code: exitFindings, what: url + " cannot serve", cause: err, remedy: "its log says more"}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&live, "live", false, "ask only whether the process runs")
	cmd.Flags().DurationVar(&timeout, "timeout", 3*time.Second, "how long to wait for the answer")
	return cmd
}

// maxReason bounds what is shown of an answer, in bytes.
const maxReason = 200

func askHealth(ctx context.Context, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	client := http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} //nolint:gosec // see the command's help
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close() //nolint:errcheck // read already
	reason, err := io.ReadAll(io.LimitReader(response.Body, maxReason))
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return errors.New(strings.TrimSpace(fmt.Sprintf("%s %s", response.Status, reason)))
	}
	return nil
}
