package main

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/shoal-storage/shoal/internal/adminclient"
	"github.com/shoal-storage/shoal/internal/config"
)

func (f *adminFlags) configCommands() *cobra.Command {
	return noun("config", "Settings that all gateways share", f.configGet(), f.configSet(), f.configReset(), f.configHistory(), f.configRestore(), f.configExport(), f.configImport())
}

func (f *adminFlags) configGet() *cobra.Command {
	cmd := f.verb(&cobra.Command{
		Use: "get [SYSTEM[:TARGET]]", Short: "Show which settings there are, or those of a system", Args: cobra.MaximumNArgs(1),
		Long: `Show the settings of a system that are in force at the gateway that is asked; without one,
which systems there are. Set by names what it was started with: that goes before what is
set for all.`,
		Example: "  shoal admin config get\n  shoal admin config get identity_ldap\n  shoal admin config get notify_webhook:MAIN --json",
	}, func(ctx context.Context, r *adminRun, args []string) error {
		if len(args) == 0 {
			return r.showSystems(ctx)
		}
		all, err := r.Settings(ctx, args[0])
		if err != nil {
			return err
		}
		return r.showSettings(all)
	})
	cmd.ValidArgsFunction = completeSettings
	return cmd
}

func (r *adminRun) showSystems(ctx context.Context) error {
	all, err := r.Systems(ctx)
	if err != nil {
		return err
	}
	var rows [][]string
	for _, s := range all {
		rows = append(rows, []string{s.Name, s.About})
	}
	return r.table(all, []string{"SYSTEM", "ABOUT"}, rows)
}

// settingDocument is a setting that is in force at a gateway.
type settingDocument struct {
	Target string `json:"target"` // its system, and the name of one of several
	Key    string `json:"key"`
	Value  string `json:"value"`
	SetBy  string `json:"set_by,omitempty"` // the flag or variable of the gateway
}

func (r *adminRun) showSettings(all []adminclient.Settings) error {
	list := []settingDocument{}
	var rows [][]string
	for _, s := range all {
		for _, key := range slices.Sorted(maps.Keys(s.Values)) {
			d := settingDocument{Target: s.Target.String(), Key: key, Value: s.Values[key]}
			if by := setBy(s.Target, key); slices.Contains(s.Own, by) {
				d.SetBy = by
			}
			list, rows = append(list, d), append(rows, []string{d.Target, d.Key, d.Value, d.SetBy})
		}
	}
	return r.table(list, []string{"SETTINGS OF", "KEY", "VALUE", "SET BY"}, rows)
}

// noSecrets says where secrets are taken from.
const noSecrets = "No secret is taken from the command line: --secret-file KEY=FILE names the file that has it,\n- being the standard input."

func (f *adminFlags) configSet() *cobra.Command {
	var secrets []string
	cmd := f.verb(&cobra.Command{
		Use: "set SYSTEM[:TARGET] KEY=VALUE...", Short: "Set settings for all gateways", Args: cobra.MinimumNArgs(1),
		Long: `Set settings of a system, or of one of its targets, for all gateways. What is not named
stays as it is. It is refused if the gateway that is asked could not use it.

` + noSecrets,
		Example: `  shoal admin config set api requests_max=2000
  shoal admin config set notify_webhook:MAIN endpoint=https://log/events --secret-file auth_token=token
  shoal admin config set identity_ldap enable=off`,
	}, func(ctx context.Context, r *adminRun, args []string) error {
		line, err := r.settingsLine(args, secrets)
		if err != nil {
			return err
		}
		restart, err := r.SetSettings(ctx, line)
		return r.saySettings(line.Target.String(), "set", restart, err)
	})
	cmd.Flags().StringArrayVar(&secrets, "secret-file", nil, "`KEY=FILE`: the value of a key is what the file has, - being the standard input")
	cmd.ValidArgsFunction = completeSettings
	return cmd
}

// settingsLine returns what is to be set.
func (r *adminRun) settingsLine(args, secrets []string) (config.Line, error) {
	to, err := config.ParseTarget(args[0])
	if err != nil {
		return config.Line{}, usage(printable(args[0])+" is no system", "shoal admin config get shows them")
	}
	line := config.Line{Target: to, Values: make(map[string]string)}
	for _, arg := range args[1:] {
		key, value, given := strings.Cut(arg, "=")
		switch {
		case !given:
			return line, usage(printable(arg)+" is not KEY=VALUE", "KEY= sets it to nothing, and shoal admin config reset to what gateways were started with")
		case value != "" && shownAs(key, "x") == hiddenValue:
			return line, usage(key+" is a secret, which lists of processes would show", "write it into a file, and take --secret-file "+key+"=FILE")
		}
		line.Values[key] = value
	}
	for _, arg := range secrets {
		key, path, given := strings.Cut(arg, "=")
		if !given {
			return line, usage("--secret-file "+printable(arg)+" is not KEY=FILE", "take one such as auth_token=token.txt")
		}
		from := secretFlag{path}
		if line.Values[key], err = from.read(r.cmd.InOrStdin()); err != nil {
			return line, err
		}
	}
	if len(line.Values) == 0 {
		return line, usage("nothing is said of "+to.String(), "take KEY=VALUE, or --secret-file KEY=FILE")
	}
	return line, nil
}

