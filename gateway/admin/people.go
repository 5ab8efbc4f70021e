package admin

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/shoal-storage/shoal/internal/directory"
	"github.com/shoal-storage/shoal/internal/ldap"
)

// addLDAPAccount serves idp/ldap/add-service-account: the owner is of the LDAP directory, by
// his name or distinguished name.
func (a *API) addLDAPAccount(ctx context.Context, c *Call) error {
	return a.addAccountOf(ctx, c, func(c *Call, target string) (string, *directory.Person, error) {
		return a.ownerOf(ctx, c, target)
	})
}

// ownerOf returns the owner of a service account that somebody of an identity provider is
// named for, the sender himself if nobody is.
func (a *API) ownerOf(ctx context.Context, c *Call, target string) (name string, p *directory.Person, err error) {
	name, p, err = a.userOf(c, target)
	switch {
	case err != nil, p != nil:
		return name, p, err
	case target == "" || target == c.Identity.AccessKey:
		return name, nil, errInvalid.with("Who shall have the access key is missing: you are nobody of an identity provider yourself.")
	case !isDN(target):
		return name, nil, errInvalid.with("What a provider says of somebody is not known here: he makes access keys for himself, with temporary credentials.")
	}
	found, err := a.findPerson(ctx, c, target)
	if err != nil {
		return name, nil, err
	}
	person := directory.OfLDAP(found.Name, found.DN, found.Groups)
	return found.DN, &person, nil
}

// isDN reports whether a name can be of somebody of an LDAP directory, and not of another
// provider.
func isDN(name string) bool {
	return !slices.ContainsFunc(otherPeople(), func(begin string) bool { return strings.HasPrefix(name, begin) })
}

// findPerson asks the LDAP directory who has a name, or a distinguished name.
func (a *API) findPerson(ctx context.Context, c *Call, name string) (ldap.Person, error) {
	found, err := a.LDAP.Find(ctx, name)
	switch {
	case errors.Is(err, ldap.ErrNone):
		return found, errInvalid.with("No LDAP directory is configured.")
	case errors.Is(err, ldap.ErrNobody):
		return found, errNoUser.with("There is nobody of this name in the LDAP directory.").because(err)
	case err != nil:
		a.Logger.Error("the LDAP directory cannot be asked", "request", c.ID, "error", err)
		return found, errUnavailable.with("The LDAP directory cannot be asked.").because(err)
	}
	return found, nil
}

// listLDAPAccessKeys serves idp/ldap/list-access-keys-bulk: the access keys of people of the
// directory who are named, or of all who have some.
func (a *API) listLDAPAccessKeys(ctx context.Context, c *Call) error {
	all, err := a.Directory.Accounts()
	if err != nil {
		return err
	}
	maps.DeleteFunc(all, func(_ string, accounts []directory.Account) bool { return !isOf(accounts, directory.LDAP) })
	names, err := a.namedPeople(ctx, c, c.Query["userDNs"])
	if c.Query.Get("all") == "true" {
		names = slices.Sorted(maps.Keys(all))
	}
	if err != nil {
		return err
	}
	return a.answerAccessKeys(c, all, names)
}

// listPersonsAccessKeys serves idp/ldap/list-access-keys, which older clients use: the access
// keys of one.
func (a *API) listPersonsAccessKeys(ctx context.Context, c *Call) error {
	names, err := a.namedPeople(ctx, c, []string{c.Query.Get("userDN")})
	if err != nil {
		return err
	}
	if err := a.allowOn(c, "admin:ListServiceAccounts", names[0]); err != nil {
		return err
	}
	all, err := a.Directory.Accounts()
	if err != nil {
		return err
	}
	keys, _ := c.keysOf(all[names[0]])
	return a.answerSealed(c, keys)
}

