// Package ldap finds out who somebody is who has a name and a password in an LDAP
// directory, and which groups he is in (RFC 4511).
package ldap

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"regexp"
	"strings"
	"time"

	"github.com/go-ldap/ldap/v3"
)

// The errors of Identify and Find, and of who has no directory to ask.
var (
	ErrNone        = errors.New("ldap: there is no directory")
	ErrCredentials = errors.New("ldap: no such name, or another password")
	ErrNobody      = errors.New("ldap: there is nobody of this name")
	ErrUnavailable = errors.New("ldap: the directory cannot be asked")
)

// Security is how a connection is kept from others.
type Security uint8

// The ways: over TLS from the beginning, from a command on, or not at all.
const (
	TLS Security = iota
	StartTLS
	Plain
)

// Config says which directory is asked, and how.
type Config struct {
	Address  string // host:port
	Security Security
	TLS      *tls.Config // of TLS and StartTLS

	BindDN, BindPassword   string        // as whom it is searched; "": as nobody
	UserBase, UserFilter   string        // "%s" stands for the name
	GroupBase, GroupFilter string        // "%s" stands for the name, "%d" for the DN; "": there are no groups
	Timeout                time.Duration // of each step
}

// Directory is an LDAP directory. Its methods may be called concurrently.
type Directory struct {
	cfg   Config
	turns chan struct{}
}

const (
	maxConnections = 16  // at the same time
	maxName        = 256 // bytes of a name, and of a password
	maxDN          = 512 // bytes
	maxGroups      = 100 // of a person
	maxNames       = 16  // of one entry
)

// New returns a Directory. It asks it nothing yet.
func New(cfg Config) (*Directory, error) {
	if _, _, err := net.SplitHostPort(cfg.Address); err != nil {
		return nil, fmt.Errorf("ldap: address of the directory: %w", err)
	}
	if cfg.UserBase == "" || !strings.Contains(cfg.UserFilter, "%s") {
		return nil, errors.New("ldap: where and by which filter, with %s for the name, users are to be found is missing")
	}
	if (cfg.GroupBase == "") != (cfg.GroupFilter == "") {
		return nil, errors.New("ldap: of where and by which filter groups are to be found one is missing")
	}
	for _, filter := range []string{fill(cfg.UserFilter, "x", "x"), fill(cfg.GroupFilter, "x", "x")} {
		if _, err := ldap.CompileFilter(filter); filter != "" && err != nil {
			return nil, fmt.Errorf("ldap: filter %s: %w", filter, err)
		}
	}
	return &Directory{cfg: cfg, turns: make(chan struct{}, maxConnections)}, nil
}

// fill puts a name and a DN into a filter; they are escaped, so that neither can say
// anything else than what it is.
func fill(filter, name, dn string) string {
	return strings.NewReplacer("%s", ldap.EscapeFilter(name), "%d", ldap.EscapeFilter(dn)).Replace(filter)
}

// Person is somebody who is in the directory.
type Person struct {
	Name   string   // as he gave it
	DN     string   // distinguished name, canonical
	Groups []string // theirs, canonical
}

// Canonical returns a distinguished name in the one form in which it is compared.
func Canonical(dn string) (string, error) {
	if len(dn) > maxDN {
		return "", fmt.Errorf("ldap: a distinguished name is longer than %d bytes", maxDN)
	}
	parsed, err := ldap.ParseDN(dn)
	if err != nil || len(parsed.RDNs) == 0 {
		return "", fmt.Errorf("ldap: %q is no distinguished name", dn)
	}
	return strings.ToLower(parsed.String()), nil
}

// Identify returns who has a name and a password. The errors are ErrCredentials and
// ErrUnavailable.
func (d *Directory) Identify(ctx context.Context, name, password string) (Person, error) {
	// To many directories a bind without a password is one of nobody, which succeeds.
	if name == "" || password == "" || len(name) > maxName || len(password) > maxName {
		return Person{}, ErrCredentials
	}
	conn, done, err := d.connect(ctx)
	if err != nil {
		return Person{}, err
	}
	defer done()
	p, bindDN, err := d.find(conn, name)
	if errors.Is(err, ErrNobody) {
		return Person{}, ErrCredentials
	}
	if err != nil {
		return Person{}, err
	}
	if err := conn.Bind(bindDN, password); ldap.IsErrorWithCode(err, ldap.LDAPResultInvalidCredentials) {
		return Person{}, ErrCredentials
	} else if err != nil {
		return Person{}, fmt.Errorf("%w: bind as %s: %w", ErrUnavailable, p.DN, err)
	}
	return p, nil
}

