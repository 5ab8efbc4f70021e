package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// minioNames are the MINIO_ variables that stand for a flag of ours, in the
// order in which they count.
func minioNames() map[string][]string {
	return map[string][]string{
		"address":                              {"MINIO_ADDRESS"},
		"console-address":                      {"MINIO_CONSOLE_ADDRESS"},
		"region":                               {"MINIO_SITE_REGION", "MINIO_REGION", "MINIO_REGION_NAME"},
		"cors-allow-origin":                    {"MINIO_API_CORS_ALLOW_ORIGIN"},
		"domain":                               {"MINIO_DOMAIN"},
		"metrics-auth":                         {"MINIO_PROMETHEUS_AUTH_TYPE"},
		"max-requests":                         {"MINIO_API_REQUESTS_MAX"},
		"certs-dir":                            {"MINIO_CERTS_DIR"},
		"server-url":                           {"MINIO_SERVER_URL"},
		"identity-ldap-server-addr":            {"MINIO_IDENTITY_LDAP_SERVER_ADDR"},
		"identity-ldap-lookup-bind-dn":         {"MINIO_IDENTITY_LDAP_LOOKUP_BIND_DN"},
		"identity-ldap-user-dn-search-base-dn": {"MINIO_IDENTITY_LDAP_USER_DN_SEARCH_BASE_DN"},
		"identity-ldap-user-dn-search-filter":  {"MINIO_IDENTITY_LDAP_USER_DN_SEARCH_FILTER"},
		"identity-ldap-group-search-base-dn":   {"MINIO_IDENTITY_LDAP_GROUP_SEARCH_BASE_DN"},
		"identity-ldap-group-search-filter":    {"MINIO_IDENTITY_LDAP_GROUP_SEARCH_FILTER"},
		"identity-ldap-server-starttls":        {"MINIO_IDENTITY_LDAP_SERVER_STARTTLS"},
		"identity-ldap-server-insecure":        {"MINIO_IDENTITY_LDAP_SERVER_INSECURE"},
		"identity-ldap-tls-skip-verify":        {"MINIO_IDENTITY_LDAP_TLS_SKIP_VERIFY"},
		"identity-tls-enable":                  {"MINIO_IDENTITY_TLS_ENABLE"},
		"identity-openid-config-url":           {"MINIO_IDENTITY_OPENID_CONFIG_URL"},
		"identity-openid-client-id":            {"MINIO_IDENTITY_OPENID_CLIENT_ID"},
		"identity-openid-claim-name":           {"MINIO_IDENTITY_OPENID_CLAIM_NAME"},
		"identity-openid-role-policy":          {"MINIO_IDENTITY_OPENID_ROLE_POLICY"},
		"parity":                               {"MINIO_STORAGE_CLASS_STANDARD"},
		"reduced-parity":                       {"MINIO_STORAGE_CLASS_RRS"},
		"set-size":                             {"MINIO_ERASURE_SET_DRIVE_COUNT"},
		"auto-encryption":                      {"MINIO_KMS_AUTO_ENCRYPTION"},
	}
}

// credentialNames are the variables that credentials come from, each also with
// _FILE behind it.
func credentialNames() (users, passwords []string) {
	return []string{"SHOAL_ROOT_USER", "MINIO_ROOT_USER", "MINIO_ACCESS_KEY"},
		[]string{"SHOAL_ROOT_PASSWORD", "MINIO_ROOT_PASSWORD", "MINIO_SECRET_KEY"}
}

// environment is what the process was started with.
type environment struct {
	values map[string]string
	used   map[string]bool // MINIO_ variables that took effect
	shared map[string]bool // names of values that are set for all gateways
}

func readEnvironment(environ []string) *environment {
	e := &environment{values: map[string]string{}, used: map[string]bool{}}
	for _, line := range environ {
		name, value, _ := strings.Cut(line, "=")
		e.values[name] = value
	}
	return e
}

// apply sets every flag that the command line left alone from its variable.
func (e *environment) apply(flags *pflag.FlagSet) error {
	var errs []error
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Changed {
			return
		}
		for _, name := range append([]string{variable(f.Name)}, minioNames()[f.Name]...) {
			value, ok := e.values[name]
			if !ok || value == "" {
				continue
			}
			e.used[name] = true
			if err := flags.Set(f.Name, value); err != nil {
				if cause := errors.Unwrap(err); cause != nil { // without the names that pflag has for it
					err = cause
				}
				errs = append(errs, usage(fmt.Sprintf("%s=%q is not valid: %v", name, value, err), "shoal server --help says what --"+f.Name+" takes"))
			}
			return
		}
	})
	return errors.Join(errs...)
}

