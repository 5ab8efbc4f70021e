package ldap_test

import (
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/shoal-storage/shoal/internal/ldap"
)

// What a directory answers is tested against a real one, in test/ldap_test.go.

func config(address string) ldap.Config {
	return ldap.Config{
		Address: address, Security: ldap.Plain, UserBase: "dc=x", UserFilter: "(uid=%s)", GroupBase: "dc=x", GroupFilter: "(member=%d)", Timeout: 5 * time.Second,
	}
}

func TestOneEntryHasOneName(t *testing.T) {
	for dn, want := range map[string]string{
		"uid=eve,ou=people,dc=x":         "uid=eve,ou=people,dc=x",
		"UID=Eve, OU=People,  DC=x":      "uid=eve,ou=people,dc=x",
		`cn=a\, b,dc=x`:                  `cn=a\, b,dc=x`,
		`cn=a\2c b,dc=x`:                 `cn=a\, b,dc=x`,
		"":                               "",
		"eve":                            "",
		"cn=" + strings.Repeat("x", 512): "",
		"uid=eve,,dc=x":                  "",
		"uid=eve+cn=eve,dc=x":            "cn=eve+uid=eve,dc=x",
	} {
		if got, err := ldap.Canonical(dn); got != want || (err == nil) != (want != "") {
			t.Errorf("%q is %q, %v, want %q", dn, got, err, want)
		}
	}
}

func FuzzCanonical(f *testing.F) {
	f.Add("uid=eve,ou=people,dc=x")
	f.Add(`cn=a\, b+ou=\23x,dc=\ff`)
	f.Fuzz(func(t *testing.T, dn string) {
		once, err := ldap.Canonical(dn)
		if err != nil {
			return
		}
		if twice, err := ldap.Canonical(once); err == nil && twice != once {
			t.Errorf("%q is %q, and that is %q", dn, once, twice)
		}
	})
}

func TestSettingsThatFindNobodyAreRefused(t *testing.T) {
	for what, change := range map[string]func(*ldap.Config){
		"no port":                func(c *ldap.Config) { c.Address = "ldap.example.com" },
		"no place of users":      func(c *ldap.Config) { c.UserBase = "" },
		"a filter for everybody": func(c *ldap.Config) { c.UserFilter = "(uid=*)" },
		"a filter that is none":  func(c *ldap.Config) { c.UserFilter = "uid=%s" },
		"no place of groups":     func(c *ldap.Config) { c.GroupBase = "" },
		"no filter of groups":    func(c *ldap.Config) { c.GroupFilter = "" },
		"a broken one":           func(c *ldap.Config) { c.GroupFilter = "(member=%d" },
	} {
		cfg := config("localhost:389")
		change(&cfg)
		if _, err := ldap.New(cfg); err == nil {
			t.Errorf("%s is taken", what)
		}
	}
}

// TestNobodyIsAskedAboutWithoutAPassword: with none, a bind is one of nobody, and succeeds.
func TestNobodyIsAskedAboutWithoutAPassword(t *testing.T) {
	d, err := ldap.New(config("127.0.0.1:1"))
	if err != nil {
		t.Fatal(err)
	}
	for _, who := range [][2]string{{"eve", ""}, {"", "secret"}, {strings.Repeat("e", 257), "secret"}, {"eve", strings.Repeat("s", 257)}} {
		if _, err := d.Identify(t.Context(), who[0], who[1]); !errors.Is(err, ldap.ErrCredentials) {
			t.Errorf("%q: %v", who, err)
		}
	}
}

func TestADirectoryThatIsAwayIsNoWrongPassword(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := ln.Addr().String()
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	d, err := ldap.New(config(address))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Identify(t.Context(), "eve", "secret"); !errors.Is(err, ldap.ErrUnavailable) {
		t.Error(err)
	}
}
