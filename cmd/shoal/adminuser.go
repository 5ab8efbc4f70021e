package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/shoal-storage/shoal/internal/adminclient"
)

func (f *adminFlags) userCommands() *cobra.Command {
	return noun("user", "Users: who they are and whether they count",
		f.userList(), f.userAdd(), f.userSecret(), f.userInfo(),
		f.enabling("enable NAME...", "Have users count again", "user", true, (*adminclient.Client).EnableUser),
		f.enabling("disable NAME...", "Have users refused by every gateway, and their access keys too", "user", false, (*adminclient.Client).EnableUser),
		f.userPOSIX(),
		f.removing("rm NAME...", "Remove users, and their access keys", "user", (*adminclient.Client).RemoveUser))
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

// joined is a list in a cell of a table.
func joined(names []string) string { return strings.Join(names, ", ") }

func (f *adminFlags) userAdd() *cobra.Command {
	var given secretFlag
	cmd := f.verb(&cobra.Command{
		Use:   "add NAME",
		Short: "Make a user",
		Long: `Make a user. The secret key is made and shown, this once, unless a file or the
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

// madeCredentials are an access key and, if that was made here, its secret.
type madeCredentials struct {
	AccessKey string `json:"access_key"`
	Secret    string `json:"secret_key,omitempty"`
}

// showCredentials shows a secret key, unless that is "": who gave it knows it.
func (r *adminRun) showCredentials(accessKey, secret string) error {
	err := r.fields(madeCredentials{accessKey, secret}, [2]string{"access key", accessKey}, [2]string{"secret key", secret})
	if err == nil && secret != "" {
		_, _ = fmt.Fprintln(r.cmd.ErrOrStderr(), "The secret key is not shown again.") // it is a hint
	}
	return err
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

// number is the number of a user or group of a file system, "" for none.
func number(id *uint32) string {
	if id == nil {
		return ""
	}
	return decimal(int64(*id))
}

// posixDocument is who a user is to the file system.
type posixDocument struct {
	Name string `json:"name"`
	adminclient.POSIX
}

func (f *adminFlags) userPOSIX() *cobra.Command {
	var given fileFlags
	var reset bool
	cmd := f.verb(&cobra.Command{
		Use: "posix NAME", Short: "Show or set who a user is to the file system, whose new files he then gets", Args: cobra.ExactArgs(1),
		Long: `Show or set the numbers of the user and the group that get the new files and
directories of a user of S3, of his access keys too. They go before those of the
bucket (shoal bucket files). What no flag names stays. It is refused where the gateway
cannot give files away.`,
		Example: "  shoal admin user posix ann --uid 1000 --gid 1000\n  shoal admin user posix ann --reset",
	}, func(ctx context.Context, r *adminRun, args []string) error {
		files, err := given.files()
		if err != nil {
			return err
		}
		who := adminclient.POSIX{UID: files.UID, GID: files.GID}
		if !reset {
			u, err := r.User(ctx, args[0])
			if err != nil {
				return err
			}
			who = adminclient.POSIX{UID: cmp.Or(who.UID, u.UID), GID: cmp.Or(who.GID, u.GID)}
		}
		if reset || !files.IsZero() {
			if err := r.SetPOSIX(ctx, args[0], who); err != nil {
				return err
			}
		}
		return r.fields(posixDocument{args[0], who}, [2]string{"user", args[0]}, [2]string{"uid", number(who.UID)}, [2]string{"gid", number(who.GID)})
	})
	fl := cmd.Flags()
	fl.StringVar(&given.uid, "uid", "", "`number` of the user that new files are given to")
	fl.StringVar(&given.gid, "gid", "", "`number` of the group that they are given to")
	fl.BoolVar(&reset, "reset", false, "have nothing said, but for what other flags say")
	return cmd
}

// secretFlag names where a secret is read from, so that none is in a list of processes or
// in the history of a shell.
type secretFlag struct{ path string }

func (f *secretFlag) declare(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.path, "secret-file", "", "`file` that has the secret key, - for the standard input (default: one is made)")
}

// maxSecretFile bounds what is read of a file that has a secret, in bytes.
const maxSecretFile = 4096

// read returns the secret, "" if none is given.
func (f *secretFlag) read(in io.Reader) (string, error) {
	if f.path == "" {
		return "", nil
	}
	content, err := readInput(f.path, in, maxSecretFile)
	if err != nil {
		return "", failed("cannot read the secret key", err, "--secret-file names the file")
	}
	secret := strings.TrimRight(string(content), "\r\n")
	if secret == "" {
		return "", usage("there is no secret key in "+f.path, "write it there, or leave out --secret-file to have one made")
	}
	return secret, nil
}

// readInput reads a file, - being the standard input, of so many bytes at most.
func readInput(path string, in io.Reader, most int64) ([]byte, error) {
	if path != "-" {
		file, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer file.Close() //nolint:errcheck // it was only read
		in = file
	}
	content, err := io.ReadAll(io.LimitReader(in, most+1))
	if err == nil && int64(len(content)) > most {
		err = fmt.Errorf("%s has more than %d bytes", path, most)
	}
	return content, err
}