// Find returns who has a name, or a distinguished name: what Identify says of whoever has it
// too. The errors are ErrNobody and ErrUnavailable.
func (d *Directory) Find(ctx context.Context, name string) (Person, error) {
	if name == "" || len(name) > maxDN {
		return Person{}, ErrNobody
	}
	conn, done, err := d.connect(ctx)
	if err != nil {
		return Person{}, err
	}
	defer done()
	dn, err := Canonical(name)
	if err != nil {
		p, _, err := d.find(conn, name)
		return p, err
	}
	names, err := d.namesOf(conn, name)
	if err != nil {
		return Person{}, err
	}
	for _, name := range names {
		if p, _, err := d.find(conn, name); !errors.Is(err, ErrNobody) && (err != nil || p.DN == dn) {
			return p, err
		}
	}
	return Person{}, ErrNobody
}

// namesOf returns the names by which the filter for people could find an entry.
func (d *Directory) namesOf(conn *ldap.Conn, dn string) ([]string, error) {
	attribute := regexp.MustCompile(`\(([A-Za-z][A-Za-z0-9-]*)=%s\)`).FindStringSubmatch(d.cfg.UserFilter)
	if attribute == nil {
		return nil, ErrNobody // it does not say which attribute has the name
	}
	found, err := conn.Search(ldap.NewSearchRequest(dn, ldap.ScopeBaseObject, ldap.NeverDerefAliases, 1, int(d.cfg.Timeout.Seconds()), false,
		"(objectClass=*)", attribute[1:], nil))
	if ldap.IsErrorWithCode(err, ldap.LDAPResultNoSuchObject) {
		return nil, ErrNobody
	}
	if err != nil {
		return nil, fmt.Errorf("%w: search %s: %w", ErrUnavailable, dn, err)
	}
	var names []string
	for _, entry := range found.Entries {
		names = append(names, entry.GetEqualFoldAttributeValues(attribute[1])...)
	}
	return names[:min(len(names), maxNames)], nil
}

// connect waits for a turn and connects. Done ends both.
func (d *Directory) connect(ctx context.Context) (conn *ldap.Conn, done func(), err error) {
	select {
	case d.turns <- struct{}{}:
	case <-ctx.Done():
		return nil, nil, fmt.Errorf("%w: %w", ErrUnavailable, context.Cause(ctx))
	}
	if conn, err = d.dial(); err != nil {
		<-d.turns
		return nil, nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return conn, func() {
		_ = conn.Close() // it was asked all there is to ask
		<-d.turns
	}, nil
}

// dial connects and binds as who searches.
func (d *Directory) dial() (conn *ldap.Conn, err error) {
	dialer := &net.Dialer{Timeout: d.cfg.Timeout}
	if d.cfg.Security == TLS {
		conn, err = ldap.DialURL("ldaps://"+d.cfg.Address, ldap.DialWithDialer(dialer), ldap.DialWithTLSConfig(d.cfg.TLS))
	} else {
		conn, err = ldap.DialURL("ldap://"+d.cfg.Address, ldap.DialWithDialer(dialer))
	}
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", d.cfg.Address, err)
	}
	conn.SetTimeout(d.cfg.Timeout)
	if d.cfg.Security == StartTLS {
		err = conn.StartTLS(d.cfg.TLS)
	}
	if err == nil && d.cfg.BindDN != "" {
		err = conn.Bind(d.cfg.BindDN, d.cfg.BindPassword)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("bind as %s: %w", d.cfg.BindDN, err), conn.Close())
	}
	return conn, nil
}

// find returns the one person of a name, or ErrNobody, and his DN as the directory has it.
func (d *Directory) find(conn *ldap.Conn, name string) (p Person, bindDN string, err error) {
	users, err := d.search(conn, d.cfg.UserBase, fill(d.cfg.UserFilter, name, ""), 2)
	switch {
	case err != nil:
		return p, "", err
	case len(users) != 1: // of two of a name neither can be meant
		return p, "", ErrNobody
	}
	p = Person{Name: name}
	if p.DN, err = Canonical(users[0]); err != nil {
		return p, "", fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	if d.cfg.GroupFilter == "" {
		return p, users[0], nil
	}
	groups, err := d.search(conn, d.cfg.GroupBase, fill(d.cfg.GroupFilter, name, users[0]), maxGroups)
	if err != nil {
		return p, "", err
	}
	for _, group := range groups {
		canonical, err := Canonical(group)
		if err != nil {
			return p, "", fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		p.Groups = append(p.Groups, canonical)
	}
	return p, users[0], nil
}

// search returns the DNs of the entries that fit, up to as many as asked for.
func (d *Directory) search(conn *ldap.Conn, base, filter string, most int) ([]string, error) {
	found, err := conn.Search(ldap.NewSearchRequest(base, ldap.ScopeWholeSubtree, ldap.NeverDerefAliases, most, int(d.cfg.Timeout.Seconds()), false,
		filter, []string{"1.1"}, nil)) // no attributes, RFC 4511 section 4.5.1.8
	if err != nil && !ldap.IsErrorWithCode(err, ldap.LDAPResultSizeLimitExceeded) {
		return nil, fmt.Errorf("%w: search %s: %w", ErrUnavailable, base, err)
	}
	var names []string
	for _, entry := range found.Entries {
		names = append(names, entry.DN)
	}
	return names, nil
}
