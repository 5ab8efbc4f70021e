package main

import (
	"crypto/tls"
	"fmt"
	"net"
	"time"

	"github.com/spf13/pflag"

	"github.com/shoal-storage/shoal/internal/ldap"
)

// ldapPassword is the secret with which the LDAP directory is searched, also with _FILE
// behind it.
const ldapPassword = "SHOAL_IDENTITY_LDAP_LOOKUP_BIND_PASSWORD"

// MinIO's names for the settings of the LDAP directory, and for that secret.
const (
	ldapSystem      = "identity_ldap"
	ldapPasswordKey = "lookup_bind_password"
)

// ldapPasswords are the variables that it comes from.
func ldapPasswords() []string {
	return []string{ldapPassword, "MINIO_IDENTITY_LDAP_LOOKUP_BIND_PASSWORD"}
}

// ldapTimeout bounds one step of asking an LDAP directory.
const ldapTimeout = 5 * time.Second

// ldapFlags are the flags about an LDAP directory.
type ldapFlags struct {
	address, bindDN, userBase, userFilter, groupBase, groupFilter string

	insecure, startTLS, skipVerify string // on or off
}

func (f *ldapFlags) declare(fl *pflag.FlagSet) {
	fl.StringVar(&f.address, "identity-ldap-server-addr", "", "`host:port` of an LDAP directory, whose people get temporary credentials for their passwords")
	fl.StringVar(&f.bindDN, "identity-ldap-lookup-bind-dn", "", "`DN` as which it is searched, with the password of "+ldapPassword)
	fl.StringVar(&f.userBase, "identity-ldap-user-dn-search-base-dn", "", "`DN` below which people are")
	fl.StringVar(&f.userFilter, "identity-ldap-user-dn-search-filter", "", "`filter` by which one is found, with %s for the name, such as (uid=%s)")
	fl.StringVar(&f.groupBase, "identity-ldap-group-search-base-dn", "", "`DN` below which groups are")
	fl.StringVar(&f.groupFilter, "identity-ldap-group-search-filter", "", "`filter` by which the groups of a person are found, with %d for the DN and %s for the name, such as (member=%d)")
	fl.StringVar(&f.startTLS, "identity-ldap-server-starttls", "off", "on: begin without TLS, and change to it")
	fl.StringVar(&f.insecure, "identity-ldap-server-insecure", "off", "on: without TLS; passwords can be read on the way")
	fl.StringVar(&f.skipVerify, "identity-ldap-tls-skip-verify", "off", "on: take any certificate of the directory's")
}

func (f *ldapFlags) validate() error {
	for name, value := range map[string]string{"server-starttls": f.startTLS, "server-insecure": f.insecure, "tls-skip-verify": f.skipVerify} {
		if value != "on" && value != "off" && value != "" {
			return usage("--identity-ldap-"+name+" "+value+" is neither on nor off", "take off")
		}
	}
	if f.startTLS == "on" && f.insecure == "on" {
		return usage("--identity-ldap-server-starttls and --identity-ldap-server-insecure exclude each other", "leave one out")
	}
	return nil
}

// directory returns the LDAP directory, nil if there is none.
func (f *ldapFlags) directory(env *environment) (*ldap.Directory, error) {
	password, _, err := env.secret(ldapPasswords())
	if err != nil {
		return nil, err
	}
	if f.address == "" {
		if f.bindDN+f.userBase+f.userFilter+f.groupBase+f.groupFilter+password != "" {
			return nil, usage("there are settings of an LDAP directory, and --identity-ldap-server-addr is missing", "set it, or leave the others out")
		}
		return nil, nil
	}
	if (f.bindDN == "") != (password == "") {
		return nil, usage("of --identity-ldap-lookup-bind-dn and "+ldapPassword+" one is missing", "set both, or neither")
	}
	cfg := ldap.Config{
		Address: f.address, BindDN: f.bindDN, BindPassword: password, UserBase: f.userBase, UserFilter: f.userFilter,
		GroupBase: f.groupBase, GroupFilter: f.groupFilter, Timeout: ldapTimeout,
	}
	switch {
	case f.insecure == "on":
		cfg.Security = ldap.Plain
	case f.startTLS == "on":
		cfg.Security = ldap.StartTLS
	}
	host, _, err := net.SplitHostPort(f.address)
	if err != nil {
		return nil, usage("--identity-ldap-server-addr "+f.address+" is not host:port", "take one such as ldap.example.com:636")
	}
	cfg.TLS = &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: f.skipVerify == "on", ServerName: host} //nolint:gosec // as its owner asks
	d, err := ldap.New(cfg)
	if err != nil {
		return nil, usage(fmt.Sprint(err), "shoal server --help says what --identity-ldap-... take")
	}
	return d, nil
}
