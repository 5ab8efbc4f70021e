package gateway

import (
	"context"
	"encoding/xml"
	"fmt"
	"strings"
	"testing"

	"github.com/shoal-storage/shoal/internal/ldap"
)

// crowd knows people by name, whose passwords are those of the office.
type crowd map[string]ldap.Person

// Identify implements People.
func (c crowd) Identify(_ context.Context, name, password string) (ldap.Person, error) {
	if name == "away" {
		return ldap.Person{}, ldap.ErrUnavailable
	}
	if p, there := c[name]; there && password == secretOf(name) {
		return p, nil
	}
	return ldap.Person{}, ldap.ErrCredentials
}

// Find implements People.
func (c crowd) Find(_ context.Context, name string) (ldap.Person, error) {
	dn, _ := ldap.Canonical(name) // "" where it is no DN
	for _, p := range c {
		if p.Name == name || p.DN == dn {
			return p, nil
		}
	}
	return ldap.Person{}, ldap.ErrNobody
}

const (
	eveDN  = "uid=eve,ou=people,dc=example"
	devsDN = "cn=devs,dc=example"
)

// serveCrowd serves an office that knows eve, of the group devs, and adam, of none.
func serveCrowd(t *testing.T) *office {
	t.Helper()
	return serveOfficeWith(t, func(cfg *Config) {
		cfg.LDAP = crowd{"eve": {Name: "eve", DN: eveDN, Groups: []string{devsDN}}, "adam": {Name: "adam", DN: "uid=adam,dc=example"}}
	})
}

// byPassword makes temporary credentials of somebody of the crowd's.
func (o *office) byPassword(name string) temporary {
	o.t.Helper()
	var answer struct {
		XMLName xml.Name  `xml:"AssumeRoleWithLDAPIdentityResponse"`
		Made    temporary `xml:"AssumeRoleWithLDAPIdentityResult>Credentials"`
	}
	body := o.ok(federated("AssumeRoleWithLDAPIdentity", "LDAPUsername", name, "LDAPPassword", secretOf(name))).body
	o.must(o.t, xml.Unmarshal([]byte(body), &answer))
	return answer.Made
}

// associate attaches or detaches a policy.
func (o *office) associate(what, kind, dn, policy string) string {
	o.t.Helper()
	_, code := o.admin("boss", "POST", "idp/ldap/policy/"+what, "", o.seal("boss", fmt.Sprintf(`{"policies":[%q],%q:%q}`, policy, kind, dn)))
	return code
}

func TestPeopleMayDoWhatIsAttachedToThemAndTheirGroups(t *testing.T) {
	o := serveCrowd(t)
	o.put("k", "content")
	if got := o.associate("attach", "user", strings.ToUpper(eveDN), "readonly"); got != "" {
		t.Fatal(got)
	}
	made := o.byPassword("eve")
	read, write := made.as(call{method: "GET", path: "/bucket/k"}), made.as(call{method: "PUT", path: "/bucket/new"})
	o.ok(read)
	o.refused("AccessDenied", write)
	if got := o.associate("attach", "group", devsDN, "readwrite"); got != "" {
		t.Fatal(got)
	}
	o.ok(write)
	if got := o.associate("detach", "group", devsDN, "readwrite"); got != "" {
		t.Fatal(got)
	}
	o.refused("AccessDenied", write)
	for want, got := range map[string]string{
		"XMinioAdminPolicyChangeAlreadyApplied": o.associate("attach", "user", eveDN, "readonly"),
		"XMinioAdminNoSuchPolicy":               o.associate("attach", "user", eveDN, "none"),
		"XMinioAdminInvalidArgument":            o.associate("attach", "group", "devs", "readonly"),
		"XMinioAdminNoSuchUser":                 o.associate("attach", "user", "nobody", "readonly"),
	} {
		if got != want {
			t.Errorf("%q, want %s", got, want)
		}
	}
}

func TestAPolicyOfAnEntryIsInUse(t *testing.T) {
	o := serveCrowd(t)
	o.must(t, o.directory.SetPolicy(t.Context(), "eves", mayReadOnlyK))
	o.associate("attach", "user", eveDN, "eves")
	if _, code := o.admin("boss", "DELETE", "remove-canned-policy", "name=eves", ""); code != "XMinioAdminPolicyInUse" {
		t.Errorf("%q", code)
	}
	o.associate("detach", "user", eveDN, "eves")
	if _, code := o.admin("boss", "DELETE", "remove-canned-policy", "name=eves", ""); code != "" {
		t.Errorf("%q", code)
	}
}

func TestWhoHasNoPasswordOrNoPolicyGetsNoCredentials(t *testing.T) {
	o := serveCrowd(t)
	o.associate("attach", "user", eveDN, "readonly")
	for what, tt := range map[string]struct{ name, password, want string }{
		"as it must be":        {"eve", secretOf("eve"), ""},
		"a wrong password":     {"eve", "wrong", "AccessDenied"},
		"nobody":               {"nobody", secretOf("nobody"), "AccessDenied"},
		"without a policy":     {"adam", secretOf("adam"), "AccessDenied"},
		"a directory far away": {"away", "x", "IDPCommunicationError"},
	} {
		if got := stsCode(t, o.do(federated("AssumeRoleWithLDAPIdentity", "LDAPUsername", tt.name, "LDAPPassword", tt.password))); got != tt.want {
			t.Errorf("%s: %q, want %q", what, got, tt.want)
		}
	}
	if got := stsCode(t, serveOffice(t).do(federated("AssumeRoleWithLDAPIdentity"))); got != "InvalidAction" {
		t.Errorf("without a directory: %q", got)
	}
}

func TestPoliciesSeeWhoIsInTheLDAPDirectory(t *testing.T) {
	o := serveCrowd(t)
	o.must(t, o.directory.SetPolicy(t.Context(), "home", `{"Version":"2012-10-17","Statement":[
{"Effect":"Allow","Action":"s3:PutObject","Resource":"arn:aws:s3:::bucket/${ldap:username}/*","Condition":{"ForAnyValue:StringEquals":{"ldap:groups":"`+devsDN+`"}}}]}`))
	o.associate("attach", "user", eveDN, "home")
	made := o.byPassword("eve")
	o.ok(made.as(call{method: "PUT", path: "/bucket/eve/k"}))
	o.refused("AccessDenied", made.as(call{method: "PUT", path: "/bucket/adam/k"}))
}
