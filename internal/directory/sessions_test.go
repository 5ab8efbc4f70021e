package directory_test

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shoal-storage/shoal/internal/directory"
	"github.com/shoal-storage/shoal/internal/directory/directorytest"
	"github.com/shoal-storage/shoal/internal/iam"
	"github.com/shoal-storage/shoal/internal/sealing"
)

// session makes one of somebody's.
func session(t testing.TB, d *directory.Directory, parent, policy string) directory.Session {
	t.Helper()
	s, err := d.AddSession(t.Context(), directory.NewSession{Parent: parent, Policy: policy, Life: time.Hour})
	must(t, err)
	return s
}

// counts fails the test unless a session is answered with the error.
func counts(t testing.TB, d *directory.Directory, s directory.Session, want error) {
	t.Helper()
	id, secret, err := d.LookupSession(s.AccessKey, s.Token)
	if !errors.Is(err, want) || err == nil && (secret != s.Secret || id.AccessKey != s.AccessKey || id.Session == nil) {
		t.Errorf("%+v, %v, want %v", id, err, want)
	}
}

func TestASessionMadeOnOneGatewayCountsOnTheOthers(t *testing.T) {
	r, ctx := &directorytest.Records{}, t.Context()
	one, other := open(t, r), open(t, r)
	byRoot := session(t, one, "root", "") // before there is any record
	counts(t, other, byRoot, nil)
	must(t, one.SetUser(ctx, "ann", "secret of ann", true))
	byAnn := session(t, one, "ann", "")
	counts(t, other, byAnn, nil)
	must(t, one.EnableUser(ctx, "ann", false))
	counts(t, other, byAnn, iam.ErrNoSuchKey)
	must(t, other.RemoveUser(ctx, "ann"))
	counts(t, one, byAnn, iam.ErrNoSuchKey)
	counts(t, one, byRoot, nil)
}

func TestASessionKeepsNothing(t *testing.T) {
	r := &directorytest.Records{}
	d := open(t, r)
	must(t, d.SetUser(t.Context(), "ann", "secret of ann", true))
	before, err := r.List("")
	must(t, err)
	for range 100 {
		counts(t, d, session(t, d, "ann", ""), nil)
	}
	if after, err := r.List(""); err != nil || len(after) != len(before) {
		t.Errorf("%d records, %d before, %v", len(after), len(before), err)
	}
}

func TestSessionsOfTheRootUserEndWithHisCredentials(t *testing.T) {
	r, ctx := &directorytest.Records{}, t.Context()
	d := open(t, r)
	must(t, d.SetUser(ctx, "ann", "secret of ann", true))
	byRoot, byAnn := session(t, d, "root", ""), session(t, d, "ann", "")
	renewed, err := directory.New(ctx, directory.Config{
		Root: directory.Credentials{AccessKey: "root", Secret: "another secret"}, Former: directory.Credentials{AccessKey: "root", Secret: rootSecret},
		Records: r, Sealer: sealing.New(2), Now: func() time.Time { return noon },
	})
	must(t, err)
	counts(t, renewed, byRoot, iam.ErrNoSuchKey)
	counts(t, renewed, byAnn, nil)
}

func TestSessionsOfAServiceAccountEndWithItsSecret(t *testing.T) {
	r, ctx := &directorytest.Records{}, t.Context()
	d := open(t, r)
	must(t, d.SetUser(ctx, "ann", "secret of ann", true))
	_, _, err := d.AddAccount(ctx, directory.NewAccount{Parent: "ann", AccessKey: "annskey", Secret: "the key's secret"})
	must(t, err)
	s := session(t, d, "annskey", "")
	counts(t, d, s, nil)
	other := "another secret"
	must(t, d.UpdateAccount(ctx, "annskey", directory.AccountChange{Secret: &other}))
	counts(t, d, s, iam.ErrNoSuchKey)
}

func TestRevokedSessionsEndOnEveryGatewayAndOthersCanBeMade(t *testing.T) {
	r, ctx := &directorytest.Records{}, t.Context()
	one, other := open(t, r), open(t, r)
	must(t, errors.Join(one.SetUser(ctx, "ann", "secret of ann", true), one.SetUser(ctx, "bob", "secret of bob", true)))
	_, _, err := one.AddAccount(ctx, directory.NewAccount{Parent: "ann", AccessKey: "annskey", Secret: "the key's secret"})
	must(t, err)
	person := func() directory.Session {
		s, err := one.AddSession(ctx, directory.NewSession{Life: time.Hour, Person: &directory.Person{Name: "uid=eve,ou=people"}})
		must(t, err)
		return s
	}
	byRoot, byAnn, byKey, byBob, byEve := session(t, one, "root", ""), session(t, one, "ann", ""), session(t, one, "annskey", ""), session(t, one, "bob", ""), person()
	for range 2 {
		must(t, other.RevokeSessions(ctx, "ann"))
		for _, s := range []directory.Session{byAnn, byKey} {
			counts(t, one, s, directory.ErrExpired)
		}
		byAnn, byKey = session(t, one, "ann", ""), session(t, other, "annskey", "")
		for _, s := range []directory.Session{byRoot, byAnn, byKey, byBob, byEve} {
			counts(t, one, s, nil)
			counts(t, other, s, nil)
		}
	}
	must(t, errors.Join(one.RevokeSessions(ctx, "uid=eve,ou=people"), one.RevokeSessions(ctx, "root")))
	counts(t, other, byEve, directory.ErrExpired)
	counts(t, other, byRoot, directory.ErrExpired)
	counts(t, other, person(), nil)
	counts(t, other, byBob, nil)
	if _, _, err := other.Lookup("annskey"); err != nil {
		t.Errorf("the key that made them: %v", err)
	}
}

