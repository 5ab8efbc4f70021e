package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/shoal-storage/shoal/internal/adminclient"
	"github.com/shoal-storage/shoal/internal/limits"
)

func (f *adminFlags) userCommands() *cobra.Command {
	return noun("user", "Users, their secret keys and limits",
		f.userList(), f.userAdd(), f.userSecret(), f.userInfo(),
		f.enabling("enable NAME...", "Let disabled users in again", "user", true, (*adminclient.Client).EnableUser),
		f.enabling("disable NAME...", "Refuse users and their access keys at every gateway", "user", false, (*adminclient.Client).EnableUser),
		f.userLimits(), f.userPOSIX(), f.userRevoke(),
		f.removing("rm NAME...", "Remove users, and their access keys", "user", (*adminclient.Client).RemoveUser))
}

// revokedDocument is whose temporary credentials have ended.
type revokedDocument struct {
	Revoked string `json:"revoked"`
}

func (f *adminFlags) userRevoke() *cobra.Command {
	return f.each(&cobra.Command{
		Use: "revoke NAME...", Short: "End all temporary credentials of users, and of people of identity providers",
		Long: `End all temporary credentials that there are of users and their access keys, or of people of
identity providers: of an LDAP directory by their distinguished names, of OpenID providers
by names such as openid=SUBJECT, of client certificates by tls=NAME. They can have others
made: to disable a user, or to detach policies, sees to that.`,
		Example: "  shoal admin user revoke ann\n  shoal admin user revoke uid=eve,ou=people,dc=example,dc=com openid=1234",
	}, (*adminclient.Client).RevokeSessions, func(name string) (any, string) {
		return revokedDocument{name}, "temporary credentials of " + name + " are ended"
	})
}

func (f *adminFlags) userList() *cobra.Command {
	return f.verb(&cobra.Command{Use: "ls", Short: "List the users", Args: cobra.NoArgs}, func(ctx context.Context, r *adminRun, _ []string) error {
		users, err := r.Users(ctx)
		if err != nil {
			return err
		}
		var rows [][]string
		for _, u := range users {
			rows = append(rows, []string{u.Name, enabledWord(u.Enabled), joined(u.Policies), joined(u.Groups)})
		}
		return r.table(users, []string{"USER", "STATUS", "POLICIES", "GROUPS"}, rows)
	})
}

func (f *adminFlags) userAdd() *cobra.Command {
	var given secretFlag
	cmd := f.verb(&cobra.Command{
		Use:   "add NAME",
		Short: "Add a user",
		Long: `Add a user. The secret key is made and shown, this once, unless a file or the
standard input has it. A new user may do nothing until a policy is attached.`,
		Example: "  shoal admin user add ann\n  pass show s3/ann | shoal admin user add ann --secret-file -",
		Args:    cobra.ExactArgs(1),
	}, func(ctx context.Context, r *adminRun, args []string) error {
		_, err := r.User(ctx, args[0])
		if err == nil {
			return failed("admin user add "+printable(args[0]), errors.New("the user exists already"), "shoal admin user secret gives him another secret key")
		}
		if !adminclient.IsCode(err, "XMinioAdminNoSuchUser") {
			return err
		}
		return r.setUser(ctx, args[0], true, given)
	})
	given.declare(cmd)
	return cmd
}

func (f *adminFlags) userSecret() *cobra.Command {
	var given secretFlag
	cmd := f.verb(&cobra.Command{
		Use:     "secret NAME",
		Short:   "Give a user another secret key",
		Long:    "Give a user another secret key, which is made and shown, this once, unless a file or\nthe standard input has it. The former one is refused from then on.",
		Example: "  shoal admin user secret ann",
		Args:    cobra.ExactArgs(1),
	}, func(ctx context.Context, r *adminRun, args []string) error {
		u, err := r.User(ctx, args[0])
		if err != nil {
			return err
		}
		return r.setUser(ctx, args[0], u.Enabled, given)
	})
	given.declare(cmd)
	return cmd
}

func (r *adminRun) setUser(ctx context.Context, name string, enabled bool, given secretFlag) error {
	secret, err := given.read(r.cmd.InOrStdin())
	if err != nil {
		return err
	}
	made := secret == ""
	if made {
		secret = rand.Text()
	}
	if err := r.SetUser(ctx, name, secret, enabled); err != nil {
		return err
	}
	if !made {
		secret = ""
	}
	return r.showCredentials(name, secret)
}

