package main

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/shoal-storage/shoal/internal/doctor"
)

// formedDrives returns the paths of two drives that were formed into a set and given back.
func formedDrives(t *testing.T) []string {
	t.Helper()
	paths := []string{t.TempDir(), t.TempDir()}
	f := serverFlags{setSize: 2}
	l, err := layoutOf(&f, []poolOf[string]{{drives: paths}}, func(string) string { return "" })
	if err != nil {
		t.Fatal(err)
	}
	b, err := f.openDrives(t.Context(), l, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := b.close(); err != nil {
		t.Fatal(err)
	}
	return paths
}

// examined returns what "shoal doctor" says of a path.
func examined(t *testing.T, args ...string) (out string, err error) {
	t.Helper()
	var text bytes.Buffer
	cmd := newDoctorCommand()
	cmd.SetOut(&text)
	cmd.SetErr(&text)
	cmd.SetContext(t.Context())
	cmd.SetArgs(append(args, "--quick"))
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	err = cmd.Execute()
	return text.String(), err
}

func TestDoctorRecognisesADriveOfASetAndLooksAtItAsOne(t *testing.T) {
	paths := formedDrives(t)
	before := pathsBelow(t, paths[1])
	out, _ := examined(t, paths[1])
	for _, want := range []string{"drive 2 of the 2 of set 1", "not as a share", "shoal heal status", "direct writes", "made durable", "free"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
	for _, not := range []string{"hard links", "extended attributes", "several gateways"} {
		if strings.Contains(out, not) {
			t.Errorf("it is looked at as a share:\n%s", out)
		}
	}
	if after := pathsBelow(t, paths[1]); after != before {
		t.Errorf("the drive had\n%s\nand has\n%s", before, after)
	}
	if out, err := examined(t, paths[1], "--pair"); code(t, err) != exitUsage {
		t.Errorf("as a share that two hosts have: %v, %s", err, out)
	}
}

func pathsBelow(t *testing.T, dir string) string {
	t.Helper()
	var all []string
	if err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		all = append(all, path)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return strings.Join(all, "\n")
}

func TestDoctorSaysWhatIsWrongWithADrive(t *testing.T) {
	paths := formedDrives(t)
	identity := filepath.Join(paths[0], ".shoal.sys", "identity")
	text, err := os.ReadFile(identity)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(identity, append(text[:10], text[11:]...), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := examined(t, paths[0]); code(t, err) != exitFindings || !strings.Contains(out, "BAD   identity") || !strings.Contains(out, "its set is without it") {
		t.Errorf("a damaged identity: %v\n%s", err, out)
	}
	if found := driveFindings(t.TempDir()); found != nil {
		t.Errorf("a directory is taken for a drive: %+v", found)
	}
	if found := driveFindings(paths[1]); len(found) == 0 || (doctor.Report{Findings: found}).Worst() == doctor.Bad {
		t.Errorf("a drive: %+v", found)
	}
}
