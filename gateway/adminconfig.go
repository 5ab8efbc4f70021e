package gateway

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
func (c Setting) heading() string {
	if c.Target == "" {
		return c.System
	}
	return c.System + ":" + c.Target
}

// errAdminSetting says that there is no such setting.
var errAdminSetting = &s3Error{code: "XMinioConfigError", status: 400, message: "There is no such setting."}

// settingsOf returns the settings of a system, or of one of its targets; of all if the
// name is "".
func (s *Server) settingsOf(name string) ([]Setting, error) {
	all := s.Settings()
	if name == "" {
		return all, nil
	}
	system, target, _ := strings.Cut(strings.TrimSpace(name), ":")
	var found []Setting
	for _, c := range all {
		if c.System == system && (target == "" || c.Target == target || target == "_" && c.Target == "") {
			found = append(found, c)
		}
	}
	if len(found) == 0 {
		return nil, errAdminSetting.with("Shoal has no settings " + strconv.Quote(name) + ".")
	}
	return found, nil
}

// getConfig serves get-config-kv: settings as MinIO's tools show them.
func (s *Server) getConfig(_ context.Context, r *request) error {
	name := r.query.get("key")
	if name == subnetSystem && !s.saysSubnet() {
		return errNotImplemented.with(noSubnet)
	}
	return s.answerSettings(r, name)
}

// subnetSystem has what "mc support" asks for first: a registration with MinIO's SUBNET.
const subnetSystem = "subnet"

// saysSubnet reports whether anything is said of such a registration.
func (s *Server) saysSubnet() bool {
	return slices.ContainsFunc(s.Settings(), func(c Setting) bool { return c.System == subnetSystem && c.Value != "" })
}

// exportConfig serves config: all settings.
func (s *Server) exportConfig(_ context.Context, r *request) error { return s.answerSettings(r, "") }

// answerSettings answers with a line for each target, of keys and values. Before it stands
// what of that is set for this gateway alone.
func (s *Server) answerSettings(r *request, name string) error {
	settings, err := s.settingsOf(name)
	if err != nil {
		return err
	}
	var text strings.Builder
	for len(settings) > 0 {
		end := slices.IndexFunc(settings, func(c Setting) bool { return c.heading() != settings[0].heading() })
		if end < 0 {
			end = len(settings)
		}
		line := settings[0].heading()
		for _, c := range settings[:end] {
			if c.Shared && c.Own {
				fmt.Fprintf(&text, "# %s=%s\n", c.From, config.Quote(c.Value))
			}
			line += " " + c.Key + "=" + config.Quote(c.Value)
		}
		text.WriteString(line + "\n")
		settings = settings[end:]
	}
	return s.answerSealedText(r, []byte(text.String()))
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
func (s *Server) helpConfig(_ context.Context, r *request) error {
	name, key := r.query.get("subSys"), r.query.get("key")
	settings, err := s.settingsOf(name)
	if err != nil {
		return err
	}
	help := []settingHelp{}
	for _, c := range settings {
		h := settingHelp{Key: c.Key, Type: "string", Description: c.Help, Optional: true}
		if c.From != "" {
			h.Description += " (" + c.From + ")"
		}
		if name == "" {
			h = settingHelp{Key: c.System, Description: about(c.System), MultipleTargets: isMultiple(c.System)}
		}
		known := slices.ContainsFunc(help, func(has settingHelp) bool { return has.Key == h.Key })
		if !known && (key == "" || c.Key == key) {
			help = append(help, h)
		}
	}
	system, _, _ := strings.Cut(name, ":")
	return r.answerJSON(map[string]any{"subSys": system, "description": about(system), "multipleTargets": isMultiple(system), "keysHelp": help})
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
