package admin

import (
	"cmp"
	"context"
	"strings"

	"github.com/shoal-storage/shoal/internal/directory"
	"github.com/shoal-storage/shoal/internal/ldap"
)

// revokeCall is the path below which temporary credentials are ended: revokeCall+"builtin" of
// users, "ldap" and "openid" of people of these.
const revokeCall = "revoke-tokens/"

// noListedSessions serves temporary-account-info, which tools ask where there is no
// service account of a key.
func (a *API) noListedSessions(context.Context, *Call) error {
	return errNoAccount.with("There is no service account with this access key; temporary credentials are not kept.")
}

// revokeTokens serves revoke-tokens: all temporary credentials of somebody end, those of the
// sender if nobody is named.
func (a *API) revokeTokens(ctx context.Context, c *Call) error {
	name, err := bearerName(c.Below, c.Query.Get("user"))
	if err != nil {
		return err
	}
	name = cmp.Or(name, c.Identity.User())
	if err := a.allowOn(c, "admin:RemoveServiceAccount", name); err != nil {
		return err
	}
	if c.Query.Get("tokenRevokeType") != "" {
		return errNotImplemented.with("Temporary credentials have no types here: all of a user are ended, or none.")
	}
	if !isPerson(name) && name != a.Directory.Root() {
		if _, err := a.Directory.User(name); err != nil {
			return err
		}
	}
	if err := a.Directory.RevokeSessions(ctx, name); err != nil {
		return err
	}
	c.answerNothing()
	return nil
}

// What the names of people begin with who are not of an LDAP directory.
func otherPeople() []string {
	return []string{directory.OpenID + "=", directory.OpenID + ".", directory.Certificates + "="}
}

// isPerson reports whether a name is that of somebody who is no user here.
func isPerson(name string) bool { return strings.Contains(name, "=") }

// bearerName returns whom temporary credentials are of, as the directory has the name: of an
// LDAP directory in the one form in which it is compared.
func bearerName(provider, name string) (string, error) {
	if provider == directory.OpenID && name != "" && !isPerson(name) {
		return directory.OpenID + "=" + name, nil
	}
	if !isPerson(name) {
		return name, nil
	}
	for _, begin := range otherPeople() {
		if strings.HasPrefix(name, begin) {
			return name, nil
		}
	}
	dn, err := ldap.Canonical(name)
	if err != nil {
		return "", errInvalid.with("The person must be a distinguished name, or one such as openid=SUBJECT.").because(err)
	}
	return dn, nil
}
