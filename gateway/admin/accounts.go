package admin

import (
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/shoal-storage/shoal/internal/directory"
)

// accountDocument is a service account as the admin API shows it.
type accountDocument struct {
	ParentUser    string     `json:"parentUser"`
	AccountStatus string     `json:"accountStatus"`
	ImpliedPolicy bool       `json:"impliedPolicy"`
	Policy        string     `json:"policy,omitempty"`
	AccessKey     string     `json:"accessKey"`
	Name          string     `json:"name,omitempty"`
	Description   string     `json:"description,omitempty"`
	Expiration    *time.Time `json:"expiration,omitempty"`
	UserType      string     `json:"userType"`
	UserProvider  string     `json:"userProvider"`
}

func accountDocumentOf(a directory.Account) accountDocument {
	d := accountDocument{
		ParentUser: a.Parent, AccountStatus: "off", ImpliedPolicy: a.Policy == "", Policy: a.Policy, AccessKey: a.AccessKey,
		Name: a.Name, Description: a.Description, UserType: "Service Account", UserProvider: "builtin",
	}
	if a.Person != nil {
		d.UserProvider, _, _ = strings.Cut(a.Person.Provider, ".")
	}
	if a.Enabled {
		d.AccountStatus = "on"
	}
	if !a.Expires.IsZero() {
		d.Expiration = &a.Expires
	}
	return d
}

// unlimited reports whether a time of the API stands for none: its zero, or that of
// Unix.
func unlimited(t time.Time) bool { return t.IsZero() || t.Unix() == 0 }

// addAccount serves add-service-account.
func (a *API) addAccount(ctx context.Context, c *Call) error {
	return a.addAccountOf(ctx, c, func(c *Call, target string) (string, *directory.Person, error) {
		if isPerson(target) {
			return a.ownerOf(ctx, c, target)
		}
		return a.userOf(c, target)
	})
}

