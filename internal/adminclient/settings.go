package adminclient

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/shoal-storage/shoal/internal/config"
)

// System is what settings are about.
type System struct {
	Name  string `json:"system"`
	About string `json:"about"`
}

// Systems returns all there are.
func (c *Client) Systems(ctx context.Context) ([]System, error) {
	var d struct {
		KeysHelp []struct{ Key, Description string }
	}
	if err := c.call(ctx, call{method: http.MethodGet, path: "help-config-kv", query: url.Values{"subSys": {""}, "key": {""}}, answer: &d}); err != nil {
		return nil, err
	}
	all := []System{}
	for _, h := range d.KeysHelp {
		all = append(all, System{h.Key, h.Description})
	}
	return all, nil
}

// Settings are those of a target that are in force at a gateway.
type Settings struct {
	Target config.Target
	Values map[string]string // by key; what may be secret is not told
	Own    []string          // flags and variables that this gateway was started with, which set some of them
}

// Settings returns those of a system, or of one of its targets.
func (c *Client) Settings(ctx context.Context, name string) ([]Settings, error) {
	var text []byte
	err := c.call(ctx, call{method: http.MethodGet, path: "get-config-kv", query: url.Values{"key": {name}}, answer: &text, sealed: sealedAnswer})
	if err != nil {
		return nil, err
	}
	var all []Settings
	var own []string
	for row := range strings.Lines(string(text)) {
		if said, is := strings.CutPrefix(row, "# "); is {
			name, _, _ := strings.Cut(said, "=")
			own = append(own, name)
			continue
		}
		lines, err := config.Parse(row)
		if err != nil {
			return nil, fmt.Errorf("read settings: %w", err)
		}
		all = append(all, Settings{lines[0].Target, lines[0].Values, own})
		own = nil
	}
	return all, nil
}

// ExportSettings returns all settings as lines.
func (c *Client) ExportSettings(ctx context.Context) (text []byte, err error) {
	err = c.call(ctx, call{method: http.MethodGet, path: "config", answer: &text, sealed: sealedAnswer})
	return text, err
}

// ImportSettings sets those of lines that are other ones now, for all gateways. Restart says
// that gateways have to be started again before all is in force.
func (c *Client) ImportSettings(ctx context.Context, text []byte) (restart bool, err error) {
	return c.changeSettings(ctx, http.MethodPut, "config", text)
}

// SetSettings sets what a line says for all gateways. Restart is as with ImportSettings.
func (c *Client) SetSettings(ctx context.Context, line config.Line) (restart bool, err error) {
	return c.changeSettings(ctx, http.MethodPut, "set-config-kv", []byte(line.String()))
}

// ResetSettings has settings be as each gateway was started with: those of the keys of a target,
// or all of it if there are none.
func (c *Client) ResetSettings(ctx context.Context, to config.Target, keys []string) (restart bool, err error) {
	return c.changeSettings(ctx, http.MethodDelete, "del-config-kv", []byte(strings.Join(append([]string{to.String()}, keys...), " ")))
}

func (c *Client) changeSettings(ctx context.Context, method, path string, text []byte) (restart bool, err error) {
	return c.applied(ctx, call{method: method, path: path, body: text, sealed: sealedBody})
}

// applied makes a call that changes settings.
func (c *Client) applied(ctx context.Context, k call) (restart bool, err error) {
	var header http.Header
	k.header = &header
	err = c.call(ctx, k)
	return header.Get("x-minio-config-applied") != "true", err
}

// SettingsChange is an earlier change of settings.
type SettingsChange struct {
	ID   string    `json:"id"`
	Time time.Time `json:"time"`
	Text string    `json:"text"` // lines, without secrets
}

// SettingsHistory returns the changes that are remembered, the newest first.
func (c *Client) SettingsHistory(ctx context.Context) ([]SettingsChange, error) {
	var d []struct {
		RestoreID  string    `json:"restoreId"`
		CreateTime time.Time `json:"createTime"`
		Data       string    `json:"data"`
	}
	err := c.call(ctx, call{method: http.MethodGet, path: "list-config-history-kv", query: url.Values{"count": {""}}, answer: &d, sealed: sealedAnswer})
	if err != nil {
		return nil, err
	}
	all := []SettingsChange{}
	for _, e := range d {
		all = append(all, SettingsChange{e.RestoreID, e.CreateTime, e.Data})
	}
	return all, nil
}

// RestoreSettings makes all settings what they were after a change. Restart is as with
// ImportSettings.
func (c *Client) RestoreSettings(ctx context.Context, id string) (restart bool, err error) {
	return c.applied(ctx, call{method: http.MethodPut, path: "restore-config-history-kv", query: url.Values{"restoreId": {id}}})
}
