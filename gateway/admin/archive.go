package admin

import (
	"context"

	"github.com/shoal-storage/shoal/internal/directory"
)

// exportUsers serves export-iam: everybody, in a zip file, with their secrets.
func (a *API) exportUsers(_ context.Context, c *Call) error {
	if c.Identity.Bounded() {
		return errNotAllowed
	}
	archive, err := a.Directory.Export(c.Identity.Root)
	if err != nil {
		return err
	}
	return c.answerArchive(archive.Pack())
}

func (c *Call) answerArchive(packed []byte, err error) error {
	if err != nil {
		return errInternal.because(err)
	}
	c.Answer(200, "application/zip", packed)
	return nil
}

// importUsers serves import-iam and import-iam-v2, which wants to know what was done.
func (a *API) importUsers(ctx context.Context, c *Call) error {
	if c.Identity.Bounded() {
		return errNotAllowed
	}
	packed, err := c.Body(directory.MaxArchive)
	if err != nil {
		return err
	}
	archive, err := directory.ReadArchive(packed)
	if err != nil {
		return err
	}
	done, err := a.Directory.Import(ctx, archive, c.Identity.Root)
	for _, reason := range done.Reasons {
		a.Logger.Warn("it was not imported", "request", c.ID, "reason", reason)
	}
	if err != nil {
		return err
	}
	return c.answerJSON(map[string]importedNames{"added": importedNamesOf(done.Added, archive), "skipped": importedNamesOf(done.Skipped, archive)})
}

// importedNames is what was imported as the API tells it.
type importedNames struct {
	Policies      []string              `json:"policies,omitempty"`
	Users         []string              `json:"users,omitempty"`
	Groups        []string              `json:"groups,omitempty"`
	Accounts      []string              `json:"serviceAccounts,omitempty"`
	UserPolicies  []map[string][]string `json:"userPolicies,omitempty"`
	GroupPolicies []map[string][]string `json:"groupPolicies,omitempty"`
	EntryPolicies []map[string][]string `json:"stsPolicies,omitempty"`
}

func importedNamesOf(n directory.Names, from *directory.Archive) importedNames {
	in := importedNames{Policies: n.Policies, Users: n.Users, Groups: n.Groups, Accounts: n.Accounts}
	for _, name := range n.UserPolicies {
		in.UserPolicies = append(in.UserPolicies, map[string][]string{name: from.UserPolicies[name].Split()})
	}
	for _, name := range n.GroupPolicies {
		in.GroupPolicies = append(in.GroupPolicies, map[string][]string{name: from.GroupPolicies[name].Split()})
	}
	for _, name := range n.EntryPolicies {
		in.EntryPolicies = append(in.EntryPolicies, map[string][]string{name: from.EntryPolicies[name].Split()})
	}
	return in
}