// namedPeople returns the canonical distinguished names of people; the LDAP directory is asked
// for those who are named otherwise.
func (a *API) namedPeople(ctx context.Context, c *Call, named []string) (dns []string, err error) {
	for _, name := range named {
		dn, err := ldap.Canonical(name)
		if err != nil {
			found, err := a.findPerson(ctx, c, name)
			if err != nil {
				return nil, err
			}
			dn = found.DN
		}
		dns = append(dns, dn)
	}
	return dns, nil
}

// isOf reports whether the owner of accounts is of a provider.
func isOf(accounts []directory.Account, provider string) bool {
	return len(accounts) > 0 && accounts[0].Person != nil && accounts[0].Person.Provider == provider
}

// providerKeys is the access keys of the people of an OpenID provider.
type providerKeys struct {
	ConfigName string       `json:"configName"`
	Users      []personKeys `json:"users"`
}

type personKeys struct {
	MinioAccessKey string `json:"minioAccessKey"` // by which they are known here
	ID             string `json:"ID"`
	ReadableName   string `json:"readableName"`
	keysDocument
}

// listOpenIDAccessKeys serves idp/openid/list-access-keys-bulk: the access keys of people of a
// provider, or of all, who have some.
func (a *API) listOpenIDAccessKeys(_ context.Context, c *Call) error {
	all, err := a.Directory.Accounts()
	if err != nil {
		return err
	}
	everyone, named := c.Query.Get("all") == "true", c.Query["users"]
	out := []providerKeys{}
	for _, name := range slices.Sorted(maps.Keys(all)) { // which has those of one provider together
		person := all[name][0].Person
		if person == nil || !strings.HasPrefix(person.Provider, directory.OpenID) {
			continue
		}
		config := cmp.Or(strings.TrimPrefix(strings.TrimPrefix(person.Provider, directory.OpenID), "."), defaultTarget)
		id := strings.TrimPrefix(name, person.Provider+"=")
		asked := everyone || slices.Contains(named, id) || slices.Contains(named, name) || len(named) == 0 && name == c.Identity.User()
		if c.Query.Get("allConfigs") != "true" && config != cmp.Or(c.Query.Get("configName"), defaultTarget) || !asked {
			continue
		}
		if err := a.allowOn(c, "admin:ListServiceAccounts", name); err != nil && everyone {
			continue
		} else if err != nil {
			return err
		}
		keys, shown := c.keysOf(all[name])
		if !shown {
			continue
		}
		if len(out) == 0 || out[len(out)-1].ConfigName != config {
			out = append(out, providerKeys{ConfigName: config})
		}
		of := &out[len(out)-1]
		of.Users = append(of.Users, personKeys{MinioAccessKey: name, ID: id, ReadableName: readableName(person, id), keysDocument: keys})
	}
	return a.answerSealed(c, out)
}

// readableName returns what people call somebody, as far as the provider has said it.
func readableName(p *directory.Person, id string) string {
	for _, claim := range []string{"jwt:preferred_username", "jwt:name", "jwt:email"} {
		if values := p.Claims[claim]; len(values) > 0 {
			return values[0]
		}
	}
	return id
}

// personInfo answers what is known of somebody of the LDAP directory, by his distinguished
// name.
func (a *API) personInfo(ctx context.Context, c *Call, dn string) error {
	found, err := a.findPerson(ctx, c, dn)
	if err != nil {
		return err
	}
	policies, err := a.Directory.PoliciesOf(directory.Person{Entries: []string{dn}})
	if err != nil {
		return err
	}
	return c.answerJSON(userDocument{
		AuthInfo: &authInfo{Type: directory.LDAP, UserID: found.Name}, PolicyName: strings.Join(policies, ","), Status: statusOf(true), MemberOf: found.Groups,
	})
}

// entryInfo returns a group of the LDAP directory, as far as policies are attached to it: who is
// in it the LDAP directory alone knows.
func (a *API) entryInfo(name string) (g directory.Group, err error) {
	if g.Name, err = bearerName(directory.LDAP, name); err != nil {
		return g, err
	}
	g.Enabled = true
	g.Policies, err = a.Directory.PoliciesOf(directory.Person{Entries: []string{g.Name}})
	return g, err
}
