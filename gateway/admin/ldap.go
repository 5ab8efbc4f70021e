package admin

import (
	"context"
	"errors"

	"github.com/shoal-storage/shoal/internal/directory"
	"github.com/shoal-storage/shoal/internal/ldap"
)

// entryOf returns what finds which entry of the LDAP directory a document of policies is
// about. A user can be named as he logs in, for which the directory is asked.
func (a *API) entryOf(ctx context.Context, c *Call) func(in *association) (directory.Holder, error) {
	return func(in *association) (directory.Holder, error) {
		of, err := in.holder()
		if err != nil {
			return of, err
		}
		of.Entry = true
		dn, err := ldap.Canonical(of.Name)
		switch {
		case err == nil:
			of.Name = dn
			return of, nil
		case of.Group:
			return of, errInvalid.with("The group must be a distinguished name.").because(err)
		}
		found, err := a.findPerson(ctx, c, of.Name)
		of.Name = found.DN
		return of, err
	}
}

// attachLDAPPolicy serves idp/ldap/policy/attach.
func (a *API) attachLDAPPolicy(ctx context.Context, c *Call) error {
	return a.associate(ctx, c, a.entryOf(ctx, c), "policiesAttached", a.Directory.Attach)
}

// detachLDAPPolicy serves idp/ldap/policy/detach.
func (a *API) detachLDAPPolicy(ctx context.Context, c *Call) error {
	return a.associate(ctx, c, a.entryOf(ctx, c), "policiesDetached", a.Directory.Detach)
}

// ldapPolicyEntities serves idp/ldap/policy-entities: which entries have which policies. Each
// is shown as what the policy was attached to; it counts for the entry, whatever that is.
func (a *API) ldapPolicyEntities(ctx context.Context, c *Call) error {
	all, err := a.Directory.Entries()
	if err != nil {
		return err
	}
	users, err := a.namedPeople(ctx, c, c.Query["user"])
	if err != nil {
		return err
	}
	groups, err := a.namedPeople(ctx, c, c.Query["group"])
	if err != nil {
		return err
	}
	e := entitiesOf(all, users, groups, c.Query["policy"])
	for _, user := range users {
		if err := e.addGroupsOf(ctx, a.LDAP, user, all); err != nil {
			return errUnavailable.with("The LDAP directory cannot be asked.").because(err)
		}
	}
	e.Timestamp = a.Now().UTC()
	return a.answerSealed(c, e)
}

// addGroupsOf adds what the groups of somebody of a directory have, if there is one.
func (e *entities) addGroupsOf(ctx context.Context, people People, dn string, all []directory.Attachment) error {
	found, err := people.Find(ctx, dn)
	if errors.Is(err, ldap.ErrNone) || errors.Is(err, ldap.ErrNobody) {
		return nil
	}
	if err != nil {
		return err
	}
	e.addMember(dn, found.Groups, all)
	return nil
}