func (f *adminFlags) userInfo() *cobra.Command {
	return f.verb(&cobra.Command{Use: "info NAME", Short: "Show a user", Args: cobra.ExactArgs(1)}, func(ctx context.Context, r *adminRun, args []string) error {
		u, err := r.User(ctx, args[0])
		if err != nil {
			return err
		}
		return r.fields(u,
			[2]string{"user", u.Name}, [2]string{"status", enabledWord(u.Enabled)}, [2]string{"policies", joined(u.Policies)}, [2]string{"groups", joined(u.Groups)},
			[2]string{"uid", number(u.UID)}, [2]string{"gid", number(u.GID)}, [2]string{"changed", dated(u.Updated)})
	})
}

// limitsDocument is how many requests and bytes a second a user has.
type limitsDocument struct {
	Name string `json:"name"`
	limits.Rates
}

func (f *adminFlags) userLimits() *cobra.Command {
	var given limitFlags
	cmd := f.verb(&cobra.Command{
		Use: "limits NAME", Short: "Show or set how many requests and bytes a second a user has", Args: cobra.ExactArgs(1),
		Long: `Show or set the limits of a user; access keys and temporary credentials share
those of their user. They are for all gateways together, each of which keeps to its
share, and in force at once. What no flag names stays as it is.`,
		Example: "  shoal admin user limits ann --requests 100 --up 10MiB\n  shoal admin user limits ann --reset",
	}, func(ctx context.Context, r *adminRun, args []string) error {
		rates, err := r.Limits(ctx, args[0])
		if err != nil {
			return err
		}
		if rates, err = given.change(rates); err != nil {
			return err
		}
		if given.changes() {
			if err := r.SetLimits(ctx, args[0], rates); err != nil {
				return err
			}
		}
		return r.fields(limitsDocument{args[0], rates},
			[2]string{"user", args[0]}, [2]string{"requests/s", limited(rates.Requests, decimal)}, [2]string{"up/s", limited(rates.Up, sizeText)}, [2]string{"down/s", limited(rates.Down, sizeText)})
	})
	given.declare(cmd)
	return cmd
}

// posixDocument is who a user is to the file system.
type posixDocument struct {
	Name string `json:"name"`
	adminclient.POSIX
}

func (f *adminFlags) userPOSIX() *cobra.Command {
	var given fileFlags
	var groups []string
	var reset bool
	cmd := f.verb(&cobra.Command{
		Use: "posix NAME", Short: "Show or set who a user is to the file system, whose new files he then gets", Args: cobra.ExactArgs(1),
		Long: `Show or set the numbers of the user and the group that get the new files and
directories of a user of S3, of his access keys too. They go before those of the
bucket (shoal bucket files). What no flag names stays. It is refused where the gateway
cannot give files away. With --posix-enforce on the gateways they, and the
supplementary groups, decide what he may do as well.`,
		Example: "  shoal admin user posix ann --uid 1000 --gid 1000\n  shoal admin user posix ann --reset",
	}, func(ctx context.Context, r *adminRun, args []string) error {
		files, err := given.files()
		if err != nil {
			return err
		}
		supplementary, err := numbers(groups)
		if err != nil {
			return err
		}
		who := adminclient.POSIX{UID: files.UID, GID: files.GID, Supplementary: supplementary}
		if !reset {
			u, err := r.User(ctx, args[0])
			if err != nil {
				return err
			}
			who.UID, who.GID = cmp.Or(who.UID, u.UID), cmp.Or(who.GID, u.GID)
			if supplementary == nil {
				who.Supplementary = u.Supplementary
			}
		}
		if reset || supplementary != nil || !files.IsZero() {
			if err := r.SetPOSIX(ctx, args[0], who); err != nil {
				return err
			}
		}
		return r.fields(posixDocument{args[0], who}, [2]string{"user", args[0]}, [2]string{"uid", number(who.UID)}, [2]string{"gid", number(who.GID)},
			[2]string{"groups", list(who.Supplementary)})
	})
	fl := cmd.Flags()
	fl.StringVar(&given.uid, "uid", "", "`number` of the user that new files are given to")
	fl.StringVar(&given.gid, "gid", "", "`number` of the group that new files are given to")
	fl.StringSliceVar(&groups, "groups", nil, "comma-separated `numbers` of his supplementary groups")
	fl.BoolVar(&reset, "reset", false, "drop all of it, except what other flags set")
	return cmd
}

// numbers reads numbers of groups; nil if there are none.
func numbers(texts []string) (all []uint32, err error) {
	for _, text := range texts {
		n, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			return nil, usage("--groups "+text+" is no number", "take those that id -G shows, such as 1000,1001")
		}
		all = append(all, uint32(n))
	}
	return all, nil
}

// list is numbers as they are shown.
func list(all []uint32) string {
	texts := make([]string, len(all))
	for i, n := range all {
		texts[i] = strconv.FormatUint(uint64(n), 10)
	}
	return strings.Join(texts, ",")
}
