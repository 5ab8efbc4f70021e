package directory

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Names are names of what an Archive has.
type Names struct{ Policies, Users, Groups, Accounts, UserPolicies, GroupPolicies, EntryPolicies []string }

// Imported is what has come of an import.
type Imported struct {
	Added   Names
	Skipped Names
	Reasons []error // why each was skipped
}

// Import takes in an archive. What is there and not in the archive stays; what is in both
// is then as in the archive. What cannot be taken in is skipped, and so are the policies of
// somebody of which one is missing: to have the others could be more than all. The
// root user's service accounts are taken in only for him. It stops at the first error
// that is not about the archive; to import again does no harm.
func (d *Directory) Import(ctx context.Context, a *Archive, forRoot bool) (*Imported, error) {
	i := &importing{Imported: new(Imported), ctx: ctx, d: d, a: a, forRoot: forRoot}
	steps := []func() error{
		each(i, a.Policies, i.policy, func(n *Names) *[]string { return &n.Policies }),
		each(i, a.Users, i.user, func(n *Names) *[]string { return &n.Users }),
		each(i, a.Groups, i.group, func(n *Names) *[]string { return &n.Groups }),
		each(i, a.UserPolicies, i.userPolicies, func(n *Names) *[]string { return &n.UserPolicies }),
		each(i, a.GroupPolicies, i.groupPolicies, func(n *Names) *[]string { return &n.GroupPolicies }),
		each(i, a.EntryPolicies, i.entryPolicies(false), func(n *Names) *[]string { return &n.EntryPolicies }),
		each(i, a.Accounts, i.account, func(n *Names) *[]string { return &n.Accounts }),
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return i.Imported, err
		}
	}
	return i.Imported, nil
}

// importing is an import that is under way.
type importing struct {
	*Imported
	ctx     context.Context
	d       *Directory
	a       *Archive
	forRoot bool
}

// errBuiltIn is that there is no need to import what is there anyway.
var errBuiltIn = errors.New("directory: it is there without being made")

// each takes in what a part of the archive has, in the order of names.
func each[T any](i *importing, part map[string]T, take func(name string, v T) error, list func(*Names) *[]string) func() error {
	return func() error {
		for _, name := range slices.Sorted(maps.Keys(part)) {
			switch err := take(name, part[name]); {
			case errors.Is(err, errBuiltIn):
			case err == nil:
				added := list(&i.Added)
				*added = append(*added, name)
			case isOfArchive(err):
				skipped := list(&i.Skipped)
				*skipped = append(*skipped, name)
				i.Reasons = append(i.Reasons, fmt.Errorf("%s: %w", name, err))
			default:
				return err
			}
		}
		return nil
	}
}

// isOfArchive reports whether an error is about what an archive says.
func isOfArchive(err error) bool {
	for _, cause := range []error{ErrInvalid, ErrNoUser, ErrNoGroup, ErrNoPolicy, ErrTaken} {
		if errors.Is(err, cause) {
			return true
		}
	}
	return false
}

func (i *importing) policy(name string, text json.RawMessage) error {
	if i.d.canned[name] != nil {
		return errBuiltIn
	}
	return i.d.SetPolicy(i.ctx, name, string(text))
}

func (i *importing) user(name string, u ArchivedUser) error {
	return i.d.SetUser(i.ctx, name, u.Secret, isEnabled(u.Status))
}

func (i *importing) group(name string, g ArchivedGroup) error {
	// Members that are no users were left behind by users that are gone.
	members := slices.DeleteFunc(slices.Clone(g.Members), func(member string) bool {
		_, err := i.d.User(member)
		return errors.Is(err, ErrNoUser)
	})
	if err := i.d.AddMembers(i.ctx, name, members); err != nil {
		return err
	}
	return i.d.EnableGroup(i.ctx, name, isEnabled(g.Status))
}

func (i *importing) userPolicies(name string, m ArchivedMapping) error {
	return i.d.SetPolicies(i.ctx, Holder{Name: name}, m.Split())
}

func (i *importing) groupPolicies(name string, m ArchivedMapping) error {
	if strings.Contains(name, "=") { // no group of ours is called so
		return i.entryPolicies(true)(name, m)
	}
	return i.d.SetPolicies(i.ctx, Holder{Name: name, Group: true}, m.Split())
}

// entryPolicies returns what takes in what is attached to entries of an LDAP directory.
func (i *importing) entryPolicies(group bool) func(name string, m ArchivedMapping) error {
	return func(name string, m ArchivedMapping) error {
		dn, err := i.d.cfg.Canonical(name)
		if err != nil {
			return invalid("%v", err)
		}
		return i.d.SetPolicies(i.ctx, Holder{Name: dn, Group: group, Entry: true}, m.Split())
	}
}

func (i *importing) account(name string, acc ArchivedAccount) error {
	bound, err := acc.bound()
	if err != nil {
		return err
	}
	if acc.Parent == i.d.Root() && !i.forRoot {
		return invalid("a service account of the root user is for him to import")
	}
	person, err := acc.person(i.d.cfg.Canonical)
	if err != nil {
		return err
	}
	n := NewAccount{Parent: acc.Parent, Person: person, AccessKey: name, Secret: acc.Secret, Policy: bound, Name: acc.Name, Description: acc.Description, Disabled: !isEnabled(acc.Status)}
	if person != nil {
		n.Parent = person.Name
	}
	if acc.Expires != nil && acc.Expires.After(time.Unix(0, 0)) {
		n.Expires = *acc.Expires
	}
	_, _, err = i.d.AddAccount(i.ctx, n)
	if !errors.Is(err, ErrTaken) {
		return err
	}
	have, missing := i.d.Account(name)
	if missing != nil || have.Parent != n.Parent {
		return err
	}
	enabled := !n.Disabled
	return i.d.UpdateAccount(i.ctx, name, AccountChange{
		Enabled: &enabled, Secret: &n.Secret, Policy: &n.Policy, Name: &n.Name, Description: &n.Description, Expires: &n.Expires,
	})
}
