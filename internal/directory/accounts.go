package directory

import (
	"cmp"
	"context"
	"crypto/rand"
	"regexp"
	"time"
)

// Account is a service account as others see it: an access key with which programs
// act for a user.
type Account struct {
	AccessKey   string
	Parent      string  // the user or person
	Person      *Person // nil: Parent is a user
	Enabled     bool
	Policy      string // JSON, "" if it may do all that the user may
	Name        string
	Description string
	Expires     time.Time // zero: never
}

// view returns an account as others see it.
func (d *Directory) view(name string, k *key) Account {
	a := k.Account
	parent := a.Parent
	if parent == "" {
		parent = d.cfg.Root.AccessKey
	}
	return Account{AccessKey: name, Parent: parent, Person: a.Person, Enabled: !k.Disabled, Policy: a.Policy, Name: a.Name, Description: a.Description, Expires: a.Expires}
}

// Account returns a service account, or ErrNoAccount.
func (d *Directory) Account(accessKey string) (Account, error) {
	k, err := d.key(accessKey)
	if err != nil {
		return Account{}, err
	}
	if k == nil || k.Account == nil {
		return Account{}, ErrNoAccount
	}
	return d.view(accessKey, k), nil
}

// Accounts returns the service accounts of all users and people, by their names, each list
// sorted.
func (d *Directory) Accounts() (map[string][]Account, error) {
	all := make(map[string][]Account)
	err := d.eachKey(func(name string, k *key) {
		if k.Account != nil {
			a := d.view(name, k)
			all[a.Parent] = append(all[a.Parent], a)
		}
	})
	return all, err
}

// NewAccount is a service account to be made.
type NewAccount struct {
	Parent            string
	Person            *Person // whom it is for in the place of Parent, who is a user
	AccessKey, Secret string  // "": to be made up
	Policy            string  // JSON; "": it may do all that the user may
	Name, Description string
	Expires           time.Time // zero: never
	Disabled          bool
}

// AddAccount makes a service account and returns its keys.
func (d *Directory) AddAccount(ctx context.Context, n NewAccount) (accessKey, secret string, err error) {
	if n.AccessKey == "" {
		n.AccessKey = rand.Text()[:20]
	}
	if n.Secret == "" {
		n.Secret = rand.Text() + rand.Text()
	}
	a := &account{Policy: n.Policy, Name: n.Name, Description: n.Description, Expires: n.Expires}
	if err := cmp.Or(checkName("access key", n.AccessKey, minAccessKey), checkSecret(n.Secret), a.check(d.cfg.Now())); err != nil {
		return "", "", err
	}
	if err := d.give(a, n); err != nil {
		return "", "", err
	}
	err = edit(ctx, d, keyRecords+n.AccessKey, func(k *key) (*key, error) {
		if k != nil || n.AccessKey == d.cfg.Root.AccessKey {
			return nil, ErrTaken
		}
		return &key{Secret: n.Secret, Disabled: n.Disabled, Updated: d.cfg.Now().UTC(), Account: a}, nil
	})
	return n.AccessKey, n.Secret, err
}

// give sets whose an account is.
func (d *Directory) give(a *account, n NewAccount) error {
	switch {
	case n.Person != nil:
		a.Parent, a.Person = n.Person.Name, n.Person
		return nil
	case n.Parent == d.cfg.Root.AccessKey:
		return nil
	}
	user, err := d.key(n.Parent)
	if err != nil {
		return err
	}
	if user == nil || user.Account != nil {
		return ErrNoUser
	}
	a.Parent, a.ParentID = n.Parent, user.ID
	return nil
}

// accountNames are the names that people can give to accounts.
const accountNames = `^([A-Za-z][A-Za-z0-9_-]{0,31})?$`

// check refuses what an account cannot have.
func (a *account) check(now time.Time) error {
	if a.Policy != "" {
		if err := checkPolicy(a.Policy); err != nil {
			return err
		}
	}
	fits, err := regexp.MatchString(accountNames, a.Name)
	switch {
	case err != nil || !fits:
		return invalid("a name must begin with a letter and have up to 32 letters, digits, '_' and '-'")
	case len(a.Description) > maxDescription:
		return invalid("a description can have %d bytes", maxDescription)
	case !a.Expires.IsZero() && !a.Expires.After(now):
		return invalid("the expiration must be in the future")
	}
	return nil
}

// AccountChange is what UpdateAccount changes; what is nil stays.
type AccountChange struct {
	Secret, Policy, Name, Description *string
	Enabled                           *bool
	Expires                           *time.Time
}

// UpdateAccount changes a service account.
func (d *Directory) UpdateAccount(ctx context.Context, accessKey string, c AccountChange) error {
	if c.Secret != nil {
		if err := checkSecret(*c.Secret); err != nil {
			return err
		}
	}
	return edit(ctx, d, keyRecords+accessKey, func(k *key) (*key, error) {
		if k == nil || k.Account == nil {
			return nil, ErrNoAccount
		}
		a := *k.Account
		k.Account, k.Updated = &a, d.cfg.Now().UTC()
		assign(&k.Secret, c.Secret)
		assign(&a.Policy, c.Policy)
		assign(&a.Name, c.Name)
		assign(&a.Description, c.Description)
		assign(&a.Expires, c.Expires)
		if c.Enabled != nil {
			k.Disabled = !*c.Enabled
		}
		checked := a
		if c.Expires == nil {
			checked.Expires = time.Time{} // one that has passed may stay
		}
		return k, checked.check(d.cfg.Now())
	})
}

func assign[T any](to *T, from *T) {
	if from != nil {
		*to = *from
	}
}

// RemoveAccount removes a service account.
func (d *Directory) RemoveAccount(ctx context.Context, accessKey string) error {
	return edit(ctx, d, keyRecords+accessKey, func(k *key) (*key, error) {
		if k == nil || k.Account == nil {
			return nil, ErrNoAccount
		}
		return nil, nil
	})
}
