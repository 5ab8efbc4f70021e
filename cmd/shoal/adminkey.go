package main

import (
	"context"
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/shoal-storage/shoal/internal/adminclient"
)

func (f *adminFlags) keyCommands() *cobra.Command {
	return noun("accesskey", "Further access keys of users, for programs",
		f.keyList(), f.keyCreate(), f.keyEdit(), f.keyInfo(),
		f.enabling("enable KEY...", "Have access keys count again", "access key", true, (*adminclient.Client).EnableAccessKey),
		f.enabling("disable KEY...", "Have access keys refused by every gateway", "access key", false, (*adminclient.Client).EnableAccessKey),
		f.removing("rm KEY...", "Remove access keys", "access key", (*adminclient.Client).RemoveAccessKey))
}

func (f *adminFlags) keyList() *cobra.Command {
	return f.verb(&cobra.Command{
		Use: "ls [USER...]", Short: "List the access keys of users, or of all whose keys you may see", Args: cobra.ArbitraryArgs,
	}, func(ctx context.Context, r *adminRun, args []string) error {
		keys, err := r.AccessKeys(ctx, args)
		if err != nil {
			return err
		}
		var rows [][]string
		for _, k := range keys {
			rows = append(rows, []string{k.AccessKey, k.User, enabledWord(k.Enabled), k.Name, boundWord(k), dated(k.Expires)})
		}
		return r.table(keys, []string{"ACCESS KEY", "USER", "STATUS", "NAME", "POLICY", "EXPIRES"}, rows)
	})
}

// boundWord is how people are told whether an access key may less than its user.
func boundWord(k adminclient.AccessKey) string {
	if k.Policy == nil {
		return "the user's"
	}
	return "its own"
}

// keyFlags say how an access key is to be.
type keyFlags struct {
	secret                             secretFlag
	policy, name, description, expires string
}

func (f *keyFlags) declare(cmd *cobra.Command, secret string) {
	fl := cmd.Flags()
	fl.StringVar(&f.secret.path, "secret-file", "", "`file` that has the secret key, - for the standard input (default: "+secret+")")
	fl.StringVar(&f.policy, "policy", "", "`file` with a policy, beyond which the key may do nothing; - for the standard input")
	fl.StringVar(&f.name, "name", "", "`name` for people")
	fl.StringVar(&f.description, "description", "", "`text` for people")
	fl.StringVar(&f.expires, "expires", "", "`time` that it ends: 30d or 12h from now, or 2027-01-31T12:00:00Z; never")
}

// parseExpiry returns when something is to end: nil if nothing was said, zero if never.
func parseExpiry(text string, now time.Time) (*time.Time, error) {
	switch text {
	case "":
		return nil, nil
	case "never":
		return &time.Time{}, nil
	}
	if at, err := time.Parse(time.RFC3339, text); err == nil {
		return &at, nil
	}
	after, err := time.ParseDuration(text)
	if days, isDays := strings.CutSuffix(text, "d"); isDays {
		var n uint64
		n, err = strconv.ParseUint(days, 10, 16) // 65535 days are less than the longest Duration
		after = time.Duration(n) * 24 * time.Hour
	}
	if err != nil || after <= 0 {
		return nil, usage("--expires "+printable(text)+" is no time to come", "take one such as 30d, 12h or 2027-01-31T12:00:00Z")
	}
	at := now.Add(after).UTC().Truncate(time.Second)
	return &at, nil
}

// bound returns the policy of the key, nil if none was named.
func (f *keyFlags) bound(r *adminRun) (json.RawMessage, error) {
	if f.policy == "" {
		return nil, nil
	}
	return readPolicy(f.policy, r.cmd.InOrStdin())
}

func (f *adminFlags) keyCreate() *cobra.Command {
	var given keyFlags
	var user, accessKey string
	cmd := f.verb(&cobra.Command{
		Use: "create", Short: "Make an access key", Args: cobra.NoArgs,
		Long: `Make a further access key of a user. It may do what the user may, and with a policy
of its own no more than that. It ends when it expires, and is refused while the user is.`,
		Example: "  shoal admin accesskey create --user ann --expires 30d --name backup\n  shoal admin accesskey create --policy readonly.json",
	}, func(ctx context.Context, r *adminRun, _ []string) error {
		n := adminclient.NewAccessKey{User: user, AccessKey: accessKey, Name: given.name, Description: given.description}
		expires, err := parseExpiry(given.expires, time.Now())
		if err != nil {
			return err
		}
		if expires != nil {
			n.Expires = *expires
		}
		if n.Policy, err = given.bound(r); err != nil {
			return err
		}
		if n.Secret, err = given.secret.read(r.cmd.InOrStdin()); err != nil {
			return err
		}
		made, secret, err := r.AddAccessKey(ctx, n)
		if err != nil {
			return err
		}
		if n.Secret != "" {
			secret = ""
		}
		return r.showCredentials(made, secret)
	})
	given.declare(cmd, "one is made and shown, this once")
	cmd.Flags().StringVar(&user, "user", "", "`name` of the user, or distinguished name of somebody of the LDAP directory (default: whose credentials these are)")
	cmd.Flags().StringVar(&accessKey, "access-key", "", "access `key` (default: one is made)")
	return cmd
}

func (f *adminFlags) keyEdit() *cobra.Command {
	var given keyFlags
	var unbound bool
	cmd := f.verb(&cobra.Command{
		Use: "edit KEY", Short: "Change an access key: what no flag names stays", Args: cobra.ExactArgs(1),
		Example: "  shoal admin accesskey edit KEY --expires never\n  shoal admin accesskey edit KEY --no-policy",
	}, func(ctx context.Context, r *adminRun, args []string) error {
		c := adminclient.KeyChange{Name: given.name, Description: given.description}
		var err error
		if c.Expires, err = parseExpiry(given.expires, time.Now()); err != nil {
			return err
		}
		if c.Policy, err = given.bound(r); err != nil {
			return err
		}
		if unbound {
			c.Policy = json.RawMessage("{}")
		}
		if c.Secret, err = given.secret.read(r.cmd.InOrStdin()); err != nil {
			return err
		}
		if err := r.EditAccessKey(ctx, args[0], c); err != nil {
			return err
		}
		return r.say(changedDocument{args[0]}, "access key "+args[0]+" is changed")
	})
	given.declare(cmd, "it stays")
	cmd.Flags().BoolVar(&unbound, "no-policy", false, "take its own policy away: it may do what the user may")
	cmd.MarkFlagsMutuallyExclusive("policy", "no-policy")
	cmd.MarkFlagsOneRequired("secret-file", "policy", "no-policy", "name", "description", "expires")
	return cmd
}

// changedDocument is what was changed.
type changedDocument struct {
	Changed string `json:"changed"`
}

func (f *adminFlags) keyInfo() *cobra.Command {
	return f.verb(&cobra.Command{Use: "info KEY", Short: "Show an access key", Args: cobra.ExactArgs(1)}, func(ctx context.Context, r *adminRun, args []string) error {
		k, err := r.AccessKey(ctx, args[0])
		if err != nil {
			return err
		}
		return r.fields(k,
			[2]string{"access key", k.AccessKey}, [2]string{"user", k.User}, [2]string{"status", enabledWord(k.Enabled)}, [2]string{"name", k.Name},
			[2]string{"description", k.Description}, [2]string{"expires", dated(k.Expires)}, [2]string{"policy", string(k.Policy)})
	})
}
