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
	dir := t.TempDir()
	program := filepath.Join(dir, "slapd") // a copy: AppArmor may keep the one that is installed to its own directories
	binary, err := os.ReadFile("/usr/sbin/slapd")
	must(t, err)
	must(t, os.WriteFile(program, binary, 0o700))
	settings, content := filepath.Join(dir, "slapd.conf"), filepath.Join(dir, "people.ldif")
	must(t, os.Mkdir(filepath.Join(dir, "db"), 0o700))
	must(t, os.WriteFile(settings, fmt.Appendf(nil, slapdSettings, filepath.Join(dir, "db")), 0o600))
	must(t, os.WriteFile(content, []byte(people), 0o600))
	if out, err := exec.Command(program, "-T", "add", "-f", settings, "-l", content).CombinedOutput(); err != nil {
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

// TestPeopleOfAnLDAPDirectoryGetTemporaryCredentials has gateways asked that were started with
// nothing, and one that was told of the directory when it was started.
func TestPeopleOfAnLDAPDirectoryGetTemporaryCredentials(t *testing.T) {
	address := startSlapd(t)
	settings := map[string]string{
		"server_addr": address, "server_insecure": "on", "lookup_bind_dn": "cn=admin,dc=example,dc=com", "lookup_bind_password": "admins-secret",
		"user_dn_search_base_dn": "ou=people,dc=example,dc=com", "user_dn_search_filter": "(uid=%s)",
		"group_search_base_dn": "dc=example,dc=com", "group_search_filter": "(&(objectClass=groupOfNames)(member=%d))",
	}
	var env []string
	add := []string{"idp", "ldap", "add", "g1"}
	for key, value := range settings {
		env, add = append(env, "MINIO_IDENTITY_LDAP_"+strings.ToUpper(key)+"="+value), append(add, key+"="+value)
	}
	a := administerFleet(t, startFleet(t, 2))
	if _, err := a.ldapCredentials(t, 0, "eve", "eves-secret"); err == nil || !strings.Contains(err.Error(), "No LDAP directory") {
		t.Errorf("without a directory: %v", err)
	}
	a.mc.run(t, add...)
	if out := a.mc.run(t, "idp", "ldap", "info", "g0"); !strings.Contains(out, address) || strings.Contains(out, "admins-secret") {
		t.Error(out)
	}
	a = administerFleet(t, append(a.fleet, startWith(t, env, a.fleet[0].at, a.fleet[0].dir)))
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
	a.keysOfPeople(t)
	a.mc.run(t, "idp", "ldap", "disable", "g1")
	if _, err := a.ldapCredentials(t, 0, "eve", "eves-secret"); err == nil || !strings.Contains(err.Error(), "No LDAP directory") {
		t.Errorf("a directory that is left out: %v", err)
	}
	a.mc.run(t, "idp", "ldap", "enable", "g2")
	v, err := a.ldapCredentials(t, 0, "eve", "eves-secret")
	must(t, err)
	if _, errOut, code := shoal(t, append(serverEnv(t.TempDir()), "SHOAL_URL="+a.fleet[1].url), "admin", "user", "revoke", "uid=eve,ou=people,dc=example,dc=com"); code != 0 {
		t.Fatal(errOut)
	}
	a.readEverywhere(t, v, "ExpiredToken")
}

// keysOfPeople has access keys made for people of the directory, and one of them leave. Of him
// nothing is known any more when the settings change, else within minutes.
func (a *administration) keysOfPeople(t *testing.T) {
	t.Helper()
	a.mc.run(t, "idp", "ldap", "accesskey", "create", "g0/", "adam", "--access-key", "adamskey", "--secret-key", "adamskey's secret", "--expiry-duration", "24h")
	a.mc.run(t, "idp", "ldap", "accesskey", "create", "g1/", "uid=eve,ou=people,dc=example,dc=com", "--access-key", "eveskey", "--secret-key", "eveskey's secret")
	adams, eves := credentials.Value{AccessKeyID: "adamskey", SecretAccessKey: "adamskey's secret"}, credentials.Value{AccessKeyID: "eveskey", SecretAccessKey: "eveskey's secret"}
	a.readEverywhere(t, adams, "")
	a.readEverywhere(t, eves, "")
	for _, out := range []string{a.mc.run(t, "idp", "ldap", "accesskey", "ls", "g2"), a.mc.run(t, "admin", "accesskey", "ls", "g1", "--all")} {
		if !strings.Contains(out, "adamskey, expires: 23 hours from now") || !strings.Contains(out, "eveskey") {
			t.Error(out)
		}
	}
	if out := a.mc.run(t, "idp", "ldap", "accesskey", "info", "g0", "adamskey"); !strings.Contains(out, "uid=adam,ou=people,dc=example,dc=com") {
		t.Error(out)
	}
	a.mc.run(t, "idp", "ldap", "accesskey", "disable", "g1", "eveskey")
	a.readEverywhere(t, eves, notKnown)
	a.mc.run(t, "idp", "ldap", "accesskey", "enable", "g2", "eveskey")
	a.mc.run(t, "idp", "ldap", "update", "g1", "user_dn_search_filter=(&(uid=%s)(sn=E))")
	for i, s := range a.fleet[:2] { // the third one was started with its own filter
		_, err := newS3(s, noRetry, withToken(adams)).GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String("bucket"), Key: aws.String("k")})
		if got := errorCode(err); got != notKnown {
			t.Errorf("gateway %d answers who has left with %v", i, err)
		}
	}
	a.readEverywhere(t, eves, "")
	a.mc.run(t, "idp", "ldap", "accesskey", "rm", "g2", "eveskey")
	a.readEverywhere(t, eves, notKnown)
}
