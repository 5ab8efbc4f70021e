package directory

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/shoal-storage/shoal/internal/iam"
)

// What the names of records begin with. Users and service accounts share one, so that
// an access key is one of them at any time.
const (
	keyRecords    = "iam/key/"
	groupRecords  = "iam/group/"
	policyRecords = "iam/policy/"
	entryRecords  = "iam/entry/"
	roundRecords  = "iam/round/"
)

// key is what an access key stands for: a user, or a service account.
type key struct {
	Secret   string    `json:"secret"`
	Disabled bool      `json:"disabled,omitempty"`
	Updated  time.Time `json:"updated"`
	// Of a user. Membership is kept here and not with the group: with the user it
	// ends.
	ID       string    `json:"id,omitempty"` // random: another user of the same name has another
	Groups   []string  `json:"groups,omitempty"`
	Policies []string  `json:"policies,omitempty"`
	Limits   string    `json:"limits,omitempty"` // as package limits reads it
	POSIX    iam.POSIX `json:"posix,omitzero"`
	Account  *account  `json:"account,omitempty"` // nil: of a user
}

// account is what a service account has beside a secret.
type account struct {
	Parent      string    `json:"parent,omitempty"`    // user or person; "": the root user
	ParentID    string    `json:"parent_id,omitempty"` // of the user whom it was made for
	Person      *Person   `json:"person,omitempty"`    // whom it was made for, if Parent is no user
	Policy      string    `json:"policy,omitempty"`    // text; "": it may do what the parent may
	Name        string    `json:"name,omitempty"`
	Description string    `json:"description,omitempty"`
	Expires     time.Time `json:"expires,omitzero"`
	bound       *iam.Policy
}

// isOf reports whether the account is of a user; nil is none.
func (a *account) isOf(user *key) bool {
	return user != nil && user.Account == nil && user.ID == a.ParentID
}

func (k *key) parse() (err error) {
	if k.Account != nil && k.Account.Policy != "" {
		k.Account.bound, err = iam.ParseUserPolicy([]byte(k.Account.Policy))
	}
	return err
}

// group is what a group has beside members.
type group struct {
	Disabled bool      `json:"disabled,omitempty"`
	Policies []string  `json:"policies,omitempty"`
	Updated  time.Time `json:"updated"`
}

func (*group) parse() error { return nil }

// entry is what is attached to an entry of an LDAP directory.
type entry struct {
	Policies []string `json:"policies"`
	Group    bool     `json:"group,omitempty"` // as a group's they were attached; they count for what it is
}

func (*entry) parse() error { return nil }

// round tells sessions of somebody from those that were revoked; where none ever were there
// is none.
type round struct {
	ID string `json:"id"` // random
}

func (*round) parse() error { return nil }

type policy struct {
	Text    string    `json:"text"`
	Created time.Time `json:"created"`
	Updated time.Time `json:"updated"`
	parsed  *iam.Policy
}

func (p *policy) parse() (err error) {
	p.parsed, err = iam.ParseUserPolicy([]byte(p.Text))
	return err
}

// record is what a record holds. What has been read does not change.
type record[T any] interface {
	*T
	// parse completes what has been decoded.
	parse() error
}

// maxKnown is how many records are kept as they were opened: all of them, but for
// those that are gone.
const maxKnown = 1 << 18

// known remembers records by name and revision.
type known struct {
	mu sync.RWMutex
	m  map[string]opened
}

type opened struct {
	revision uint64
	value    any
}

// get returns what a record holds, nil if there is none, and its revision.
func get[T any, R record[T]](d *Directory, name string) (R, uint64, error) {
	sealed, revision, err := d.cfg.Records.Get(name)
	if err != nil {
		return nil, 0, err //nolint:wrapcheck // the question is the caller's own
	}
	v, err := read[T, R](d, name, sealed, revision)
	return v, revision, err
}

// read returns what a record of a revision holds, nil if there is none.
func read[T any, R record[T]](d *Directory, name string, sealed []byte, revision uint64) (R, error) {
	if revision == 0 {
		return nil, nil
	}
	d.known.mu.RLock()
	have := d.known.m[name]
	d.known.mu.RUnlock()
	if v, ok := have.value.(R); ok && have.revision == revision {
		return v, nil
	}
	content, err := d.vault.open(name, sealed)
	if err != nil {
		return nil, err
	}
	v := R(new(T))
	if err := errors.Join(json.Unmarshal(content, v), v.parse()); err != nil {
		return nil, fmt.Errorf("read record %q: %w", name, err)
	}
	d.known.mu.Lock()
	defer d.known.mu.Unlock()
	if d.known.m == nil || len(d.known.m) >= maxKnown {
		d.known.m = make(map[string]opened)
	}
	d.known.m[name] = opened{revision: revision, value: v}
	return v, nil
}