func TestASessionEndsWhenItExpires(t *testing.T) {
	var now atomic.Pointer[time.Time]
	now.Store(&noon)
	d, err := directory.New(t.Context(), directory.Config{
		Root: directory.Credentials{AccessKey: "root", Secret: rootSecret}, Records: &directorytest.Records{}, Sealer: sealing.New(2),
		Now: func() time.Time { return *now.Load() },
	})
	must(t, err)
	s := session(t, d, "root", "")
	for at, want := range map[time.Duration]error{time.Hour - time.Nanosecond: nil, time.Hour: directory.ErrExpired} {
		then := noon.Add(at)
		now.Store(&then)
		counts(t, d, s, want)
	}
}

func TestAPersonHasThePoliciesThatItsProviderNames(t *testing.T) {
	r, ctx := &directorytest.Records{}, t.Context()
	d := open(t, r)
	s, err := d.AddSession(ctx, directory.NewSession{Life: time.Hour, Person: &directory.Person{
		Name: "openid=ann", Policies: []string{"home", "none of these"}, Claims: map[string][]string{"jwt:sub": {"ann"}},
	}})
	must(t, err)
	decide := func() iam.Decision {
		id, _, err := d.LookupSession(s.AccessKey, s.Token)
		must(t, err)
		if id.User() != "openid=ann" || id.Claims["jwt:sub"][0] != "ann" || id.Root {
			t.Errorf("%+v", id)
		}
		return id.Decide(&iam.Request{Identity: id, Action: "s3:GetObject", Bucket: "b", Key: "k"})
	}
	if got := decide(); got != iam.Abstain {
		t.Errorf("before there is the policy: %v", got)
	}
	must(t, d.SetPolicy(ctx, "home", `{"Statement":[{"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::b/*"}]}`))
	if got := decide(); got != iam.Allow {
		t.Errorf("with the policy: %v", got)
	}
	must(t, d.RemovePolicy(ctx, "home"))
	if got := decide(); got != iam.Abstain {
		t.Errorf("after it: %v", got)
	}
}

func TestAGatewayThatIsCutOffDoesNotKnowSessionsOfUsers(t *testing.T) {
	r := &directorytest.Records{}
	d := open(t, r)
	must(t, d.SetUser(t.Context(), "ann", "secret of ann", true))
	s := session(t, d, "ann", "")
	r.Cut()
	counts(t, d, s, directorytest.ErrCut)
}

func TestSessionsNeedOthersToShareThemWith(t *testing.T) {
	d, err := directory.New(t.Context(), directory.Config{Root: directory.Credentials{AccessKey: "root", Secret: rootSecret}, Now: func() time.Time { return noon }})
	must(t, err)
	_, err = d.AddSession(t.Context(), directory.NewSession{Parent: "root", Life: time.Hour})
	if !errors.Is(err, directory.ErrNoRecords) {
		t.Error(err)
	}
	counts(t, d, directory.Session{Token: "x"}, directory.ErrToken)
}

// TestATokenOfAnotherEndpointIsRefused also has one of which a part was changed.
func TestATokenOfAnotherEndpointIsRefused(t *testing.T) {
	d, foreign := open(t, &directorytest.Records{}), open(t, &directorytest.Records{})
	counts(t, d, session(t, foreign, "root", ""), directory.ErrToken) // it has no key yet
	s := session(t, d, "root", "")
	counts(t, d, session(t, foreign, "root", ""), directory.ErrToken)
	for i := range len(s.Token) {
		changed := s
		changed.Token = s.Token[:i] + "-" + s.Token[i+1:]
		if changed.Token != s.Token {
			counts(t, d, changed, directory.ErrToken)
		}
	}
}

func FuzzTokens(f *testing.F) {
	d := open(f, &directorytest.Records{})
	s := session(f, d, "root", "")
	f.Add(s.AccessKey, s.Token)
	f.Add(s.AccessKey, s.Token[:40])
	f.Add("", "")
	f.Add("root", strings.Repeat("A", 20000))
	f.Fuzz(func(t *testing.T, accessKey, token string) {
		id, secret, err := d.LookupSession(accessKey, token)
		if err == nil && (accessKey != s.AccessKey || token != s.Token) {
			t.Errorf("%q with %q is %+v", accessKey, token, id)
		}
		if err != nil && (secret != "" || !errors.Is(err, directory.ErrToken)) {
			t.Errorf("%q, %v", secret, err)
		}
	})
}

func BenchmarkLookupSession(b *testing.B) {
	d := open(b, &directorytest.Records{})
	must(b, d.SetUser(b.Context(), "ann", "secret of ann", true))
	s := session(b, d, "ann", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::b/*"}]}`)
	for b.Loop() {
		if _, _, err := d.LookupSession(s.AccessKey, s.Token); err != nil {
			b.Fatal(err)
		}
	}
}
