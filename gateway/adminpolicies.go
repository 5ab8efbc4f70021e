package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/shoal-storage/shoal/internal/directory"
)

// addPolicy serves add-canned-policy.
func (s *Server) addPolicy(ctx context.Context, r *request) error {
	text, err := s.adminBody(r)
	if err != nil {
		return err
	}
	return s.Directory.SetPolicy(ctx, r.query.get("name"), string(text))
}

// listPolicies serves list-canned-policies.
func (s *Server) listPolicies(_ context.Context, r *request) error {
	policies, err := s.Directory.Policies()
	if err != nil {
		return err
	}
	all := make(map[string]json.RawMessage, len(policies))
	for _, p := range policies {
		all[p.Name] = json.RawMessage(p.Text)
	}
	return r.answerJSON(all)
}

// policyInfo serves info-canned-policy.
func (s *Server) policyInfo(_ context.Context, r *request) error {
	p, err := s.Directory.Policy(r.query.get("name"))
	if err != nil {
		return err
	}
	if r.query.get("v") != "2" {
		return r.answerJSON(json.RawMessage(p.Text))
	}
	return r.answerJSON(map[string]any{"PolicyName": p.Name, "Policy": json.RawMessage(p.Text), "CreateDate": p.Created, "UpdateDate": p.Updated})
}

// removePolicy serves remove-canned-policy.
func (s *Server) removePolicy(ctx context.Context, r *request) error {
	return s.Directory.RemovePolicy(ctx, r.query.get("name"))
}

// association is what policies are attached to, or detached from.
type association struct {
	Policies []string `json:"policies"`
	User     string   `json:"user"`
	Group    string   `json:"group"`
}

func (a *association) holder() (directory.Holder, error) {
	if (a.User == "") == (a.Group == "") || len(a.Policies) == 0 {
		return directory.Holder{}, errAdminInvalid.with("One user or group and at least one policy must be named.")
	}
	return directory.Holder{Name: a.User + a.Group, Group: a.Group != ""}, nil
}

// attachPolicy serves idp/builtin/policy/attach.
func (s *Server) attachPolicy(ctx context.Context, r *request) error {
	return s.associate(ctx, r, (*association).holder, "policiesAttached", s.Directory.Attach)
}

// detachPolicy serves idp/builtin/policy/detach.
func (s *Server) detachPolicy(ctx context.Context, r *request) error {
	return s.associate(ctx, r, (*association).holder, "policiesDetached", s.Directory.Detach)
}

func (s *Server) associate(ctx context.Context, r *request, to func(*association) (directory.Holder, error), result string, do func(context.Context, directory.Holder, []string) ([]string, error)) error {
	var in association
	if err := s.readSealed(r, &in); err != nil {
		return err
	}
	of, err := to(&in)
	if err != nil {
		return err
	}
	done, err := do(ctx, of, in.Policies)
	if err != nil {
		return err
	}
	return s.answerSealed(r, map[string]any{result: done, "updatedAt": s.Now().UTC()})
}

// setPolicies serves set-user-or-group-policy, which older clients use.
func (s *Server) setPolicies(ctx context.Context, r *request) error {
	var policies []string
	for name := range strings.SplitSeq(r.query.get("policyName"), ",") {
		if name = strings.TrimSpace(name); name != "" {
			policies = append(policies, name)
		}
	}
	of := directory.Holder{Name: r.query.get("userOrGroup"), Group: r.query.get("isGroup") == "true"}
	return s.Directory.SetPolicies(ctx, of, policies)
}

// policyEntities serves idp/builtin/policy-entities: who has which policies. Without
// parameters it shows all.
func (s *Server) policyEntities(_ context.Context, r *request) error {
	all, err := s.Directory.Attachments()
	if err != nil {
		return err
	}
	e := entitiesOf(all, r.query.all("user"), r.query.all("group"), r.query.all("policy"))
	for _, name := range r.query.all("user") {
		u, err := s.Directory.User(name)
		if err != nil && !errors.Is(err, directory.ErrNoUser) {
			return err
		}
		if len(u.Groups) > 0 {
			e.addMember(name, u.Groups, slices.DeleteFunc(slices.Clone(all), func(a directory.Attachment) bool { return !a.Group }))
		}
	}
	e.Timestamp = s.Now().UTC()
	return s.answerSealed(r, e)
}

// entities is who has which policies, seen from both sides.
type entities struct {
	Timestamp      time.Time       `json:"timestamp"`
	UserMappings   []userMapping   `json:"userMappings,omitempty"`
	GroupMappings  []groupMapping  `json:"groupMappings,omitempty"`
	PolicyMappings []policyMapping `json:"policyMappings,omitempty"`
}

// addMember adds what the groups of a user have.
func (e *entities) addMember(user string, groups []string, all []directory.Attachment) {
	i := slices.IndexFunc(e.UserMappings, func(m userMapping) bool { return m.User == user })
	if i < 0 {
		i = len(e.UserMappings)
		e.UserMappings = append(e.UserMappings, userMapping{User: user, Policies: []string{}})
	}
	for _, a := range all {
		if slices.Contains(groups, a.Name) {
			e.UserMappings[i].MemberOf = append(e.UserMappings[i].MemberOf, groupMapping{a.Name, a.Policies})
		}
	}
}

type userMapping struct {
	User     string         `json:"user"`
	Policies []string       `json:"policies"`
	MemberOf []groupMapping `json:"memberOfMappings,omitempty"`
}

type groupMapping struct {
	Group    string   `json:"group"`
	Policies []string `json:"policies"`
}

type policyMapping struct {
	Policy string   `json:"policy"`
	Users  []string `json:"users"`
	Groups []string `json:"groups"`
}

// entitiesOf returns what is attached as far as it is about the users, groups and
// policies named, all if none are.
func entitiesOf(all []directory.Attachment, users, groups, policies []string) entities {
	everything := len(users)+len(groups)+len(policies) == 0
	var e entities
	byPolicy := make(map[string]policyMapping)
	for _, a := range all {
		for _, name := range a.Policies {
			m := byPolicy[name]
			m.Policy = name
			if a.Group {
				m.Groups = append(m.Groups, a.Name)
			} else {
				m.Users = append(m.Users, a.Name)
			}
			byPolicy[name] = m
		}
		switch {
		case a.Group && (everything || slices.Contains(groups, a.Name)):
			e.GroupMappings = append(e.GroupMappings, groupMapping{a.Name, a.Policies})
		case !a.Group && (everything || slices.Contains(users, a.Name)):
			e.UserMappings = append(e.UserMappings, userMapping{User: a.Name, Policies: a.Policies})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(byPolicy)) {
		if everything || slices.Contains(policies, name) {
			e.PolicyMappings = append(e.PolicyMappings, byPolicy[name])
		}
	}
	return e
}
