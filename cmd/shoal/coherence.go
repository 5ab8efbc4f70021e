package main

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/shoal-storage/shoal/internal/doctor"
	"github.com/shoal-storage/shoal/internal/vfs"
	"github.com/shoal-storage/shoal/raftlock/mesh"
)

// doctorProtocol is what gateways that measure a mount together speak on the
// cluster port.
const doctorProtocol = "shoal-doctor/1"

// What a gateway that joins measures, with how many others it tries, and for how
// long with each: one that is frozen does not answer.
const (
	joinRounds   = 3
	joinAttempts = 2
	joinTime     = 5 * time.Second
)

// client is this gateway as a doctor sees it.
func (fl *fleet) client(path string) *doctor.Client {
	mountinfo, _ := os.ReadFile("/proc/self/mountinfo") // without one nothing is known of the mount
	return &doctor.Client{Root: fl.root, Mount: doctor.FindMount(string(mountinfo), path)}
}

// answerDoctors has other gateways measure with this one.
func (fl *fleet) answerDoctors(ctx context.Context, path string) {
	own := fl.client(path)
	fl.mesh.Handle(doctorProtocol, func(c *mesh.Conn) {
		defer c.Close() //nolint:errcheck // all was said
		if _, err := doctor.Answer(ctx, c, own); err != nil {
			fl.log.Debug("a gateway that measures the mount broke off", "error", err)
		}
	})
}

// measure finds out, with another gateway, whether each sees at once what the other
// does on the mount. It is refused if not. What cannot be measured, because the other one
// has gone or the file system fails, is not held against it.
func (fl *fleet) measure(ctx context.Context, path string) error {
	if _, routed := vfs.IsRouted(fl.root); routed {
		return nil
	}
	if err := doctor.Sweep(ctx, fl.root, time.Now()); err != nil {
		fl.log.Warn("what others that measured have left behind could not be removed", "error", err)
	}
	others := fl.node.Others()
	for i, other := range others[:min(len(others), joinAttempts)] {
		found, err := fl.measureWith(ctx, path, other.Address, other.Node)
		if err == nil {
			return badOnes(path, found)
		}
		fl.log.Warn("it could not be measured whether this gateway and another one see what the other does", "attempt", i+1, "with", other.Address, "error", err)
	}
	return nil
}

func (fl *fleet) measureWith(ctx context.Context, path, address, node string) ([]doctor.Finding, error) {
	ctx, cancel := context.WithTimeout(ctx, joinTime)
	defer cancel()
	conn, err := fl.mesh.Dial(ctx, address, node, doctorProtocol)
	if err != nil {
		return nil, err
	}
	defer conn.Close() //nolint:errcheck // all was said
	own := fl.client(path)
	own.Dir = doctor.NewDir()
	pair := doctor.Pair{Own: own, Other: &doctor.Remote{Conn: conn, Dir: own.Dir}, Rounds: joinRounds, Cure: own.Mount.Cure()}
	return pair.Run(ctx)
}

// badOnes returns an error for findings with which the tree must not be served.
func badOnes(path string, found []doctor.Finding) error {
	var errs []error
	for _, f := range found {
		if f.Severity == doctor.Bad {
			errs = append(errs, unsafe("cannot serve "+path+" with the other gateways: "+f.Found, f.Cure))
		}
	}
	return errors.Join(errs...)
}
