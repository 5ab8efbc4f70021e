package directory

import (
	"maps"
	"slices"

	"github.com/shoal-storage/shoal/internal/iam"
)

// Person is somebody who is no user here, and of whom an identity provider tells.
type Person struct {
	Name     string              // which no user can have: it has an equals sign
	Provider string              `json:",omitempty"` // that tells of him, such as LDAP; "": it is not asked whether it still does
	Entries  []string            // of an LDAP directory, by canonical name: what is attached to them counts
	Policies []string            // by name
	Claims   map[string][]string // for conditions and variables, by their key, such as "jwt:sub"
}

// The providers of people. OpenID is the one that has no name, "openid.NAME" one that has.
const (
	LDAP         = "ldap"
	OpenID       = "openid"
	Certificates = "tls"
)

// Conditions that people of an LDAP directory can be told by.
const (
	ldapName   = "ldap:username"
	ldapDN     = "ldap:user"
	ldapGroups = "ldap:groups"
)

// OfLDAP returns somebody of an LDAP directory, by the name that he logs in with and the
// canonical names of his entry and his groups.
func OfLDAP(name, dn string, groups []string) Person {
	return Person{
		Name: dn, Provider: LDAP, Entries: append([]string{dn}, groups...),
		Claims: map[string][]string{ldapName: {name}, ldapDN: {dn}, ldapGroups: groups},
	}
}

// People knows who is still somebody to identity providers. Its methods may be called
// concurrently, and at every request.
type People interface {
	// Trusts reports whether a provider tells of people now.
	Trusts(provider string) bool
	// Groups returns the groups that who has a name and a canonical DN is in, and whether the
	// LDAP directory has such a person.
	Groups(name, dn string) (groups []string, there bool, err error)
}

// present returns a person as he is now, or iam.ErrNoSuchKey if he is nobody any more.
func (d *Directory) present(p *Person) (*Person, error) {
	if d.cfg.People == nil || p.Provider == "" {
		return p, nil
	}
	if !d.cfg.People.Trusts(p.Provider) {
		return nil, iam.ErrNoSuchKey
	}
	name := p.Claims[ldapName]
	if p.Provider != LDAP || len(name) != 1 {
		return p, nil
	}
	groups, there, err := d.cfg.People.Groups(name[0], p.Name)
	switch {
	case err != nil:
		return nil, err //nolint:wrapcheck // the question is the caller's own
	case !there:
		return nil, iam.ErrNoSuchKey
	case slices.Equal(groups, p.Claims[ldapGroups]):
		return p, nil
	}
	now := OfLDAP(name[0], p.Name, groups)
	claims := maps.Clone(p.Claims)
	maps.Copy(claims, now.Claims)
	now.Claims = claims
	return &now, nil
}

// identify sets what a person may do now.
func (d *Directory) identify(id *iam.Identity, p *Person) error {
	p, err := d.present(p)
	if err != nil {
		return err
	}
	policies, err := d.PoliciesOf(*p)
	if err != nil {
		return err
	}
	id.Claims = p.Claims
	id.Access, err = d.accessOf(&key{Policies: policies})
	return err
}

// PoliciesOf returns the names of the policies that a person has now.
func (d *Directory) PoliciesOf(p Person) ([]string, error) {
	names := p.Policies
	for _, dn := range p.Entries {
		e, err := d.entry(dn)
		if err != nil {
			return nil, err
		}
		if e != nil {
			names = slices.Concat(names, e.Policies)
		}
	}
	return names, nil
}

// Bearer returns the person whom credentials are of, nil if they are a user's. The token is
// "" where they are not temporary; that they count is for Lookup and LookupSession to say.
func (d *Directory) Bearer(accessKey, token string) (*Person, error) {
	if token != "" {
		c, err := d.openToken(token)
		if err != nil {
			return nil, err
		}
		if c.Person != nil {
			return c.Person, nil
		}
		accessKey = c.Parent
	}
	k, err := d.key(accessKey)
	if err != nil || k == nil || k.Account == nil {
		return nil, err
	}
	return k.Account.Person, nil
}
