package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/shoal-storage/shoal/internal/adminclient"
)

func (f *adminFlags) serviceCommands() *cobra.Command {
	return noun("service", "Restart or stop one gateway",
		f.serviceDo(adminclient.Restart, "End the gateway that is asked with exit code 5, so that what runs it starts it again", "restarts"),
		f.serviceDo(adminclient.Stop, "End the gateway that is asked", "stops"))
}

// serviceDocument is what was asked of a gateway.
type serviceDocument struct {
	Gateway string             `json:"gateway"`
	Action  adminclient.Action `json:"action"`
	DryRun  bool               `json:"dry_run"`
}

func (f *adminFlags) serviceDo(action adminclient.Action, short, does string) *cobra.Command {
	var dry bool
	cmd := f.verb(&cobra.Command{
		Use: string(action), Short: short, Args: cobra.NoArgs,
		Long:    short + ".\nIt ends as with SIGTERM, when what it serves is done. The others go on: name the gateway\nitself, and no proxy before several.",
		Example: "  shoal admin service " + string(action) + " --url http://gw2:9000",
	}, func(ctx context.Context, r *adminRun, _ []string) error {
		host, err := r.Do(ctx, action, dry)
		if err != nil {
			return err
		}
		sentence := "gateway " + host + " " + does
		if dry {
			sentence = "gateway " + host + " would " + string(action)
		}
		return r.say(serviceDocument{host, action, dry}, sentence)
	})
	cmd.Flags().BoolVar(&dry, "dry-run", false, "only ask whether it would")
	return cmd
}
