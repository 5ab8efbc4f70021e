package main

import (
	"strings"
	"testing"
)

func TestOpenIDProvidersComeFromFlagsAndVariables(t *testing.T) {
	const url, named = "SHOAL_IDENTITY_OPENID_CONFIG_URL=https://id", "MINIO_IDENTITY_OPENID_CONFIG_URL_DEX=https://dex"
	for _, tt := range []struct {
		name  string
		env   []string
		roles string // of the one without a name and of DEX
		fails string // the setting that the error names
	}{
		{"none", nil, " ", ""},
		{"without a name", []string{url, "SHOAL_IDENTITY_OPENID_CLIENT_ID=x"}, " ", ""},
		{"two", []string{url, "SHOAL_IDENTITY_OPENID_CLIENT_ID=x", named, "SHOAL_IDENTITY_OPENID_CLIENT_ID_DEX=shoal", "MINIO_IDENTITY_OPENID_ROLE_POLICY_DEX=readonly"}, " arn:minio:iam:::role/LbCXP3Cdnw9fCq9h9AYdJXDndvg", ""},
		{"one that is off", []string{named, "SHOAL_IDENTITY_OPENID_ENABLE_DEX=off"}, " ", ""},
		{"one that is neither on nor off", []string{named, "SHOAL_IDENTITY_OPENID_ENABLE_DEX=no"}, "", "SHOAL_IDENTITY_OPENID_ENABLE_DEX"},
		{"no URL", []string{"SHOAL_IDENTITY_OPENID_CLIENT_ID=x"}, "", "--identity-openid-config-url"},
		{"no URL of one with a name", []string{"SHOAL_IDENTITY_OPENID_CLIENT_ID_DEX=x"}, "", "SHOAL_IDENTITY_OPENID_CONFIG_URL_DEX"},
		{"no client", []string{url}, "", "--identity-openid-client-id"},
		{"no client of one with a name", []string{named}, "", "SHOAL_IDENTITY_OPENID_CLIENT_ID_DEX"},
	} {
		env, cmd := readEnvironment(tt.env), newServerCommand()
		var f openidFlags
		cmd.ResetFlags()
		f.declare(cmd.Flags())
		if err := env.apply(cmd.Flags()); err != nil {
			t.Fatal(err)
		}
		all, err := f.providers(env)
		got := ""
		if err == nil {
			got = all.Role("") + " " + all.Role("DEX")
		}
		switch {
		case err != nil && (tt.fails == "" || !strings.Contains(err.Error(), tt.fails)):
			t.Errorf("%s: %v", tt.name, err)
		case err == nil && (tt.fails != "" || got != tt.roles):
			t.Errorf("%s: %q", tt.name, got)
		}
	}
}
