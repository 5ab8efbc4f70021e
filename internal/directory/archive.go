package directory

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"time"
)

// Archive is everybody and all that they may do, with their secrets, in the documents
// that MinIO's tools export and import.
type Archive struct {
	Policies map[string]json.RawMessage
	Users    map[string]ArchivedUser
	Groups   map[string]ArchivedGroup
	Accounts map[string]ArchivedAccount
	// UserPolicies and GroupPolicies are what is attached to whom.
	UserPolicies  map[string]ArchivedMapping
	GroupPolicies map[string]ArchivedMapping // also of groups of an LDAP directory
	EntryPolicies map[string]ArchivedMapping // people of it
}

// ArchivedUser is a user of an Archive.
type ArchivedUser struct {
	Secret string `json:"secretKey"`
	Status string `json:"status"` // "enabled", or he is not
}

// ArchivedGroup is a group of an Archive.
type ArchivedGroup struct {
	Version int       `json:"version"`
	Status  string    `json:"status"`
	Members []string  `json:"members"`
	Updated time.Time `json:"updatedAt"`
}

// ArchivedMapping is the policies that somebody has, with commas in between.
type ArchivedMapping struct {
	Version  int       `json:"version"`
	Policies string    `json:"policy"`
	Updated  time.Time `json:"updatedAt"`
}

// ArchivedAccount is a service account of an Archive.
type ArchivedAccount struct {
	Parent      string          `json:"parent"`
	AccessKey   string          `json:"accessKey"`
	Secret      string          `json:"secretKey"`
	Groups      []string        `json:"groups"`
	Claims      map[string]any  `json:"claims"`
	Policy      json.RawMessage `json:"sessionPolicy"` // null: what the parent may
	Status      string          `json:"status"`        // "on" or "enabled", or it is not
	Name        string          `json:"name"`
	Description string          `json:"description"`
	Expires     *time.Time      `json:"expiration,omitempty"`
}

// Claims of service accounts, and what they say of policies.
const (
	policyClaim = "sa-policy"
	inherited   = "inherited-policy"
	embedded    = "embedded-policy"
)

// bound returns the text of the account's own policy, "" if it has none. It fails rather
// than have a policy be lost.
func (a *ArchivedAccount) bound() (string, error) {
	text := bytes.TrimSpace(a.Policy)
	none := len(text) == 0 || bytes.Equal(text, []byte("null"))
	claim, _ := a.Claims[policyClaim].(string)
	switch {
	case none && claim == embedded:
		return "", invalid("the policy of the service account is missing")
	case none || claim == inherited:
		return "", nil
	}
	return string(text), nil
}

// Claims that say whose an account is, if he is no user: MinIO's of people of an LDAP directory, and
// one with all that is known of a Person.
const (
	entryClaim  = "ldapUser"
	loginClaim  = "ldapUsername"
	personClaim = "shoalPerson"
	issuerClaim = "iss"
)

// person returns whose an account is who is no user, nil if he is one. Canonical is as Config has it.
func (a *ArchivedAccount) person(canonical func(dn string) (string, error)) (*Person, error) {
	if said, is := a.Claims[personClaim]; is {
		return readPerson(said, a.Parent)
	}
	dn, of := a.Claims[entryClaim].(string)
	switch {
	case !of && a.Claims[issuerClaim] != nil:
		return nil, invalid("who has the service account is known to an OpenID provider only: he makes another with his token")
	case !of && !strings.Contains(a.Parent, "="):
		return nil, nil
	case !of:
		dn = a.Parent
	}
	name, err := canonical(dn)
	if err != nil {
		return nil, invalid("%v", err)
	}
	login, said := a.Claims[loginClaim].(string)
	if !said {
		_, first, _ := strings.Cut(name, "=")
		login, _, _ = strings.Cut(first, ",")
	}
	var groups []string
	for _, group := range a.Groups {
		if group, err = canonical(group); err == nil { // which he is in is asked when he comes
			groups = append(groups, group)
		}
	}
	p := OfLDAP(login, name, groups)
	return &p, nil
}

// readPerson returns a Person of a name as an archive has him.
func readPerson(said any, name string) (*Person, error) {
	p := new(Person)
	text, err := json.Marshal(said)
	if err == nil {
		err = json.Unmarshal(text, p)
	}
	switch {
	case err != nil, len(text) > maxToken, p.Name != name, !strings.Contains(name, "="),
		p.Provider != LDAP && !strings.HasPrefix(p.Provider, OpenID), len(p.Policies)+len(p.Entries) > 2*maxAttached:
		return nil, invalid("whose the service account is cannot be read")
	}
	return p, nil
}

// MaxArchive bounds an archive, in bytes as it is sent. What is in it can be as long
// as maxUnpacked.
const (
	MaxArchive  = 16 << 20
	maxUnpacked = 64 << 20
)

// archiveFolder is where all is in an archive.
const archiveFolder = "iam-assets/"

// files returns where in an archive each part of it is.
func (a *Archive) files() map[string]any {
	return map[string]any{
		"policies.json": &a.Policies, "users.json": &a.Users, "groups.json": &a.Groups, "svcaccts.json": &a.Accounts,
		"user_mappings.json": &a.UserPolicies, "group_mappings.json": &a.GroupPolicies, "stsuser_mappings.json": &a.EntryPolicies,
	}
}

// ReadArchive reads an archive. What it has beside is left out.
func ReadArchive(packed []byte) (*Archive, error) {
	if len(packed) > MaxArchive {
		return nil, invalid("the archive is longer than %d bytes", MaxArchive)
	}
	r, err := zip.NewReader(bytes.NewReader(packed), int64(len(packed)))
	if err != nil {
		return nil, invalid("the archive is not a zip file: %v", err)
	}
	a, left := new(Archive), int64(maxUnpacked)
	for name, into := range a.files() {
		file, err := r.Open(archiveFolder + name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, invalid("%s in the archive: %v", name, err)
		}
		text, err := io.ReadAll(io.LimitReader(file, left+1))
		_ = file.Close() // it was only read
		if left -= int64(len(text)); err != nil || left < 0 {
			return nil, invalid("%s in the archive cannot be read, or is too long", name)
		}
		if err := json.Unmarshal(text, into); err != nil {
			return nil, invalid("%s in the archive: %v", name, err)
		}
	}
	return a, nil
}

// Pack is the inverse of ReadArchive.
func (a *Archive) Pack() ([]byte, error) {
	var packed bytes.Buffer
	w := zip.NewWriter(&packed)
	for name, part := range a.files() {
		text, err := json.Marshal(part)
		if err != nil {
			return nil, fmt.Errorf("pack %s: %w", name, err)
		}
		file, err := w.Create(archiveFolder + name)
		if err != nil {
			return nil, fmt.Errorf("pack %s: %w", name, err)
		}
		if _, err := file.Write(text); err != nil {
			return nil, fmt.Errorf("pack %s: %w", name, err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("pack an archive: %w", err)
	}
	return packed.Bytes(), nil
}

// archived returns a status as archives have it.
func archived(disabled bool) string {
	if disabled {
		return "disabled"
	}
	return "enabled"
}

// isEnabled is its inverse.
func isEnabled(status string) bool { return status == "enabled" || status == "on" }

// Split returns the names of policies.
func (m ArchivedMapping) Split() []string {
	var names []string
	for name := range strings.SplitSeq(m.Policies, ",") {
		if name = strings.TrimSpace(name); name != "" {
			names = append(names, name)
		}
	}
	return names
}
