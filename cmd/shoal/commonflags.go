package main

import (
	"context"
	"errors"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/shoal-storage/shoal/gateway"
	"github.com/shoal-storage/shoal/internal/config"
	"github.com/shoal-storage/shoal/internal/ldap"
)

// flagsWith returns the flags that this gateway was started with, and in the place of those
// that were not given what the environment says.
func (c *common) flagsWith(env *environment) (*serverFlags, error) {
	var f serverFlags
	var cmd cobra.Command
	f.declare(&cmd)
	f.flags = cmd.Flags()
	var errs []error
	c.flags.Visit(func(own *pflag.Flag) {
		if f.flags.Lookup(own.Name) != nil { // a flag of "shoal" itself
			errs = append(errs, f.flags.Set(own.Name, own.Value.String()))
		}
	})
	if err := errors.Join(append(errs, env.apply(f.flags))...); err != nil {
		return nil, err
	}
	return &f, f.validate()
}

// piece is what comes of flags that can be set for all gateways, and can come anew while one
// serves. Open returns what brings it into force.
type piece struct {
	name string
	open func(f *serverFlags, env *environment, all config.Settings) (use func(), err error)
}

func (c *common) pieces() []piece {
	return []piece{
		{"OpenID providers", c.openProviders},
		{"the LDAP directory", c.openPeople},
		{"client certificates", c.openAuthorities},
		{"requests at once, and origins of pages", c.openTuning},
		{"storage classes", c.openClasses},
		{"the rate of healing", c.openHealRate},
	}
}

// refreshPieces brings into force what can be.
func (c *common) refreshPieces(f *serverFlags, env *environment, all config.Settings) {
	for _, p := range c.pieces() {
		use, err := p.open(f, env, all)
		if err != nil {
			c.log.Error("what is set for all gateways cannot be used here", "of", p.name, "error", err)
			continue
		}
		use()
	}
}

// enableKey is the setting that leaves a target out, or a provider.
const enableKey = "enable"

// isOff reports whether the target of a system that has no name is left out.
func isOff(all config.Settings, system string) bool {
	return all[config.Target{System: system}][enableKey] == "off"
}

func (c *common) openProviders(f *serverFlags, env *environment, all config.Settings) (use func(), err error) {
	own := f.openid
	if isOff(all, openidSystem) {
		own = openidFlags{}
	}
	providers, err := own.providers(env)
	return func() { c.providers.Store(providers) }, err
}

func (c *common) openPeople(f *serverFlags, env *environment, all config.Settings) (use func(), err error) {
	var found *ldap.Directory
	if !isOff(all, ldapSystem) {
		found, err = f.ldap.directory(env)
	}
	if found == nil {
		return func() { c.people.Store(nil) }, err
	}
	return func() { c.people.Store(ldap.NewRoll(context.Background(), found, time.Now)) }, err
}

func (c *common) openAuthorities(f *serverFlags, _ *environment, _ config.Settings) (use func(), err error) {
	if f.clientCerts != "on" {
		return func() { c.pairs.ask(nil) }, nil
	}
	trusted, err := f.authorities()
	return func() { c.pairs.ask(trusted) }, err
}

func (c *common) openTuning(f *serverFlags, _ *environment, _ config.Settings) (use func(), err error) {
	if err := validateOrigins(f.corsOrigins); err != nil {
		return nil, err
	}
	return func() {
		c.tuning = gateway.Tuning{MaxRequests: f.maxRequests, CORSOrigins: domains(f.corsOrigins)}
		if c.server != nil {
			c.server.Tune(c.tuning)
		}
	}, nil
}

// errNoDrives says that there is nothing that a storage class could be of.
var errNoDrives = errors.New("storage classes are of drives that objects are spread over; here is a directory, whose files its file system keeps")

func (c *common) openClasses(f *serverFlags, _ *environment, all config.Settings) (use func(), err error) {
	if c.classes != nil {
		return c.classes(f)
	}
	if len(all[config.Target{System: storageSystem}]) > 0 {
		return nil, errNoDrives
	}
	return func() {}, nil
}

// errNothingToHeal says that there is nothing that a rate of healing could be of.
var errNothingToHeal = errors.New("drives are healed that objects are spread over; here is a directory, whose files are whole or not there")

func (c *common) openHealRate(f *serverFlags, _ *environment, all config.Settings) (use func(), err error) {
	rate, err := f.healing()
	switch {
	case err != nil:
		return nil, err
	case c.healRate != nil:
		return func() { c.healRate(rate) }, nil
	case len(all[config.Target{System: healSystem}]) > 0:
		return nil, errNothingToHeal
	}
	return func() {}, nil
}

// backedBy notes what of a backend can be set while it serves, and sets what flags say.
func (c *common) backedBy(f *serverFlags, b *backend) {
	c.classes, c.healRate = b.classes, b.healRate
	if rate, err := f.healing(); err == nil && b.healRate != nil { // they are valid
		b.healRate(rate)
	}
}

// waits returns what of flags is not in force before this gateway is started again, as a text that
// is another one for another.
func (c *common) waits(f *serverFlags) string {
	var text strings.Builder
	if f.region != c.begun.region {
		text.WriteString(f.region)
	}
	if f.maxRequests > gateway.ConnectionsPerRequest*c.begun.maxRequests {
		text.WriteString(" more")
	}
	return text.String()
}

// with returns the environment with what is set for all gateways where it says nothing
// itself.
func (e *environment) with(all config.Settings) *environment {
	merged := &environment{values: maps.Clone(e.values), used: make(map[string]bool), shared: make(map[string]bool)}
	own := &environment{values: e.values, used: make(map[string]bool)} // that notes what is looked at, and this may be called concurrently
	for to, values := range all {
		for key, value := range values {
			name := variableOf(to, key)
			if !own.has(name) {
				merged.values[name], merged.shared[name] = value, true
			}
		}
	}
	return merged
}

// variableOf returns the variable that sets a value.
func variableOf(to config.Target, key string) string {
	if to.Name != "" {
		return "SHOAL_" + strings.ToUpper(to.System+"_"+key) + "_" + to.Name
	}
	for _, flag := range settable() {
		if keyOf(to.System, flag) == key {
			return variable(flag)
		}
	}
	return "SHOAL_" + strings.ToUpper(to.System+"_"+key)
}

// has reports whether a variable is set, or the one that MinIO has in its place.
func (e *environment) has(name string) bool {
	_, from, err := e.secret([]string{name, "MINIO_" + strings.TrimPrefix(name, "SHOAL_")})
	return from != "" || err != nil
}

// inSettings puts the names of settings in the place of flags and variables into a text. A
// variable can have the name of a provider behind it.
func inSettings(text string) string {
	names := map[string]setting{ldapPassword: {ldapSystem, ldapPasswordKey}}
	for _, system := range shownSystems() {
		for _, flag := range settable() {
			if key := keyOf(system, flag); key != "" {
				names["--"+flag], names[variable(flag)] = setting{system, key}, setting{system, key}
			}
		}
	}
	olds := slices.SortedFunc(maps.Keys(names), func(a, b string) int { return len(b) - len(a) })
	for _, old := range olds { // the longest first: some begin with others
		is := names[old]
		text = regexp.MustCompile(regexp.QuoteMeta(old)+`_(\w+)`).ReplaceAllString(text, is.system+":$1 "+is.key)
		text = strings.ReplaceAll(text, old, is.system+" "+is.key)
	}
	return text
}

// setting is one, by the names that MinIO has for it.
type setting struct{ system, key string }
