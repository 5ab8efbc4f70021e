package adminclient

import (
	"context"
	"net/http"
	"net/url"
	"time"
)

// Group is a group of users.
type Group struct {
	Name     string    `json:"name"`
	Enabled  bool      `json:"enabled"`
	Members  []string  `json:"members"`
	Policies []string  `json:"policies"`
	Updated  time.Time `json:"updated"`
}

// Groups returns the names of all groups, sorted.
func (c *Client) Groups(ctx context.Context) ([]string, error) {
	var names []string
	err := c.call(ctx, call{method: http.MethodGet, path: "groups", answer: &names})
	return list(names), err
}

// Group returns one group.
func (c *Client) Group(ctx context.Context, name string) (Group, error) {
	var d struct {
		Status    string    `json:"status"`
		Members   []string  `json:"members"`
		Policy    string    `json:"policy"`
		UpdatedAt time.Time `json:"updatedAt"`
	}
	err := c.call(ctx, call{method: http.MethodGet, path: "group", query: url.Values{"group": {name}}, answer: &d})
	return Group{Name: name, Enabled: d.Status == enabledStatus, Members: list(d.Members), Policies: split(d.Policy), Updated: d.UpdatedAt}, err
}

// AddMembers makes users members of a group, which is made if there is none.
func (c *Client) AddMembers(ctx context.Context, group string, members []string) error {
	return c.setMembers(ctx, group, members, false)
}

// RemoveMembers ends the membership of users: at least one.
func (c *Client) RemoveMembers(ctx context.Context, group string, members []string) error {
	return c.setMembers(ctx, group, members, true)
}

// RemoveGroup removes a group that has no members.
func (c *Client) RemoveGroup(ctx context.Context, group string) error {
	return c.setMembers(ctx, group, nil, true)
}

func (c *Client) setMembers(ctx context.Context, group string, members []string, remove bool) error {
	body := struct {
		Group    string   `json:"group"`
		Members  []string `json:"members"`
		IsRemove bool     `json:"isRemove"`
		Status   string   `json:"groupStatus"`
	}{group, list(members), remove, enabledStatus}
	return c.call(ctx, call{method: http.MethodPut, path: "update-group-members", body: body})
}

// EnableGroup has the policies of a group count for its members, or not.
func (c *Client) EnableGroup(ctx context.Context, group string, enabled bool) error {
	return c.call(ctx, call{method: http.MethodPut, path: "set-group-status", query: url.Values{"group": {group}, "status": {statusOf(enabled)}}})
}
