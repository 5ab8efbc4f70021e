package doctor

import (
	"context"
	"errors"
	"fmt"

	"github.com/shoal-storage/shoal/internal/vfs"
)

// severalGateways tells how gateways share the directory, which they find out in the
// same way.
func severalGateways(_ context.Context, e *Examination) ([]Finding, error) {
	if e.Shared == nil {
		return nil, nil
	}
	const check = "several gateways"
	root, err := e.Shared()
	if refused, ok := errors.AsType[*vfs.IncoherentError](err); ok {
		return []Finding{{
			Check: check, Severity: Warn, Found: "cannot share it: " + refused.Why, Effect: "A gateway that is to be one of several does not start.",
			Cure: refused.Cure + ", or let a single gateway serve it, with --single-gateway.",
		}}, nil
	}
	if err != nil {
		return nil, err
	}
	defer root.Close() //nolint:errcheck // a directory's handle
	f := Finding{Check: check, Severity: OK, Found: "share it directly: all see one state"}
	if stale, routed := vfs.IsRouted(root); routed {
		f = Finding{
			Check: check, Severity: Info, Found: fmt.Sprintf("route: each bucket is served by one of them at a time, and one that changes its gateway waits %v", stale),
			Effect: "Every gateway must reach every other one on its cluster port.",
		}
	} else if vfs.SeesByTime(root) {
		f.Found = "share it directly: they have the server asked before each look, and its clock go on after each change"
	} else if e.mount.network() {
		f.Found = "share it directly: they have the server asked before each look"
	}
	return []Finding{f}, nil
}

// fileLocks looks whether locks keep others out, by which alone a gateway that serves a
// tree for itself notices another one. Those of a fleet need none.
func fileLocks(_ context.Context, e *Examination) ([]Finding, error) {
	const check = "file locks"
	var errs [2]error
	for i := range errs {
		f, err := e.dir.Create("locked", 0o600)
		if err != nil {
			return nil, err
		}
		defer f.Close() //nolint:errcheck // nothing was written
		errs[i] = vfs.ErrUnsupported
		if l, ok := f.(vfs.Flocker); ok {
			errs[i] = l.Flock()
		}
	}
	switch {
	case errs[0] == nil && errors.Is(errs[1], vfs.ErrLocked):
		return []Finding{{Check: check, Severity: OK, Found: "keep a second one out"}}, nil
	case errs[0] == nil && errs[1] == nil:
		return []Finding{{
			Check: check, Severity: Warn, Found: "two had one lock at a time", Effect: "A gateway with --single-gateway does not notice another one. Gateways that share the tree need no such locks.",
			Cure: "Start no gateway with --single-gateway on it while another one serves it.",
		}}, nil
	}
	_, nolock := e.mount.option("nolock")
	f := Finding{
		Check: check, Severity: Info, Found: "there are none: " + errors.Join(errs[:]...).Error(),
		Effect: "A gateway with --single-gateway does not notice another one. Gateways that share the tree need no such locks.",
	}
	if nolock {
		f.Cure = e.mount.line()
	}
	return []Finding{f}, nil
}

// inodeNumbers looks whether a file keeps its number, by which its metadata is found.
func inodeNumbers(_ context.Context, e *Examination) ([]Finding, error) {
	const check = "inode numbers"
	f, err := e.dir.Create("numbered", 0o600)
	if err != nil {
		return nil, err
	}
	made, err := f.Stat()
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	named, err := e.dir.Stat("numbered")
	if err != nil {
		return nil, err
	}
	if err := e.dir.Rename("numbered", e.dir, "renamed"); err != nil {
		return nil, err
	}
	renamed, err := e.dir.Stat("renamed")
	if err != nil {
		return nil, err
	}
	if made.Ino == 0 || made.Ino != named.Ino || made.Ino != renamed.Ino || !named.Mtime.Equal(renamed.Mtime) {
		return []Finding{{
			Check: check, Severity: Bad, Found: fmt.Sprintf("a file was %d when it was made, then %d, and %d when it was renamed", made.Ino, named.Ino, renamed.Ino),
			Effect: "Objects lose their metadata, and their ETags change.", Cure: "Have the file server's numbers shown (on SMB: serverino), or serve a local disk or NFS.",
		}}, nil
	}
	return []Finding{{Check: check, Severity: OK, Found: "stay those of their files"}}, nil
}
