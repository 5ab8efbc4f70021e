package directory

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"time"

	"github.com/shoal-storage/shoal/internal/iam"
)

// User is a user as others see him.
type User struct {
	Name     string
	Enabled  bool
	Policies []string // attached to him, not by his groups
	Groups   []string
	Limits   string // as SetLimits was given it, "" for none
	POSIX    iam.POSIX
	Updated  time.Time
}

func (k *key) user(name string) User {
	return User{Name: name, Enabled: !k.Disabled, Policies: k.Policies, Groups: k.Groups, Limits: k.Limits, POSIX: k.POSIX, Updated: k.Updated}
}

// Users returns all users, sorted by name.
func (d *Directory) Users() ([]User, error) {
	var users []User
	err := d.eachKey(func(name string, k *key) {
		if k.Account == nil {
			users = append(users, k.user(name))
		}
	})
	return users, err
}

// eachKey calls visit for every user and service account.
func (d *Directory) eachKey(visit func(name string, k *key)) error {
	names, err := d.names(keyRecords)
	if err != nil {
		return err
	}
	for _, name := range names {
		k, err := d.key(name)
		if err != nil {
			return err
		}
		if k != nil { // it may have gone meanwhile
			visit(name, k)
		}
	}
	return nil
}

// User returns a user, or ErrNoUser.
func (d *Directory) User(name string) (User, error) {
	k, err := d.key(name)
	if err != nil {
		return User{}, err
	}
	if k == nil || k.Account != nil {
		return User{}, ErrNoUser
	}
	return k.user(name), nil
}

// SetUser makes a user, or gives another secret to one that is there.
func (d *Directory) SetUser(ctx context.Context, name, secret string, enabled bool) error {
	if err := cmp.Or(checkName("access key", name, minAccessKey), checkSecret(secret)); err != nil {
		return err
	}
	if name == d.cfg.Root.AccessKey {
		return ErrTaken
	}
	return edit(ctx, d, keyRecords+name, func(k *key) (*key, error) {
		switch {
		case k == nil:
			k = &key{ID: rand.Text()}
		case k.Account != nil:
			return nil, ErrTaken
		}
		k.Secret, k.Disabled, k.Updated = secret, !enabled, d.cfg.Now().UTC()
		return k, nil
	})
}

// EnableUser has a user count, or not.
func (d *Directory) EnableUser(ctx context.Context, name string, enabled bool) error {
	return d.editUser(ctx, name, func(k *key) error {
		k.Disabled = !enabled
		return nil
	})
}

// SetLimits keeps the limits of a user, as package limits reads them; "" for none. They
// end with him.
func (d *Directory) SetLimits(ctx context.Context, name, limits string) error {
	return d.editUser(ctx, name, func(k *key) error {
		k.Limits = limits
		return nil
	})
}

// SetPOSIX keeps who a user is to a file system. It ends with him.
func (d *Directory) SetPOSIX(ctx context.Context, name string, posix iam.POSIX) error {
	return d.editUser(ctx, name, func(k *key) error {
		k.POSIX = posix
		return nil
	})
}

// editUser changes a user that is there.
func (d *Directory) editUser(ctx context.Context, name string, change func(k *key) error) error {
	return edit(ctx, d, keyRecords+name, func(k *key) (*key, error) {
		if k == nil || k.Account != nil {
			return nil, ErrNoUser
		}
		k.Updated = d.cfg.Now().UTC()
		return k, change(k)
	})
}

// RemoveUser removes a user. His service accounts count no more from then on, and are
// removed too.
func (d *Directory) RemoveUser(ctx context.Context, name string) error {
	id := ""
	err := edit(ctx, d, keyRecords+name, func(k *key) (*key, error) {
		if k == nil || k.Account != nil {
			return nil, ErrNoUser
		}
		id = k.ID
		return nil, nil
	})
	if err != nil {
		return err
	}
	var orphans []string
	err = d.eachKey(func(other string, k *key) {
		if k.Account != nil && k.Account.Parent == name && k.Account.ParentID == id {
			orphans = append(orphans, other)
		}
	})
	for _, orphan := range orphans {
		err = errors.Join(err, edit(ctx, d, keyRecords+orphan, func(k *key) (*key, error) {
			if k != nil && (k.Account == nil || k.Account.ParentID != id) {
				return k, nil // the key has become another's
			}
			return nil, nil
		}))
	}
	return err
}

