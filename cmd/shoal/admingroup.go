package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/shoal-storage/shoal/internal/adminclient"
)

func (f *adminFlags) groupCommands() *cobra.Command {
	return noun("group", "Groups of users, who have the policies of the group too",
		f.groupList(), f.groupAdd(), f.groupInfo(),
		f.enabling("enable GROUP...", "Let the policies of groups apply again", "group", true, (*adminclient.Client).EnableGroup),
		f.enabling("disable GROUP...", "Let the policies of groups apply no longer", "group", false, (*adminclient.Client).EnableGroup),
		f.groupRemove())
}

func (f *adminFlags) groupList() *cobra.Command {
	return f.verb(&cobra.Command{Use: "ls", Short: "List the groups", Args: cobra.NoArgs}, func(ctx context.Context, r *adminRun, _ []string) error {
		names, err := r.Groups(ctx)
		if err != nil {
			return err
		}
		var rows [][]string
		for _, name := range names {
			rows = append(rows, []string{name})
		}
		return r.table(names, []string{"GROUP"}, rows)
	})
}

// membersDocument is who was put into a group or taken out of it.
type membersDocument struct {
	Group   string   `json:"group"`
	Added   []string `json:"added,omitempty"`
	Removed []string `json:"removed,omitempty"`
}

func (f *adminFlags) groupAdd() *cobra.Command {
	return f.verb(&cobra.Command{
		Use: "add GROUP [USER...]", Short: "Put users into a group, which is made if there is none",
		Example: "  shoal admin group add devs ann bob", Args: cobra.MinimumNArgs(1),
	}, func(ctx context.Context, r *adminRun, args []string) error {
		group, members := args[0], args[1:]
		if err := r.AddMembers(ctx, group, members); err != nil {
			return err
		}
		if len(members) == 0 {
			return r.say(membersDocument{Group: group}, "group "+group+" exists")
		}
		return r.say(membersDocument{Group: group, Added: members}, "group "+group+" now includes "+joined(members))
	})
}

func (f *adminFlags) groupInfo() *cobra.Command {
	return f.verb(&cobra.Command{Use: "info GROUP", Short: "Show a group and who is in it", Args: cobra.ExactArgs(1)}, func(ctx context.Context, r *adminRun, args []string) error {
		g, err := r.Group(ctx, args[0])
		if err != nil {
			return err
		}
		return r.fields(g, [2]string{"group", g.Name}, [2]string{"status", enabledWord(g.Enabled)}, [2]string{"members", joined(g.Members)}, [2]string{"policies", joined(g.Policies)}, [2]string{"changed", dated(g.Updated)})
	})
}

func (f *adminFlags) groupRemove() *cobra.Command {
	return f.verb(&cobra.Command{
		Use: "rm GROUP [USER...]", Short: "Take users out of a group, or remove a group that has none",
		Example: "  shoal admin group rm devs bob    # bob is no longer in it\n  shoal admin group rm devs        # the group is gone",
		Args:    cobra.MinimumNArgs(1),
	}, func(ctx context.Context, r *adminRun, args []string) error {
		group, members := args[0], args[1:]
		if len(members) == 0 {
			if err := r.RemoveGroup(ctx, group); err != nil {
				return err
			}
			return r.say(removedDocument{group}, "group "+group+" is removed")
		}
		if err := r.RemoveMembers(ctx, group, members); err != nil {
			return err
		}
		return r.say(membersDocument{Group: group, Removed: members}, "group "+group+" no longer has "+joined(members))
	})
}
