package admin

import "testing"

func TestPeopleAreNamedAsTheirCredentialsNameThem(t *testing.T) {
	for _, tt := range [][3]string{
		{"builtin", "ann", "ann"},
		{"openid", "Sub", "openid=Sub"},
		{"openid", "openid.DEX=Sub", "openid.DEX=Sub"},
		{"builtin", "openid=A=b", "openid=A=b"},
		{"builtin", "tls=CN", "tls=CN"},
		{"ldap", "UID=Eve, DC=x", "uid=eve,dc=x"},
		{"openid", "", ""},
	} {
		if got, err := bearerName(tt[0], tt[1]); err != nil || got != tt[2] {
			t.Errorf("%q of %s is %q, %v", tt[1], tt[0], got, err)
		}
	}
}
