package gateway

import (
	"context"
	"errors"

	"github.com/shoal-storage/shoal/internal/directory"
	"github.com/shoal-storage/shoal/internal/ldap"
)

// entryOf returns what finds which entry of the LDAP directory a document of policies is
// about. A user can be named as he logs in, for which the directory is asked.
func (s *Server) entryOf(ctx context.Context, r *request) func(a *association) (directory.Holder, error) {
	return func(a *association) (directory.Holder, error) {
		of, err := a.holder()
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
			return of, errAdminInvalid.with("The group must be a distinguished name.").because(err)
		}
		found, err := s.findPerson(ctx, r, of.Name)
		of.Name = found.DN
		return of, err
	}
}

// attachLDAPPolicy serves idp/ldap/policy/attach.
func (s *Server) attachLDAPPolicy(ctx context.Context, r *request) error {
	return s.associate(ctx, r, s.entryOf(ctx, r), "policiesAttached", s.Directory.Attach)
}

// detachLDAPPolicy serves idp/ldap/policy/detach.
func (s *Server) detachLDAPPolicy(ctx context.Context, r *request) error {
	return s.associate(ctx, r, s.entryOf(ctx, r), "policiesDetached", s.Directory.Detach)
}

// ldapPolicyEntities serves idp/ldap/policy-entities: which entries have which policies. Each
// is shown as what the policy was attached to; it counts for the entry, whatever that is.
func (s *Server) ldapPolicyEntities(ctx context.Context, r *request) error {
	all, err := s.Directory.Entries()
	if err != nil {
		return err
	}
	users, err := s.namedPeople(ctx, r, r.query.all("user"))
	if err != nil {
		return err
	}
	groups, err := s.namedPeople(ctx, r, r.query.all("group"))
	if err != nil {
		return err
	}
	e := entitiesOf(all, users, groups, r.query.all("policy"))
	for _, user := range users {
		if err := e.addGroupsOf(ctx, s.LDAP, user, all); err != nil {
			return errUnavailable.with("The LDAP directory cannot be asked.").because(err)
		}
	}
	e.Timestamp = s.Now().UTC()
	return s.answerSealed(r, e)
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
