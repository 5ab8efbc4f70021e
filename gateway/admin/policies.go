package admin

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
func (a *API) addPolicy(ctx context.Context, c *Call) error {
	text, err := c.body()
	if err != nil {
		return err
	}
	return a.Directory.SetPolicy(ctx, c.Query.Get("name"), string(text))
}

// listPolicies serves list-canned-policies.
func (a *API) listPolicies(_ context.Context, c *Call) error {
	policies, err := a.Directory.Policies()
	if err != nil {
		return err
	}
	all := make(map[string]json.RawMessage, len(policies))
	for _, p := range policies {
		all[p.Name] = json.RawMessage(p.Text)
	}
	return c.answerJSON(all)
}

// policyInfo serves info-canned-policy.
func (a *API) policyInfo(_ context.Context, c *Call) error {
	p, err := a.Directory.Policy(c.Query.Get("name"))
	if err != nil {
		return err
	}
	if c.Query.Get("v") != "2" {
		return c.answerJSON(json.RawMessage(p.Text))
	}
	return c.answerJSON(map[string]any{"PolicyName": p.Name, "Policy": json.RawMessage(p.Text), "CreateDate": p.Created, "UpdateDate": p.Updated})
}

// removePolicy serves remove-canned-policy.
func (a *API) removePolicy(ctx context.Context, c *Call) error {
	return a.Directory.RemovePolicy(ctx, c.Query.Get("name"))
}

// association is what policies are attached to, or detached from.
type association struct {
	Policies []string `json:"policies"`
	User     string   `json:"user"`
	Group    string   `json:"group"`
}

func (a *association) holder() (directory.Holder, error) {
	if (a.User == "") == (a.Group == "") || len(a.Policies) == 0 {
		return directory.Holder{}, errInvalid.with("One user or group and at least one policy must be named.")
	}
	return directory.Holder{Name: a.User + a.Group, Group: a.Group != ""}, nil
}

// attachPolicy serves idp/builtin/policy/attach.
func (a *API) attachPolicy(ctx context.Context, c *Call) error {
	return a.associate(ctx, c, (*association).holder, "policiesAttached", a.Directory.Attach)
}

// detachPolicy serves idp/builtin/policy/detach.
func (a *API) detachPolicy(ctx context.Context, c *Call) error {
	return a.associate(ctx, c, (*association).holder, "policiesDetached", a.Directory.Detach)
}

func (a *API) associate(ctx context.Context, c *Call, to func(*association) (directory.Holder, error), result string, do func(context.Context, directory.Holder, []string) ([]string, error)) error {
	var in association
	if err := a.readSealed(c, &in); err != nil {
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
	return a.answerSealed(c, map[string]any{result: done, "updatedAt": a.Now().UTC()})
}

// setPolicies serves set-user-or-group-policy, which older clients use.
func (a *API) setPolicies(ctx context.Context, c *Call) error {
	var policies []string
	for name := range strings.SplitSeq(c.Query.Get("policyName"), ",") {
		if name = strings.TrimSpace(name); name != "" {
			policies = append(policies, name)
		}
	}
	of := directory.Holder{Name: c.Query.Get("userOrGroup"), Group: c.Query.Get("isGroup") == "true"}
	return a.Directory.SetPolicies(ctx, of, policies)
}

// policyEntities serves idp/builtin/policy-entities: who has which policies. Without
// parameters it shows all.
func (a *API) policyEntities(_ context.Context, c *Call) error {
	all, err := a.Directory.Attachments()
	if err != nil {
		return err
	}
	e := entitiesOf(all, c.Query["user"], c.Query["group"], c.Query["policy"])
	for _, name := range c.Query["user"] {
		u, err := a.Directory.User(name)
		if err != nil && !errors.Is(err, directory.ErrNoUser) {
			return err
		}
		if len(u.Groups) > 0 {
			e.addMember(name, u.Groups, slices.DeleteFunc(slices.Clone(all), func(a directory.Attachment) bool { return !a.Group }))
		}
	}
	e.Timestamp = a.Now().UTC()
	return a.answerSealed(c, e)
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
