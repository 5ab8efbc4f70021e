// Package directory knows who may use an endpoint beside the root user: users, their
// groups, policies and service accounts. It keeps them as records of a control plane
// that all gateways follow, each sealed, and asks that at every request: what a change
// says is true everywhere when the change returns.
package directory

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/shoal-storage/shoal/internal/iam"
	"github.com/shoal-storage/shoal/internal/sealing"
)

// Records is where a Directory keeps what it knows. Its methods may be called
// concurrently.
type Records interface {
	// Get returns a record and its revision, which is 0 if there is none and another
	// one after each change. The error says that what this gateway knows may not be in
	// force any more. It touches neither storage nor network.
	Get(name string) (value []byte, revision uint64, err error)
	// List returns the names of the records that begin with a prefix.
	List(prefix string) ([]string, error)
	// Set changes a record if it still has the revision, else it returns ErrChanged;
	// nil removes it. When it returns nil, Get says so on every gateway. After any
	// other error than ErrChanged that may be so or not.
	Set(ctx context.Context, name string, value []byte, revision uint64) error
}

// Config says what a Directory is of.
type Config struct {
	Root    Credentials // of the root user
	Former  Credentials // that he had before, if the records may be under these
	Records Records     // nil: there is nobody else
	Sealer  *sealing.Sealer
	People  People // nil: who was somebody to an identity provider stays so
	Now     func() time.Time
	// Canonical returns the one form of a distinguished name, in which they are compared.
	Canonical func(dn string) (string, error)
}

// Credentials are an access key and its secret.
type Credentials struct{ AccessKey, Secret string }

// password is what seals under credentials.
func (c Credentials) password() string { return c.AccessKey + ":" + c.Secret }

// Directory knows who there is. Its methods may be called concurrently.
type Directory struct {
	cfg    Config
	root   *iam.Root
	canned map[string]*policy // that are there without being made
	vault  vault
	known  known
	tokens tokens
}

// New returns a Directory. It fails if there are records that cannot be read with the
// credentials of the root user. Where they were made under former ones, they are under
// the new ones from then on, and gateways that have the former go on until they end.
func New(ctx context.Context, cfg Config) (*Directory, error) {
	if cfg.Canonical == nil {
		cfg.Canonical = func(string) (string, error) { return "", invalid("there are no distinguished names here") }
	}
	d := &Directory{cfg: cfg, root: iam.NewRoot(cfg.Root.AccessKey, cfg.Root.Secret), canned: make(map[string]*policy)}
	for name, text := range iam.Canned() {
		p := &policy{Text: text}
		if err := p.parse(); err != nil {
			return nil, fmt.Errorf("directory: policy %s: %w", name, err)
		}
		d.canned[name] = p
	}
	d.vault = vault{records: cfg.Records, sealer: cfg.Sealer, password: cfg.Root.password()}
	if cfg.Records == nil {
		return d, nil
	}
	_, err := d.vault.key()
	if errors.Is(err, ErrCredentials) && cfg.Former != (Credentials{}) {
		err = d.vault.reseal(ctx, cfg.Former.password())
	}
	if errors.Is(err, ErrCredentials) {
		return nil, err
	}
	return d, nil // what could not be read now may be later
}

// Root returns the name of the root user.
func (d *Directory) Root() string { return d.cfg.Root.AccessKey }

// Lookup returns the identity and the secret of an access key. The error is
// iam.ErrNoSuchKey, also where the key does not count now, or says why that cannot be
// known.
func (d *Directory) Lookup(accessKey string) (iam.Identity, string, error) {
	id, secret, err := d.root.Lookup(accessKey)
	if err == nil || d.cfg.Records == nil {
		return id, secret, err
	}
	key, err := d.key(accessKey)
	if err != nil {
		return iam.Identity{}, "", err
	}
	if key == nil || key.Disabled {
		return iam.Identity{}, "", iam.ErrNoSuchKey
	}
	id = iam.Identity{AccessKey: accessKey, Limits: key.Limits, POSIX: &key.POSIX}
	if key.Account == nil {
		id.Access, err = d.accessOf(key)
		return id, key.Secret, err
	}
	if err := d.resolveAccount(&id, key.Account); err != nil {
		return iam.Identity{}, "", err
	}
	return id.BoundBy(key.Account.bound), key.Secret, nil
}

// resolveAccount sets whose a service account is and what that user or person may do.
func (d *Directory) resolveAccount(id *iam.Identity, a *account) error {
	if !a.Expires.IsZero() && !d.cfg.Now().Before(a.Expires) {
		return iam.ErrNoSuchKey
	}
	if a.Person != nil {
		id.Parent = a.Parent
		return d.identify(id, a.Person)
	}
	if a.Parent == "" {
		id.Parent, id.Root = d.cfg.Root.AccessKey, true
		return nil
	}
	user, err := d.key(a.Parent)
	if err != nil {
		return err
	}
	if !a.isOf(user) || user.Disabled {
		return iam.ErrNoSuchKey
	}
	id.Parent, id.Limits, id.POSIX = a.Parent, user.Limits, &user.POSIX
	id.Access, err = d.accessOf(user)
	return err
}

// accessOf returns what the policies of a user and of his groups say. A policy or a
// group that is not there says nothing.
func (d *Directory) accessOf(user *key) (*iam.Access, error) {
	access := &iam.Access{}
	names := user.Policies
	for _, name := range user.Groups {
		g, err := d.group(name)
		if err != nil {
			return nil, err
		}
		if g != nil && !g.Disabled {
			names = slices.Concat(names, g.Policies)
		}
	}
	for _, name := range names {
		p, err := d.policy(name)
		if err != nil {
			return nil, err
		}
		if p != nil {
			access.Policies = append(access.Policies, p.parsed)
		}
	}
	return access, nil
}

// Errors of changes and questions. Those that are about what the caller gave wrap
// ErrInvalid.
var (
	ErrChanged     = errors.New("directory: the record was changed meanwhile")
	ErrNoRecords   = errors.New("directory: a gateway that joins no others has no users but root")
	ErrInvalid     = errors.New("directory: not valid")
	ErrNoUser      = errors.New("directory: no such user")
	ErrNoGroup     = errors.New("directory: no such group")
	ErrNoPolicy    = errors.New("directory: no such policy")
	ErrNoAccount   = errors.New("directory: no such service account")
	ErrTaken       = errors.New("directory: the access key is somebody else's")
	ErrNotEmpty    = errors.New("directory: the group has members")
	ErrInUse       = errors.New("directory: the policy is attached")
	ErrNoChange    = errors.New("directory: the policies are attached so already")
	ErrToken       = errors.New("directory: the session token is not valid")
	ErrExpired     = errors.New("directory: the session has expired")
	ErrBadPolicy   = errors.New("directory: the session policy is not valid")
	ErrCredentials = errors.New("directory: the users were made under other root credentials")
	errDamaged     = errors.New("directory: the record is damaged, or was made under other root credentials")
)

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrInvalid, fmt.Sprintf(format, args...))
}
