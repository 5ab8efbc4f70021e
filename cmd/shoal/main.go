// Command shoal turns storage that people own already into one S3 endpoint.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/shoal-storage/shoal/internal/timerslack"
)

// version is set by the build (-ldflags "-X main.version=...").
var version = "dev" //nolint:gochecknoglobals // the linker can set nothing but a package variable

// Exit codes, stable for scripts.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitFindings    = 3   // what was asked about is not as it should be
	exitUnsafe      = 4   // a check before the start found that going on would be unsafe
	exitRestart     = 5   // it was asked to end so that it is started again
	exitInterrupted = 130 // by a signal, before the work was done
)

// wakeLate is by how much a server's threads may sleep longer than they ask for. The scheduler of
// Go asks for 20 us at a time while requests are under way: waking up for that takes a sixth of
// what nodes do for a PUT, and has threads change places in calls that end soon.
const wakeLate = 500 * time.Microsecond

func main() {
	if len(os.Args) > 1 && (os.Args[1] == "server" || os.Args[1] == "gateway") {
		timerslack.Widen(wakeLate)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	code := run(ctx, newRoot(), os.Args[1:])
	stop()
	os.Exit(code)
}

// run executes the command line and returns the exit code.
func run(ctx context.Context, root *cobra.Command, args []string) int {
	root.SetArgs(args)
	addOwn(root)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitOK
	}
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return exitInterrupted
	}
	var failure *failure
	if !errors.As(err, &failure) {
		failure = usage(err.Error(), cmd.CommandPath()+" --help shows what it takes")
	}
	_, _ = fmt.Fprintln(root.ErrOrStderr(), failure.text()) // the code says it too
	return failure.code
}

// failure is an error as the person at the command line sees it: what failed
// and why, and what to do about it.
type failure struct {
	code   int
	what   string
	remedy string
	cause  error
}

func (f *failure) Error() string { return f.what }

func (f *failure) Unwrap() error { return f.cause }

// text is "shoal: what: why; what to do", on one line.
func (f *failure) text() string {
	s := "shoal: " + f.what
	if f.cause != nil {
		s += ": " + strings.ReplaceAll(f.cause.Error(), "\n", ": ") // joined errors have a line each
	}
	if f.remedy != "" {
		s += "; " + f.remedy
	}
	return s
}

func usage(what, remedy string) *failure {
	return &failure{code: exitUsage, what: what, remedy: remedy}
}

func failed(what string, cause error, remedy string) *failure {
	return &failure{code: exitFailed, what: what, cause: cause, remedy: remedy}
}

func unsafe(what, remedy string) *failure {
	return &failure{code: exitUnsafe, what: what, remedy: remedy}
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "shoal",
		Short: "One S3 endpoint over the storage you own",
		Long: `Shoal serves storage that you have as S3: a directory, in which every object stays a
plain file, or several drives, some of which may be lost.

  shoal server                 serve the default data directory on 127.0.0.1:9000
  shoal server /mnt/nas        serve a directory or a mounted share
  shoal server /mnt/d{1...4}   serve drives
  shoal status                 show the gateways that serve one tree
  shoal admin --help           users, policies, access keys, quotas, traces
  shoal heal status            show what drives lack, and how far it is made up for
  shoal health                 ask whether a gateway can serve
  shoal doctor /mnt/nas        check whether a mount is fit to be served
  shoal bucket files URL       set who owns the new files of a bucket
  shoal bucket limits URL      limit the requests and bytes a second of a bucket
  shoal bench                  measure an S3 endpoint

Every flag of the server can be given as an environment variable: --certs-dir is
SHOAL_CERTS_DIR. Flags go before variables, and those before MINIO_* variables,
which are understood too. Credentials come from SHOAL_ROOT_USER and
SHOAL_ROOT_PASSWORD, or from files named by SHOAL_ROOT_USER_FILE and
SHOAL_ROOT_PASSWORD_FILE.`,
		Version:       versionLine(),
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetVersionTemplate("{{.Version}}\n")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usage(err.Error(), cmd.CommandPath()+" --help shows the flags")
	})
	root.AddCommand(newServerCommand(), newGatewayCommand(), newStatusCommand(), newAdminCommand(), newHealCommand(), newBucketCommand(), newHealthCommand(), newDoctorCommand(), newBenchCommand(), newRewrapCommand(), newVersionCommand())
	return root
}

// addOwn adds the commands of cobra's own, for help and completion, which would take what they do
// not know for a wish for their help. They write to what the root does when they are added.
func addOwn(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	for _, cmd := range root.Commands() {
		switch cmd.Name() {
		case "completion":
			cmd.Args = cobra.NoArgs
			cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
		case "help":
			cmd.Run, cmd.RunE = nil, help
		}
	}
}

// help shows the help of the command that is named.
func help(cmd *cobra.Command, args []string) error {
	about, rest, err := cmd.Root().Find(args)
	if err != nil || len(rest) > 0 {
		return usage("there is no command "+strings.Join(args, " "), "shoal --help lists the commands")
	}
	return about.Help()
}

func newVersionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), versionLine())
			return err
		},
	}
}

// versionLine tells the version, the commit it was built from, and by what.
func versionLine() string {
	line := "shoal " + version
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return line
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			line += " commit " + s.Value[:12]
		}
	}
	return line + " " + info.GoVersion
}