// variable returns the name of a flag's variable.
func variable(flag string) string {
	return "SHOAL_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// check refuses SHOAL_ variables that mean nothing: a misspelt one would leave
// a default in force that its owner believes changed.
func (e *environment) check(flags *pflag.FlagSet) error {
	known := map[string]bool{}
	flags.VisitAll(func(f *pflag.Flag) { known[variable(f.Name)] = true })
	users, passwords := credentialNames()
	secrets := []string{clusterSecret, formerUser, formerPassword, masterKeyVariable, ldapPassword, vaultTokenVariable, vaultRoleVariable, vaultIDVariable}
	for _, name := range slices.Concat(users, passwords, secrets) {
		known[name], known[name+"_FILE"] = true, true
	}
	for _, name := range []string{"SHOAL_VOLUMES", "SHOAL_OPTS", urlVariable} { // the last is of other commands
		known[name] = true
	}
	for name := range e.values {
		if strings.HasPrefix(name, "SHOAL_") && !known[name] && !isTarget(name) {
			return usage(name+" is not a setting of shoal", "unset it, or correct it: "+manualOf(name)+" lists the variables")
		}
	}
	return nil
}

// isTarget reports whether a variable is one of a target of events or of the audit, or of
// an identity provider.
func isTarget(name string) bool {
	return slices.ContainsFunc(families(), func(f family) bool {
		rest, own := strings.CutPrefix(strings.TrimSuffix(name, "_FILE"), f.shoal)
		_, ok := f.parse(rest)
		return own && ok
	})
}

// manualOf returns what lists the variables that begin as a name does.
func manualOf(name string) string {
	for _, f := range families() {
		if strings.HasPrefix(name, f.shoal) {
			return f.manual
		}
	}
	return "shoal server --help"
}

// misplaced refuses flags that are about drives where a directory is served, and the other way
// round: who sets them takes what is stored for safer than it is, or for somebody else's. MinIO's
// variables have no effect, and are named as such.
func (e *environment) misplaced(flags *pflag.FlagSet, what served) error {
	names, why, remedy := []string{"parity", "set-size", "reduced-parity", healRateFlag}, "is for several drives, and one directory is served", "leave it out, or name the drives: shoal server /mnt/d{1...4}"
	if what.path == "" {
		names = []string{"durability", "metadata", "folded-case", "mount-mode", "mount-stale", "read-mount", "uid", "gid", "file-mode", "dir-mode", "foreign-interval"}
		why, remedy = "is for a directory, and drives are served", "leave it out"
	}
	for _, name := range names {
		if f := flags.Lookup(name); f.Value.String() == f.DefValue {
			continue
		}
		theirs := slices.DeleteFunc(slices.Clone(minioNames()[name]), func(of string) bool { return !e.used[of] })
		if len(theirs) == 0 {
			return usage("--"+name+" "+why, remedy)
		}
		for _, of := range theirs {
			e.used[of] = false
		}
	}
	return nil
}

// clusterSecret is what the gateways of a tree may be given to know each other by.
const clusterSecret = "SHOAL_CLUSTER_SECRET"

// honoured returns the MINIO_ variables that took effect, sorted.
func (e *environment) honoured() []string { return e.minio(true) }

// ignored returns the MINIO_ variables that have none, sorted. Two are not of
// this process: unit files put MINIO_OPTS and MINIO_VOLUMES on its command line.
func (e *environment) ignored() []string {
	return slices.DeleteFunc(e.minio(false), func(name string) bool { return name == "MINIO_OPTS" || name == "MINIO_VOLUMES" })
}

// minio returns the MINIO_ variables that were used, or those that were not.
func (e *environment) minio(used bool) []string {
	var names []string
	for name := range e.values {
		if strings.HasPrefix(name, "MINIO_") && e.used[name] == used {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// volumes returns the directories that variables name where the command line
// names none.
func (e *environment) volumes() []string {
	for _, name := range []string{"SHOAL_VOLUMES", "MINIO_VOLUMES"} {
		if v := strings.Fields(e.values[name]); len(v) > 0 {
			e.used[name] = true
			return v
		}
	}
	return nil
}

// credentials are those of the root user.
type credentials struct {
	user, password string
	source         string // where the password comes from, for the start-up text
}

const (
	minUserLen     = 3
	minPasswordLen = 8
)

// credentials returns the root user's credentials, zero if none were given.
func (e *environment) credentials() (credentials, error) {
	users, passwords := credentialNames()
	user, from, err := e.secret(users)
	if err != nil {
		return credentials{}, err
	}
	password, passwordFrom, err := e.secret(passwords)
	if err != nil {
		return credentials{}, err
	}
	switch {
	case user == "" && password == "":
		return credentials{}, nil
	case user == "":
		return credentials{}, usage(passwordFrom+" is set but no user", "set SHOAL_ROOT_USER too")
	case password == "":
		return credentials{}, usage(from+" is set but no password", "set SHOAL_ROOT_PASSWORD or SHOAL_ROOT_PASSWORD_FILE too")
	case len(user) < minUserLen || strings.ContainsAny(user, "/, \n"):
		return credentials{}, usage(from+" is no usable user name", fmt.Sprintf("take at least %d characters without slash, comma or space", minUserLen))
	case len(password) < minPasswordLen:
		return credentials{}, usage(passwordFrom+" is too short", fmt.Sprintf("take at least %d characters", minPasswordLen))
	}
	return credentials{user: user, password: password, source: passwordFrom}, nil
}

// secret returns the first of the named variables that is set, itself or as a
// file, and its name. With systemd's LoadCredential the file of that name
// counts as well (systemd.exec(5)).
func (e *environment) secret(names []string) (value, from string, err error) {
	for _, name := range names {
		if v := e.values[name]; v != "" {
			e.used[name] = true
			return v, name, nil
		}
		path := e.values[name+"_FILE"]
		if path == "" && e.values["CREDENTIALS_DIRECTORY"] != "" && strings.HasPrefix(name, "SHOAL_") {
			candidate := filepath.Join(e.values["CREDENTIALS_DIRECTORY"], name)
			if _, err := os.Stat(candidate); err == nil {
				path = candidate
			}
		}
		if path == "" {
			continue
		}
		e.used[name+"_FILE"] = true
		if !filepath.IsAbs(path) {
			path = filepath.Join("/run/secrets", path) // where Docker puts secrets
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return "", "", failed("cannot read "+name+"_FILE", err, readRemedy(err))
		}
		if v := strings.TrimSpace(string(content)); v != "" {
			return v, name + "_FILE", nil
		}
		return "", "", usage(name+"_FILE names an empty file: "+path, "write the secret into it")
	}
	return "", "", nil
}

func readRemedy(err error) string {
	if errors.Is(err, fs.ErrPermission) {
		return "make it readable for the user that shoal runs as"
	}
	return "create the file or correct the variable"
}