func (f *adminFlags) configReset() *cobra.Command {
	cmd := f.verb(&cobra.Command{
		Use: "reset SYSTEM[:TARGET] [KEY...]", Short: "Take settings back: each gateway has what it was started with", Args: cobra.MinimumNArgs(1),
		Example: "  shoal admin config reset api requests_max\n  shoal admin config reset notify_webhook:MAIN",
	}, func(ctx context.Context, r *adminRun, args []string) error {
		to, err := config.ParseTarget(args[0])
		if err != nil {
			return usage(printable(args[0])+" is no system", "shoal admin config get shows them")
		}
		restart, err := r.ResetSettings(ctx, to, args[1:])
		return r.saySettings(to.String(), "reset", restart, err)
	})
	cmd.ValidArgsFunction = completeSettings
	return cmd
}

func (f *adminFlags) configHistory() *cobra.Command {
	return f.verb(&cobra.Command{Use: "history", Short: "Show the last 20 changes, without secrets", Args: cobra.NoArgs}, func(ctx context.Context, r *adminRun, _ []string) error {
		all, err := r.SettingsHistory(ctx)
		if err != nil {
			return err
		}
		var rows [][]string
		for _, e := range all {
			for i, line := range strings.Split(e.Text, "\n") {
				row := []string{e.ID, dated(e.Time), line}
				if i > 0 {
					row[0], row[1] = "", ""
				}
				rows = append(rows, row)
			}
		}
		return r.table(all, []string{"ID", "TIME", "CHANGE"}, rows)
	})
}

func (f *adminFlags) configRestore() *cobra.Command {
	return f.verb(&cobra.Command{
		Use: "restore ID", Short: "Restore all settings as they were after a change", Args: cobra.ExactArgs(1),
		Long: "Restore all settings as they were after a change, which \"config history\" shows. It is a\nchange too, so it can be taken back.",
	}, func(ctx context.Context, r *adminRun, args []string) error {
		restart, err := r.RestoreSettings(ctx, args[0])
		return r.saySettings(args[0], "restored", restart, err)
	})
}

func (f *adminFlags) configExport() *cobra.Command {
	return f.archiveVerb(&cobra.Command{
		Use: "export FILE", Short: "Write all settings into a file, without secrets", Args: cobra.ExactArgs(1),
		Long: "Write all settings into a new file, - being the standard output, as lines that \"config\nimport\" and mc read. What may be secret is not in it.",
	}, func(ctx context.Context, r *adminRun, args []string) error {
		text, err := r.ExportSettings(ctx)
		if err != nil {
			return err
		}
		return r.writeArchive(args[0], text)
	})
}

func (f *adminFlags) configImport() *cobra.Command {
	return f.archiveVerb(&cobra.Command{
		Use: "import FILE", Short: "Set what differs in a file", Args: cobra.ExactArgs(1),
		Long: "Set for all gateways what a file has, - being the standard input, as far as it is not so\nalready. Secrets that it does not show stay as they are.",
	}, func(ctx context.Context, r *adminRun, args []string) error {
		text, err := readArchive(args[0], r)
		if err != nil {
			return err
		}
		restart, err := r.ImportSettings(ctx, text)
		return r.saySettings(args[0], "imported", restart, err)
	})
}

// settingsDocument is what was done to settings.
type settingsDocument struct {
	Settings string `json:"settings"` // of which system or target, file, or change
	Done     string `json:"done"`
	Restart  bool   `json:"restart"` // gateways have to be started again before all is in force
}

// saySettings says what was done to settings, unless that has failed.
func (r *adminRun) saySettings(what, done string, restart bool, err error) error {
	if err != nil {
		return err
	}
	sentence := what + " is " + done
	if restart {
		sentence += "; start each gateway again for it to be in force"
	}
	return r.say(settingsDocument{what, done, restart}, sentence)
}

// completeSettings completes the name of a system, and then its keys.
func completeSettings(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	server := newServerCommand()
	known := new(environment).shownSettings(server.Flags(), server.Flags())
	var all []string
	for _, s := range known {
		switch {
		case len(args) == 0:
			all = append(all, s.System)
		case cmd.Name() != "get" && strings.HasPrefix(args[0]+":", s.System+":"):
			all = append(all, s.Key+map[string]string{"set": "="}[cmd.Name()])
		}
	}
	all = slices.DeleteFunc(all, func(name string) bool { return !strings.HasPrefix(name, begun) })
	slices.Sort(all)
	how := cobra.ShellCompDirectiveNoFileComp
	if cmd.Name() == "set" && len(args) > 0 {
		how |= cobra.ShellCompDirectiveNoSpace // a value follows
	}
	return slices.Compact(all), how
}
