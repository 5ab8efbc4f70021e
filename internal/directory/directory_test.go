package directory_test

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/shoal-storage/shoal/internal/directory"
	"github.com/shoal-storage/shoal/internal/directory/directorytest"
	"github.com/shoal-storage/shoal/internal/iam"
	"github.com/shoal-storage/shoal/internal/ldap"
	"github.com/shoal-storage/shoal/internal/sealing"
)

const rootSecret = "the root secret"

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// open returns the directory of one gateway.
func open(t testing.TB, r *directorytest.Records) *directory.Directory {
	t.Helper()
	d, err := directory.New(t.Context(), directory.Config{
		Root: directory.Credentials{AccessKey: "root", Secret: rootSecret}, Records: r, Sealer: sealing.New(2), Now: func() time.Time { return noon }, Canonical: ldap.Canonical,
	})
	must(t, err)
	return d
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// may reports what an access key may do.
func may(t testing.TB, d *directory.Directory, accessKey, action, key string) iam.Decision {
	t.Helper()
	id, _, err := d.Lookup(accessKey)
	must(t, err)
	return id.Decide(&iam.Request{Identity: id, Action: action, Bucket: "b", Key: key})
}

// unknown fails the test if an access key counts.
func unknown(t testing.TB, d *directory.Directory, accessKey string) {
	t.Helper()
	if id, secret, err := d.Lookup(accessKey); !errors.Is(err, iam.ErrNoSuchKey) || secret != "" || !reflect.DeepEqual(id, iam.Identity{}) {
		t.Errorf("%s is known: %+v, %v", accessKey, id, err)
	}
}

func TestAChangeOnOneGatewayIsInForceOnTheOthers(t *testing.T) {
	r, ctx := &directorytest.Records{}, t.Context()
	one, other := open(t, r), open(t, r)
	unknown(t, other, "ann")
	must(t, one.SetUser(ctx, "ann", "secret of ann", true))
	if _, secret, err := other.Lookup("ann"); err != nil || secret != "secret of ann" {
		t.Errorf("%q, %v", secret, err)
	}
	must(t, other.SetUser(ctx, "ann", "another secret", true))
	if _, secret, err := one.Lookup("ann"); err != nil || secret != "another secret" {
		t.Errorf("%q, %v", secret, err)
	}
	must(t, other.EnableUser(ctx, "ann", false))
	unknown(t, one, "ann")
	must(t, one.EnableUser(ctx, "ann", true))
	if got := may(t, other, "ann", "s3:GetObject", "k"); got != iam.Abstain {
		t.Errorf("without policies: %v", got)
	}
	_, err := one.Attach(ctx, directory.Holder{Name: "ann"}, []string{"readonly"})
	must(t, err)
	if got := may(t, other, "ann", "s3:GetObject", "k"); got != iam.Allow {
		t.Errorf("with a policy: %v", got)
	}
	must(t, one.RemoveUser(ctx, "ann"))
	unknown(t, other, "ann")
}

func TestConcurrentChangesLoseNothing(t *testing.T) {
	r, ctx := &directorytest.Records{}, t.Context()
	gateways := []*directory.Directory{open(t, r), open(t, r), open(t, r)}
	must(t, gateways[0].SetUser(ctx, "ann", "secret of ann", true))
	const each = 10
	var group sync.WaitGroup
	for g, d := range gateways {
		group.Go(func() {
			for i := range each {
				name := fmt.Sprintf("p-%d-%d", g, i)
				if err := d.SetPolicy(ctx, name, iam.Canned()["readonly"]); err != nil {
					t.Error(err)
				}
				if _, err := d.Attach(ctx, directory.Holder{Name: "ann"}, []string{name}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	if u, err := gateways[1].User("ann"); err != nil || len(u.Policies) != each*len(gateways) {
		t.Errorf("%d policies are attached, %v", len(u.Policies), err)
	}
}

// TestAPolicyCountsAsItIs replaces a policy that is attached.
func TestAPolicyCountsAsItIs(t *testing.T) {
	r, ctx := &directorytest.Records{}, t.Context()
	d, other := open(t, r), open(t, r)
	must(t, d.SetUser(ctx, "ann", "secret of ann", true))
	const text = `{"Version":"2012-10-17","Statement":[{"Effect":"%s","Action":"s3:GetObject","Resource":"arn:aws:s3:::b/${aws:username}/*"}]}`
	must(t, d.SetPolicy(ctx, "own", fmt.Sprintf(text, "Allow")))
	_, err := d.Attach(ctx, directory.Holder{Name: "ann"}, []string{"own", "readonly"})
	must(t, err)
	if err := d.RemovePolicy(ctx, "own"); !errors.Is(err, directory.ErrInUse) {
		t.Errorf("remove what is attached: %v", err)
	}
	must(t, d.SetPolicy(ctx, "own", `{"Statement":[{"Effect":"Deny","Action":"s3:GetObject","Resource":"arn:aws:s3:::b/secret/*"}]}`))
	for key, want := range map[string]iam.Decision{"secret/k": iam.Deny, "k": iam.Allow} {
		if got := may(t, other, "ann", "s3:GetObject", key); got != want {
			t.Errorf("%s: %v, want %v", key, got, want)
		}
	}
	_, err = d.Detach(ctx, directory.Holder{Name: "ann"}, []string{"own"})
	must(t, err)
	must(t, d.RemovePolicy(ctx, "own"))
	if _, err := other.Policy("own"); !errors.Is(err, directory.ErrNoPolicy) {
		t.Errorf("removed: %v", err)
	}
}

func TestAGroupGivesItsPoliciesToItsMembersWhileItIsEnabled(t *testing.T) {
	d, ctx := open(t, &directorytest.Records{}), t.Context()
	must(t, d.SetUser(ctx, "ann", "secret of ann", true))
	must(t, d.AddMembers(ctx, "devs", []string{"ann"}))
	_, err := d.Attach(ctx, directory.Holder{Name: "devs", Group: true}, []string{"writeonly"})
	must(t, err)
	step := func(what string, want iam.Decision) {
		t.Helper()
		if got := may(t, d, "ann", "s3:PutObject", "k"); got != want {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	step("a member", iam.Allow)
	must(t, d.EnableGroup(ctx, "devs", false))
	step("disabled", iam.Abstain)
	must(t, d.EnableGroup(ctx, "devs", true))
	if err := d.RemoveGroup(ctx, "devs"); !errors.Is(err, directory.ErrNotEmpty) {
		t.Errorf("remove with members: %v", err)
	}
	must(t, d.RemoveMembers(ctx, "devs", []string{"ann"}))
	step("no member any more", iam.Abstain)
	must(t, d.RemoveGroup(ctx, "devs"))
	if err := d.AddMembers(ctx, "devs", []string{"nobody"}); !errors.Is(err, directory.ErrNoUser) {
		t.Errorf("nobody as a member: %v", err)
	}
}

func TestAUserOfAnEarlierUsersNameHasNothingOfHis(t *testing.T) {
	r, ctx := &directorytest.Records{}, t.Context()
	d := open(t, r)
	must(t, d.SetUser(ctx, "ann", "secret of ann", true))
	must(t, d.AddMembers(ctx, "devs", []string{"ann"}))
	_, _, err := d.AddAccount(ctx, directory.NewAccount{Parent: "ann", AccessKey: "annskey", Secret: "secret of key"})
	must(t, err)
	orphan := r.All()["iam/key/annskey"]
	must(t, d.RemoveUser(ctx, "ann"))
	if _, err := d.Account("annskey"); !errors.Is(err, directory.ErrNoAccount) {
		t.Errorf("his account: %v", err)
	}
	r.Put("iam/key/annskey", orphan) // as if its removal had failed
	unknown(t, d, "annskey")
	must(t, d.SetUser(ctx, "ann", "another secret", true))
	unknown(t, d, "annskey")
	if u, err := d.User("ann"); err != nil || len(u.Groups) > 0 {
		t.Errorf("%+v, %v", u, err)
	}
}

func TestAServiceAccountActsForItsUserUntilItExpires(t *testing.T) {
	r, ctx, now := &directorytest.Records{}, t.Context(), noon
	d, err := directory.New(t.Context(), directory.Config{Root: directory.Credentials{AccessKey: "root", Secret: rootSecret}, Records: r, Sealer: sealing.New(2), Now: func() time.Time { return now }})
	must(t, err)
	must(t, d.SetUser(ctx, "ann", "secret of ann", true))
	_, err = d.Attach(ctx, directory.Holder{Name: "ann"}, []string{"readonly"})
	must(t, err)
	const bound = `{"Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::b/own/*"}]}`
	for parent, write := range map[string]iam.Decision{"ann": iam.Abstain, "root": iam.Allow} {
		accessKey, secret, err := d.AddAccount(ctx, directory.NewAccount{Parent: parent, Policy: bound, Expires: noon.Add(time.Hour)})
		must(t, err)
		id, got, err := d.Lookup(accessKey)
		if err != nil || got != secret || id.User() != parent || id.Root != (parent == "root") {
			t.Errorf("%s: %+v, %v", parent, id, err)
		}
		for _, tt := range []struct {
			action, key string
			want        iam.Decision
		}{
			{"s3:GetObject", "own/k", iam.Allow},
			{"s3:GetObject", "k", iam.Deny},
			{"s3:PutObject", "own/k", write},
		} {
			if got := may(t, d, accessKey, tt.action, tt.key); got != tt.want {
				t.Errorf("for %s, %s of %s: %v, want %v", parent, tt.action, tt.key, got, tt.want)
			}
		}
		off, on := false, true
		must(t, d.UpdateAccount(ctx, accessKey, directory.AccountChange{Enabled: &off}))
		unknown(t, d, accessKey)
		must(t, d.UpdateAccount(ctx, accessKey, directory.AccountChange{Enabled: &on}))
		now = noon.Add(time.Hour)
		unknown(t, d, accessKey)
		now = noon
		must(t, d.EnableUser(ctx, "ann", false))
		if parent == "ann" {
			unknown(t, d, accessKey)
		}
		must(t, d.EnableUser(ctx, "ann", true))
		must(t, d.RemoveAccount(ctx, accessKey))
		unknown(t, d, accessKey)
	}
}

func TestAnAccessKeyIsOnePersonsOnly(t *testing.T) {
	r, ctx := &directorytest.Records{}, t.Context()
	d := open(t, r)
	must(t, d.SetUser(ctx, "ann", "secret of ann", true))
	account := func(accessKey string) error {
		_, _, err := d.AddAccount(ctx, directory.NewAccount{Parent: "ann", AccessKey: accessKey})
		return err
	}
	must(t, account("annskey"))
	for what, err := range map[string]error{
		"a user of the name of root":       d.SetUser(ctx, "root", "a good secret", true),
		"an account of the name of root":   account("root"),
		"a user of an account's name":      d.SetUser(ctx, "annskey", "a good secret", true),
		"an account of a user's name":      account("ann"),
		"a second account of the same key": account("annskey"),
	} {
		if !errors.Is(err, directory.ErrTaken) {
			t.Errorf("%s: %v", what, err)
		}
	}
	r.Meanwhile(func() { must(t, d.SetUser(ctx, "key", "a good secret", true)) })
	if err := account("key"); !errors.Is(err, directory.ErrTaken) {
		t.Errorf("an account while a user is made of its name: %v", err)
	}
}

func TestWhatIsNotValidIsRefused(t *testing.T) {
	d, ctx := open(t, &directorytest.Records{}), t.Context()
	must(t, d.SetUser(ctx, "ann", "secret of ann", true))
	account := func(change func(*directory.NewAccount)) error {
		n := directory.NewAccount{Parent: "ann"}
		change(&n)
		_, _, err := d.AddAccount(ctx, n)
		return err
	}
	for what, err := range map[string]error{
		"a short name":           d.SetUser(ctx, "an", "a good secret", true),
		"a long name":            d.SetUser(ctx, strings.Repeat("a", 129), "a good secret", true),
		"a comma in a name":      d.SetUser(ctx, "a,b", "a good secret", true),
		"a line end in a name":   d.SetUser(ctx, "ab\n", "a good secret", true),
		"no UTF-8":               d.SetUser(ctx, "ab\xff", "a good secret", true),
		"a short secret":         d.SetUser(ctx, "bob", "short", true),
		"no policy":              d.SetPolicy(ctx, "p", "{}"),
		"a policy of two minds":  d.SetPolicy(ctx, "p", `{"Statement":[{"Effect":"Deny","Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::b/*"}]}`),
		"a built-in policy":      d.SetPolicy(ctx, "readonly", iam.Canned()["readonly"]),
		"a long policy":          d.SetPolicy(ctx, "p", iam.Canned()["readonly"]+strings.Repeat(" ", iam.MaxPolicy)),
		"a built-in one removed": d.RemovePolicy(ctx, "readonly"),
		"an account's name":      account(func(n *directory.NewAccount) { n.Name = "1x" }),
		"an account's policy":    account(func(n *directory.NewAccount) { n.Policy = "{}" }),
		"what is over already":   account(func(n *directory.NewAccount) { n.Expires = noon }),
		"a long description":     account(func(n *directory.NewAccount) { n.Description = strings.Repeat("x", 257) }),
	} {
		if !errors.Is(err, directory.ErrInvalid) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := d.Attach(ctx, directory.Holder{Name: "ann"}, []string{"none"}); !errors.Is(err, directory.ErrNoPolicy) {
		t.Errorf("a policy that is not there: %v", err)
	}
	_, err := d.Attach(ctx, directory.Holder{Name: "ann"}, []string{"readonly"})
	must(t, err)
	if _, err := d.Attach(ctx, directory.Holder{Name: "ann"}, []string{"readonly"}); !errors.Is(err, directory.ErrNoChange) {
		t.Errorf("a policy again: %v", err)
	}
}

func TestPoliciesAreReplacedAsAWhole(t *testing.T) {
	d, ctx := open(t, &directorytest.Records{}), t.Context()
	ann := directory.Holder{Name: "ann"}
	must(t, d.SetUser(ctx, "ann", "secret of ann", true))
	_, err := d.Attach(ctx, ann, []string{"diagnostics"})
	must(t, err)
	for _, want := range [][]string{{"readonly", "writeonly"}, {}} {
		given := append(slices.Clone(want), want...)
		slices.Reverse(given)
		must(t, d.SetPolicies(ctx, ann, given))
		if u, err := d.User("ann"); err != nil || !slices.Equal(u.Policies, want) {
			t.Errorf("%v, %v, want %v", u.Policies, err, want)
		}
	}
	if err := d.SetPolicies(ctx, ann, []string{"none"}); !errors.Is(err, directory.ErrNoPolicy) {
		t.Errorf("a policy that is not there: %v", err)
	}
}

// TestNothingSecretIsInTheRecords looks for it, and moves a record to another name.
func TestNothingSecretIsInTheRecords(t *testing.T) {
	r, ctx := &directorytest.Records{}, t.Context()
	d := open(t, r)
	must(t, d.SetUser(ctx, "ann", "secret of ann", true))
	must(t, d.SetPolicy(ctx, "own", iam.Canned()["readonly"]))
	for name, value := range r.All() {
		for _, secret := range []string{rootSecret, "secret of ann", "s3:GetObject"} {
			if bytes.Contains(value, []byte(secret)) {
				t.Errorf("%s shows %q", name, secret)
			}
		}
	}
	r.Put("iam/key/bob", r.All()["iam/key/ann"])
	if _, _, err := d.Lookup("bob"); err == nil || errors.Is(err, iam.ErrNoSuchKey) {
		t.Errorf("a record under another name: %v", err)
	}
}

func TestOtherRootCredentialsDoNotOpenTheRecords(t *testing.T) {
	r, ctx := &directorytest.Records{}, t.Context()
	early, err := directory.New(t.Context(), directory.Config{Root: directory.Credentials{AccessKey: "root", Secret: "another secret"}, Records: r, Sealer: sealing.New(1), Now: time.Now})
	must(t, err) // there are no records yet
	must(t, open(t, r).SetUser(ctx, "ann", "secret of ann", true))
	if _, err := directory.New(t.Context(), directory.Config{Root: directory.Credentials{AccessKey: "root", Secret: "another secret"}, Records: r, Sealer: sealing.New(1), Now: time.Now}); err == nil {
		t.Error("opened")
	}
	if _, _, err := early.Lookup("ann"); err == nil || errors.Is(err, iam.ErrNoSuchKey) {
		t.Errorf("a gateway that was there before: %v", err)
	}
	if err := early.SetUser(ctx, "bob", "secret of bob", true); err == nil {
		t.Error("it made a user")
	}
}

// TestRootCredentialsCanBeReplaced has gateways with the former ones go on beside those
// with the new ones.
func TestRootCredentialsCanBeReplaced(t *testing.T) {
	r, ctx := &directorytest.Records{}, t.Context()
	early := open(t, r)
	must(t, early.SetUser(ctx, "ann", "secret of ann", true))
	cfg := directory.Config{Root: directory.Credentials{AccessKey: "chief", Secret: "another secret"}, Records: r, Sealer: sealing.New(1), Now: time.Now}
	if _, err := directory.New(ctx, cfg); !errors.Is(err, directory.ErrCredentials) {
		t.Errorf("without the former ones: %v", err)
	}
	renew := cfg
	renew.Former = directory.Credentials{AccessKey: "root", Secret: rootSecret}
	for _, cfg := range []directory.Config{renew, renew, cfg} { // the second time there is nothing to do
		d, err := directory.New(ctx, cfg)
		must(t, err)
		if _, secret, err := d.Lookup("ann"); err != nil || secret != "secret of ann" {
			t.Errorf("%q, %v", secret, err)
		}
		if id, _, err := d.Lookup("chief"); err != nil || !id.Root {
			t.Errorf("%+v, %v", id, err)
		}
		unknown(t, d, "root")
	}
	must(t, early.SetUser(ctx, "bob", "secret of bob", true))
	if _, err := directory.New(ctx, directory.Config{Root: renew.Former, Records: r, Sealer: sealing.New(1), Now: time.Now}); !errors.Is(err, directory.ErrCredentials) {
		t.Errorf("a new gateway with the former ones: %v", err)
	}
}

func TestAGatewayThatIsCutOffKnowsNobodyButRoot(t *testing.T) {
	r := &directorytest.Records{}
	d := open(t, r)
	must(t, d.SetUser(t.Context(), "ann", "secret of ann", true))
	r.Cut()
	for _, d := range []*directory.Directory{d, open(t, r)} {
		if _, _, err := d.Lookup("ann"); !errors.Is(err, directorytest.ErrCut) {
			t.Errorf("%v", err)
		}
	}
	if id, _, err := d.Lookup("root"); err != nil || !id.Root {
		t.Errorf("%+v, %v", id, err)
	}
}

func TestWithoutRecordsThereIsOnlyRoot(t *testing.T) {
	d, err := directory.New(t.Context(), directory.Config{Root: directory.Credentials{AccessKey: "root", Secret: rootSecret}, Now: time.Now})
	must(t, err)
	unknown(t, d, "ann")
	if err := d.SetUser(t.Context(), "ann", "secret of ann", true); !errors.Is(err, directory.ErrNoRecords) {
		t.Errorf("%v", err)
	}
	users, err := d.Users()
	all, err2 := d.Policies()
	if err != nil || err2 != nil || len(users) > 0 || len(all) != len(iam.Canned()) {
		t.Errorf("%v, %d policies, %v, %v", users, len(all), err, err2)
	}
	if !slices.IsSortedFunc(all, func(a, b directory.Policy) int { return strings.Compare(a.Name, b.Name) }) {
		t.Error("not sorted")
	}
}

// BenchmarkAuthorise finds one of 100,000 users, and decides by 50 statements.
func BenchmarkAuthorise(b *testing.B) {
	r, ctx := &directorytest.Records{}, b.Context()
	d := open(b, r)
	var statements []string
	for i := range 50 {
		statements = append(statements, fmt.Sprintf(`{"Effect":"Allow","Action":["s3:GetObject","s3:PutObject"],"Resource":"arn:aws:s3:::b/home%d/*","Condition":{"StringLike":{"aws:UserAgent":"*"}}}`, i))
	}
	must(b, d.SetPolicy(ctx, "homes", `{"Version":"2012-10-17","Statement":[`+strings.Join(statements, ",")+`]}`))
	const users = 100_000
	for i := range users {
		name := fmt.Sprintf("user%06d", i)
		must(b, d.SetUser(ctx, name, "a good secret", true))
		if i%1000 == 0 {
			_, err := d.Attach(ctx, directory.Holder{Name: name}, []string{"homes"})
			must(b, err)
		}
	}
	i := 0
	for b.Loop() {
		i = (i + 7000) % users
		id, _, err := d.Lookup(fmt.Sprintf("user%06d", i))
		if err != nil {
			b.Fatal(err)
		}
		id.Decide(&iam.Request{Identity: id, Action: "s3:GetObject", Bucket: "b", Key: "home49/some/key"})
	}
}

// TestTheLimitsOfAUserCountForAllWhoActForHim has them set on one gateway and looked for
// on another one.
func TestTheLimitsOfAUserCountForAllWhoActForHim(t *testing.T) {
	r, ctx := &directorytest.Records{}, t.Context()
	one, other := open(t, r), open(t, r)
	must(t, one.SetUser(ctx, "ann", "secret of ann", true))
	_, _, err := one.AddAccount(ctx, directory.NewAccount{Parent: "ann", AccessKey: "annskey", Secret: "secret of annskey"})
	must(t, err)
	session, err := one.AddSession(ctx, directory.NewSession{Parent: "annskey", Life: time.Hour, Policy: `{"Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}`})
	must(t, err)
	check := func(want string) {
		t.Helper()
		for _, accessKey := range []string{"ann", "annskey"} {
			if id, _, err := other.Lookup(accessKey); err != nil || id.Limits != want {
				t.Errorf("%s has %q, %v, want %q", accessKey, id.Limits, err, want)
			}
		}
		if id, _, err := other.LookupSession(session.AccessKey, session.Token); err != nil || id.Limits != want {
			t.Errorf("the session has %q, %v, want %q", id.Limits, err, want)
		}
	}
	check("")
	must(t, one.SetLimits(ctx, "ann", "few"))
	check("few")
	must(t, one.SetUser(ctx, "ann", "another secret", true)) // which leaves the session as it is
	check("few")
	must(t, one.SetLimits(ctx, "ann", ""))
	check("")
	if err := one.SetLimits(ctx, "annskey", "few"); !errors.Is(err, directory.ErrNoUser) {
		t.Errorf("of a service account: %v", err)
	}
	must(t, one.SetLimits(ctx, "ann", "few"))
	must(t, one.RemoveUser(ctx, "ann"))
	must(t, one.SetUser(ctx, "ann", "secret of ann", true))
	if id, _, err := other.Lookup("ann"); err != nil || id.Limits != "" {
		t.Errorf("another user of the name has %q, %v", id.Limits, err)
	}
}

// TestWhoAUserIsToTheFileSystemIsSoForAllWhoActForHim has it set on one gateway and looked
// for on another one.
func TestWhoAUserIsToTheFileSystemIsSoForAllWhoActForHim(t *testing.T) {
	r, ctx := &directorytest.Records{}, t.Context()
	one, other := open(t, r), open(t, r)
	must(t, one.SetUser(ctx, "ann", "secret of ann", true))
	_, _, err := one.AddAccount(ctx, directory.NewAccount{Parent: "ann", AccessKey: "annskey", Secret: "secret of annskey"})
	must(t, err)
	session, err := one.AddSession(ctx, directory.NewSession{Parent: "annskey", Life: time.Hour})
	must(t, err)
	check := func(want iam.POSIX) {
		t.Helper()
		is := func(got iam.POSIX, err error) {
			t.Helper()
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("it is %+v, %v, want %+v", got, err, want)
			}
		}
		for _, accessKey := range []string{"ann", "annskey"} {
			id, _, err := other.Lookup(accessKey)
			is(*id.POSIX, err)
		}
		id, _, err := other.LookupSession(session.AccessKey, session.Token)
		is(*id.POSIX, err)
		user, err := other.User("ann")
		is(user.POSIX, err)
	}
	check(iam.POSIX{})
	root := iam.POSIX{UID: new(uint32(0)), GID: new(uint32(100))}
	must(t, one.SetPOSIX(ctx, "ann", root))
	check(root)
	must(t, one.SetUser(ctx, "ann", "another secret", true)) // he is the same
	check(root)
	must(t, one.SetPOSIX(ctx, "ann", iam.POSIX{}))
	check(iam.POSIX{})
	if err := one.SetPOSIX(ctx, "annskey", root); !errors.Is(err, directory.ErrNoUser) {
		t.Errorf("of a service account: %v", err)
	}
}

// TestARefusalIsForWhatIsSoEverywhere has the record changed by somebody else while
// nothing seems to be there to do.
func TestARefusalIsForWhatIsSoEverywhere(t *testing.T) {
	r, ctx := &directorytest.Records{}, t.Context()
	one, other := open(t, r), open(t, r)
	ann, policy := directory.Holder{Name: "ann"}, []string{"readwrite"}
	must(t, one.SetUser(ctx, "ann", "secret of ann", true))
	r.Meanwhile(func() { _, err := other.Attach(ctx, ann, policy); must(t, err) })
	if detached, err := one.Detach(ctx, ann, policy); err != nil || len(detached) != 1 {
		t.Errorf("detached %v, %v", detached, err)
	}
	must(t, one.RemoveUser(ctx, "ann"))
	r.Meanwhile(func() { must(t, other.SetUser(ctx, "ann", "secret of ann", true)) })
	if err := one.EnableUser(ctx, "ann", false); err != nil {
		t.Errorf("disabled: %v", err)
	}
	if _, err := one.Detach(ctx, ann, policy); !errors.Is(err, directory.ErrNoChange) {
		t.Errorf("detached once more: %v", err)
	}
}

// TestFurtherRecordsAreSealedAsUsersAre has one written by one gateway, read by another, and
// taken for another one.
func TestFurtherRecordsAreSealedAsUsersAre(t *testing.T) {
	r, ctx := &directorytest.Records{}, t.Context()
	one, other := open(t, r).Sealed(), open(t, r).Sealed()
	if content, revision, err := one.Get("config/a"); err != nil || content != nil || revision != 0 {
		t.Errorf("what is not there is %q, %d, %v", content, revision, err)
	}
	must(t, one.Set(ctx, "config/a", []byte("a secret"), 0))
	content, revision, err := other.Get("config/a")
	if err != nil || string(content) != "a secret" {
		t.Errorf("it is %q, %v", content, err)
	}
	if err := one.Set(ctx, "config/a", nil, revision+1); !errors.Is(err, directory.ErrChanged) {
		t.Errorf("under another revision: %v", err)
	}
	sealed, _, err := r.Get("config/a")
	must(t, err)
	if bytes.Contains(sealed, []byte("a secret")) {
		t.Errorf("kept is %q", sealed)
	}
	r.Put("config/b", sealed)
	if content, _, err := one.Get("config/b"); err == nil {
		t.Errorf("under another name it is %q", content)
	}
}
