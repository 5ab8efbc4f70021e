package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/shoal-storage/shoal/internal/doctor"
	"github.com/shoal-storage/shoal/internal/vfs"
)

// How often the checks try what is tried more than once.
const (
	doctorRounds      = 100
	doctorQuickRounds = 20
)

func newDoctorCommand() *cobra.Command {
	var asJSON, quick bool
	cmd := &cobra.Command{
		Use:   "doctor [flags] PATH",
		Short: "Look whether a directory or mount is fit to be served",
		Long: `Look at the directory PATH: how it is mounted, whether its file system does what
shoal rests on, and how long that takes. For each finding doctor says what it
means and what would cure it. It works in a directory of its own below PATH and
removes it again; a tree may be served meanwhile.

The exit code is 0 if all is well and 3 if there are findings.`,
		Example: "  shoal doctor /mnt/nas\n  shoal doctor --json /mnt/nas > report.json",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runDoctor(cmd, args[0], asJSON, quick)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON document instead of a text")
	cmd.Flags().BoolVar(&quick, "quick", false, "try everything less often")
	return cmd
}

func runDoctor(cmd *cobra.Command, path string, asJSON, quick bool) error {
	path, err := filepath.Abs(path)
	if err == nil {
		path, err = filepath.EvalSymlinks(path)
	}
	if err != nil {
		return failed("cannot look at the directory", err, "give the path of one that is there")
	}
	root, err := vfs.OpenRoot(path)
	if err != nil {
		return failed("cannot look at "+path, err, "give the path of a directory that is there")
	}
	defer root.Close() //nolint:errcheck // a directory's handle
	mountinfo, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		mountinfo = nil // not Linux: the report says so
	}
	e := doctor.Examination{Path: path, Root: root, Mountinfo: string(mountinfo), Rounds: doctorRounds}
	if quick {
		e.Rounds = doctorQuickRounds
	}
	if isTerminal(cmd.ErrOrStderr()) {
		e.Progress = func(check string) { _, _ = fmt.Fprintf(cmd.ErrOrStderr(), "\r\033[K%s ...", check) } // for the eyes only
	}
	report, err := e.Run(cmd.Context())
	if e.Progress != nil {
		_, _ = fmt.Fprint(cmd.ErrOrStderr(), "\r\033[K") // see above
	}
	if err != nil {
		return failed("cannot look at "+path, err, "")
	}
	if asJSON {
		encoder := json.NewEncoder(cmd.OutOrStdout())
		encoder.SetIndent("", "  ")
		err = encoder.Encode(report)
	} else {
		err = writeReport(cmd.OutOrStdout(), report)
	}
	if err != nil {
		return failed("print the report", err, "")
	}
	switch report.Worst() {
	case doctor.Bad:
		return &failure{code: exitFindings, what: path + " is not safe to serve as it is", remedy: "the report says what would cure it"}
	case doctor.Warn:
		return &failure{code: exitFindings, what: path + " can be served, with what the report warns of"}
	case doctor.OK, doctor.Info:
	}
	return nil
}

// writeReport writes a report for people.
func writeReport(w io.Writer, r doctor.Report) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s", r.Path)
	if r.Mount.Type != "" {
		fmt.Fprintf(&b, "   %s from %s", r.Mount.Type, r.Mount.Source)
	}
	b.WriteString("\n\n")
	marks := map[doctor.Severity]string{doctor.OK: "ok  ", doctor.Info: "note", doctor.Warn: "WARN", doctor.Bad: "BAD "}
	for _, f := range r.Findings {
		fmt.Fprintf(&b, "  %s  %-20s %s\n", marks[f.Severity], f.Check, f.Found)
		if f.Effect != "" {
			fmt.Fprintf(&b, "        %-20s %s\n", "", f.Effect)
		}
		if f.Cure != "" && f.Severity != doctor.Info {
			fmt.Fprintf(&b, "        %-20s cure: %s\n", "", f.Cure)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}
