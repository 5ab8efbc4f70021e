package gateway

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Setting is one of the gateway's, by the name that MinIO has for it.
type Setting struct {
	System string // "region", "notify_webhook"
	Target string // of a system that can have several, else ""
	Key    string
	Value  string // nothing secret
	From   string // what sets it: a flag, or a variable
	Help   string
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
	if name == "" {
		return s.Settings, nil
	}
	system, target, _ := strings.Cut(strings.TrimSpace(name), ":")
	if system == "subnet" { // what "mc support" asks for first
		return nil, errNotImplemented.with(noSubnet)
	}
	var found []Setting
	for _, c := range s.Settings {
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
	return s.answerSettings(r, r.query.get("key"))
}

// exportConfig serves config: all settings.
func (s *Server) exportConfig(_ context.Context, r *request) error { return s.answerSettings(r, "") }

// answerSettings answers with a line for each target, of keys and values.
func (s *Server) answerSettings(r *request, name string) error {
	settings, err := s.settingsOf(name)
	if err != nil {
		return err
	}
	var text strings.Builder
	for i, c := range settings {
		switch {
		case i == 0:
			text.WriteString(c.heading())
		case c.heading() != settings[i-1].heading():
			text.WriteString("\n" + c.heading())
		}
		fmt.Fprintf(&text, " %s=%s", c.Key, quoted(c.Value))
	}
	return s.answerSealedText(r, []byte(text.String()+"\n"))
}

// quoted is a value as it stands in a line.
func quoted(value string) string {
	if strings.ContainsAny(value, " \"\n") {
		return strconv.Quote(value)
	}
	return value
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
		h := settingHelp{Key: c.Key, Type: "string", Description: c.Help + " (" + c.From + ")", Optional: true}
		if name == "" {
			h = settingHelp{Key: c.System, Description: "settings of " + c.System, MultipleTargets: isMultiple(c.System)}
		}
		known := slices.ContainsFunc(help, func(has settingHelp) bool { return has.Key == h.Key })
		if !known && (key == "" || c.Key == key) {
			help = append(help, h)
		}
	}
	system, _, _ := strings.Cut(name, ":")
	return r.answerJSON(map[string]any{"subSys": system, "description": "settings of each gateway", "multipleTargets": isMultiple(system), "keysHelp": help})
}

// isMultiple reports whether a system can have several targets.
func isMultiple(system string) bool {
	return strings.HasPrefix(system, "notify_") || strings.HasPrefix(system, "audit_")
}

// refuseConfig serves set-config-kv and del-config-kv: nothing can be changed so, and it
// says what does.
func (s *Server) refuseConfig(_ context.Context, r *request) error {
	sealed, err := s.adminBody(r)
	if err != nil {
		return err
	}
	text, err := s.Sealer.Open(r.secret, sealed)
	if err != nil {
		return errAdminConfig.with("The document is not encrypted under the secret key of the request.").because(err)
	}
	name, rest, _ := strings.Cut(strings.TrimSpace(string(text)), " ")
	settings, err := s.settingsOf(name)
	if err != nil {
		return err
	}
	set := settings[0]
	if key, _, given := strings.Cut(strings.TrimSpace(rest), "="); given {
		i := slices.IndexFunc(settings, func(c Setting) bool { return c.Key == key })
		if i < 0 {
			return errAdminSetting.with("Shoal has no setting " + strconv.Quote(key) + " of " + strconv.Quote(name) + ".")
		}
		set = settings[i]
	}
	return errNotImplemented.with(fmt.Sprintf("Nothing was changed: %s of %s is set by %s of each gateway, when it starts.", set.Key, set.System, set.From))
}
