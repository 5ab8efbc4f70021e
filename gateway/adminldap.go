package gateway

import (
	"context"

	"github.com/shoal-storage/shoal/internal/directory"
	"github.com/shoal-storage/shoal/internal/ldap"
)

// entry returns which entry of the LDAP directory a document of policies is about. Users
// and groups are entries alike.
func (a *association) entry() (directory.Holder, error) {
	of, err := a.holder()
	if err != nil {
		return of, err
	}
	name, err := ldap.Canonical(of.Name)
	if err != nil {
		return of, errAdminInvalid.with("The user or group must be a distinguished name.").because(err)
	}
	return directory.Holder{Name: name, Entry: true}, nil
}

// attachLDAPPolicy serves idp/ldap/policy/attach.
func (s *Server) attachLDAPPolicy(ctx context.Context, r *request) error {
	return s.associate(ctx, r, (*association).entry, "policiesAttached", s.Directory.Attach)
}

// detachLDAPPolicy serves idp/ldap/policy/detach.
func (s *Server) detachLDAPPolicy(ctx context.Context, r *request) error {
	return s.associate(ctx, r, (*association).entry, "policiesDetached", s.Directory.Detach)
}

// ldapPolicyEntities serves idp/ldap/policy-entities: which entries have which policies.
// All are shown as users, for what an entry is the LDAP directory alone knows.
func (s *Server) ldapPolicyEntities(_ context.Context, r *request) error {
	all, err := s.Directory.Entries()
	if err != nil {
		return err
	}
	var named []string
	for _, dn := range append(r.query.all("user"), r.query.all("group")...) {
		name, err := ldap.Canonical(dn)
		if err != nil {
			return errAdminInvalid.with("The user or group must be a distinguished name.").because(err)
		}
		named = append(named, name)
	}
	e := entitiesOf(all, named, nil, r.query.all("policy"))
	e.Timestamp = s.Now().UTC()
	return s.answerSealed(r, e)
}
