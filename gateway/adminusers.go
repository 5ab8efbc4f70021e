package gateway

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
func (s *Server) addUser(ctx context.Context, r *request) error {
	in := struct {
		SecretKey string `json:"secretKey"`
		Status    string `json:"status"`
	}{Status: "enabled"}
	if err := s.readSealed(r, &in); err != nil {
		return err
	}
	enabled, err := parseStatus(in.Status)
	if err != nil {
		return err
	}
	return s.Directory.SetUser(ctx, r.query.get("accessKey"), in.SecretKey, enabled)
}

// listUsers serves list-users.
func (s *Server) listUsers(_ context.Context, r *request) error {
	users, err := s.Directory.Users()
	if err != nil {
		return err
	}
	all := make(map[string]userDocument, len(users))
	for _, u := range users {
		all[u.Name] = documentOf(u)
	}
	return s.answerSealed(r, all)
}

// userInfo serves user-info.
func (s *Server) userInfo(ctx context.Context, r *request) error {
	name, err := bearerName("", r.query.get("accessKey"))
	if err != nil {
		return err
	}
	if err := s.allowOn(r, "admin:GetUser", name); err != nil {
		return err
	}
	u, err := s.Directory.User(name)
	if errors.Is(err, directory.ErrNoUser) && isPerson(name) && isDN(name) {
		return s.personInfo(ctx, r, name)
	}
	if err != nil {
		return err
	}
	return r.answerJSON(documentOf(u))
}

// removeUser serves remove-user.
func (s *Server) removeUser(ctx context.Context, r *request) error {
	return s.Directory.RemoveUser(ctx, r.query.get("accessKey"))
}

// setUserStatus serves set-user-status.
func (s *Server) setUserStatus(ctx context.Context, r *request) error {
	enabled, err := parseStatus(r.query.get("status"))
	if err != nil {
		return err
	}
	return s.Directory.EnableUser(ctx, r.query.get("accessKey"), enabled)
}

// updateGroupMembers serves update-group-members, which also makes a group, and removes
// one if nobody is named.
func (s *Server) updateGroupMembers(ctx context.Context, r *request) error {
	text, err := s.adminBody(r)
	if err != nil {
		return err
	}
	var in struct {
		Group    string   `json:"group"`
		Members  []string `json:"members"`
		IsRemove bool     `json:"isRemove"`
	}
	if err := decodeAdmin(text, &in); err != nil {
		return err
	}
	switch {
	case in.IsRemove && len(in.Members) == 0:
		return s.Directory.RemoveGroup(ctx, in.Group)
	case in.IsRemove:
		return s.Directory.RemoveMembers(ctx, in.Group, in.Members)
	}
	return s.Directory.AddMembers(ctx, in.Group, in.Members)
}

// listGroups serves groups.
func (s *Server) listGroups(_ context.Context, r *request) error {
	groups, err := s.Directory.Groups()
	if err != nil {
		return err
	}
	return r.answerJSON(append([]string{}, groups...))
}

// groupInfo serves group.
func (s *Server) groupInfo(_ context.Context, r *request) error {
	name := r.query.get("group")
	g, err := s.Directory.Group(name)
	if errors.Is(err, directory.ErrNoGroup) && isPerson(name) {
		g, err = s.entryInfo(name)
	}
	if err != nil {
		return err
	}
	return r.answerJSON(map[string]any{
		"name": g.Name, "status": statusOf(g.Enabled), "members": append([]string{}, g.Members...),
		"policy": strings.Join(g.Policies, ","), "updatedAt": g.Updated,
	})
}

// setGroupStatus serves set-group-status.
func (s *Server) setGroupStatus(ctx context.Context, r *request) error {
	enabled, err := parseStatus(r.query.get("status"))
	if err != nil {
		return err
	}
	return s.Directory.EnableGroup(ctx, r.query.get("group"), enabled)
}
