package gateway

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/shoal-storage/shoal/internal/config"
)

// headerApplied says that a change of settings is in force; without it clients ask for the
// gateways to be started again.
const headerApplied = "X-Minio-Config-Applied"

// configText returns what a client has sealed.
func (s *Server) configText(r *request) (string, error) {
	sealed, err := s.adminBody(r)
	if err != nil {
		return "", err
	}
	text, err := s.Sealer.Open(r.secret, sealed)
	if err != nil {
		return "", errAdminConfig.with("The document is not encrypted under the secret key of the request.").because(err)
	}
	return string(text), nil
}

// setConfig serves set-config-kv: what the lines say is set for all gateways.
func (s *Server) setConfig(ctx context.Context, r *request) error {
	lines, err := s.configLines(r)
	if err != nil {
		return err
	}
	return s.setLines(ctx, r, lines)
}

// importConfig serves config: of all settings, those are set that are other ones than are in
// force.
func (s *Server) importConfig(ctx context.Context, r *request) error {
	lines, err := s.configLines(r)
	if err != nil {
		return err
	}
	lines = s.news(lines)
	if len(lines) == 0 {
		r.set(headerApplied, "true")
		return nil
	}
	return s.setLines(ctx, r, lines)
}

// news returns of lines what is not so already.
func (s *Server) news(lines []config.Line) (left []config.Line) {
	all := s.Settings()
	for _, l := range lines {
		news := config.Line{Target: l.Target, Values: make(map[string]string)}
		for key, value := range l.Values {
			same := slices.ContainsFunc(all, func(c Setting) bool {
				return c.heading() == l.Target.String() && c.Key == key && c.Value == value
			})
			if !same {
				news.Values[key] = value
			}
		}
		if len(news.Values) > 0 {
			left = append(left, news)
		}
	}
	return left
}

// configLines returns the lines that a client has sealed.
func (s *Server) configLines(r *request) ([]config.Line, error) {
	text, err := s.configText(r)
	if err != nil {
		return nil, err
	}
	lines, err := config.Parse(text)
	return lines, fromConfig(err)
}

// setLines sets what lines say.
func (s *Server) setLines(ctx context.Context, r *request, lines []config.Line) error {
	if err := s.changeable(lines); err != nil {
		return err
	}
	for _, l := range lines {
		if len(l.Values) == 0 {
			return errAdminSetting.with("Nothing is said of " + l.Target.String() + ": key=value is missing.")
		}
	}
	restart, err := s.Changes.Set(ctx, lines)
	return r.changed(restart, err)
}

// resetConfig serves del-config-kv: what the lines name is as each gateway has been
// started with.
func (s *Server) resetConfig(ctx context.Context, r *request) error {
	lines, err := s.configLines(r)
	if err != nil {
		return err
	}
	if err := s.changeable(lines); err != nil {
		return err
	}
	restart, err := s.Changes.Reset(ctx, lines)
	return r.changed(restart, err)
}

// changeable returns why settings cannot be changed, nil if they can: they are no settings, or
// of each gateway, or set for this one.
func (s *Server) changeable(lines []config.Line) error {
	for _, l := range lines {
		settings, err := s.settingsOf(l.Target.System)
		if err != nil {
			return err
		}
		if l.Target.Name != "" && !isMultiple(l.Target.System) {
			return errAdminSetting.with("There is one " + l.Target.System + ", which has no name.")
		}
		for key := range l.Values {
			if !slices.ContainsFunc(settings, func(c Setting) bool { return c.Key == key }) {
				return errAdminSetting.with("Shoal has no setting " + strconv.Quote(key) + " of " + strconv.Quote(l.Target.System) + ".")
			}
		}
		if err := s.fixed(l, settings); err != nil {
			return err
		}
	}
	return nil
}

// fixed returns what sets one of the settings that a line names, if that is no change for all
// gateways: settings are those of the system. A line without keys names all that is set for all of them.
func (s *Server) fixed(l config.Line, settings []Setting) error {
	of := slices.DeleteFunc(slices.Clone(settings), func(c Setting) bool { return c.heading() != l.Target.String() })
	if len(l.Values) == 0 && slices.ContainsFunc(of, func(c Setting) bool { return c.Common }) {
		return nil // that is reset, and what the gateways were started with stays
	}
	if len(of) == 0 { // a new one, whose keys are those of the others
		of = slices.Clone(settings)
		for i := range of {
			of[i].Own = false
		}
	}
	for _, c := range of {
		_, named := l.Values[c.Key]
		if len(l.Values) > 0 && !named || s.Changes != nil && c.Shared && !c.Own {
			continue
		}
		if c.From == "" {
			return errNotImplemented.with(fmt.Sprintf("Nothing was changed: %s of %s is set for all gateways of a fleet, and this server joins no others (--single-gateway).", c.Key, c.System))
		}
		return errNotImplemented.with(fmt.Sprintf("Nothing was changed: %s of %s is set by %s of each gateway. Change it there, and start it again.", c.Key, c.System, c.From))
	}
	return nil
}

// changed answers a change of settings.
func (r *request) changed(restart bool, err error) error {
	if err == nil && !restart {
		r.set(headerApplied, "true")
	}
	return fromConfig(err)
}

// fromConfig returns what an error of package config is to clients.
func fromConfig(err error) error {
	switch {
	case errors.Is(err, config.ErrText), errors.Is(err, config.ErrTooMany):
		return errAdminSetting.with("Nothing was changed: " + strings.TrimPrefix(err.Error(), config.ErrText.Error()+": ") + ".")
	case errors.Is(err, config.ErrNoEntry):
		return errAdminSetting.with("There is no such entry in the history.")
	}
	return err
}

// historyDocument is a change as the admin API shows it.
type historyDocument struct {
	RestoreID  string    `json:"restoreId"`
	CreateTime time.Time `json:"createTime"`
	Data       string    `json:"data"`
}

// errNoChanges says that nothing is set for all gateways.
var errNoChanges = errNotImplemented.with("Settings are flags and variables of this gateway, which is in no fleet: there is no history of them.")

// configHistory serves list-config-history-kv.
func (s *Server) configHistory(_ context.Context, r *request) error {
	if s.Changes == nil {
		return errNoChanges
	}
	past, err := s.Changes.History()
	if err != nil {
		return err
	}
	list := []historyDocument{}
	most, err := strconv.Atoi(r.query.get("count"))
	if err != nil || most < 1 {
		most = len(past)
	}
	for _, e := range past[:min(most, len(past))] {
		list = append(list, historyDocument{e.ID, e.Created, e.Text})
	}
	return s.answerSealed(r, list)
}

// restoreConfig serves restore-config-history-kv.
func (s *Server) restoreConfig(ctx context.Context, r *request) error {
	if s.Changes == nil {
		return errNoChanges
	}
	restart, err := s.Changes.Restore(ctx, r.query.get("restoreId"))
	return r.changed(restart, err)
}

// clearConfigHistory serves clear-config-history-kv.
func (s *Server) clearConfigHistory(ctx context.Context, r *request) error {
	if s.Changes == nil {
		return errNoChanges
	}
	id := r.query.get("restoreId")
	if id == "all" {
		id = ""
	}
	return fromConfig(s.Changes.Forget(ctx, id))
}