// addAccountOf makes a service account of whom the document and owner name.
func (a *API) addAccountOf(ctx context.Context, c *Call, owner func(c *Call, target string) (string, *directory.Person, error)) error {
	if c.Identity.Bounded() {
		return errNotAllowed
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
	err := a.readSealed(c, &in)
	if err != nil {
		return err
	}
	n := directory.NewAccount{
		AccessKey: in.AccessKey, Secret: in.SecretKey, Policy: rawPolicy(in.Policy), Name: in.Name, Description: in.Description,
	}
	if n.Parent, n.Person, err = owner(c, in.TargetUser); err != nil {
		return err
	}
	if n.Description == "" {
		n.Description = in.Comment // as older clients call it
	}
	if !unlimited(in.Expiration) {
		n.Expires = in.Expiration
	}
	if err := a.allowOn(c, "admin:CreateServiceAccount", n.Parent); err != nil {
		return err
	}
	accessKey, secret, err := a.Directory.AddAccount(ctx, n)
	if err != nil {
		return err
	}
	credentials := map[string]any{"accessKey": accessKey, "secretKey": secret}
	if !n.Expires.IsZero() {
		credentials["expiration"] = n.Expires
	}
	return a.answerSealed(c, map[string]any{"credentials": credentials})
}

// userOf returns the owner of a service account that a user is named for: the sender
// himself, who may be no user, if nobody is.
func (a *API) userOf(c *Call, target string) (name string, p *directory.Person, err error) {
	if target != "" && target != c.Identity.AccessKey && target != c.Identity.User() {
		return target, nil, nil
	}
	p, err = a.Directory.Bearer(c.Identity.AccessKey, c.Token)
	if p != nil && p.Provider == directory.Certificates {
		err = errInvalid.with("Who has shown a client certificate has temporary credentials only: they end with the certificate.")
	}
	return c.Identity.User(), p, err
}

// account returns the service account that the request names, if the sender may do
// the action to it.
func (a *API) account(c *Call, action string) (directory.Account, error) {
	account, err := a.Directory.Account(c.Query.Get("accessKey"))
	if err != nil {
		return account, err
	}
	return account, a.allowOn(c, action, account.Parent)
}

// updateAccount serves update-service-account.
func (a *API) updateAccount(ctx context.Context, c *Call) error {
	if c.Identity.Bounded() {
		return errNotAllowed
	}
	account, err := a.account(c, "admin:UpdateServiceAccount")
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
	if err := a.readSealed(c, &in); err != nil {
		return err
	}
	change := directory.AccountChange{Secret: given(in.NewSecretKey), Name: given(in.NewName), Description: given(in.NewDescription), Expires: in.NewExpiration}
	if len(in.NewPolicy) > 0 && string(in.NewPolicy) != "null" {
		policy := rawPolicy(in.NewPolicy)
		change.Policy = &policy
	}
	if in.NewExpiration != nil && unlimited(*in.NewExpiration) {
		change.Expires = &time.Time{}
	}
	if in.NewStatus != "" {
		enabled := in.NewStatus == "on" || in.NewStatus == "enabled"
		change.Enabled = &enabled
	}
	if err := a.Directory.UpdateAccount(ctx, account.AccessKey, change); err != nil {
		return err
	}
	c.answerNothing()
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
func (a *API) serviceAccountInfo(_ context.Context, c *Call) error {
	account, err := a.account(c, "admin:ListServiceAccounts")
	if err != nil {
		return err
	}
	return a.answerSealed(c, accountDocumentOf(account))
}

// listAccounts serves list-service-accounts.
func (a *API) listAccounts(_ context.Context, c *Call) error {
	user, err := bearerName("", c.Query.Get("user"))
	if err != nil {
		return err
	}
	user = cmp.Or(user, c.Identity.User())
	if err := a.allowOn(c, "admin:ListServiceAccounts", user); err != nil {
		return err
	}
	all, err := a.Directory.Accounts()
	if err != nil {
		return err
	}
	return a.answerSealed(c, map[string]any{"accounts": accountDocuments(all[user])})
}

// accountDocuments returns the items of a list. Each has an expiration, as mc needs one there: that of an account
// that does not expire is the zero of Unix.
func accountDocuments(accounts []directory.Account) []accountDocument {
	documents := []accountDocument{}
	never := time.Unix(0, 0).UTC()
	for _, a := range accounts {
		d := accountDocumentOf(a)
		d.Expiration = cmp.Or(d.Expiration, &never)
		documents = append(documents, d)
	}
	return documents
}

// listAccessKeys serves list-access-keys-bulk: the service accounts of several users and
// people, or of all. Of temporary credentials nothing is kept that could be listed.
func (a *API) listAccessKeys(_ context.Context, c *Call) error {
	all, err := a.Directory.Accounts()
	if err != nil {
		return err
	}
	var users []string
	for _, user := range c.Query["users"] {
		name, err := bearerName("", user)
		if err != nil {
			return err
		}
		users = append(users, name)
	}
	if c.Query.Get("all") == "true" {
		if users, err = a.everyone(all); err != nil {
			return err
		}
	}
	return a.answerAccessKeys(c, all, users)
}

// keysDocument is the access keys of somebody.
type keysDocument struct {
	ServiceAccounts []accountDocument `json:"serviceAccounts"`
	STSKeys         []accountDocument `json:"stsKeys"`
}

// keysOf returns the access keys of somebody as far as the request asks for them, and whether
// it asks for him.
func (c *Call) keysOf(accounts []directory.Account) (keys keysDocument, shown bool) {
	kind := c.Query.Get("listType")
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
func (a *API) answerAccessKeys(c *Call, all map[string][]directory.Account, names []string) error {
	everyone := c.Query.Get("all") == "true"
	if len(names) == 0 && !everyone {
		names = []string{c.Identity.User()}
	}
	out := make(map[string]any, len(names))
	for _, name := range names {
		if err := a.allowOn(c, "admin:ListServiceAccounts", name); err != nil && everyone {
			continue
		} else if err != nil {
			return err
		}
		if keys, shown := c.keysOf(all[name]); shown {
			out[name] = keys
		}
	}
	return a.answerSealed(c, out)
}

// everyone returns the names of all users, root first, and of others who have access keys.
func (a *API) everyone(all map[string][]directory.Account) ([]string, error) {
	users, err := a.Directory.Users()
	names := []string{a.Directory.Root()}
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
func (a *API) removeAccount(ctx context.Context, c *Call) error {
	account, err := a.account(c, "admin:RemoveServiceAccount")
	if err != nil {
		return err
	}
	if err := a.Directory.RemoveAccount(ctx, account.AccessKey); err != nil {
		return err
	}
	c.answerNothing()
	return nil
}
