package gateway

import (
	"context"
	"errors"
	"strings"

	"github.com/shoal-storage/shoal/internal/directory"
	"github.com/shoal-storage/shoal/internal/ldap"
	"github.com/shoal-storage/shoal/internal/openid"
	"github.com/shoal-storage/shoal/internal/throttle"
)

// assumeRoleWithWebIdentity makes temporary credentials of who bears a token of an OpenID
// provider.
func (s *Server) assumeRoleWithWebIdentity(ctx context.Context, r *request) error {
	id, session, err := s.webIdentity(ctx, r, r.query.get("WebIdentityToken"))
	if err != nil {
		return err
	}
	w := newSTS("AssumeRoleWithWebIdentity")
	w.credentials(session)
	w.text("SubjectFromWebIdentityToken", id.Subject)
	w.text("Audience", id.Audience)
	w.text("Provider", id.Issuer)
	w.assumedRole(openidName(id), r.query.get("RoleSessionName"))
	r.answerSTS(w)
	return nil
}

// assumeRoleWithClientGrants is MinIO's older name of the same.
func (s *Server) assumeRoleWithClientGrants(ctx context.Context, r *request) error {
	id, session, err := s.webIdentity(ctx, r, r.query.get("Token"))
	if err != nil {
		return err
	}
	w := newSTS("AssumeRoleWithClientGrants")
	w.credentials(session)
	w.text("SubjectFromToken", id.Subject)
	r.answerSTS(w)
	return nil
}

// openidName is what somebody who bears a token is called here: also by the name of the
// provider, if it has one, for two can have the same subject.
func openidName(id openid.Identity) string {
	if id.Provider == "" {
		return directory.OpenID + "=" + id.Subject
	}
	return directory.OpenID + "." + id.Provider + "=" + id.Subject
}

// webIdentity returns who bears the token, and temporary credentials.
func (s *Server) webIdentity(ctx context.Context, r *request, token string) (openid.Identity, directory.Session, error) {
	if s.OpenID == nil {
		return openid.Identity{}, directory.Session{}, errSTSInvalidAction.with("No OpenID provider is configured.")
	}
	id, err := s.OpenID.Identify(ctx, r.query.get("RoleArn"), token)
	switch {
	case errors.Is(err, openid.ErrNone):
		return id, directory.Session{}, errSTSInvalidAction.with("No OpenID provider is configured.")
	case errors.Is(err, openid.ErrRole):
		return id, directory.Session{}, errSTSInvalid.with("There is no role of this RoleArn.").because(err)
	case errors.Is(err, openid.ErrExpired):
		return id, directory.Session{}, errSTSOldIdentity.because(err)
	case errors.Is(err, openid.ErrUnavailable):
		s.Logger.Error("an OpenID provider cannot be asked", "request", r.id, "error", err)
		return id, directory.Session{}, errSTSProvider.because(err)
	case err != nil:
		return id, directory.Session{}, s.unproven(r, throttle.Failure{}, wrongToken, errSTSBadIdentity.because(err))
	}
	n, err := r.newSession()
	if err != nil {
		return id, directory.Session{}, err
	}
	provider, _, _ := strings.Cut(openidName(id), "=")
	session, err := s.sessionOf(ctx, n, directory.Person{Name: openidName(id), Provider: provider, Policies: id.Policies, Claims: id.Claims})
	return id, session, err
}

// assumeRoleWithLDAPIdentity makes temporary credentials of who has a name and a password
// in the LDAP directory.
func (s *Server) assumeRoleWithLDAPIdentity(ctx context.Context, r *request) error {
	name := r.query.get("LDAPUsername")
	p, err := s.LDAP.Identify(ctx, name, r.query.get("LDAPPassword"))
	switch {
	case errors.Is(err, ldap.ErrNone):
		return errSTSInvalidAction.with("No LDAP directory is configured.")
	case errors.Is(err, ldap.ErrUnavailable):
		s.Logger.Error("the LDAP directory cannot be asked", "request", r.id, "error", err)
		return errSTSProvider.because(err)
	case err != nil:
		denied := errAccessDenied.with("LDAP server rejected the name or the password.").because(err)
		return s.unproven(r, throttle.Failure{Name: "ldap=" + name}, wrongPassword, denied)
	}
	n, err := r.newSession()
	if err != nil {
		return err
	}
	session, err := s.sessionOf(ctx, n, directory.OfLDAP(p.Name, p.DN, p.Groups))
	if err != nil {
		return err
	}
	w := newSTS("AssumeRoleWithLDAPIdentity")
	w.credentials(session)
	r.answerSTS(w)
	return nil
}

// noPeople is People where there are none.
type noPeople struct{}

// Identify implements People.
func (noPeople) Identify(context.Context, string, string) (ldap.Person, error) {
	return ldap.Person{}, ldap.ErrNone
}

// Find implements People.
func (noPeople) Find(context.Context, string) (ldap.Person, error) {
	return ldap.Person{}, ldap.ErrNone
}

// assumeRoleWithCertificate makes temporary credentials of who has shown a certificate
// when the connection was made. It names the policy, and outlives them.
func (s *Server) assumeRoleWithCertificate(ctx context.Context, r *request) error {
	state := r.ctx.TLSConnectionState()
	if state == nil || len(state.VerifiedChains) == 0 || !s.ClientCertificates() {
		return errAccessDenied.with("The connection was not made with a client certificate that this server trusts.")
	}
	cert := state.VerifiedChains[0][0]
	left := cert.NotAfter.Sub(s.Now())
	if left < directory.MinSessionLife {
		return errSTSOldIdentity.with("The certificate has expired, or is about to.")
	}
	n, err := r.newSession()
	if err != nil {
		return err
	}
	n.Life = min(n.Life, left)
	name := cert.Subject.CommonName
	session, err := s.sessionOf(ctx, n, directory.Person{Name: directory.Certificates + "=" + name, Provider: directory.Certificates, Policies: []string{name}})
	if err != nil {
		return err
	}
	w := newSTS("AssumeRoleWithCertificate")
	w.credentials(session)
	r.answerSTS(w)
	return nil
}

// sessionOf makes temporary credentials of somebody whom an identity provider knows. One
// of the policies at least must be there: else they would do nothing.
func (s *Server) sessionOf(ctx context.Context, n directory.NewSession, p directory.Person) (directory.Session, error) {
	policies, err := s.Directory.PoliciesOf(p)
	if err != nil {
		return directory.Session{}, errUnavailable.because(err)
	}
	there := false
	for _, name := range policies {
		_, err := s.Directory.Policy(name)
		if err != nil && !errors.Is(err, directory.ErrNoPolicy) {
			return directory.Session{}, errUnavailable.because(err)
		}
		there = there || err == nil
	}
	if !there {
		return directory.Session{}, errSTSNoPolicy
	}
	n.Person = &p
	return s.Directory.AddSession(ctx, n)
}
