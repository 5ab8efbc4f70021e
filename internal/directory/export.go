package directory

import (
	"encoding/json"
	"strings"
)

// archiveVersion is that of documents in archives.
const archiveVersion = 1

// Export returns everybody with their secrets. Those of the root user's service accounts
// are among them only for him.
func (d *Directory) Export(forRoot bool) (*Archive, error) {
	a := &Archive{
		Policies: make(map[string]json.RawMessage), Users: make(map[string]ArchivedUser), Groups: make(map[string]ArchivedGroup),
		Accounts: make(map[string]ArchivedAccount), UserPolicies: make(map[string]ArchivedMapping), GroupPolicies: make(map[string]ArchivedMapping),
		EntryPolicies: make(map[string]ArchivedMapping),
	}
	policies, err := d.Policies()
	if err != nil {
		return nil, err
	}
	for _, p := range policies {
		a.Policies[p.Name] = json.RawMessage(p.Text)
	}
	if err := d.exportGroups(a); err != nil {
		return nil, err
	}
	entries, err := d.Entries()
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		to := map[bool]map[string]ArchivedMapping{false: a.EntryPolicies, true: a.GroupPolicies}[e.Group]
		to[e.Name] = ArchivedMapping{Version: archiveVersion, Policies: strings.Join(e.Policies, ","), Updated: d.cfg.Now().UTC()}
	}
	return a, d.eachKey(func(name string, k *key) {
		if k.Account == nil {
			a.addUser(name, k)
		} else if k.Account.Parent != "" || forRoot {
			a.addAccount(d.view(name, k), k.Secret)
		}
	})
}

func (a *Archive) addUser(name string, k *key) {
	a.Users[name] = ArchivedUser{Secret: k.Secret, Status: archived(k.Disabled)}
	if len(k.Policies) > 0 {
		a.UserPolicies[name] = ArchivedMapping{Version: archiveVersion, Policies: strings.Join(k.Policies, ","), Updated: k.Updated}
	}
	for _, in := range k.Groups {
		if g, there := a.Groups[in]; there {
			g.Members = append(g.Members, name)
			a.Groups[in] = g
		}
	}
}

func (a *Archive) addAccount(v Account, secret string) {
	acc := ArchivedAccount{
		Parent: v.Parent, AccessKey: v.AccessKey, Secret: secret, Status: "off", Name: v.Name, Description: v.Description,
		Claims: map[string]any{"accessKey": v.AccessKey, "parent": v.Parent, policyClaim: inherited},
	}
	if v.Policy != "" {
		acc.Policy, acc.Claims[policyClaim] = json.RawMessage(v.Policy), embedded
	}
	if v.Person != nil {
		acc.Claims[personClaim] = v.Person
		if v.Person.Provider == LDAP {
			acc.Groups = v.Person.Claims[ldapGroups]
			acc.Claims[entryClaim], acc.Claims[loginClaim] = v.Person.Name, strings.Join(v.Person.Claims[ldapName], "")
		}
	}
	if v.Enabled {
		acc.Status = "on"
	}
	if !v.Expires.IsZero() {
		acc.Expires = &v.Expires
	}
	a.Accounts[v.AccessKey] = acc
}

func (d *Directory) exportGroups(a *Archive) error {
	names, err := d.Groups()
	if err != nil {
		return err
	}
	for _, name := range names {
		g, err := d.group(name)
		if err != nil {
			return err
		}
		if g == nil {
			continue // it has gone meanwhile
		}
		a.Groups[name] = ArchivedGroup{Version: archiveVersion, Status: archived(g.Disabled), Updated: g.Updated}
		if len(g.Policies) > 0 {
			a.GroupPolicies[name] = ArchivedMapping{Version: archiveVersion, Policies: strings.Join(g.Policies, ","), Updated: g.Updated}
		}
	}
	return nil
}
