package gateway

import (
	"context"

	"github.com/shoal-storage/shoal/internal/directory"
)

// exportUsers serves export-iam: everybody, in a zip file, with their secrets.
func (s *Server) exportUsers(_ context.Context, r *request) error {
	if r.identity.Bounded() {
		return errAdminNotAllowed
	}
	a, err := s.Directory.Export(r.identity.Root)
	if err != nil {
		return err
	}
	return r.answerArchive(a.Pack())
}

func (r *request) answerArchive(packed []byte, err error) error {
	if err != nil {
		return errInternal.because(err)
	}
	r.set("Content-Type", "application/zip")
	r.ctx.Response.SetBodyRaw(packed)
	return nil
}

// importUsers serves import-iam and import-iam-v2, which wants to know what was done.
func (s *Server) importUsers(ctx context.Context, r *request) error {
	if r.identity.Bounded() {
		return errAdminNotAllowed
	}
	packed, err := s.adminBodyOf(r, directory.MaxArchive)
	if err != nil {
		return err
	}
	a, err := directory.ReadArchive(packed)
	if err != nil {
		return err
	}
	done, err := s.Directory.Import(ctx, a, r.identity.Root)
	for _, reason := range done.Reasons {
		s.Logger.Warn("it was not imported", "request", r.id, "reason", reason)
	}
	if err != nil {
		return err
	}
	return r.answerJSON(map[string]importedNames{"added": importedNamesOf(done.Added, a), "skipped": importedNamesOf(done.Skipped, a)})
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
