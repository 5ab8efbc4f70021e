package adminclient

import (
	"context"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/shoal-storage/shoal/internal/limits"
)

// User is a user.
type User struct {
	Name     string    `json:"name"`
	Enabled  bool      `json:"enabled"`
	Policies []string  `json:"policies"` // attached to him, not by his groups
	Groups   []string  `json:"groups"`
	Updated  time.Time `json:"updated"`
	POSIX
}

// POSIX is who a user is to the file system, whose new files he gets; nil where the bucket
// says it, and in which groups he is beside.
type POSIX struct {
	UID           *uint32  `json:"uid,omitempty"`
	GID           *uint32  `json:"gid,omitempty"`
	Supplementary []uint32 `json:"supplementaryGroups,omitempty"` // groups
}

// userDocument is a user as the API has him.
type userDocument struct {
	PolicyName string    `json:"policyName"`
	Status     string    `json:"status"`
	MemberOf   []string  `json:"memberOf"`
	UpdatedAt  time.Time `json:"updatedAt"`
	POSIX
}

func (d userDocument) user(name string) User {
	return User{Name: name, Enabled: d.Status == enabledStatus, Policies: split(d.PolicyName), Groups: list(d.MemberOf), Updated: d.UpdatedAt, POSIX: d.POSIX}
}

// The status of users and groups as the API has it.
const (
	enabledStatus  = "enabled"
	disabledStatus = "disabled"
)

func statusOf(enabled bool) string {
	if enabled {
		return enabledStatus
	}
	return disabledStatus
}

// split returns the names that a list with commas has.
func split(names string) []string {
	if names == "" {
		return []string{}
	}
	return strings.Split(names, ",")
}

// list is a list that is never null in JSON.
func list(names []string) []string { return append([]string{}, names...) }

// Users returns all users, sorted by name.
func (c *Client) Users(ctx context.Context) ([]User, error) {
	var all map[string]userDocument
	if err := c.call(ctx, call{method: http.MethodGet, path: "list-users", answer: &all, sealed: sealedAnswer}); err != nil {
		return nil, err
	}
	users := []User{}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		users = append(users, all[name].user(name))
	}
	return users, nil
}

// User returns one user.
func (c *Client) User(ctx context.Context, name string) (User, error) {
	var d userDocument
	err := c.call(ctx, call{method: http.MethodGet, path: "user-info", query: url.Values{"accessKey": {name}}, answer: &d})
	return d.user(name), err
}

// SetUser makes a user, or gives another secret to one that is there.
func (c *Client) SetUser(ctx context.Context, name, secret string, enabled bool) error {
	body := map[string]string{"secretKey": secret, "status": statusOf(enabled)}
	return c.call(ctx, call{method: http.MethodPut, path: "add-user", query: url.Values{"accessKey": {name}}, body: body, sealed: sealedBody})
}

// EnableUser has a user count, or not.
func (c *Client) EnableUser(ctx context.Context, name string, enabled bool) error {
	return c.call(ctx, call{method: http.MethodPut, path: "set-user-status", query: url.Values{"accessKey": {name}, "status": {statusOf(enabled)}}})
}

// SetPOSIX says who a user is to the file system. It is refused where new files cannot be
// given to somebody.
func (c *Client) SetPOSIX(ctx context.Context, name string, who POSIX) error {
	return c.call(ctx, call{method: http.MethodPut, path: "set-user-posix", query: url.Values{"accessKey": {name}}, body: who})
}

// Limits returns how many requests and bytes a second a user has of his own.
func (c *Client) Limits(ctx context.Context, name string) (rates limits.Rates, err error) {
	err = c.call(ctx, call{method: http.MethodGet, path: "get-user-limits", query: url.Values{"accessKey": {name}}, answer: &rates})
	return rates, err
}

// SetLimits sets them; the zero Rates removes them.
func (c *Client) SetLimits(ctx context.Context, name string, rates limits.Rates) error {
	return c.call(ctx, call{method: http.MethodPut, path: "set-user-limits", query: url.Values{"accessKey": {name}}, body: rates})
}

// RemoveUser removes a user and his access keys.
func (c *Client) RemoveUser(ctx context.Context, name string) error {
	return c.call(ctx, call{method: http.MethodDelete, path: "remove-user", query: url.Values{"accessKey": {name}}})
}
