package adminclient

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"time"
)

// Policy is a policy that can be attached to users and groups.
type Policy struct {
	Name    string          `json:"name"`
	Policy  json.RawMessage `json:"policy"`
	Created time.Time       `json:"created,omitzero"` // zero in lists, and of those that are there without being made
	Updated time.Time       `json:"updated,omitzero"`
}

// Policies returns all policies, sorted by name.
func (c *Client) Policies(ctx context.Context) ([]Policy, error) {
	var all map[string]json.RawMessage
	if err := c.call(ctx, call{method: http.MethodGet, path: "list-canned-policies", answer: &all}); err != nil {
		return nil, err
	}
	policies := []Policy{}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		policies = append(policies, Policy{Name: name, Policy: all[name]})
	}
	return policies, nil
}

// Policy returns one policy.
func (c *Client) Policy(ctx context.Context, name string) (Policy, error) {
	var d struct {
		Policy     json.RawMessage
		CreateDate time.Time
		UpdateDate time.Time
	}
	err := c.call(ctx, call{method: http.MethodGet, path: "info-canned-policy", query: url.Values{"name": {name}, "v": {"2"}}, answer: &d})
	return Policy{Name: name, Policy: d.Policy, Created: d.CreateDate, Updated: d.UpdateDate}, err
}

// SetPolicy makes a policy, or replaces it.
func (c *Client) SetPolicy(ctx context.Context, name string, policy json.RawMessage) error {
	return c.call(ctx, call{method: http.MethodPut, path: "add-canned-policy", query: url.Values{"name": {name}}, body: policy})
}

// RemovePolicy removes a policy that is attached to nobody.
func (c *Client) RemovePolicy(ctx context.Context, name string) error {
	return c.call(ctx, call{method: http.MethodDelete, path: "remove-canned-policy", query: url.Values{"name": {name}}})
}

// Kind is a kind of those that policies are attached to.
type Kind string

// The kinds that there are. An entry is a user or a group of an LDAP directory.
const (
	UserKind  Kind = "user"
	GroupKind Kind = "group"
	EntryKind Kind = "ldap"
)

// Holder is somebody that policies are attached to: a user, a group, or a distinguished
// name.
type Holder struct {
	Kind Kind   `json:"kind"`
	Name string `json:"name"`
}

// Attach attaches policies, and returns those that were not attached before.
func (c *Client) Attach(ctx context.Context, to Holder, policies []string) ([]string, error) {
	return c.associate(ctx, "attach", to, policies)
}

// Detach detaches policies, and returns those that were attached.
func (c *Client) Detach(ctx context.Context, from Holder, policies []string) ([]string, error) {
	return c.associate(ctx, "detach", from, policies)
}

// codeNoChange is what a gateway answers, as MinIO does, where all is so already.
const codeNoChange = "XMinioAdminPolicyChangeAlreadyApplied"

func (c *Client) associate(ctx context.Context, action string, of Holder, policies []string) ([]string, error) {
	body := map[string]any{"policies": policies}
	if of.Kind == GroupKind {
		body["group"] = of.Name
	} else {
		body["user"] = of.Name
	}
	var done struct{ PoliciesAttached, PoliciesDetached []string }
	err := c.call(ctx, call{method: http.MethodPost, path: provider(of.Kind == EntryKind) + "/" + action, body: body, answer: &done, sealed: sealedBody | sealedAnswer})
	if refused, ok := errors.AsType[*Error](err); ok && refused.Code == codeNoChange {
		return []string{}, nil
	}
	return list(append(done.PoliciesAttached, done.PoliciesDetached...)), err
}

// provider is where the calls about those are that the gateways keep, or about those of
// an LDAP directory.
func provider(ldap bool) string {
	if ldap {
		return "idp/ldap/policy"
	}
	return "idp/builtin/policy"
}

// Attachment is which policies somebody has.
type Attachment struct {
	Holder
	Policies []string `json:"policies"`
}

// Selection says of whom attachments are wanted: of those named, or of all.
type Selection struct {
	Users, Groups []string
	Policies      []string // of whoever has these; only these are told of him
	LDAP          bool     // of an LDAP directory's entries, which Users and Groups are then
}

// Attachments returns which policies are attached to whom.
func (c *Client) Attachments(ctx context.Context, s Selection) ([]Attachment, error) {
	var d struct {
		UserMappings []struct {
			User     string
			Policies []string
		}
		GroupMappings []struct {
			Group    string
			Policies []string
		}
		PolicyMappings []struct {
			Policy        string
			Users, Groups []string
		}
	}
	query := url.Values{"user": s.Users, "group": s.Groups, "policy": s.Policies}
	if err := c.call(ctx, call{method: http.MethodGet, path: provider(s.LDAP) + "-entities", query: query, answer: &d, sealed: sealedAnswer}); err != nil {
		return nil, err
	}
	user, group := UserKind, GroupKind
	if s.LDAP {
		user, group = EntryKind, EntryKind
	}
	all := []Attachment{}
	add := func(kind Kind, name string, policies ...string) {
		if len(policies) > 0 { // what only the groups of a user have is theirs
			all = append(all, Attachment{Holder{kind, name}, policies})
		}
	}
	for _, m := range d.UserMappings {
		add(user, m.User, m.Policies...)
	}
	for _, m := range d.GroupMappings {
		add(group, m.Group, m.Policies...)
	}
	if len(s.Policies) == 0 {
		return all, nil // they tell the same from the other side
	}
	for _, m := range d.PolicyMappings {
		for _, name := range m.Users {
			add(user, name, m.Policy)
		}
		for _, name := range m.Groups {
			add(group, name, m.Policy)
		}
	}
	return all, nil
}
