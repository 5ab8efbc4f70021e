package admin

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/shoal-storage/shoal/internal/directory"
	"github.com/shoal-storage/shoal/internal/iam"
)

// userDocument is a user as the admin API shows him.
type userDocument struct {
	AuthInfo   *authInfo `json:"userAuthInfo,omitempty"`
	PolicyName string    `json:"policyName,omitempty"`
	Status     string    `json:"status"`
	MemberOf   []string  `json:"memberOf,omitempty"`
	UpdatedAt  time.Time `json:"updatedAt"`
	iam.POSIX            // beside what MinIO's tools know
}

// authInfo is where somebody is known who is no user here.
type authInfo struct {
	Type   string `json:"type"`
	UserID string `json:"authServerUserID,omitempty"`
}

func documentOf(u directory.User) userDocument {
	return userDocument{PolicyName: strings.Join(u.Policies, ","), Status: statusOf(u.Enabled), MemberOf: u.Groups, UpdatedAt: u.Updated, POSIX: u.POSIX}
}

// addUser serves add-user.
func (a *API) addUser(ctx context.Context, c *Call) error {
	in := struct {
		SecretKey string `json:"secretKey"`
		Status    string `json:"status"`
	}{Status: "enabled"}
	if err := a.readSealed(c, &in); err != nil {
		return err
	}
	enabled, err := parseStatus(in.Status)
	if err != nil {
		return err
	}
	return a.Directory.SetUser(ctx, c.Query.Get("accessKey"), in.SecretKey, enabled)
}

// listUsers serves list-users.
func (a *API) listUsers(_ context.Context, c *Call) error {
	users, err := a.Directory.Users()
	if err != nil {
		return err
	}
	all := make(map[string]userDocument, len(users))
	for _, u := range users {
		all[u.Name] = documentOf(u)
	}
	return a.answerSealed(c, all)
}

// userInfo serves user-info.
func (a *API) userInfo(ctx context.Context, c *Call) error {
	name, err := bearerName("", c.Query.Get("accessKey"))
	if err != nil {
		return err
	}
	if err := a.allowOn(c, "admin:GetUser", name); err != nil {
		return err
	}
	u, err := a.Directory.User(name)
	if errors.Is(err, directory.ErrNoUser) && isPerson(name) && isDN(name) {
		return a.personInfo(ctx, c, name)
	}
	if err != nil {
		return err
	}
	return c.answerJSON(documentOf(u))
}

// removeUser serves remove-user.
func (a *API) removeUser(ctx context.Context, c *Call) error {
	return a.Directory.RemoveUser(ctx, c.Query.Get("accessKey"))
}

// setUserStatus serves set-user-status.
func (a *API) setUserStatus(ctx context.Context, c *Call) error {
	enabled, err := parseStatus(c.Query.Get("status"))
	if err != nil {
		return err
	}
	return a.Directory.EnableUser(ctx, c.Query.Get("accessKey"), enabled)
}

// updateGroupMembers serves update-group-members, which also makes a group, and removes
// one if nobody is named.
func (a *API) updateGroupMembers(ctx context.Context, c *Call) error {
	var in struct {
		Group    string   `json:"group"`
		Members  []string `json:"members"`
		IsRemove bool     `json:"isRemove"`
	}
	if err := c.decode(&in); err != nil {
		return err
	}
	switch {
	case in.IsRemove && len(in.Members) == 0:
		return a.Directory.RemoveGroup(ctx, in.Group)
	case in.IsRemove:
		return a.Directory.RemoveMembers(ctx, in.Group, in.Members)
	}
	return a.Directory.AddMembers(ctx, in.Group, in.Members)
}

// listGroups serves groups.
func (a *API) listGroups(_ context.Context, c *Call) error {
	groups, err := a.Directory.Groups()
	if err != nil {
		return err
	}
	return c.answerJSON(append([]string{}, groups...))
}

// groupInfo serves group.
func (a *API) groupInfo(_ context.Context, c *Call) error {
	name := c.Query.Get("group")
	g, err := a.Directory.Group(name)
	if errors.Is(err, directory.ErrNoGroup) && isPerson(name) {
		g, err = a.entryInfo(name)
	}
	if err != nil {
		return err
	}
	return c.answerJSON(map[string]any{
		"name": g.Name, "status": statusOf(g.Enabled), "members": append([]string{}, g.Members...),
		"policy": strings.Join(g.Policies, ","), "updatedAt": g.Updated,
	})
}

// setGroupStatus serves set-group-status.
func (a *API) setGroupStatus(ctx context.Context, c *Call) error {
	enabled, err := parseStatus(c.Query.Get("status"))
	if err != nil {
		return err
	}
	return a.Directory.EnableGroup(ctx, c.Query.Get("group"), enabled)
}