// edit changes a record, again and again until nobody else has changed it meanwhile.
// change is given a copy of what it holds, nil if there is none, and returns what it
// shall hold, nil for nothing. It must not change slices in place.
//
// If change refuses, the record is set to what it is: the refusal may be for a change that
// is still on its way to other gateways, and when edit returns none is behind it.
func edit[T any, R record[T]](ctx context.Context, d *Directory, name string, change func(R) (R, error)) error {
	if d.cfg.Records == nil {
		return ErrNoRecords
	}
	for {
		value, revision, err := d.cfg.Records.Get(name)
		if err != nil {
			return err //nolint:wrapcheck // the question is the caller's own
		}
		have, err := read[T, R](d, name, value, revision)
		if err != nil {
			return err
		}
		if have != nil {
			copied := *have
			have = &copied
		}
		next, refused := change(have)
		if refused == nil {
			if value, err = seal[T](ctx, d, name, next); err != nil {
				return err
			}
		}
		if err := d.cfg.Records.Set(ctx, name, value, revision); !errors.Is(err, ErrChanged) {
			return cmp.Or(err, refused) //nolint:wrapcheck // it names the record
		}
	}
}

// seal returns a record as it is kept, nil for none.
func seal[T any, R record[T]](ctx context.Context, d *Directory, name string, v R) ([]byte, error) {
	if v == nil {
		return nil, nil
	}
	content, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode record %q: %w", name, err)
	}
	return d.vault.seal(ctx, name, content)
}

// names returns what stands behind the prefix in the names of records, sorted.
func (d *Directory) names(prefix string) ([]string, error) {
	if d.cfg.Records == nil {
		return nil, nil
	}
	all, err := d.cfg.Records.List(prefix)
	if err != nil {
		return nil, err //nolint:wrapcheck // the question is the caller's own
	}
	for i, name := range all {
		all[i] = strings.TrimPrefix(name, prefix)
	}
	slices.Sort(all)
	return all, nil
}

func (d *Directory) key(name string) (*key, error) {
	if d.cfg.Records == nil {
		return nil, nil
	}
	k, _, err := get[key](d, keyRecords+name)
	return k, err
}

func (d *Directory) group(name string) (*group, error) {
	if d.cfg.Records == nil {
		return nil, nil
	}
	g, _, err := get[group](d, groupRecords+name)
	return g, err
}

func (d *Directory) entry(name string) (*entry, error) {
	if d.cfg.Records == nil {
		return nil, nil
	}
	e, _, err := get[entry](d, entryRecords+name)
	return e, err
}

// policy returns a policy that was made, or is there without.
func (d *Directory) policy(name string) (*policy, error) {
	if p := d.canned[name]; p != nil {
		return p, nil
	}
	if d.cfg.Records == nil {
		return nil, nil
	}
	p, _, err := get[policy](d, policyRecords+name)
	return p, err
}

// Bounds of what is kept.
const (
	maxName        = 128 // bytes of any name
	maxEntryName   = 512 // bytes of a distinguished name
	minAccessKey   = 3
	minSecret      = 8
	maxSecret      = 128
	maxDescription = 256
	maxAttached    = 100 // policies of a user or group, groups of a user
)

// checkName refuses names that are too long or that lists of names could not hold.
func checkName(what, name string, least int) error {
	switch {
	case len(name) < least || len(name) > maxName:
		return invalid("the %s must have %d to %d bytes", what, least, maxName)
	case !utf8.ValidString(name), strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) || r == ',' || r == '=' }):
		return invalid("the %s must have printable characters only, and neither comma nor equals sign", what)
	case strings.TrimSpace(name) != name:
		return invalid("the %s must not begin or end with a space", what)
	}
	return nil
}

func checkSecret(secret string) error {
	if len(secret) < minSecret || len(secret) > maxSecret {
		return invalid("the secret key must have %d to %d bytes", minSecret, maxSecret)
	}
	return nil
}
