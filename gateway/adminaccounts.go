package gateway

import (
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/shoal-storage/shoal/internal/directory"
)

// accountDocument is a service account as the admin API shows it.
type accountDocument struct {
	ParentUser    string    `json:"parentUser"`
	AccountStatus string    `json:"accountStatus"`
	ImpliedPolicy bool      `json:"impliedPolicy"`
	Policy        string    `json:"policy,omitempty"`
	AccessKey     string    `json:"accessKey"`
	Name          string    `json:"name,omitempty"`
	Description   string    `json:"description,omitempty"`
	Expiration    time.Time `json:"expiration"` // unlimited: it does not expire, and mc needs one
	UserType      string    `json:"userType"`
	UserProvider  string    `json:"userProvider"`
}

func accountDocumentOf(a directory.Account) accountDocument {
	d := accountDocument{
		ParentUser: a.Parent, AccountStatus: "off", ImpliedPolicy: a.Policy == "", Policy: a.Policy, AccessKey: a.AccessKey,
		Name: a.Name, Description: a.Description, Expiration: time.Unix(0, 0).UTC(), UserType: "Service Account", UserProvider: "builtin",
	}
	if a.Person != nil {
		d.UserProvider, _, _ = strings.Cut(a.Person.Provider, ".")
	}
	if a.Enabled {
		d.AccountStatus = "on"
	}
	if !a.Expires.IsZero() {
		d.Expiration = a.Expires
	}
	return d
}

// unlimited reports whether a time of the API stands for none: its zero, or that of
// Unix.
func unlimited(t time.Time) bool { return t.IsZero() || t.Unix() == 0 }

// addAccount serves add-service-account.
func (s *Server) addAccount(ctx context.Context, r *request) error {
	return s.addAccountOf(ctx, r, func(r *request, target string) (string, *directory.Person, error) {
		if isPerson(target) {
			return s.ownerOf(ctx, r, target)
		}
		return s.userOf(r, target)
	})
}

// addAccountOf makes a service account of whom the document and owner name.
func (s *Server) addAccountOf(ctx context.Context, r *request, owner func(r *request, target string) (string, *directory.Person, error)) error {
	if r.identity.Bounded() {
		return errAdminNotAllowed
	}
	var in struct {
		Policy      json.RawMessage `json:"policy"`
		TargetUser  string          `json:"targetUser"`
		AccessKey   string          `json:"accessKey"`
		SecretKey   string          `json:"secretKey"`
		Name        string          `json:"name"`
		Description string          `json:"description"`
		Comment     string          `json:"comment"`
		Expiration  time.Time       `json:"expiration"`
	}
	err := s.readSealed(r, &in)
	if err != nil {
		return err
	}
	n := directory.NewAccount{
		AccessKey: in.AccessKey, Secret: in.SecretKey, Policy: rawPolicy(in.Policy), Name: in.Name, Description: in.Description,
	}
	if n.Parent, n.Person, err = owner(r, in.TargetUser); err != nil {
		return err
	}
	if n.Description == "" {
		n.Description = in.Comment // as older clients call it
	}
	if !unlimited(in.Expiration) {
		n.Expires = in.Expiration
	}
	if err := s.allowOn(r, "admin:CreateServiceAccount", n.Parent); err != nil {
		return err
	}
	accessKey, secret, err := s.Directory.AddAccount(ctx, n)
	if err != nil {
		return err
	}
	credentials := map[string]any{"accessKey": accessKey, "secretKey": secret}
	if !n.Expires.IsZero() {
		credentials["expiration"] = n.Expires
	}
	return s.answerSealed(r, map[string]any{"credentials": credentials})
}

// userOf returns the owner of a service account that a user is named for: the sender
// himself, who may be no user, if nobody is.
func (s *Server) userOf(r *request, target string) (name string, p *directory.Person, err error) {
	if target != "" && target != r.identity.AccessKey && target != r.identity.User() {
		return target, nil, nil
	}
	p, err = s.Directory.Bearer(r.identity.AccessKey, r.auth.SecurityToken)
	if p != nil && p.Provider == directory.Certificates {
		err = errAdminInvalid.with("Who has shown a client certificate has temporary credentials only: they end with the certificate.")
	}
	return r.identity.User(), p, err
}

// account returns the service account that the request names, if the sender may do
// the action to it.
func (s *Server) account(r *request, action string) (directory.Account, error) {
	a, err := s.Directory.Account(r.query.get("accessKey"))
	if err != nil {
		return a, err
	}
	return a, s.allowOn(r, action, a.Parent)
}

