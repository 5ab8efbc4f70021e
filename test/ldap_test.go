package test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

const slapdSettings = `include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
database mdb
maxsize 16777216
suffix "dc=example,dc=com"
rootdn "cn=admin,dc=example,dc=com"
rootpw admins-secret
access to * by anonymous auth by * none
directory %s
`

// people are two persons, one of them in a group, and two others of one name.
const people = `dn: dc=example,dc=com
objectClass: dcObject
objectClass: organization
dc: example
o: Example

dn: ou=people,dc=example,dc=com
objectClass: organizationalUnit
ou: people

dn: uid=eve,ou=people,dc=example,dc=com
objectClass: inetOrgPerson
uid: eve
cn: Eve
sn: E
userPassword: eves-secret

dn: uid=adam,ou=people,dc=example,dc=com
objectClass: inetOrgPerson
uid: adam
uid: twin
cn: Adam
sn: A
userPassword: adams-secret

dn: uid=twin,ou=people,dc=example,dc=com
objectClass: inetOrgPerson
uid: twin
cn: Twin
sn: T
userPassword: twins-secret

dn: cn=devs,dc=example,dc=com
objectClass: groupOfNames
cn: devs
member: uid=adam,ou=people,dc=example,dc=com
`

// startSlapd starts an LDAP server with those people, and returns its address.
func startSlapd(t *testing.T) string {
	t.Helper()
	const program = "/usr/sbin/slapd"
	if _, err := os.Stat(program); err != nil && !full() {
		t.Skip("no slapd; test/run full installs it")
	}
	dir := t.TempDir()
	settings, content := filepath.Join(dir, "slapd.conf"), filepath.Join(dir, "people.ldif")
	must(t, os.Mkdir(filepath.Join(dir, "db"), 0o700))
	must(t, os.WriteFile(settings, fmt.Appendf(nil, slapdSettings, filepath.Join(dir, "db")), 0o600))
	must(t, os.WriteFile(content, []byte(people), 0o600))
	if out, err := exec.Command("/usr/sbin/slapadd", "-f", settings, "-l", content).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	address := "127.0.0.1:" + free(t)
	startDaemon(t, &daemon{args: []string{program, "-f", settings, "-h", "ldap://" + address, "-d", "0"}, up: address, ends: syscall.SIGTERM})
	return address
}

// ldapCredentials returns temporary credentials for a name and a password.
func (a *administration) ldapCredentials(t *testing.T, gateway int, name, password string) (credentials.Value, error) {
	t.Helper()
	c, err := credentials.NewLDAPIdentity(a.fleet[gateway].url, name, password)
	must(t, err)
	return c.GetWithContext(nil)
}

func TestPeopleOfAnLDAPDirectoryGetTemporaryCredentials(t *testing.T) {
	address := startSlapd(t)
	env := []string{"SHOAL_IDENTITY_LDAP_LOOKUP_BIND_PASSWORD=admins-secret"}
	a := administerFleet(t, startFleetWith(t, env, 3, "--identity-ldap-server-addr", address, "--identity-ldap-server-insecure", "on",
		"--identity-ldap-lookup-bind-dn", "cn=admin,dc=example,dc=com",
		"--identity-ldap-user-dn-search-base-dn", "ou=people,dc=example,dc=com", "--identity-ldap-user-dn-search-filter", "(uid=%s)",
		"--identity-ldap-group-search-base-dn", "dc=example,dc=com", "--identity-ldap-group-search-filter", "(&(objectClass=groupOfNames)(member=%d))"))
	a.mc.run(t, "mb", "g0/bucket")
	_, err := newS3(a.fleet[0]).PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("bucket"), Key: aws.String("k"), Body: strings.NewReader("content")})
	must(t, err)
	if _, err := a.ldapCredentials(t, 0, "eve", "eves-secret"); err == nil {
		t.Error("somebody without policies gets credentials")
	}
	a.mc.run(t, "idp", "ldap", "policy", "attach", "g0", "readonly", "--user", "UID=eve, ou=People,dc=example,dc=com")
	a.mc.run(t, "idp", "ldap", "policy", "attach", "g1", "readwrite", "--group", "cn=devs,dc=example,dc=com")
	for who, groups := range map[string]string{"eve": "uid=eve,ou=people,dc=example,dc=com", "adam": "cn=devs,dc=example,dc=com"} {
		v, err := a.ldapCredentials(t, 1, who, who+"s-secret")
		must(t, err)
		a.readEverywhere(t, v, "")
		kind, policy := "--user", "readonly"
		if who == "adam" {
			kind, policy = "--group", "readwrite"
		}
		a.mc.run(t, "idp", "ldap", "policy", "detach", "g2", policy, kind, groups)
		a.readEverywhere(t, v, notAllowed)
		a.mc.run(t, "idp", "ldap", "policy", "attach", "g2", policy, kind, groups)
	}
	for _, wrong := range [][2]string{{"eve", "adams-secret"}, {"eve", ""}, {"nobody", "eves-secret"}, {"*", "eves-secret"}, {"eve)(uid=*", "eves-secret"}, {"twin", "twins-secret"}} {
		if v, err := a.ldapCredentials(t, 2, wrong[0], wrong[1]); err == nil {
			t.Errorf("%q with %q gets %+v", wrong[0], wrong[1], v)
		}
	}
	if out := a.mc.run(t, "idp", "ldap", "policy", "entities", "g0"); !strings.Contains(out, "uid=eve") || !strings.Contains(out, "cn=devs") {
		t.Error(out)
	}
}
