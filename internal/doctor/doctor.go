// Package doctor looks at a directory before it is served, or when something is
// wrong with it: how it is mounted, whether its file system does what Shoal
// rests on, and how long that takes. For each finding it says what it means and
// what would cure it.
package doctor

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"
	"time"

	"github.com/shoal-storage/shoal/internal/vfs"
)

// Severity says how much a finding matters.
type Severity string

// The severities.
const (
	OK   Severity = "ok"
	Info Severity = "info" // nothing to do, but good to know
	Warn Severity = "warn" // it works, and not as well as it could
	Bad  Severity = "bad"  // data can be lost, or it does not work
)

// Finding is what one check has found.
type Finding struct {
	Check    string   `json:"check"`
	Severity Severity `json:"severity"`
	Found    string   `json:"found"`
	Effect   string   `json:"effect,omitempty"` // what it means
	Cure     string   `json:"cure,omitempty"`   // what to do, to be pasted where it can be
}

// Report is what all checks have found.
type Report struct {
	Path     string    `json:"path"`
	Mount    Mount     `json:"mount"`
	Findings []Finding `json:"findings"`
}

// Worst returns the gravest severity in a report.
func (r Report) Worst() Severity {
	worst := OK
	order := map[Severity]int{OK: 0, Info: 1, Warn: 2, Bad: 3}
	for _, f := range r.Findings {
		if order[f.Severity] > order[worst] {
			worst = f.Severity
		}
	}
	return worst
}

// Examination is one look at a directory.
type Examination struct {
	Path      string
	Root      vfs.Dir // of Path; it stays the caller's to close
	Mountinfo string  // content of /proc/self/mountinfo, "" where there is none
	Rounds    int     // of what is tried more than once
	Progress  func(check string)
	// Shared opens Path as gateways do that share it; nil: that is not looked at.
	Shared func() (vfs.Dir, error)
	// Exclusive makes a file that must not be there, at a path below Path; nil: that is
	// not tried.
	Exclusive func(path string) error
	// Drive is what is known of Path if it is a drive of a set: then it is looked at as one. nil:
	// it is a tree.
	Drive []Finding

	mount Mount
	name  string  // of the directory for what is tried
	dir   vfs.Dir // that directory
}

// check is one check. What it returns is in the order in which it is shown.
type check struct {
	name string
	run  func(ctx context.Context, e *Examination) ([]Finding, error)
}

// looks are the checks that change nothing.
func looks() []check {
	return []check{
		{"mount", mountOptions},
		{"several gateways", severalGateways},
		{"space", space},
	}
}

// trials are those that need a directory to work in. Where the first one finds
// something bad there is no point in the others.
func trials() []check {
	return []check{
		{"write", canWrite},
		{"exclusive create", exclusiveCreate},
		{"atomic replace", atomicReplace},
		{"hard links", hardLinks},
		{"inode numbers", inodeNumbers},
		{"file locks", fileLocks},
		{"extended attributes", attributes},
		{"names", names},
		{"upper and lower case", letters},
		{"clock", clock},
		{"commit latency", latency},
	}
}

// NewDir returns a name for a directory to work in.
func NewDir() string { return DirPrefix + strings.ToLower(rand.Text()[:10]) }

// Run makes all checks, those that need it in a directory of their own below Path, which
// is removed again. A check that cannot be made is a finding too. The error is that of
// ctx, or says that the directory for the checks could not be opened.
func (e *Examination) Run(ctx context.Context) (report Report, err error) {
	e.mount = FindMount(e.Mountinfo, e.Path)
	report = Report{Path: e.Path, Mount: e.mount}
	looks, trials := looks(), trials()
	if e.Drive != nil {
		looks, trials = driveLooks(), driveTrials()
	}
	if err := e.make(ctx, &report, looks); err != nil {
		return report, err
	}
	e.name = NewDir()
	if err := e.Root.Mkdir(e.name, 0o700); err != nil {
		report.Findings = append(report.Findings, e.notWritable(err))
		return report, nil //nolint:nilerr // it is the finding
	}
	if e.dir, err = e.Root.OpenDir(e.name); err != nil {
		return report, fmt.Errorf("open the directory of the checks: %w", err)
	}
	defer func() { _ = errors.Join(empty(e.dir), e.dir.Close(), e.Root.Rmdir(e.name)) }() // a rest is seen by its name
	return report, e.make(ctx, &report, trials)
}

// make makes checks.
func (e *Examination) make(ctx context.Context, report *Report, checks []check) error {
	for _, c := range checks {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if e.Progress != nil {
			e.Progress(c.name)
		}
		found, err := c.run(ctx, e)
		if isFull(err) {
			report.Findings = append(report.Findings, e.notWritable(err))
			return nil
		}
		if err != nil {
			found = append(found, Finding{
				Check: c.name, Severity: Bad, Found: err.Error(), Effect: "What Shoal does all the time fails here.",
				Cure: "See to it that this can be done by the user that shoal runs as.",
			})
		}
		report.Findings = append(report.Findings, found...)
		if c.name == "write" && (Report{Findings: found}).Worst() == Bad {
			return nil
		}
	}
	return nil
}

// notWritable is the finding that err keeps everything from being written.
func (e *Examination) notWritable(err error) Finding {
	f := Finding{Check: "write", Severity: Bad, Found: err.Error(), Effect: "Nothing can be written."}
	switch {
	case errors.Is(err, syscall.EROFS):
		f.Cure = e.mount.remount("rw") + "   (and on a file server, export it with rw)"
	case isFull(err) && !errors.Is(err, syscall.EDQUOT):
		f.Cure = "Make room: df -h " + e.Path + " and df -i " + e.Path + " say of what."
	case errors.Is(err, syscall.EDQUOT):
		f.Cure = "Raise the quota of the user that shoal runs as, or make room."
	case errors.Is(err, fs.ErrPermission):
		f.Cure = "chown SHOAL-USER " + e.Path + "   (where the file server maps root to nobody, there; or " + e.mount.export("rw,sync,no_subtree_check,no_root_squash") + ")"
	default:
		f.Cure = "See what the log of this host, and of the file server, say of it."
	}
	return f
}

func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// empty removes what checks have left.
func empty(dir vfs.Dir) error {
	entries, err := dir.ReadDir()
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if entry.Type.IsDir() {
			err = errors.Join(err, dir.Rmdir(entry.Name))
		} else {
			err = errors.Join(err, dir.Remove(entry.Name))
		}
	}
	return err
}

// write makes a small file, durably.
func (e *Examination) write(name, content string) error {
	f, err := e.dir.Create(name, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write([]byte(content))
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

func (e *Examination) read(name string) (string, error) {
	f, err := e.dir.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close() //nolint:errcheck // it was only read
	st, err := f.Stat()
	if err != nil {
		return "", err
	}
	b := make([]byte, st.Size)
	_, err = f.ReadAt(b, 0)
	return string(b), err
}

// since is a time as people read it.
func since(d time.Duration) string { return d.Round(10 * time.Microsecond).String() }
