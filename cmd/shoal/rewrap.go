package main

import (
	"cmp"
	"crypto/tls"
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/shoal-storage/shoal/internal/rewrap"
	"github.com/shoal-storage/shoal/internal/sigv4"
)

// rewrapFlags are the flags of "shoal rewrap".
type rewrapFlags struct {
	buckets     []string
	region      string
	concurrency int
	insecure    bool
}

func newRewrapCommand() *cobra.Command {
	var f rewrapFlags
	cmd := &cobra.Command{
		Use:   "rewrap [flags] [URL]",
		Short: "Wrap the keys of encrypted objects anew, under the current master key",
		Long: `Have the keys of all objects that are encrypted under a master key wrapped anew, by
the gateway at URL (default: SHOAL_URL, or else http://127.0.0.1:9000): those of SSE-S3
under the default key, those of SSE-KMS under the newest version of theirs. The contents
are neither read nor written. Afterwards an older master key can be taken away if nothing is
under it: the summary tells how many versions are under which. Objects of SSE-KMS stay
under the key that they name, and of those in SHOAL_KMS_SECRET_KEY there is but one version.

An upload in progress keeps the key that it was begun under, and so does the object that
it becomes: complete or abort those that there are, and run this again.

Credentials are looked for as "shoal bench" does. It can be ended and begun again
at any time. The exit code is 3 if there were objects that could not be done, or uploads
in progress.`,
		Example: "  shoal rewrap\n  shoal rewrap --bucket reports --bucket archive https://nas:9000",
		Args:    cobra.MaximumNArgs(1),
		RunE:    func(cmd *cobra.Command, args []string) error { return f.run(cmd, args) },
	}
	fl := cmd.Flags()
	fl.StringSliceVar(&f.buckets, "bucket", nil, "`bucket` to do (default: all)")
	fl.StringVar(&f.region, "region", "us-east-1", "region to sign for")
	fl.IntVar(&f.concurrency, "concurrency", 16, "objects at a time")
	fl.BoolVar(&f.insecure, "insecure", false, "accept any TLS certificate")
	return cmd
}

func (f *rewrapFlags) run(cmd *cobra.Command, args []string) error {
	env := readEnvironment(os.Environ())
	address, err := serverURL(args, defaultURL(env))
	if err != nil {
		return err
	}
	accessKey, secretKey, err := clientCredentials(env)
	if err != nil {
		return err
	}
	result, err := rewrap.Run(cmd.Context(), rewrap.Config{
		Endpoint: address, Buckets: f.buckets, Concurrency: f.concurrency,
		Credentials: sigv4.Credentials{AccessKey: accessKey, Secret: secretKey, Region: f.region},
		HTTP: &http.Client{Transport: &http.Transport{
			MaxIdleConnsPerHost: f.concurrency,
			TLSClientConfig:     &tls.Config{InsecureSkipVerify: f.insecure}, //nolint:gosec // asked for
		}},
		Failed: func(bucket, key, version string, err error) {
			_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "%s/%s (version %q): %v\n", bucket, key, version, err) // the exit code says it too
		},
	})
	if err != nil {
		return failed("rewrap at "+address, err, cmp.Or(certificateRemedy(err), "shoal rewrap --help tells which server and credentials it takes"))
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "%d keys wrapped anew, %d under the same key as before, %d objects without a master key, %d deleted meanwhile, %d failed\n%s",
		result.Done, result.Same, result.Skipped, result.Gone, result.Failed, under(result.Under))
	return cmp.Or(rewrapFindings(&result), err)
}

// under tells how many versions are under which master key, in a line.
func under(versions map[string]int64) string {
	var told []string
	for _, name := range slices.Sorted(maps.Keys(versions)) {
		told = append(told, fmt.Sprintf("%d under %q", versions[name], name))
	}
	if len(told) == 0 {
		return ""
	}
	return strings.Join(told, ", ") + "\n"
}

// rewrapFindings returns what keeps an older master key from being taken away, or nil.
func rewrapFindings(result *rewrap.Result) error {
	var what, remedy []string
	if result.Failed > 0 {
		what = append(what, fmt.Sprintf("%d keys could not be wrapped anew", result.Failed))
		remedy = append(remedy, "run it again when the reasons above are gone")
	}
	switch {
	case result.Uploads == 1:
		what = append(what, "1 upload in progress keeps the key it was begun under")
		remedy = append(remedy, "complete or abort it, and run this again")
	case result.Uploads > 1:
		what = append(what, fmt.Sprintf("%d uploads in progress keep the key they were begun under", result.Uploads))
		remedy = append(remedy, "complete or abort them, and run this again")
	}
	if what == nil {
		return nil
	}
	return &failure{code: exitFindings, what: strings.Join(what, ", and "), remedy: strings.Join(remedy, "; ")}
}
