package main

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/shoal-storage/shoal/gateway/admin"
	"github.com/shoal-storage/shoal/internal/config"
)

// shownSystems are the systems that MinIO's settings are of, as far as flags have them.
func shownSystems() []string {
	return []string{regionSystem, siteSystem, "api", storageSystem, healSystem, openidSystem, ldapSystem, "identity_tls"}
}

// MinIO's names of systems: of the region two, and of how many drives may be lost.
const (
	regionSystem  = "region"
	siteSystem    = "site"
	storageSystem = "storage_class"
	healSystem    = "heal"
)

// shownSettings returns the settings that administrators are shown, by MinIO's names: those that
// are in force, and own are the flags that this gateway was started with. Nothing secret is in them.
func (e *environment) shownSettings(inForce, own *pflag.FlagSet) []admin.Setting {
	var all []admin.Setting
	for _, system := range shownSystems() {
		inForce.VisitAll(func(f *pflag.Flag) {
			if key := keyOf(system, f.Name); key != "" {
				all = append(all, admin.Setting{
					System: system, Key: key, Value: f.Value.String(), From: setBy(config.Target{System: system}, key), Help: f.Usage,
					Shared: true, Common: e.shared[variableOf(config.Target{System: system}, key)], Own: own.Changed(f.Name),
				})
			}
		})
		switch system {
		case ldapSystem:
			all = append(all, e.shownLDAP()...)
		case openidSystem:
			all = append(all, e.shownOpenID()...)
		}
	}
	for _, f := range []family{eventFamily(), auditFamily()} {
		all = append(all, e.shownTargets(f)...)
	}
	for _, key := range []string{"api_key", "license", "proxy"} { // in the order of MinIO
		name := variableOf(config.Target{System: subnetSystem}, key)
		all = append(all, admin.Setting{System: subnetSystem, Key: key, Value: shownAs(key, e.values[name]), Shared: true, Common: e.shared[name], Help: "for mc support, which asks for it; nothing else does"})
	}
	return all
}

// subnetSystem is MinIO's name for a registration with its makers, without which mc support does
// nothing.
const subnetSystem = "subnet"

// shownOpenID returns what of OpenID providers is no flag.
func (e *environment) shownOpenID() []admin.Setting {
	f := identityFamily()
	all := []admin.Setting{e.shownEnable(openidSystem, "off: the provider without a name that is set for all gateways is left out")}
	for _, group := range e.targetSettings(f) {
		all = append(all, e.shownTarget(f, openidSystem, f.kinds[0].Settings, group)...)
	}
	return all
}

// shownLDAP returns what of the LDAP directory is no flag.
func (e *environment) shownLDAP() []admin.Setting {
	value, from, err := e.secret(ldapPasswords())
	if err != nil || value != "" {
		value = hiddenValue
	}
	return []admin.Setting{
		{System: ldapSystem, Key: ldapPasswordKey, Value: value, From: ldapPassword, Help: "password of lookup_bind_dn", Shared: true, Common: e.shared[from], Own: from != "" && !e.shared[from]},
		e.shownEnable(ldapSystem, "off: nobody gets credentials for a password"),
	}
}

// shownEnable returns the setting that leaves out what is set for all gateways.
func (e *environment) shownEnable(system, help string) admin.Setting {
	name := variableOf(config.Target{System: system}, enableKey)
	return admin.Setting{System: system, Key: enableKey, Value: cmp.Or(e.values[name], "on"), Shared: true, Common: e.shared[name], Help: help}
}

// setBy returns what sets a value of a gateway: its flag, or variable.
func setBy(to config.Target, key string) string {
	for _, flag := range settable() {
		if to.Name == "" && keyOf(to.System, flag) == key {
			return "--" + flag + " or " + variable(flag)
		}
	}
	return variableOf(to, key)
}

// healRateFlag is the flag that sets the rate of healing. MinIO has none.
const healRateFlag = "heal-rate"

// settable returns the flags that can be set for all gateways.
func settable() []string { return append(slices.Collect(maps.Keys(minioNames())), healRateFlag) }

// keyOf returns the key that a flag is in a system, "" if it is none of it: the last of
// MinIO's names for it counts.
func keyOf(system, flag string) (key string) {
	if flag == healRateFlag && system == healSystem {
		return "rate"
	}
	for _, name := range minioNames()[flag] {
		if rest, ok := strings.CutPrefix(name, "MINIO_"+strings.ToUpper(system)+"_"); ok {
			key = strings.ToLower(rest)
		}
	}
	return key
}

// shownTargets returns the settings of the targets of a family, and of each kind without
// any that there is none.
func (e *environment) shownTargets(f family) (all []admin.Setting) {
	groups := e.targetSettings(f)
	purpose := strings.ToLower(strings.TrimPrefix(f.minio, "MINIO_"))
	for _, k := range f.kinds {
		system, keys, found := purpose+strings.ToLower(k.Variable), append([]string{"enable"}, k.Settings...), false
		for _, group := range groups {
			if group[0].kind.Variable == k.Variable {
				found = true
				all = append(all, e.shownTarget(f, system, keys, group)...)
			}
		}
		if !found {
			all = append(all, e.shownTarget(f, system, keys, nil)...)
		}
	}
	return all
}

// shownTarget returns the settings of a target, which has those of the group.
func (e *environment) shownTarget(f family, system string, keys []string, group []targetSetting) (all []admin.Setting) {
	target := ""
	if len(group) > 0 && group[0].id != onlyID {
		target = group[0].id
	}
	for _, key := range keys {
		c := admin.Setting{System: system, Target: target, Key: key, From: setBy(config.Target{System: system, Name: target}, key), Help: "see " + f.manual}
		c.Shared = true
		if i := slices.IndexFunc(group, func(s targetSetting) bool { return s.setting == key }); i >= 0 {
			c.From, c.Value = f.shoal+group[i].rest, e.shownValue(f, group[i])
			c.Common = e.shared[f.shoal+group[i].rest]
			c.Own = !c.Common
		}
		if key == enableKey && c.Value == "" {
			c.Value = map[bool]string{true: "on", false: "off"}[f.named] // a provider counts unless it is off
		}
		all = append(all, c)
	}
	return all
}

// hiddenValue stands where others would see a secret.
const hiddenValue = "*REDACTED*"

// shownValue returns the value of a setting, unless it may have a secret.
func (e *environment) shownValue(f family, s targetSetting) string {
	value, _, err := e.secret([]string{f.shoal + s.rest, f.minio + s.rest})
	if err != nil || value == "" {
		return ""
	}
	return shownAs(s.setting, value)
}

// shownAs returns a value of a setting, unless it may have a secret.
func shownAs(key, value string) string {
	if value == "" {
		return ""
	}
	for _, word := range []string{"password", "token", "secret", "seed", "credentials", "connection_string", "api_key", "license"} {
		if strings.Contains(key, word) {
			return hiddenValue
		}
	}
	if strings.ContainsAny(value, "@?") { // a URL with a password or a token, perhaps
		return hiddenValue
	}
	return value
}
