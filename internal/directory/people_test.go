package directory_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/shoal-storage/shoal/internal/directory"
	"github.com/shoal-storage/shoal/internal/directory/directorytest"
	"github.com/shoal-storage/shoal/internal/iam"
	"github.com/shoal-storage/shoal/internal/sealing"
)

const (
	eveDN  = "uid=eve,ou=people"
	devsDN = "cn=devs,ou=groups"
)

// town is the people that there are, by DN, with their groups.
type town struct {
	trusted []string
	groups  map[string][]string
	err     error
}

// Trusts implements directory.People.
func (w *town) Trusts(provider string) bool { return slices.Contains(w.trusted, provider) }

// Groups implements directory.People.
func (w *town) Groups(_, dn string) ([]string, bool, error) {
	groups, there := w.groups[dn]
	return groups, there, w.err
}

// settle returns a town with eve, who is in no group, and a directory that asks it.
func settle(t testing.TB) (*town, *directory.Directory) {
	t.Helper()
	w := &town{trusted: []string{directory.LDAP, directory.OpenID}, groups: map[string][]string{eveDN: nil}}
	d, err := directory.New(t.Context(), directory.Config{
		Root: directory.Credentials{AccessKey: "root", Secret: rootSecret}, Records: new(directorytest.Records), Sealer: sealing.New(2),
		Now: func() time.Time { return noon }, People: w,
	})
	must(t, err)
	return w, d
}

// TestAPersonsCredentialsGoByWhatTheDirectorySaysNow is about an access key and temporary
// credentials alike.
func TestAPersonsCredentialsGoByWhatTheDirectorySaysNow(t *testing.T) {
	w, d := settle(t)
	ctx := t.Context()
	eve := directory.OfLDAP("eve", eveDN, nil)
	_, _, err := d.AddAccount(ctx, directory.NewAccount{Person: &eve, AccessKey: "eveskey", Secret: "secret of eveskey"})
	must(t, err)
	s, err := d.AddSession(ctx, directory.NewSession{Person: &eve, Life: time.Hour})
	must(t, err)
	is := func(what string, want iam.Decision, failure error) {
		t.Helper()
		byKey, _, err := d.Lookup("eveskey")
		bySession, _, sessionErr := d.LookupSession(s.AccessKey, s.Token)
		for by, id := range map[string]iam.Identity{"key": byKey, "session": bySession} {
			if !errors.Is(err, failure) || !errors.Is(sessionErr, failure) {
				t.Errorf("%s: %v and %v, want %v", what, err, sessionErr, failure)
			} else if got := id.Decide(&iam.Request{Identity: id, Action: "s3:GetObject", Bucket: "b", Key: "k"}); failure == nil && (got != want || id.User() != eveDN) {
				t.Errorf("%s, by the %s: %+v: %v, want %v", what, by, id, got, want)
			}
		}
	}
	is("without a policy", iam.Abstain, nil)
	_, err = d.Attach(ctx, directory.Holder{Name: devsDN, Entry: true}, []string{"readwrite"})
	must(t, err)
	is("before she is in the group", iam.Abstain, nil)
	w.groups[eveDN] = []string{devsDN}
	is("in it", iam.Allow, nil)
	if id, _, err := d.Lookup("eveskey"); err != nil || !slices.Equal(id.Claims["ldap:groups"], []string{devsDN}) || id.Claims["ldap:username"][0] != "eve" {
		t.Errorf("%+v, %v", id, err)
	}
	w.groups[eveDN] = nil
	is("out of it again", iam.Abstain, nil)
	delete(w.groups, eveDN)
	is("when she has left", 0, iam.ErrNoSuchKey)
	w.err = errors.ErrUnsupported
	is("when nobody can be asked", 0, errors.ErrUnsupported)
	w.trusted = nil
	is("when there is no directory any more", 0, iam.ErrNoSuchKey)
}

func TestAKeyOfSomebodyOfAProviderEndsWithTheProvider(t *testing.T) {
	w, d := settle(t)
	ann := directory.Person{Name: "openid=ann", Provider: directory.OpenID, Policies: []string{"readonly"}, Claims: map[string][]string{"jwt:sub": {"ann"}}}
	_, _, err := d.AddAccount(t.Context(), directory.NewAccount{Person: &ann, AccessKey: "annskey", Secret: "secret of annskey"})
	must(t, err)
	id, _, err := d.Lookup("annskey")
	must(t, err)
	if got := id.Decide(&iam.Request{Identity: id, Action: "s3:GetObject", Bucket: "b", Key: "k"}); got != iam.Allow || id.Claims["jwt:sub"][0] != "ann" {
		t.Errorf("%+v: %v", id, got)
	}
	w.trusted = nil
	unknown(t, d, "annskey")
}

func TestAPersonIsKnownByAnyOfItsCredentials(t *testing.T) {
	_, d := settle(t)
	ctx := t.Context()
	eve := directory.OfLDAP("eve", eveDN, nil)
	_, _, err := d.AddAccount(ctx, directory.NewAccount{Person: &eve, AccessKey: "eveskey", Secret: "secret of eveskey"})
	must(t, err)
	must(t, d.SetUser(ctx, "ann", "secret of ann", true))
	s, err := d.AddSession(ctx, directory.NewSession{Person: &eve, Life: time.Hour})
	must(t, err)
	ofKey, anns := session(t, d, "eveskey", ""), session(t, d, "ann", "")
	for what, tt := range map[string]struct {
		accessKey, token string
		eves             bool
	}{
		"her session":           {s.AccessKey, s.Token, true},
		"her key":               {"eveskey", "", true},
		"a session of her key":  {ofKey.AccessKey, ofKey.Token, true},
		"a user":                {"ann", "", false},
		"a session of a user's": {anns.AccessKey, anns.Token, false},
		"nobody":                {"nobody", "", false},
		"root":                  {"root", "", false},
	} {
		if p, err := d.Bearer(tt.accessKey, tt.token); err != nil || (p != nil) != tt.eves || tt.eves && p.Name != eveDN {
			t.Errorf("%s: %+v, %v", what, p, err)
		}
	}
}
