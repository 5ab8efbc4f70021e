package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/shoal-storage/shoal/internal/directory"
	"github.com/shoal-storage/shoal/internal/sealing"
	"github.com/shoal-storage/shoal/raftlock"
)

// derivations is how many keys are derived at the same time: each takes 64 MiB.
const derivations = 2

// openDirectory returns who there is: the root user, and those that the gateways of a
// fleet keep together.
func openDirectory(fleet *fleet, creds credentials, sealer *sealing.Sealer) (*directory.Directory, error) {
	cfg := directory.Config{AccessKey: creds.user, Secret: creds.password, Sealer: sealer, Now: time.Now}
	if fleet != nil {
		cfg.Records = settings{fleet.node}
	}
	d, err := directory.New(cfg)
	if err != nil {
		return nil, failed("cannot read the users", err, "start with the root credentials that they were made under")
	}
	return d, nil
}

// settings are those of a fleet as records. A gateway that does not know its session to
// be alive knows nothing: others have not waited for it.
type settings struct{ node *raftlock.Node }

// Get implements directory.Records.
func (s settings) Get(name string) (value []byte, revision uint64, err error) {
	found, _ := s.node.Get(name)
	return found.Value, found.Revision, s.node.Ready()
}

// List implements directory.Records.
func (s settings) List(prefix string) ([]string, error) {
	return slices.Collect(maps.Keys(s.node.List(prefix))), s.node.Ready()
}

// Set implements directory.Records.
func (s settings) Set(ctx context.Context, name string, value []byte, revision uint64) error {
	_, err := s.node.Set(ctx, raftlock.Change{Name: name, Value: value, Delete: value == nil, If: &revision})
	if errors.Is(err, raftlock.ErrChanged) {
		return directory.ErrChanged
	}
	if err != nil {
		return fmt.Errorf("change a record of the users: %w", err)
	}
	return nil
}
