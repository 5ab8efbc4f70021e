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
	"strings"
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
	mount     Mount
	dir       vfs.Dir // for what is tried
}

// check is one check. What it returns is in the order in which it is shown.
type check struct {
	name string
	run  func(ctx context.Context, e *Examination) ([]Finding, error)
}

func checks() []check {
	return []check{
		{"mount", mountOptions},
		{"write", canWrite},
		{"space", space},
		{"exclusive create", exclusiveCreate},
		{"atomic replace", atomicReplace},
		{"hard links", hardLinks},
		{"extended attributes", attributes},
		{"names", names},
		{"clock", clock},
		{"commit latency", latency},
	}
}

// NewDir returns a name for a directory to work in.
func NewDir() string { return DirPrefix + strings.ToLower(rand.Text()[:10]) }

// Run makes all checks in a directory of their own below Path, which is removed
// again. A check that cannot be made is a finding too. The error is that of ctx,
// or says that the directory for the checks could not be made.
func (e *Examination) Run(ctx context.Context) (Report, error) {
	report := Report{Path: e.Path}
	e.mount = FindMount(e.Mountinfo, e.Path)
	report.Mount = e.mount
	name := NewDir()
	if err := e.Root.Mkdir(name, 0o700); err != nil {
		report.Findings = []Finding{notWritable(err)}
		return report, nil //nolint:nilerr // it is the finding
	}
	dir, err := e.Root.OpenDir(name)
	if err != nil {
		return report, fmt.Errorf("open the directory of the checks: %w", err)
	}
	e.dir = dir
	defer func() { _ = errors.Join(empty(dir), dir.Close(), e.Root.Rmdir(name)) }() // a rest is seen by its name
	for _, c := range checks() {
		if ctx.Err() != nil {
			return report, context.Cause(ctx)
		}
		if e.Progress != nil {
			e.Progress(c.name)
		}
		found, err := c.run(ctx, e)
		if err != nil {
			found = append(found, Finding{
				Check: c.name, Severity: Bad, Found: err.Error(), Effect: "What Shoal does all the time fails here.",
				Cure: "See to it that this can be done by the user that shoal runs as.",
			})
		}
		report.Findings = append(report.Findings, found...)
	}
	return report, nil
}

func notWritable(err error) Finding {
	return Finding{
		Check: "write", Severity: Bad, Found: err.Error(), Effect: "Nothing can be written.",
		Cure: "Mount it read-write, and give the directory to the user that shoal runs as (on the server, where the export squashes root).",
	}
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
