package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"syscall"
	"time"

	"github.com/shoal-storage/shoal/internal/directory"
	"github.com/shoal-storage/shoal/internal/ldap"
	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/sealing"
	"github.com/shoal-storage/shoal/raftlock"
)

// derivations is how many keys are derived at the same time: each takes 64 MiB.
const derivations = 2

// What the root credentials were before, while they are replaced.
const (
	formerUser     = "SHOAL_ROOT_USER_OLD"
	formerPassword = "SHOAL_ROOT_PASSWORD_OLD"
)

// openDirectory returns who there is: the root user, and those that the gateways of a
// fleet keep together.
func openDirectory(ctx context.Context, kept records, env *environment, creds credentials, sealer *sealing.Sealer, people directory.People) (*directory.Directory, error) {
	former, err := env.former()
	if err != nil {
		return nil, err
	}
	cfg := directory.Config{Root: directory.Credentials{AccessKey: creds.user, Secret: creds.password}, Former: former, Sealer: sealer, People: people, Now: time.Now, Canonical: ldap.Canonical}
	if kept != nil {
		cfg.Records = kept
	}
	d, err := directory.New(ctx, cfg)
	if err != nil {
		return nil, failed("cannot read the users", err, "start with the root credentials that they were made under, or give those as "+formerUser+" and "+formerPassword)
	}
	return d, nil
}

// former returns the root credentials that the environment says are to be replaced.
func (e *environment) former() (directory.Credentials, error) {
	user, _, err := e.secret([]string{formerUser, "MINIO_ROOT_USER_OLD", "MINIO_ACCESS_KEY_OLD"})
	if err != nil {
		return directory.Credentials{}, err
	}
	password, _, err := e.secret([]string{formerPassword, "MINIO_ROOT_PASSWORD_OLD", "MINIO_SECRET_KEY_OLD"})
	if err != nil {
		return directory.Credentials{}, err
	}
	if (user == "") != (password == "") {
		return directory.Credentials{}, usage("of the former root credentials one is missing", "set both "+formerUser+" and "+formerPassword)
	}
	return directory.Credentials{AccessKey: user, Secret: password}, nil
}

// settings are those of a fleet as records. A gateway that does not know its session to
// be alive knows nothing, since others have not waited for it: unless it can look where the
// settings are kept whether there are later ones.
type settings struct {
	node  *raftlock.Node
	newer func(ctx context.Context, generation uint32, index uint64) (bool, error) // nil: it cannot
}

// lookTime is how long it may take to find out whether there are later settings.
const lookTime = 3 * time.Second

// whileAlive has look look at the settings. It returns nil if one session was alive from
// before until after, or if there are none later than were known before: what was seen was in
// force then.
func (s settings) whileAlive(look func()) error {
	session := s.node.Session()
	generation, index := s.node.Known()
	look()
	err := s.node.Ready()
	switch {
	case err == nil && s.node.Session() == session:
		return nil
	case err == nil:
		err = raftlock.ErrCutOff // it was, meanwhile
	}
	if s.newer == nil {
		return object.E("look up", "", object.Unavailable, err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), lookTime)
	defer cancel()
	later, failure := s.newer(ctx, generation, index)
	if later && failure == nil {
		later, failure = s.recall(ctx, look)
	}
	if failure != nil || later {
		return object.E("look up", "", object.Unavailable, errors.Join(err, failure))
	}
	return nil
}

// recall has look look at the settings once more, when those that are kept are learnt. It
// reports whether there are later ones again.
func (s settings) recall(ctx context.Context, look func()) (later bool, err error) {
	if err := s.node.Recall(ctx); err != nil {
		return false, err
	}
	generation, index := s.node.Known()
	look()
	return s.newer(ctx, generation, index)
}

// Get implements directory.Records.
func (s settings) Get(name string) (value []byte, revision uint64, err error) {
	var found raftlock.Setting
	err = s.whileAlive(func() { found, _ = s.node.Get(name) })
	return found.Value, found.Revision, err
}

// List implements directory.Records.
func (s settings) List(prefix string) (names []string, err error) {
	err = s.whileAlive(func() { names = slices.Collect(maps.Keys(s.node.List(prefix))) })
	return names, err
}

// Set implements directory.Records.
func (s settings) Set(ctx context.Context, name string, value []byte, revision uint64) error {
	_, err := s.node.Set(ctx, raftlock.Change{Name: name, Value: value, Delete: value == nil, If: &revision})
	if errors.Is(err, raftlock.ErrChanged) {
		return errChanged
	}
	if errors.Is(err, raftlock.ErrTooMuch) {
		return fmt.Errorf("change a record: %w", err)
	}
	return object.E("change a record", "", kindOfChange(err), err)
}

// kindOfChange returns the Kind of an error of a change of settings.
func kindOfChange(err error) object.Kind {
	switch {
	case err == nil:
		return object.Internal
	case errors.Is(err, raftlock.ErrUnknown): // it is in force, and may not last
		return object.Unknown
	case errors.Is(err, syscall.EROFS):
		return object.ReadOnly
	case raftlock.Refuses(err):
		return object.Full
	}
	return object.Unavailable
}

// Changed implements quota.Records.
func (s settings) Changed() <-chan struct{} { return s.node.Changed() }
