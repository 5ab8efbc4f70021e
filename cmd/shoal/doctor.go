package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

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
	var f doctorFlags
	cmd := &cobra.Command{
		Use:   "doctor [flags] PATH",
		Short: "Check whether a directory or mount is fit to be served",
		Long: `Look at the directory PATH: how it is mounted, whether its file system does what
shoal rests on, and how long that takes. For each finding doctor says what it
means and what would cure it. It works in a directory of its own below PATH and
removes it again; a tree may be served meanwhile.

With --pair it also waits for another doctor that was started so on another host
with the same tree. The two meet by files in PATH, talk to each other over TCP, and
find out what each sees of what the other does: whether gateways see it at once, and
how long it takes until other programs do.

A drive of a set is recognised, and looked at as one: whose it is, its file system and
room, and how long it takes until what was written is durable.

The exit code is 0 if all is well and 3 if there are findings.`,
		Example: "  shoal doctor /mnt/nas\n  shoal doctor --json /mnt/nas > report.json\n  shoal doctor --pair /mnt/nas      # on two hosts",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.run(cmd, args[0])
		},
	}
	fl := cmd.Flags()
	fl.BoolVar(&f.json, "json", false, "print one JSON document instead of a text")
	fl.BoolVar(&f.quick, "quick", false, "try everything less often")
	fl.BoolVar(&f.pair, "pair", false, "measure with another doctor, on another host")
	fl.DurationVar(&f.wait, "pair-wait", 5*time.Minute, "how long to wait for it")
	fl.DurationVar(&f.patience, "patience", 5*time.Second, "how long to look for what the other one has done; clients of NFS may take a minute")
	return cmd
}

// doctorFlags are the flags of "shoal doctor".
type doctorFlags struct {
	json, quick, pair bool
	wait, patience    time.Duration
}

func (f *doctorFlags) run(cmd *cobra.Command, path string) error {
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
	drive := driveFindings(path)
	if drive != nil && f.pair {
		return usage(path+" is a drive of a set, which no other host has mounted", "leave out --pair")
	}
	e := doctor.Examination{
		Path: path, Root: root, Drive: drive, Mountinfo: string(mountinfo), Rounds: doctorRounds, Exclusive: exclusiveIn(path),
		Shared: func() (vfs.Dir, error) { return vfs.OpenShared(path, vfs.Sharing{}) },
	}
	if f.quick {
		e.Rounds = doctorQuickRounds
	}
	if isTerminal(cmd.ErrOrStderr()) {
		e.Progress = func(check string) { _, _ = fmt.Fprintf(cmd.ErrOrStderr(), "\r\033[K%s ...", check) } // for the eyes only
	}
	report, err := e.Run(cmd.Context())
	if err == nil && f.pair {
		report.Findings, err = f.pairUp(cmd, path, e.Progress, report)
	}
	if e.Progress != nil {
		_, _ = fmt.Fprint(cmd.ErrOrStderr(), "\r\033[K") // see above
	}
	if err != nil {
		return failed("cannot look at "+path, err, "")
	}
	if f.json {
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

// exclusiveIn makes files below dir that must not be there.
func exclusiveIn(dir string) func(path string) error {
	return func(path string) error {
		f, err := os.OpenFile(filepath.Join(dir, path), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600) //nolint:gosec // the directory that is looked at
		if err != nil {
			return err
		}
		return f.Close()
	}
}

// pairUp returns the findings of a report, and what was found with another doctor.
func (f *doctorFlags) pairUp(cmd *cobra.Command, path string, progress func(string), report doctor.Report) ([]doctor.Finding, error) {
	p := pairing{path: path, wait: f.wait, patience: f.patience, rounds: pairRounds, progress: progress}
	if f.quick {
		p.rounds = quickRounds
	}
	found, err := p.run(cmd.Context(), report.Mount)
	return append(report.Findings, found...), err
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
		if f.Cure != "" {
			fmt.Fprintf(&b, "        %-20s cure: %s\n", "", f.Cure)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}
