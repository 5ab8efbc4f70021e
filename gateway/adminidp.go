package gateway

import (
	"context"
	"slices"
	"strings"
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
	Info    []providerSetting `json:"info,omitempty"`
}

type providerSetting struct {
	Key   string `json:"key"`
	Value string `json:"value"`
	IsCfg bool   `json:"isCfg"` // it can be changed so: none can
	IsEnv bool   `json:"isEnv"` // it is set by a flag or a variable
}

// location is the setting that says where a provider is, by its kind. Without it there is
// none.
func location(kind string) string {
	return map[string]string{"openid": "config_url", "ldap": "server_addr"}[kind]
}

// providerOf returns the provider of a kind, the setting that says where it is, and
// whether there is one.
func (s *Server) providerOf(kind string) (p identityProvider, at Setting, err error) {
	settings, err := s.settingsOf("identity_" + kind)
	if err != nil {
		return p, at, err
	}
	i := slices.IndexFunc(settings, func(c Setting) bool { return c.Key == location(kind) })
	if i < 0 {
		return p, at, errAdminSetting.with("There are identity providers of the kinds openid and ldap.")
	}
	p = identityProvider{Type: kind, Name: defaultTarget, Enabled: settings[i].Value != ""}
	for _, c := range settings {
		if c.Value != "" {
			p.Info = append(p.Info, providerSetting{Key: c.Key, Value: c.Value, IsEnv: true})
		}
	}
	return p, settings[i], nil
}

// identityProviders serves idp-config: those of a kind, or the settings of one.
func (s *Server) identityProviders(_ context.Context, r *request) error {
	kind, name, one := strings.Cut(r.below, "/")
	p, at, err := s.providerOf(kind)
	if err != nil {
		return err
	}
	switch {
	case !one && !p.Enabled:
		return s.answerSealed(r, []identityProvider{})
	case !one:
		p.Info = nil
		return s.answerSealed(r, []identityProvider{p})
	case !p.Enabled || name != defaultTarget:
		return errAdminSetting.with("There is no such provider. One is set by " + at.From + " of each gateway, when it starts.")
	}
	p.Enabled = false // which is said in the list only
	return s.answerSealed(r, p)
}

// refuseProvider serves changes of idp-config: nothing can be changed so, and it says
// what does.
func (s *Server) refuseProvider(_ context.Context, r *request) error {
	kind, _, _ := strings.Cut(r.below, "/")
	_, at, err := s.providerOf(kind)
	if err != nil {
		return err
	}
	return errNotImplemented.with("Nothing was changed: a provider is set by " + at.From + " of each gateway, when it starts.")
}

// noListedSessions serves temporary-account-info, which tools ask where there is no
// service account of a key.
func (s *Server) noListedSessions(context.Context, *request) error {
	return errAdminNoAccount.with("There is no service account with this access key; temporary credentials are not kept.")
}
