package directory

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/shoal-storage/shoal/internal/iam"
)

// Policy is a policy as it is shown.
type Policy struct {
	Name             string
	Text             string // JSON
	Created, Updated time.Time
}

// Policies returns all policies, those that are there without being made first.
func (d *Directory) Policies() ([]Policy, error) {
	made, err := d.names(policyRecords)
	if err != nil {
		return nil, err
	}
	var all []Policy
	for _, name := range slices.Concat(slices.Sorted(maps.Keys(d.canned)), made) {
		p, err := d.policy(name)
		if err != nil {
			return nil, err
		}
		if p != nil {
			all = append(all, Policy{Name: name, Text: p.Text, Created: p.Created, Updated: p.Updated})
		}
	}
	return all, nil
}

// Policy returns a policy, or ErrNoPolicy.
func (d *Directory) Policy(name string) (Policy, error) {
	p, err := d.policy(name)
	if err != nil {
		return Policy{}, err
	}
	if p == nil {
		return Policy{}, ErrNoPolicy
	}
	return Policy{Name: name, Text: p.Text, Created: p.Created, Updated: p.Updated}, nil
}

// SetPolicy makes or replaces a policy, which counts at once for whom it is attached
// to.
func (d *Directory) SetPolicy(ctx context.Context, name, text string) error {
	if err := checkName("name of a policy", name, 1); err != nil {
		return err
	}
	if d.canned[name] != nil {
		return invalid("the policy %s cannot be changed", name)
	}
	if err := checkPolicy(text); err != nil {
		return err
	}
	return edit(ctx, d, policyRecords+name, func(p *policy) (*policy, error) {
		now := d.cfg.Now().UTC()
		if p == nil {
			p = &policy{Created: now}
		}
		p.Text, p.Updated = text, now
		return p, nil
	})
}

func checkPolicy(text string) error {
	if len(text) > iam.MaxPolicy {
		return invalid("the policy is longer than %d bytes", iam.MaxPolicy)
	}
	if err := newPolicy(text); err != nil {
		return invalid("%v", err)
	}
	return nil
}

// newPolicy tells what is wrong with a policy that is to be stored.
func newPolicy(text string) error {
	if _, err := iam.ParseUserPolicy([]byte(text)); err != nil {
		return err //nolint:wrapcheck // it is told as it is
	}
	return iam.Unambiguous([]byte(text)) //nolint:wrapcheck // it is told as it is
}

// RemovePolicy removes a policy that is attached to nobody.
func (d *Directory) RemovePolicy(ctx context.Context, name string) error {
	if d.canned[name] != nil {
		return invalid("the policy %s cannot be removed", name)
	}
	all, err := d.Attachments()
	if err != nil {
		return err
	}
	entries, err := d.Entries()
	if err != nil {
		return err
	}
	if slices.ContainsFunc(slices.Concat(all, entries), func(a Attachment) bool { return slices.Contains(a.Policies, name) }) {
		return ErrInUse
	}
	return edit(ctx, d, policyRecords+name, func(p *policy) (*policy, error) {
		if p == nil {
			return nil, ErrNoPolicy
		}
		return nil, nil
	})
}

// Holder is whom policies are attached to.
type Holder struct {
	Name  string
	Group bool // of a group, not of a user; of an entry only for showing it
	Entry bool // of an entry of an LDAP directory: Name is its canonical distinguished name
}

// Attachment is the policies that somebody has.
type Attachment struct {
	Holder
	Policies []string
}

// Attachments returns who has policies: users, and then groups, each sorted by name.
func (d *Directory) Attachments() ([]Attachment, error) {
	var all []Attachment
	err := d.eachKey(func(name string, k *key) {
		if len(k.Policies) > 0 {
			all = append(all, Attachment{Holder{Name: name}, k.Policies})
		}
	})
	if err != nil {
		return nil, err
	}
	groups, err := d.Groups()
	if err != nil {
		return nil, err
	}
	for _, name := range groups {
		g, err := d.group(name)
		if err != nil {
			return nil, err
		}
		if g != nil && len(g.Policies) > 0 {
			all = append(all, Attachment{Holder{Name: name, Group: true}, g.Policies})
		}
	}
	return all, nil
}

// Entries returns which entries of an LDAP directory have policies, sorted by name.
func (d *Directory) Entries() ([]Attachment, error) {
	names, err := d.names(entryRecords)
	if err != nil {
		return nil, err
	}
	var all []Attachment
	for _, name := range names {
		e, err := d.entry(name)
		if err != nil {
			return nil, err
		}
		if e != nil {
			all = append(all, Attachment{Holder{Name: name, Entry: true, Group: e.Group}, e.Policies})
		}
	}
	return all, nil
}

// Attach attaches policies and returns those that were not attached before. If there
// are none it returns ErrNoChange.
func (d *Directory) Attach(ctx context.Context, to Holder, policies []string) (attached []string, err error) {
	if err := d.exist(policies); err != nil {
		return nil, err
	}
	err = d.repolicy(ctx, to, func(have []string) ([]string, error) {
		attached = nil
		for _, name := range policies {
			if now := with(have, name); len(now) > len(have) {
				have, attached = now, append(attached, name)
			}
		}
		if len(attached) == 0 {
			return nil, ErrNoChange
		}
		return have, nil
	})
	return attached, err
}

// Detach is the opposite of Attach.
func (d *Directory) Detach(ctx context.Context, from Holder, policies []string) (detached []string, err error) {
	err = d.repolicy(ctx, from, func(have []string) ([]string, error) {
		detached = nil
		for _, name := range policies {
			if now := without(have, name); len(now) < len(have) {
				have, detached = now, append(detached, name)
			}
		}
		if len(detached) == 0 {
			return nil, ErrNoChange
		}
		return have, nil
	})
	return detached, err
}

// SetPolicies has these policies attached and no others.
func (d *Directory) SetPolicies(ctx context.Context, of Holder, policies []string) error {
	if err := d.exist(policies); err != nil {
		return err
	}
	sorted := slices.Compact(slices.Sorted(slices.Values(policies)))
	return d.repolicy(ctx, of, func([]string) ([]string, error) { return sorted, nil })
}

func (d *Directory) exist(policies []string) error {
	for _, name := range policies {
		if _, err := d.Policy(name); err != nil {
			return err
		}
	}
	return nil
}

// repolicy changes the sorted list of what is attached.
func (d *Directory) repolicy(ctx context.Context, of Holder, change func([]string) ([]string, error)) error {
	changed := func(list *[]string) (err error) {
		if *list, err = change(*list); err == nil && len(*list) > maxAttached {
			err = invalid("%d policies can be attached", maxAttached)
		}
		return err
	}
	if of.Entry {
		return d.editEntry(ctx, of, changed)
	}
	if of.Group {
		return d.editGroup(ctx, of.Name, func(g *group) (*group, error) { return g, changed(&g.Policies) })
	}
	return d.editUser(ctx, of.Name, func(k *key) error { return changed(&k.Policies) })
}

// editEntry changes what is attached to an entry of an LDAP directory. Whether there is
// one is not known here.
func (d *Directory) editEntry(ctx context.Context, of Holder, changed func(*[]string) error) error {
	if of.Name == "" || len(of.Name) > maxEntryName {
		return invalid("a distinguished name must have 1 to %d bytes", maxEntryName)
	}
	return edit(ctx, d, entryRecords+of.Name, func(e *entry) (*entry, error) {
		if e == nil {
			e = &entry{Group: of.Group}
		}
		if err := changed(&e.Policies); err != nil || len(e.Policies) > 0 {
			return e, err
		}
		return nil, nil
	})
}
