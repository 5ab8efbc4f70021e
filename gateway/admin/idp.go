package admin

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/shoal-storage/shoal/internal/config"
	"github.com/shoal-storage/shoal/internal/openid"
)

// idpCall is the path below which the settings of identity providers are: idpCall+"openid"
// of all of a kind, idpCall+"openid/_" of one.
const idpCall = "idp-config/"

// defaultTarget is the name of a provider that has been given none.
const defaultTarget = "_"

// identityProvider is a provider as the admin API shows it.
type identityProvider struct {
	Type    string            `json:"type"`
	Name    string            `json:"name"`
	Enabled bool              `json:"enabled,omitempty"`
	RoleARN string            `json:"roleARN,omitempty"`
	Info    []providerSetting `json:"info,omitempty"`
}

type providerSetting struct {
	Key   string `json:"key"`
	Value string `json:"value"`
	IsCfg bool   `json:"isCfg"` // it is set for all gateways
	IsEnv bool   `json:"isEnv"` // it is set by a flag or a variable of this one
}

// roleKey is the key of what is shown among the settings of a provider and is none: the
// name of its role.
const roleKey = "roleARN"

// location is the setting that says where a provider is, by its kind. Without it there is
// none.
func location(kind string) string {
	return map[string]string{"openid": openid.ConfigURL, "ldap": "server_addr"}[kind]
}

// providersOf returns the providers of a kind with their settings, and the setting that
// says where one is that has no name.
func (a *API) providersOf(kind string) (all []identityProvider, at Setting, err error) {
	settings, err := a.settingsOf("identity_" + kind)
	if err != nil {
		return nil, at, err
	}
	for len(settings) > 0 {
		end := slices.IndexFunc(settings, func(s Setting) bool { return s.Target != settings[0].Target })
		if end < 0 {
			end = len(settings)
		}
		of := settings[:end]
		settings = settings[end:]
		i := slices.IndexFunc(of, func(s Setting) bool { return s.Key == location(kind) })
		if i < 0 {
			return nil, at, errSetting.with("There are identity providers of the kinds openid and ldap.")
		}
		if of[i].Target == "" {
			at = of[i]
		}
		if of[i].Value != "" {
			all = append(all, a.providerOf(kind, of))
		}
	}
	return all, at, nil
}

// providerOf returns the provider with these settings.
func (a *API) providerOf(kind string, settings []Setting) identityProvider {
	p := identityProvider{Type: kind, Name: cmp.Or(settings[0].Target, defaultTarget), Enabled: true}
	for _, s := range settings {
		if s.Key == "enable" && s.Value == "off" {
			p.Enabled = false
		}
		if s.Value != "" {
			p.Info = append(p.Info, providerSetting{Key: s.Key, Value: s.Value, IsCfg: s.Shared && !s.Own, IsEnv: !s.Shared || s.Own})
		}
	}
	if kind == "openid" && a.OpenID != nil {
		p.RoleARN = a.OpenID.Role(settings[0].Target)
	}
	if p.RoleARN != "" {
		p.Info = append(p.Info, providerSetting{Key: roleKey, Value: p.RoleARN})
	}
	return p
}

// identityProviders serves idp-config: those of a kind, or the settings of one.
func (a *API) identityProviders(_ context.Context, c *Call) error {
	kind, name, one := strings.Cut(c.Below, "/")
	all, at, err := a.providersOf(kind)
	if err != nil {
		return err
	}
	if !one {
		list := []identityProvider{}
		for _, p := range all {
			p.Info = nil
			list = append(list, p)
		}
		return a.answerSealed(c, list)
	}
	i := slices.IndexFunc(all, func(p identityProvider) bool { return p.Name == name })
	if i < 0 {
		if at.Shared && a.Changes != nil {
			return errSetting.with("There is no such provider. \"mc idp " + kind + " add\" sets one up.")
		}
		return errSetting.with("There is no such provider. One is set by " + at.From + " of each gateway, when it starts.")
	}
	p := all[i]
	p.Enabled, p.RoleARN = false, "" // which are said in the list only
	return a.answerSealed(c, p)
}

// setProvider serves what adds and changes a provider in idp-config. One is added that
// there is not yet, and changed that there is.
func (a *API) setProvider(ctx context.Context, c *Call) error {
	line, there, err := a.providerLine(c)
	if err != nil {
		return err
	}
	text, err := a.unseal(c)
	if err != nil {
		return err
	}
	if line.Values, err = config.ParseValues(string(text)); err != nil {
		return fromConfig(err)
	}
	if add := c.Method == "PUT"; add == there {
		return errSetting.with(map[bool]string{true: "There is such a provider already.", false: "There is no such provider."}[add])
	}
	return a.setLines(ctx, c, []config.Line{line})
}

// removeProvider serves the removal of a provider in idp-config.
func (a *API) removeProvider(ctx context.Context, c *Call) error {
	line, there, err := a.providerLine(c)
	switch {
	case err != nil:
		return err
	case !there:
		return errSetting.with("There is no such provider.")
	}
	if err := a.changeable([]config.Line{line}); err != nil {
		return err
	}
	restart, err := a.Changes.Reset(ctx, []config.Line{line})
	return c.changed(restart, err)
}

// providerLine returns a line about the provider that a call of idp-config names, and
// whether there is one.
func (a *API) providerLine(c *Call) (line config.Line, there bool, err error) {
	kind, name, _ := strings.Cut(c.Below, "/")
	all, at, err := a.providersOf(kind)
	if err != nil {
		return line, false, err
	}
	if !at.Shared || a.Changes == nil {
		return line, false, errNotImplemented.with("Nothing was changed: a provider is set by " + at.From + " of each gateway, when it starts.")
	}
	line.Target, err = config.ParseTarget("identity_" + kind + ":" + name)
	there = slices.ContainsFunc(all, func(p identityProvider) bool { return p.Name == name })
	return line, there, fromConfig(err)
}
