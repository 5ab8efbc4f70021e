package directory

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/shoal-storage/shoal/internal/iam"
)

// How long sessions can live, and what else bounds them.
const (
	MinSessionLife   = 15 * time.Minute
	MaxSessionLife   = 7 * 24 * time.Hour
	MaxSessionPolicy = 2048 // bytes
)

// NewSession is a session to be made: temporary credentials, of somebody who has others,
// or of a Person.
type NewSession struct {
	Parent string // access key of a user or a service account; "": Person is there
	Person *Person
	Name   string // "" or 2 to 64 letters, digits and "_+=,.@-"
	Policy string // JSON; "": it may do all that Parent or Person may
	Life   time.Duration
}

// Session is what temporary credentials consist of.
type Session struct {
	AccessKey, Secret, Token string
	Expires                  time.Time
}

// sessionNames are the names that sessions can have, as with AWS.
const sessionNames = `^([\w+=,.@-]{2,64})?$`

// AddSession makes temporary credentials. Nothing is kept of them: their token, which
// only gateways of this endpoint can make and read, says all. The first ones of an
// endpoint without users make its key.
func (d *Directory) AddSession(ctx context.Context, n NewSession) (Session, error) {
	if d.cfg.Records == nil {
		return Session{}, ErrNoRecords
	}
	if err := n.check(); err != nil {
		return Session{}, err
	}
	now := d.cfg.Now().UTC().Truncate(time.Second)
	c := claims{
		AccessKey: "ASIA" + rand.Text()[:16], Secret: rand.Text() + rand.Text()[:14], Parent: n.Parent, Person: n.Person, Name: n.Name,
		Issued: now, Expires: now.Add(n.Life), Policy: n.Policy,
	}
	if err := d.claim(&c); err != nil {
		return Session{}, err
	}
	known, err := d.vault.ensureKey(ctx)
	if err != nil {
		return Session{}, err
	}
	token, err := c.seal(known.sessions)
	if err != nil {
		return Session{}, err
	}
	return Session{AccessKey: c.AccessKey, Secret: c.Secret, Token: token, Expires: c.Expires}, nil
}

// claim completes what a session says of who makes it.
func (d *Directory) claim(c *claims) (err error) {
	if c.Person != nil {
		c.Round, err = d.round(c.Person.Name)
		return err
	}
	id, secret, err := d.Lookup(c.Parent)
	if err != nil {
		return err
	}
	if c.Mark, err = d.mark(c.Parent, secret); err != nil {
		return err
	}
	c.Round, err = d.round(id.User())
	return err
}

// RevokeSessions ends all sessions that there are of a user and his service accounts, or of a
// person, on every gateway; they can make others. It is no matter whether there are any.
func (d *Directory) RevokeSessions(ctx context.Context, name string) error {
	return edit(ctx, d, roundRecord(name), func(*round) (*round, error) { return &round{ID: rand.Text()}, nil })
}

// round returns the round of somebody's sessions that counts.
func (d *Directory) round(name string) (string, error) {
	if d.cfg.Records == nil {
		return "", nil
	}
	r, _, err := get[round](d, roundRecord(name))
	if r == nil {
		return "", err
	}
	return r.ID, err
}

// roundRecord is the name of a record. Names of persons can have any characters.
func roundRecord(name string) string {
	sum := sha256.Sum256([]byte(name))
	return roundRecords + hex.EncodeToString(sum[:])
}

// check refuses what a session cannot have.
func (n *NewSession) check() error {
	fits, err := regexp.MatchString(sessionNames, n.Name)
	switch {
	case err != nil || !fits:
		return invalid("the name of a session must have 2 to 64 letters, digits, and the characters _+=,.@-")
	case n.Life < MinSessionLife || n.Life > MaxSessionLife:
		return invalid("a session can live from %d to %d seconds", int(MinSessionLife.Seconds()), int(MaxSessionLife.Seconds()))
	case len(n.Policy) > MaxSessionPolicy:
		return invalid("a session policy can have %d bytes", MaxSessionPolicy)
	case n.Person != nil && len(n.Person.Policies)+len(n.Person.Entries) > 2*maxAttached:
		return invalid("a person can have %d policies and groups", 2*maxAttached)
	case n.Policy == "":
		return nil
	}
	if err := newPolicy(n.Policy); err != nil {
		return fmt.Errorf("%w: %w", ErrBadPolicy, err)
	}
	return nil
}

// mark returns what tells those who have an access key from others that have it later:
// what is theirs and no secret, or a hash of their secret.
func (d *Directory) mark(accessKey, secret string) (string, error) {
	if accessKey != d.cfg.Root.AccessKey {
		k, err := d.key(accessKey)
		if err != nil {
			return "", err
		}
		if k != nil && k.ID != "" {
			return k.ID, nil
		}
	}
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:16]), nil
}

// LookupSession returns the identity and the secret of temporary credentials. The error
// is ErrToken, ErrExpired (also if it was revoked), iam.ErrNoSuchKey if those that they were made with do not
// count now, or says why that cannot be known.
func (d *Directory) LookupSession(accessKey, token string) (iam.Identity, string, error) {
	c, err := d.openToken(token)
	if err != nil {
		return iam.Identity{}, "", err
	}
	if subtle.ConstantTimeCompare([]byte(c.AccessKey), []byte(accessKey)) != 1 {
		return iam.Identity{}, "", ErrToken
	}
	if !d.cfg.Now().Before(c.Expires) {
		return iam.Identity{}, "", ErrExpired
	}
	id, err := d.bearer(c)
	if err != nil {
		return iam.Identity{}, "", err
	}
	switch now, err := d.round(id.User()); {
	case err != nil:
		return iam.Identity{}, "", err
	case now != c.Round:
		return iam.Identity{}, "", ErrExpired // so that clients make others
	}
	id.Parent, id.AccessKey = id.User(), accessKey
	id.Session = &iam.Session{Name: c.Name, Issued: c.Issued}
	return id.BoundBy(c.bound), c.Secret, nil
}

// bearer returns who a session is of.
func (d *Directory) bearer(c *claims) (iam.Identity, error) {
	if c.Person != nil {
		id := iam.Identity{AccessKey: c.Person.Name}
		err := d.identify(&id, c.Person)
		return id, err
	}
	id, secret, err := d.Lookup(c.Parent)
	if err != nil {
		return iam.Identity{}, err
	}
	mark, err := d.mark(c.Parent, secret)
	if err != nil {
		return iam.Identity{}, err
	}
	if subtle.ConstantTimeCompare([]byte(mark), []byte(c.Mark)) != 1 {
		return iam.Identity{}, iam.ErrNoSuchKey
	}
	return id, nil
}

// openToken returns what a token says. One that has been opened before is found by its
// hash.
func (d *Directory) openToken(token string) (*claims, error) {
	if len(token) > maxToken || d.cfg.Records == nil {
		return nil, ErrToken
	}
	sum := sha256.Sum256([]byte(token))
	if c := d.tokens.get(sum); c != nil {
		return c, nil
	}
	known, err := d.vault.key()
	if errors.Is(err, errNoKey) {
		return nil, ErrToken // so there is none that could be opened
	}
	if err != nil {
		return nil, err
	}
	c, err := openClaims(known.sessions, token)
	if err != nil {
		return nil, err
	}
	d.tokens.put(sum, c)
	return c, nil
}