// Group is a group as others see it.
type Group struct {
	Name     string
	Enabled  bool
	Members  []string
	Policies []string
	Updated  time.Time
}

// Groups returns the names of all groups, sorted.
func (d *Directory) Groups() ([]string, error) { return d.names(groupRecords) }

// Group returns a group, or ErrNoGroup.
func (d *Directory) Group(name string) (Group, error) {
	g, err := d.group(name)
	if err != nil {
		return Group{}, err
	}
	if g == nil {
		return Group{}, ErrNoGroup
	}
	found := Group{Name: name, Enabled: !g.Disabled, Policies: g.Policies, Updated: g.Updated}
	err = d.eachKey(func(user string, k *key) {
		if slices.Contains(k.Groups, name) {
			found.Members = append(found.Members, user)
		}
	})
	return found, err
}

// AddMembers makes users members of a group, which it makes if there is none.
func (d *Directory) AddMembers(ctx context.Context, name string, members []string) error {
	if err := checkName("name of a group", name, 1); err != nil {
		return err
	}
	for _, member := range members {
		if _, err := d.User(member); err != nil {
			return err
		}
	}
	err := edit(ctx, d, groupRecords+name, func(g *group) (*group, error) {
		if g == nil {
			g = &group{}
		}
		g.Updated = d.cfg.Now().UTC()
		return g, nil
	})
	if err != nil {
		return err
	}
	return d.eachMember(ctx, members, func(k *key) error {
		k.Groups = with(k.Groups, name)
		if len(k.Groups) > maxAttached {
			return invalid("a user can be in %d groups", maxAttached)
		}
		return nil
	})
}

// RemoveMembers ends the membership of users.
func (d *Directory) RemoveMembers(ctx context.Context, name string, members []string) error {
	if _, err := d.Group(name); err != nil {
		return err
	}
	return d.eachMember(ctx, members, func(k *key) error {
		k.Groups = without(k.Groups, name)
		return nil
	})
}

func (d *Directory) eachMember(ctx context.Context, members []string, change func(k *key) error) error {
	for _, member := range members {
		if err := d.editUser(ctx, member, change); err != nil {
			return err
		}
	}
	return nil
}

// RemoveGroup removes a group that has no members.
func (d *Directory) RemoveGroup(ctx context.Context, name string) error {
	g, err := d.Group(name)
	if err != nil {
		return err
	}
	if len(g.Members) > 0 {
		return ErrNotEmpty
	}
	return d.editGroup(ctx, name, func(*group) (*group, error) { return nil, nil })
}

// EnableGroup has the policies of a group count for its members, or not.
func (d *Directory) EnableGroup(ctx context.Context, name string, enabled bool) error {
	return d.editGroup(ctx, name, func(g *group) (*group, error) {
		g.Disabled = !enabled
		return g, nil
	})
}

// editGroup changes a group that is there.
func (d *Directory) editGroup(ctx context.Context, name string, change func(g *group) (*group, error)) error {
	return edit(ctx, d, groupRecords+name, func(g *group) (*group, error) {
		if g == nil {
			return nil, ErrNoGroup
		}
		g.Updated = d.cfg.Now().UTC()
		return change(g)
	})
}

// with returns a sorted list with a name, without changing the one given.
func with(list []string, name string) []string {
	i, there := slices.BinarySearch(list, name)
	if there {
		return list
	}
	return slices.Insert(slices.Clone(list), i, name)
}

// without returns a list without a name, without changing the one given.
func without(list []string, name string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(n string) bool { return n == name })
}
