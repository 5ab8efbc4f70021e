package admin

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/shoal-storage/shoal/internal/config"
)

// Setting is one of the gateway's, by the name that MinIO has for it.
type Setting struct {
	System string // "region", "notify_webhook"
	Target string // of a system that can have several, else ""
	Key    string
	Value  string // nothing secret
	From   string // what sets it: a flag, or a variable; "": it can only be set for all gateways
	Help   string
	Shared bool // it can be set for all gateways
	Common bool // it is set for all gateways
	Own    bool // it is set for this gateway alone, which goes before what is set for all
}

// Changes changes the settings that all gateways share. Its methods may be called
// concurrently. What cannot be is refused with config.ErrText or config.ErrTooMany.
type Changes interface {
	// Set sets values, and Reset removes those of the keys of lines, or all of a target.
	// Restart says that they are not in force before gateways are started again.
	Set(ctx context.Context, lines []config.Line) (restart bool, err error)
	Reset(ctx context.Context, lines []config.Line) (restart bool, err error)
	// History returns earlier changes, the newest first. Restore makes the settings
	// what they were after one, and Forget forgets it, or all if the ID is "": config.ErrNoEntry
	// if there is none of the ID.
	History() ([]config.Entry, error)
	Restore(ctx context.Context, id string) (restart bool, err error)
	Forget(ctx context.Context, id string) error
}

// heading is how the settings of a target begin as a line: "notify_webhook:MAIN".
func (s Setting) heading() string {
	if s.Target == "" {
		return s.System
	}
	return s.System + ":" + s.Target
}

// settingsOf returns the settings of a system, or of one of its targets; of all if the
// name is "".
func (a *API) settingsOf(name string) ([]Setting, error) {
	all := a.Settings()
	if name == "" {
		return all, nil
	}
	system, target, _ := strings.Cut(strings.TrimSpace(name), ":")
	var found []Setting
	for _, s := range all {
		if s.System == system && (target == "" || s.Target == target || target == "_" && s.Target == "") {
			found = append(found, s)
		}
	}
	if len(found) == 0 {
		return nil, errSetting.with("Shoal has no settings " + strconv.Quote(name) + ".")
	}
	return found, nil
}

// getConfig serves get-config-kv: settings as MinIO's tools show them.
func (a *API) getConfig(_ context.Context, c *Call) error {
	name := c.Query.Get("key")
	if name == subnetSystem && !a.saysSubnet() {
		return errNotImplemented.with(noSubnet)
	}
	return a.answerSettings(c, name)
}

// subnetSystem has what "mc support" asks for first: a registration with MinIO's SUBNET.
const subnetSystem = "subnet"

// saysSubnet reports whether anything is said of such a registration.
func (a *API) saysSubnet() bool {
	return slices.ContainsFunc(a.Settings(), func(s Setting) bool { return s.System == subnetSystem && s.Value != "" })
}

// exportConfig serves config: all settings.
func (a *API) exportConfig(_ context.Context, c *Call) error { return a.answerSettings(c, "") }

// answerSettings answers with a line for each target, of keys and values. Before it stands
// what of that is set for this gateway alone.
func (a *API) answerSettings(c *Call, name string) error {
	settings, err := a.settingsOf(name)
	if err != nil {
		return err
	}
	var text strings.Builder
	for len(settings) > 0 {
		end := slices.IndexFunc(settings, func(s Setting) bool { return s.heading() != settings[0].heading() })
		if end < 0 {
			end = len(settings)
		}
		line := settings[0].heading()
		for _, s := range settings[:end] {
			if s.Shared && s.Own {
				fmt.Fprintf(&text, "# %s=%s\n", s.From, config.Quote(s.Value))
			}
			line += " " + s.Key + "=" + config.Quote(s.Value)
		}
		text.WriteString(line + "\n")
		settings = settings[end:]
	}
	return a.answerSealedText(c, []byte(text.String()))
}

// settingHelp is what there is to say of a setting or a system.
type settingHelp struct {
	Key             string `json:"key"`
	Type            string `json:"type"`
	Description     string `json:"description"`
	Optional        bool   `json:"optional"`
	MultipleTargets bool   `json:"multipleTargets"`
}

// helpConfig serves help-config-kv: the settings of a system, or the systems.
func (a *API) helpConfig(_ context.Context, c *Call) error {
	name, key := c.Query.Get("subSys"), c.Query.Get("key")
	settings, err := a.settingsOf(name)
	if err != nil {
		return err
	}
	help := []settingHelp{}
	for _, s := range settings {
		h := settingHelp{Key: s.Key, Type: "string", Description: s.Help, Optional: true}
		if s.From != "" {
			h.Description += " (" + s.From + ")"
		}
		if name == "" {
			h = settingHelp{Key: s.System, Description: about(s.System), MultipleTargets: isMultiple(s.System)}
		}
		known := slices.ContainsFunc(help, func(has settingHelp) bool { return has.Key == h.Key })
		if !known && (key == "" || s.Key == key) {
			help = append(help, h)
		}
	}
	system, _, _ := strings.Cut(name, ":")
	return c.answerJSON(map[string]any{"subSys": system, "description": about(system), "multipleTargets": isMultiple(system), "keysHelp": help})
}

// about says what the settings of a system are about.
func about(system string) string {
	if kind, is := strings.CutPrefix(system, "notify_"); is {
		return "targets of events: " + kind
	}
	if kind, is := strings.CutPrefix(system, "audit_"); is {
		return "targets of records of all requests: " + kind
	}
	return map[string]string{
		"": "settings of gateways", "region": "the region that clients sign for, as site has it", "site": "the region that clients sign for",
		"api": "how many requests are served at once, and which pages may use buckets", "storage_class": "how many drives may be lost without losing objects that are stored from then on",
		"heal":            "how fast drives are given what they lack",
		"identity_openid": "OpenID Connect providers, whose tokens are taken", "identity_ldap": "an LDAP directory, whose people get credentials",
		"identity_tls": "client certificates, which are taken for credentials", subnetSystem: "what mc support asks for; any values will do",
	}[system]
}

// isMultiple reports whether a system can have several targets.
func isMultiple(system string) bool {
	return strings.HasPrefix(system, "notify_") || strings.HasPrefix(system, "audit_") || system == "identity_openid"
}
