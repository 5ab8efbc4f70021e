package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/shoal-storage/shoal/internal/adminclient"
)

func (f *adminFlags) policyCommands() *cobra.Command {
	return noun("policy", "Policies: what they allow, and whom",
		f.policyList(), f.policyInfo(), f.policyCreate(),
		f.policyAttach("attach", "Attach policies to a user or a group", (*adminclient.Client).Attach, "has", "had", true),
		f.policyAttach("detach", "Detach policies from a user or a group", (*adminclient.Client).Detach, "no longer has", "did not have", false),
		f.policyEntities(), f.removing("rm NAME...", "Remove policies that nobody has", "policy", (*adminclient.Client).RemovePolicy))
}

func (f *adminFlags) policyList() *cobra.Command {
	return f.verb(&cobra.Command{Use: "ls", Short: "List the policies", Args: cobra.NoArgs}, func(ctx context.Context, r *adminRun, _ []string) error {
		policies, err := r.Policies(ctx)
		if err != nil {
			return err
		}
		var rows [][]string
		for _, p := range policies {
			rows = append(rows, []string{p.Name})
		}
		return r.table(policies, []string{"POLICY"}, rows)
	})
}

func (f *adminFlags) policyInfo() *cobra.Command {
	return f.verb(&cobra.Command{
		Use: "info NAME", Short: "Show a policy, as JSON that \"policy create\" takes", Args: cobra.ExactArgs(1),
		Example: "  shoal admin policy info readonly > mine.json",
	}, func(ctx context.Context, r *adminRun, args []string) error {
		p, err := r.Policy(ctx, args[0])
		if err != nil {
			return err
		}
		return r.print(p, func(w io.Writer) error { return writeIndented(w, p.Policy) })
	})
}

// writeIndented writes JSON for people.
func writeIndented(w io.Writer, document json.RawMessage) error {
	var b bytes.Buffer
	if err := json.Indent(&b, document, "", "  "); err != nil {
		return err
	}
	_, err := fmt.Fprintln(w, b.String())
	return err
}

// maxPolicy bounds what is read of a policy, in bytes. The gateway takes less.
const maxPolicy = 1 << 20

// readPolicy reads a policy from a file, or the standard input if that is -.
func readPolicy(path string, in io.Reader) (json.RawMessage, error) {
	text, err := readInput(path, in, maxPolicy)
	if err != nil {
		return nil, failed("cannot read the policy", err, "name a file with a policy, or - for the standard input")
	}
	var policy json.RawMessage
	if err := json.Unmarshal(text, &policy); err != nil {
		return nil, usage(path+" is not JSON: "+err.Error(), "docs/users.md shows a policy")
	}
	return policy, nil
}

// policyDocument names a policy.
type policyDocument struct {
	Policy string `json:"policy"`
}

func (f *adminFlags) policyCreate() *cobra.Command {
	cmd := f.verb(&cobra.Command{
		Use: "create NAME FILE", Short: "Make a policy, or replace it", Args: cobra.ExactArgs(2),
		Long:    "Make a policy from a file with the JSON of AWS IAM, - being the standard input. If there is\none of that name it is replaced, for all who have it.",
		Example: "  shoal admin policy create home home.json",
	}, func(ctx context.Context, r *adminRun, args []string) error {
		policy, err := readPolicy(args[1], r.cmd.InOrStdin())
		if err != nil {
			return err
		}
		if err := r.SetPolicy(ctx, args[0], policy); err != nil {
			return err
		}
		return r.say(policyDocument{args[0]}, "policy "+args[0]+" is in force")
	})
	cmd.ValidArgsFunction = nil // one is a file
	return cmd
}

// holderFlags name somebody that policies are attached to.
type holderFlags struct{ user, group, ldap string }

func (f *holderFlags) declare(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringVar(&f.user, "user", "", "`name` of the user")
	fl.StringVar(&f.group, "group", "", "`name` of the group")
	fl.StringVar(&f.ldap, "ldap", "", "distinguished `name` of a user or group of the LDAP directory")
	cmd.MarkFlagsOneRequired("user", "group", "ldap")
	cmd.MarkFlagsMutuallyExclusive("user", "group", "ldap")
}

func (f *holderFlags) holder() adminclient.Holder {
	switch {
	case f.group != "":
		return adminclient.Holder{Kind: adminclient.GroupKind, Name: f.group}
	case f.ldap != "":
		return adminclient.Holder{Kind: adminclient.EntryKind, Name: f.ldap}
	}
	return adminclient.Holder{Kind: adminclient.UserKind, Name: f.user}
}

// attachedDocument is which policies were attached or detached.
type attachedDocument struct {
	adminclient.Holder
	Attached []string `json:"attached,omitempty"`
	Detached []string `json:"detached,omitempty"`
}

func (f *adminFlags) policyAttach(use, short string, do func(*adminclient.Client, context.Context, adminclient.Holder, []string) ([]string, error), outcome, before string, attach bool) *cobra.Command {
	var to holderFlags
	cmd := f.verb(&cobra.Command{
		Use: use + " POLICY... (--user NAME | --group NAME | --ldap DN)", Short: short, Args: cobra.MinimumNArgs(1), DisableFlagsInUseLine: true,
		Long:    short + ". Where all is so already nothing is changed, and the command says so.",
		Example: "  shoal admin policy " + use + " readwrite --user ann\n  shoal admin policy " + use + " readonly diagnostics --group devs",
	}, func(ctx context.Context, r *adminRun, args []string) error {
		who := to.holder()
		done, err := do(r.Client, ctx, who, args)
		if err != nil {
			return err
		}
		document := attachedDocument{Holder: who, Detached: done}
		if attach {
			document = attachedDocument{Holder: who, Attached: done}
		}
		if len(done) == 0 {
			return r.say(document, string(who.Kind)+" "+who.Name+" "+before+" "+joined(args)+": nothing was changed")
		}
		return r.say(document, string(who.Kind)+" "+who.Name+" "+outcome+" "+joined(done))
	})
	to.declare(cmd)
	return cmd
}

func (f *adminFlags) policyEntities() *cobra.Command {
	var of adminclient.Selection
	cmd := f.verb(&cobra.Command{
		Use: "entities", Short: "Show who has which policies", Args: cobra.NoArgs,
		Example: "  shoal admin policy entities --policy readwrite",
	}, func(ctx context.Context, r *adminRun, _ []string) error {
		all, err := r.Attachments(ctx, of)
		if err != nil {
			return err
		}
		var rows [][]string
		for _, a := range all {
			rows = append(rows, []string{string(a.Kind), a.Name, joined(a.Policies)})
		}
		return r.table(all, []string{"KIND", "NAME", "POLICIES"}, rows)
	})
	fl := cmd.Flags()
	fl.StringArrayVar(&of.Users, "user", nil, "`name` of a user; can be given again")
	fl.StringArrayVar(&of.Groups, "group", nil, "`name` of a group; can be given again")
	fl.StringArrayVar(&of.Policies, "policy", nil, "`name` of a policy; can be given again")
	fl.BoolVar(&of.LDAP, "ldap", false, "of the users and groups of the LDAP directory, by their distinguished names")
	return cmd
}
