package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/shoal-storage/shoal/gateway"
	"github.com/shoal-storage/shoal/raftlock"
)

// statusFlags are the flags of "shoal status".
type statusFlags struct {
	json     bool
	insecure bool
	timeout  time.Duration
}

func newStatusCommand() *cobra.Command {
	var f statusFlags
	cmd := &cobra.Command{
		Use:   "status [flags] [URL]",
		Short: "Show the gateways of a fleet",
		Long: `Ask the gateway at URL (default: SHOAL_URL, or else http://127.0.0.1:9000) for its
fleet: who is a member, who votes and leads, which sessions are alive, and which
locks are held and waited for.

Credentials are looked for as "shoal bench" does. The exit code is 0 when the
fleet has a leader and every member answers, otherwise 3.`,
		Example: "  shoal status\n  shoal status --json http://nas:9000",
		Args:    cobra.MaximumNArgs(1),
		RunE:    func(cmd *cobra.Command, args []string) error { return f.run(cmd, args) },
	}
	fl := cmd.Flags()
	fl.BoolVar(&f.json, "json", false, "print one JSON document instead of a table")
	fl.BoolVar(&f.insecure, "insecure", false, "accept any TLS certificate")
	fl.DurationVar(&f.timeout, "timeout", 10*time.Second, "how long to wait for the answer")
	return cmd
}

// maxStatus bounds an answer, in bytes.
const maxStatus = 4 << 20

func (f *statusFlags) run(cmd *cobra.Command, args []string) error {
	env := readEnvironment(os.Environ())
	url, err := serverURL(args, defaultURL(env))
	if err != nil {
		return err
	}
	accessKey, secretKey, err := clientCredentials(env)
	if err != nil {
		return err
	}
	document, err := f.ask(cmd.Context(), url, accessKey, secretKey)
	if err != nil {
		return failed("status of "+url, err, cmp.Or(certificateRemedy(err), "shoal status --help tells which server and credentials it takes"))
	}
	var st raftlock.Status
	if err := json.Unmarshal(document, &st); err != nil {
		return failed("status of "+url, err, "is it a shoal of this version?")
	}
	if f.json {
		_, err = fmt.Fprintln(cmd.OutOrStdout(), string(document))
	} else {
		err = writeStatus(cmd.OutOrStdout(), st, time.Now())
	}
	if err != nil {
		return failed("print the status", err, "")
	}
	return ailing(st)
}

func (f *statusFlags) ask(ctx context.Context, url, accessKey, secretKey string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	token, err := gateway.Token(accessKey, secretKey, time.Now().Add(time.Minute))
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url+gateway.StatusPath, http.NoBody)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+token)
	response, err := clientOf(f.insecure).Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close() //nolint:errcheck // read already
	document, err := io.ReadAll(io.LimitReader(response.Body, maxStatus))
	switch {
	case err != nil:
		return nil, err
	case response.StatusCode == http.StatusForbidden:
		return nil, errors.New("the credentials are not those of this gateway")
	case response.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("it answers %s: %s", response.Status, messageOf(document))
	}
	return document, nil
}

// writeStatus writes a table for people.
func writeStatus(w io.Writer, st raftlock.Status, now time.Time) error {
	var b strings.Builder
	leader := "none"
	if st.Leader != "" {
		leader = short(st.Leader)
	}
	fmt.Fprintf(&b, "generation %d   leader %s   %s   %s\n\n", st.Generation, leader, plural(len(st.Members), "member"), plural(st.Settings, "setting"))
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "NODE\tADDRESS\tROLE\tSESSION\tLEASE\tSLOTS\tLOCKS HELD\tWAITING\tLAST FENCE\tUP\tVERSION") // into memory
	for _, m := range st.Members {
		slots, fence := fmt.Sprint(m.Slots), "never"
		if m.Recovering > 0 {
			slots += fmt.Sprintf(" (%d recovering)", m.Recovering)
		}
		if !m.LastFence.IsZero() {
			fence = now.Sub(m.LastFence).Round(time.Second).String() + " ago"
		}
		up, lease := time.Duration(m.Uptime*float64(time.Second)).Round(time.Second).String(), fmt.Sprintf("%.1fs", float64(m.LeaseMillis)/1000)
		if m.Error != "" {
			slots, fence, up, lease = "?", "?", "no answer", "?"
		}
		_, _ = fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%d\t%d\t%s\t%s\t%s\n",
			short(m.Node), m.Address, m.Role, m.Session, lease, slots, m.Holding, m.Waiting, fence, up, m.Version)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, m := range st.Members {
		if m.Error != "" {
			fmt.Fprintf(&b, "\n%s does not answer: %s\n", short(m.Node), m.Error)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// short is enough of a UUID to tell nodes apart.
func short(node string) string { return node[:min(8, len(node))] }

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// ailing returns an error if the fleet is not whole.
func ailing(st raftlock.Status) error {
	if st.Leader == "" {
		return &failure{code: exitFindings, what: "the fleet has no leader", remedy: "look into the gateways' logs"}
	}
	for _, m := range st.Members {
		if m.Error != "" || m.Session != "live" {
			return &failure{code: exitFindings, what: "not every member is well", remedy: "a member that has gone is forgotten within a minute"}
		}
	}
	return nil
}

// clientOf returns a client for one request to a gateway; an insecure one takes any
// certificate.
func clientOf(insecure bool) *http.Client {
	return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: insecure}}} //nolint:gosec // as asked for
}