// updateAccount serves update-service-account.
func (s *Server) updateAccount(ctx context.Context, r *request) error {
	if r.identity.Bounded() {
		return errAdminNotAllowed
	}
	a, err := s.account(r, "admin:UpdateServiceAccount")
	if err != nil {
		return err
	}
	var in struct {
		NewPolicy      json.RawMessage `json:"newPolicy"`
		NewSecretKey   string          `json:"newSecretKey"`
		NewStatus      string          `json:"newStatus"`
		NewName        string          `json:"newName"`
		NewDescription string          `json:"newDescription"`
		NewExpiration  *time.Time      `json:"newExpiration"`
	}
	if err := s.readSealed(r, &in); err != nil {
		return err
	}
	c := directory.AccountChange{Secret: given(in.NewSecretKey), Name: given(in.NewName), Description: given(in.NewDescription), Expires: in.NewExpiration}
	if len(in.NewPolicy) > 0 && string(in.NewPolicy) != "null" {
		policy := rawPolicy(in.NewPolicy)
		c.Policy = &policy
	}
	if in.NewExpiration != nil && unlimited(*in.NewExpiration) {
		c.Expires = &time.Time{}
	}
	if in.NewStatus != "" {
		enabled := in.NewStatus == "on" || in.NewStatus == "enabled"
		c.Enabled = &enabled
	}
	if err := s.Directory.UpdateAccount(ctx, a.AccessKey, c); err != nil {
		return err
	}
	r.answerEmpty(fasthttp.StatusNoContent)
	return nil
}

// given returns a text, nil if it is empty.
func given(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

// serviceAccountInfo serves info-service-account and info-access-key.
func (s *Server) serviceAccountInfo(_ context.Context, r *request) error {
	a, err := s.account(r, "admin:ListServiceAccounts")
	if err != nil {
		return err
	}
	return s.answerSealed(r, accountDocumentOf(a))
}

// listAccounts serves list-service-accounts.
func (s *Server) listAccounts(_ context.Context, r *request) error {
	user, err := bearerName("", r.query.get("user"))
	if err != nil {
		return err
	}
	user = cmp.Or(user, r.identity.User())
	if err := s.allowOn(r, "admin:ListServiceAccounts", user); err != nil {
		return err
	}
	all, err := s.Directory.Accounts()
	if err != nil {
		return err
	}
	return s.answerSealed(r, map[string]any{"accounts": accountDocuments(all[user])})
}

func accountDocuments(accounts []directory.Account) []accountDocument {
	documents := []accountDocument{}
	for _, a := range accounts {
		documents = append(documents, accountDocumentOf(a))
	}
	return documents
}

// listAccessKeys serves list-access-keys-bulk: the service accounts of several users and
// people, or of all. Of temporary credentials nothing is kept that could be listed.
func (s *Server) listAccessKeys(_ context.Context, r *request) error {
	all, err := s.Directory.Accounts()
	if err != nil {
		return err
	}
	var users []string
	for _, user := range r.query.all("users") {
		name, err := bearerName("", user)
		if err != nil {
			return err
		}
		users = append(users, name)
	}
	if r.query.get("all") == "true" {
		if users, err = s.everyone(all); err != nil {
			return err
		}
	}
	return s.answerAccessKeys(r, all, users)
}

// keysDocument is the access keys of somebody.
type keysDocument struct {
	ServiceAccounts []accountDocument `json:"serviceAccounts"`
	STSKeys         []accountDocument `json:"stsKeys"`
}

// keysOf returns the access keys of somebody as far as the request asks for them, and whether
// it asks for him.
func (r *request) keysOf(accounts []directory.Account) (keys keysDocument, shown bool) {
	kind := r.query.get("listType")
	if kind == "svcacc-only" && len(accounts) == 0 {
		return keys, false
	}
	if kind == "users-only" || kind == "sts-only" {
		accounts = nil
	}
	return keysDocument{ServiceAccounts: accountDocuments(accounts), STSKeys: []accountDocument{}}, true
}

// answerAccessKeys answers with the access keys of those that are named, the sender's own if
// nobody is. If all are asked for they are those whom the sender may see.
func (s *Server) answerAccessKeys(r *request, all map[string][]directory.Account, names []string) error {
	everyone := r.query.get("all") == "true"
	if len(names) == 0 && !everyone {
		names = []string{r.identity.User()}
	}
	out := make(map[string]any, len(names))
	for _, name := range names {
		if err := s.allowOn(r, "admin:ListServiceAccounts", name); err != nil && everyone {
			continue
		} else if err != nil {
			return err
		}
		if keys, shown := r.keysOf(all[name]); shown {
			out[name] = keys
		}
	}
	return s.answerSealed(r, out)
}

// everyone returns the names of all users, root first, and of others who have access keys.
func (s *Server) everyone(all map[string][]directory.Account) ([]string, error) {
	users, err := s.Directory.Users()
	names := []string{s.Directory.Root()}
	for _, u := range users {
		names = append(names, u.Name)
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if isPerson(name) {
			names = append(names, name)
		}
	}
	return names, err
}

// removeAccount serves delete-service-account.
func (s *Server) removeAccount(ctx context.Context, r *request) error {
	a, err := s.account(r, "admin:RemoveServiceAccount")
	if err != nil {
		return err
	}
	if err := s.Directory.RemoveAccount(ctx, a.AccessKey); err != nil {
		return err
	}
	r.answerEmpty(fasthttp.StatusNoContent)
	return nil
}
