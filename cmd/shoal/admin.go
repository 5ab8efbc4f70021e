package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/shoal-storage/shoal/internal/adminclient"
)

// adminFlags are the flags of all commands of "shoal admin".
type adminFlags struct {
	url      string
	json     bool
	insecure bool
	timeout  time.Duration
}

// urlVariable names the gateway that is asked where the command line names none.
const urlVariable = "SHOAL_URL"

// localURL is where "shoal server" listens if nothing is said.
const localURL = "http://127.0.0.1:9000"

// defaultURL returns the gateway to ask where the command line names none.
func defaultURL(env *environment) string { return cmp.Or(env.values[urlVariable], localURL) }

func newAdminCommand() *cobra.Command {
	var f adminFlags
	cmd := &cobra.Command{
		Use:   "admin",
		Short: "Administer users, groups, policies, access keys and quotas, and look at the gateways",
		Long: `Administer what the gateways of a fleet keep together, through any of them: when a
command returns, what it did is in force on all. It does what "mc admin" does, and
needs no alias.

The gateway is named by --url or SHOAL_URL. Credentials come from AWS_ACCESS_KEY_ID
and AWS_SECRET_ACCESS_KEY (and AWS_SESSION_TOKEN), or else from SHOAL_ROOT_USER and
SHOAL_ROOT_PASSWORD or the files that these name with _FILE behind them, or else from
what "shoal server" made here. No secret is taken from the command line.

Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 something is not well.`,
		Example: `  export SHOAL_URL=http://nas:9000 SHOAL_ROOT_USER=admin SHOAL_ROOT_PASSWORD_FILE=/etc/shoal/password
  shoal admin info
  shoal admin user add ann
  shoal admin policy attach readwrite --user ann
  shoal admin accesskey create --user ann --expires 30d
  shoal admin user ls --json | jq -r '.[].name'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	f.declare(cmd.PersistentFlags())
	cmd.AddCommand(f.infoCommand(), f.usageCommand(), f.userCommands(), f.groupCommands(), f.policyCommands(), f.keyCommands(), f.quotaCommands(), f.kmsCommands(),
		f.iamCommands(), f.bucketCommands(), f.configCommands(), f.serviceCommands(), f.traceCommand(), f.logsCommand(), f.locksCommand(), f.healCommand(), f.poolCommands(), f.prometheusCommand())
	return cmd
}

func (f *adminFlags) declare(fl *pflag.FlagSet) {
	fl.StringVar(&f.url, "url", "", "`URL` of a gateway (default: "+urlVariable+", or else "+localURL+")")
	fl.BoolVar(&f.json, "json", false, "print JSON documents instead of tables and sentences")
	fl.BoolVar(&f.insecure, "insecure", false, "accept any TLS certificate")
	fl.DurationVar(&f.timeout, "timeout", time.Minute, "how long to wait for an answer")
}

// noun returns a command that only has others, which are about one thing.
func noun(use, short string, verbs ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{
		Use: use, Short: short, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(verbs...)
	return cmd
}

// adminRun is one run of a command of "shoal admin".
type adminRun struct {
	*adminclient.Client
	cfg  adminclient.Config // of the Client
	cmd  *cobra.Command
	json bool
}

// verb completes a command that asks the gateway. Errors of do are told with what was
// to be done, and what to do about them.
func (f *adminFlags) verb(cmd *cobra.Command, do func(ctx context.Context, r *adminRun, args []string) error) *cobra.Command {
	count := cmd.Args
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if err := count(cmd, args); err != nil {
			return usage(afterName(cmd)+": "+err.Error(), "usage: "+cmd.UseLine())
		}
		return nil
	}
	cmd.ValidArgsFunction = cobra.NoFileCompletions
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		r, err := f.open(cmd)
		if err == nil {
			err = do(cmd.Context(), r, args)
		}
		if _, told := errors.AsType[*failure](err); err == nil || told {
			return err
		}
		what := strings.Join(append([]string{afterName(cmd)}, args...), " ")
		return failed(printable(what), err, adminRemedy(err))
	}
	return cmd
}

// afterName is the name of a command without that of the program.
func afterName(cmd *cobra.Command) string {
	return strings.TrimPrefix(cmd.CommandPath(), cmd.Root().Name()+" ")
}

// open returns what asks the gateway.
func (f *adminFlags) open(cmd *cobra.Command) (*adminRun, error) {
	env := readEnvironment(os.Environ())
	accessKey, secret, err := clientCredentials(env)
	if err != nil {
		return nil, err
	}
	cfg := adminclient.Config{Endpoint: cmp.Or(f.url, defaultURL(env)), AccessKey: accessKey, Secret: secret, HTTP: clientOf(f.insecure), Timeout: f.timeout}
	if accessKey == env.values["AWS_ACCESS_KEY_ID"] {
		cfg.Token = env.values["AWS_SESSION_TOKEN"]
	}
	c, err := adminclient.New(cfg)
	if err != nil {
		return nil, usage(printable(cfg.Endpoint)+": "+err.Error(), "set --url or "+urlVariable)
	}
	return &adminRun{Client: c, cfg: cfg, cmd: cmd, json: f.json}, nil
}

// adminRemedies say what to do about the codes of the admin API.
func adminRemedies() map[string]string {
	const credentials = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or SHOAL_ROOT_USER and SHOAL_ROOT_PASSWORD_FILE"
	return map[string]string{
		"InvalidAccessKeyId":                credentials,
		"SignatureDoesNotMatch":             credentials,
		"RequestTimeTooSkewed":              "set the clock of this host or of the gateway",
		"AccessDenied":                      "these credentials need a policy that allows it: docs/users.md",
		"XMinioAdminNoSuchUser":             "shoal admin user ls shows the users",
		"XMinioAdminNoSuchGroup":            "shoal admin group ls shows the groups",
		"XMinioAdminNoSuchPolicy":           "shoal admin policy ls shows the policies",
		"XMinioAdminServiceAccountNotFound": "shoal admin accesskey ls shows the access keys",
		"XMinioAdminInvalidAccessKey":       "take another name",
		"XMinioAdminGroupNotEmpty":          "name the members too, who are then taken out of it",
		"XMinioAdminPolicyInUse":            "shoal admin policy entities --policy NAME shows whose it is",
		"XMinioHealAlreadyRunning":          "wait for its end, which shoal admin heal shows, or add --instead",
		"XMinioConfigError":                 "shoal admin config get shows which settings there are",
		"XMinioHealNoSuchProcess":           "shoal admin heal shows the passes",
		"KMS.AccessDeniedException":         "let the server do it by its policy in Vault: docs/encryption.md",
		"NoSuchBucket":                      "shoal admin usage shows the buckets that were counted",
	}
}

// adminRemedy says what to do about an error, "" if nothing is known.
func adminRemedy(err error) string {
	if refused, ok := errors.AsType[*adminclient.Error](err); ok {
		if refused.Code == "" {
			return "is a shoal at that address, and no proxy without one?"
		}
		return adminRemedies()[refused.Code]
	}
	if errors.Is(err, errStreamEnded) {
		return "it stops, or this terminal was too slow for so many lines: have fewer shown"
	}
	if remedy := certificateRemedy(err); remedy != "" {
		return remedy
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return "it may be done none the less: look, or give it longer with --timeout"
	}
	return "is a shoal of this version at that address? --url and " + urlVariable + " name another"
}

// each completes a command that does the same to one name after the other, and says
// what is so then.
func (f *adminFlags) each(cmd *cobra.Command, do func(c *adminclient.Client, ctx context.Context, name string) error, said func(name string) (document any, sentence string)) *cobra.Command {
	cmd.Args = cobra.MinimumNArgs(1)
	return f.verb(cmd, func(ctx context.Context, r *adminRun, args []string) error {
		for _, name := range args {
			if err := do(r.Client, ctx, name); err != nil && len(args) > 1 {
				return fmt.Errorf("%s: %w", printable(name), err)
			} else if err != nil {
				return err
			}
			document, sentence := said(name)
			if err := r.say(document, sentence); err != nil {
				return err
			}
		}
		return nil
	})
}

// statusDocument is what became of something that can be disabled.
type statusDocument struct {
	Name    string `json:"name"`
	Enabled bool   `json:"enabled"`
}

// enabling returns a command that has things of a kind count, or not.
func (f *adminFlags) enabling(use, short, kind string, enabled bool, do func(c *adminclient.Client, ctx context.Context, name string, enabled bool) error) *cobra.Command {
	return f.each(&cobra.Command{Use: use, Short: short},
		func(c *adminclient.Client, ctx context.Context, name string) error { return do(c, ctx, name, enabled) },
		func(name string) (any, string) {
			return statusDocument{name, enabled}, kind + " " + name + " is " + enabledWord(enabled)
		})
}

// removedDocument is what was removed.
type removedDocument struct {
	Removed string `json:"removed"`
}

// removing returns a command that removes things of a kind.
func (f *adminFlags) removing(use, short, kind string, do func(c *adminclient.Client, ctx context.Context, name string) error) *cobra.Command {
	return f.each(&cobra.Command{Use: use, Short: short}, do, func(name string) (any, string) {
		return removedDocument{name}, kind + " " + name + " is removed"
	})
}
