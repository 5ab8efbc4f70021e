package admin

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

// setConfig serves set-config-kv: what the lines say is set for all gateways.
func (a *API) setConfig(ctx context.Context, c *Call) error {
	lines, err := a.configLines(c)
	if err != nil {
		return err
	}
	return a.setLines(ctx, c, lines)
}

// importConfig serves config: of all settings, those are set that are other ones than are in
// force.
func (a *API) importConfig(ctx context.Context, c *Call) error {
	lines, err := a.configLines(c)
	if err != nil {
		return err
	}
	lines = a.news(lines)
	if len(lines) == 0 {
		c.Header(headerApplied, "true")
		return nil
	}
	return a.setLines(ctx, c, lines)
}

// news returns of lines what is not so already.
func (a *API) news(lines []config.Line) (left []config.Line) {
	all := a.Settings()
	for _, l := range lines {
		news := config.Line{Target: l.Target, Values: make(map[string]string)}
		for key, value := range l.Values {
			same := slices.ContainsFunc(all, func(s Setting) bool {
				return s.heading() == l.Target.String() && s.Key == key && s.Value == value
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
func (a *API) configLines(c *Call) ([]config.Line, error) {
	text, err := a.unseal(c)
	if err != nil {
		return nil, err
	}
	lines, err := config.Parse(string(text))
	return lines, fromConfig(err)
}

// setLines sets what lines say.
func (a *API) setLines(ctx context.Context, c *Call, lines []config.Line) error {
	if err := a.changeable(lines); err != nil {
		return err
	}
	for _, l := range lines {
		if len(l.Values) == 0 {
			return errSetting.with("Nothing is said of " + l.Target.String() + ": key=value is missing.")
		}
	}
	restart, err := a.Changes.Set(ctx, lines)
	return c.changed(restart, err)
}

// resetConfig serves del-config-kv: what the lines name is as each gateway has been
// started with.
func (a *API) resetConfig(ctx context.Context, c *Call) error {
	lines, err := a.configLines(c)
	if err != nil {
		return err
	}
	if err := a.changeable(lines); err != nil {
		return err
	}
	restart, err := a.Changes.Reset(ctx, lines)
	return c.changed(restart, err)
}

// changeable returns why settings cannot be changed, nil if they can: they are no settings, or
// of each gateway, or set for this one.
func (a *API) changeable(lines []config.Line) error {
	for _, l := range lines {
		settings, err := a.settingsOf(l.Target.System)
		if err != nil {
			return err
		}
		if l.Target.Name != "" && !isMultiple(l.Target.System) {
			return errSetting.with("There is one " + l.Target.System + ", which has no name.")
		}
		for key := range l.Values {
			if !slices.ContainsFunc(settings, func(s Setting) bool { return s.Key == key }) {
				return errSetting.with("Shoal has no setting " + strconv.Quote(key) + " of " + strconv.Quote(l.Target.System) + ".")
			}
		}
		if err := a.fixed(l, settings); err != nil {
			return err
		}
	}
	return nil
}

// fixed returns what sets one of the settings that a line names, if that is no change for all
// gateways: settings are those of the system. A line without keys names all that is set for all of them.
func (a *API) fixed(l config.Line, settings []Setting) error {
	of := slices.DeleteFunc(slices.Clone(settings), func(s Setting) bool { return s.heading() != l.Target.String() })
	if len(l.Values) == 0 && slices.ContainsFunc(of, func(s Setting) bool { return s.Common }) {
		return nil // that is reset, and what the gateways were started with stays
	}
	if len(of) == 0 { // a new one, whose keys are those of the others
		of = slices.Clone(settings)
		for i := range of {
			of[i].Own = false
		}
	}
	for _, s := range of {
		_, named := l.Values[s.Key]
		if len(l.Values) > 0 && !named || a.Changes != nil && s.Shared && !s.Own {
			continue
		}
		if s.From == "" {
			return errNotImplemented.with(fmt.Sprintf("Nothing was changed: %s of %s is set for all gateways of a fleet, and this server joins no others (--single-gateway).", s.Key, s.System))
		}
		return errNotImplemented.with(fmt.Sprintf("Nothing was changed: %s of %s is set by %s of each gateway. Change it there, and start it again.", s.Key, s.System, s.From))
	}
	return nil
}

// changed answers a change of settings.
func (c *Call) changed(restart bool, err error) error {
	if err == nil && !restart {
		c.Header(headerApplied, "true")
	}
	return fromConfig(err)
}

// fromConfig returns what an error of package config is to clients.
func fromConfig(err error) error {
	switch {
	case errors.Is(err, config.ErrText), errors.Is(err, config.ErrTooMany):
		return errSetting.with("Nothing was changed: " + strings.TrimPrefix(err.Error(), config.ErrText.Error()+": ") + ".")
	case errors.Is(err, config.ErrNoEntry):
		return errSetting.with("There is no such entry in the history.")
	}
	return err
}

// historyDocument is a change as the admin API shows it.
type historyDocument struct {
	RestoreID  string    `json:"restoreId"`
	CreateTime time.Time `json:"createTime"`
	Data       string    `json:"data"`
}

// errNoHistory says that nothing is set for all gateways.
var errNoHistory = errNotImplemented.with("Settings are flags and variables of this gateway, which is in no fleet: there is no history of them.")

// configHistory serves list-config-history-kv.
func (a *API) configHistory(_ context.Context, c *Call) error {
	if a.Changes == nil {
		return errNoHistory
	}
	past, err := a.Changes.History()
	if err != nil {
		return err
	}
	list := []historyDocument{}
	most, err := strconv.Atoi(c.Query.Get("count"))
	if err != nil || most < 1 {
		most = len(past)
	}
	for _, e := range past[:min(most, len(past))] {
		list = append(list, historyDocument{e.ID, e.Created, e.Text})
	}
	return a.answerSealed(c, list)
}

// restoreConfig serves restore-config-history-kv.
func (a *API) restoreConfig(ctx context.Context, c *Call) error {
	if a.Changes == nil {
		return errNoHistory
	}
	restart, err := a.Changes.Restore(ctx, c.Query.Get("restoreId"))
	return c.changed(restart, err)
}

// clearConfigHistory serves clear-config-history-kv.
func (a *API) clearConfigHistory(ctx context.Context, c *Call) error {
	if a.Changes == nil {
		return errNoHistory
	}
	id := c.Query.Get("restoreId")
	if id == "all" {
		id = ""
	}
	return fromConfig(a.Changes.Forget(ctx, id))
}
