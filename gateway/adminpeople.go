package gateway

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
func (s *Server) addLDAPAccount(ctx context.Context, r *request) error {
	return s.addAccountOf(ctx, r, func(r *request, target string) (string, *directory.Person, error) {
		return s.ownerOf(ctx, r, target)
	})
}

// ownerOf returns the owner of a service account that somebody of an identity provider is
// named for, the sender himself if nobody is.
func (s *Server) ownerOf(ctx context.Context, r *request, target string) (name string, p *directory.Person, err error) {
	name, p, err = s.userOf(r, target)
	switch {
	case err != nil, p != nil:
		return name, p, err
	case target == "" || target == r.identity.AccessKey:
		return name, nil, errAdminInvalid.with("Who shall have the access key is missing: you are nobody of an identity provider yourself.")
	case !isDN(target):
		return name, nil, errAdminInvalid.with("What a provider says of somebody is not known here: he makes access keys for himself, with temporary credentials.")
	}
	found, err := s.findPerson(ctx, r, target)
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
func (s *Server) findPerson(ctx context.Context, r *request, name string) (ldap.Person, error) {
	found, err := s.LDAP.Find(ctx, name)
	switch {
	case errors.Is(err, ldap.ErrNone):
		return found, errAdminInvalid.with("No LDAP directory is configured.")
	case errors.Is(err, ldap.ErrNobody):
		return found, errAdminNoUser.with("There is nobody of this name in the LDAP directory.").because(err)
	case err != nil:
		s.Logger.Error("the LDAP directory cannot be asked", "request", r.id, "error", err)
		return found, errUnavailable.with("The LDAP directory cannot be asked.").because(err)
	}
	return found, nil
}

// listLDAPAccessKeys serves idp/ldap/list-access-keys-bulk: the access keys of people of the
// directory who are named, or of all who have some.
func (s *Server) listLDAPAccessKeys(ctx context.Context, r *request) error {
	all, err := s.Directory.Accounts()
	if err != nil {
		return err
	}
	maps.DeleteFunc(all, func(_ string, accounts []directory.Account) bool { return !isOf(accounts, directory.LDAP) })
	names, err := s.namedPeople(ctx, r, r.query.all("userDNs"))
	if r.query.get("all") == "true" {
		names = slices.Sorted(maps.Keys(all))
	}
	if err != nil {
		return err
	}
	return s.answerAccessKeys(r, all, names)
}

// listPersonsAccessKeys serves idp/ldap/list-access-keys, which older clients use: the access
// keys of one.
func (s *Server) listPersonsAccessKeys(ctx context.Context, r *request) error {
	names, err := s.namedPeople(ctx, r, []string{r.query.get("userDN")})
	if err != nil {
		return err
	}
	if err := s.allowOn(r, "admin:ListServiceAccounts", names[0]); err != nil {
		return err
	}
	all, err := s.Directory.Accounts()
	if err != nil {
		return err
	}
	keys, _ := r.keysOf(all[names[0]])
	return s.answerSealed(r, keys)
}

// namedPeople returns the canonical distinguished names of people; the LDAP directory is asked
// for those who are named otherwise.
func (s *Server) namedPeople(ctx context.Context, r *request, named []string) (dns []string, err error) {
	for _, name := range named {
		dn, err := ldap.Canonical(name)
		if err != nil {
			found, err := s.findPerson(ctx, r, name)
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
func (s *Server) listOpenIDAccessKeys(_ context.Context, r *request) error {
	all, err := s.Directory.Accounts()
	if err != nil {
		return err
	}
	everyone, named := r.query.get("all") == "true", r.query.all("users")
	out := []providerKeys{}
	for _, name := range slices.Sorted(maps.Keys(all)) { // which has those of one provider together
		person := all[name][0].Person
		if person == nil || !strings.HasPrefix(person.Provider, directory.OpenID) {
			continue
		}
		config := cmp.Or(strings.TrimPrefix(strings.TrimPrefix(person.Provider, directory.OpenID), "."), defaultTarget)
		id := strings.TrimPrefix(name, person.Provider+"=")
		asked := everyone || slices.Contains(named, id) || slices.Contains(named, name) || len(named) == 0 && name == r.identity.User()
		if r.query.get("allConfigs") != "true" && config != cmp.Or(r.query.get("configName"), defaultTarget) || !asked {
			continue
		}
		if err := s.allowOn(r, "admin:ListServiceAccounts", name); err != nil && everyone {
			continue
		} else if err != nil {
			return err
		}
		keys, shown := r.keysOf(all[name])
		if !shown {
			continue
		}
		if len(out) == 0 || out[len(out)-1].ConfigName != config {
			out = append(out, providerKeys{ConfigName: config})
		}
		of := &out[len(out)-1]
		of.Users = append(of.Users, personKeys{MinioAccessKey: name, ID: id, ReadableName: readableName(person, id), keysDocument: keys})
	}
	return s.answerSealed(r, out)
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
func (s *Server) personInfo(ctx context.Context, r *request, dn string) error {
	found, err := s.findPerson(ctx, r, dn)
	if err != nil {
		return err
	}
	policies, err := s.Directory.PoliciesOf(directory.Person{Entries: []string{dn}})
	if err != nil {
		return err
	}
	return r.answerJSON(userDocument{
		AuthInfo: &authInfo{Type: directory.LDAP, UserID: found.Name}, PolicyName: strings.Join(policies, ","), Status: statusOf(true), MemberOf: found.Groups,
	})
}

// entryInfo returns a group of the LDAP directory, as far as policies are attached to it: who is
// in it the LDAP directory alone knows.
func (s *Server) entryInfo(name string) (g directory.Group, err error) {
	if g.Name, err = bearerName(directory.LDAP, name); err != nil {
		return g, err
	}
	g.Enabled = true
	g.Policies, err = s.Directory.PoliciesOf(directory.Person{Entries: []string{g.Name}})
	return g, err
}
