package directory_test

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/shoal-storage/shoal/internal/directory"
	"github.com/shoal-storage/shoal/internal/directory/directorytest"
	"github.com/shoal-storage/shoal/internal/iam"
)

const readHome = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::b/home/*"}]}`

// pack returns an archive of files, by their names.
func pack(t testing.TB, files map[string]string) []byte {
	t.Helper()
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for name, text := range files {
		f, err := w.Create("iam-assets/" + name)
		must(t, err)
		_, err = f.Write([]byte(text))
		must(t, err)
	}
	must(t, w.Close())
	return out.Bytes()
}

// take imports files and returns what came of it.
func take(t testing.TB, d *directory.Directory, forRoot bool, files map[string]string) *directory.Imported {
	t.Helper()
	a, err := directory.ReadArchive(pack(t, files))
	must(t, err)
	done, err := d.Import(t.Context(), a, forRoot)
	must(t, err)
	return done
}

// TestAnExportOfMinIOArrivesWhole has files as "mc admin cluster iam export" made them.
func TestAnExportOfMinIOArrivesWhole(t *testing.T) {
	d := open(t, &directorytest.Records{})
	done := take(t, d, true, map[string]string{
		"policies.json": `{"readwrite":{"Version":"2012-10-17","Statement":[]},"home":` + readHome + `}`,
		"users.json":    `{"ann":{"secretKey":"secret of ann","status":"enabled"},"bob":{"secretKey":"secret of bob","status":"disabled"},"carl":{"secretKey":"secret of carl","status":"enabled"}}`,
		"groups.json":   `{"devs":{"version":1,"status":"enabled","members":["carl","gone"],"updatedAt":"2025-01-01T00:00:00Z"}}`,
		"svcaccts.json": `{"annskey":{"parent":"ann","accessKey":"annskey","secretKey":"secret of annskey","groups":null,"claims":{"accessKey":"annskey","parent":"ann","sa-policy":"inherited-policy"},"sessionPolicy":null,"status":"on","name":"backup","description":"nightly","expiration":"1970-01-01T00:00:00Z"},
			"bound":{"parent":"ann","accessKey":"bound","secretKey":"secret of bound","claims":{"sa-policy":"embedded-policy"},"sessionPolicy":{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::b/home/x"}]},"status":"on"},
			"eveskey":{"parent":"UID=Eve,dc=y","accessKey":"eveskey","secretKey":"secret of eveskey","groups":["cn=Devs,dc=y"],"claims":{"accessKey":"eveskey","ldapUser":"UID=Eve,dc=y","ldapUsername":"eve","parent":"UID=Eve,dc=y","sa-policy":"inherited-policy"},"sessionPolicy":null,"status":"on"},
			"off":{"parent":"ann","accessKey":"off","secretKey":"secret of off","status":"off"},
			"rootskey":{"parent":"root","accessKey":"rootskey","secretKey":"secret of rootskey","status":"on"}}`,
		"user_mappings.json":    `{"ann":{"version":1,"policy":"home","updatedAt":"2025-01-01T00:00:00Z"}}`,
		"group_mappings.json":   `{"devs":{"version":1,"policy":"home,readwrite"},"cn=devs,dc=y":{"version":1,"policy":"writeonly"}}`,
		"stsuser_mappings.json": `{"uid=EVE, dc=y":{"version":1,"policy":"home"}}`,
	})
	if len(done.Reasons) > 0 || len(done.Added.Users) != 3 || len(done.Added.Accounts) != 5 || len(done.Added.EntryPolicies) != 1 || len(done.Added.GroupPolicies) != 2 {
		t.Errorf("%+v", done)
	}
	for _, tt := range []struct {
		who, action, key string
		want             iam.Decision
	}{
		{"ann", "s3:GetObject", "home/x", iam.Allow},
		{"ann", "s3:PutObject", "home/x", iam.Abstain},
		{"annskey", "s3:GetObject", "home/y", iam.Allow},
		{"bound", "s3:GetObject", "home/x", iam.Allow},
		{"bound", "s3:GetObject", "home/y", iam.Deny},
		{"carl", "s3:PutObject", "other", iam.Allow},
		{"rootskey", "s3:PutObject", "other", iam.Allow},
		{"eveskey", "s3:GetObject", "home/x", iam.Allow},
		{"eveskey", "s3:PutObject", "other", iam.Allow},
		{"eveskey", "s3:GetObject", "other", iam.Abstain},
	} {
		if got := may(t, d, tt.who, tt.action, tt.key); got != tt.want {
			t.Errorf("%s may %s %s: %v, want %v", tt.who, tt.action, tt.key, got, tt.want)
		}
	}
	if _, secret, err := d.Lookup("annskey"); err != nil || secret != "secret of annskey" {
		t.Error(secret, err)
	}
	unknown(t, d, "bob")
	unknown(t, d, "off")
}

func TestWhatWasExportedIsTheSameWhereItIsImported(t *testing.T) {
	from, to, ctx := open(t, &directorytest.Records{}), open(t, &directorytest.Records{}), t.Context()
	must(t, from.SetPolicy(ctx, "home", readHome))
	must(t, from.SetUser(ctx, "ann", "secret of ann", true))
	must(t, from.SetUser(ctx, "bob", "secret of bob", false))
	must(t, from.AddMembers(ctx, "devs", []string{"ann", "bob"}))
	must(t, from.AddMembers(ctx, "empty", nil))
	must(t, from.EnableGroup(ctx, "empty", false))
	must(t, from.SetPolicies(ctx, directory.Holder{Name: "devs", Group: true}, []string{"home", "readonly"}))
	must(t, from.SetPolicies(ctx, directory.Holder{Name: "bob"}, []string{"home"}))
	for name, parent := range map[string]string{"annskey": "ann", "rootskey": "root"} {
		_, _, err := from.AddAccount(ctx, directory.NewAccount{Parent: parent, AccessKey: name, Secret: "secret of " + name, Policy: readHome, Expires: noon.Add(time.Hour), Disabled: name == "annskey"})
		must(t, err)
	}
	must(t, from.SetPolicies(ctx, directory.Holder{Name: "uid=eve,dc=y", Entry: true}, []string{"home"}))
	must(t, from.SetPolicies(ctx, directory.Holder{Name: "cn=devs,dc=y", Entry: true, Group: true}, []string{"readonly"}))
	eve := directory.OfLDAP("eve", "uid=eve,dc=y", []string{"cn=devs,dc=y"})
	sub := directory.Person{Name: "openid.DEX=sub", Provider: "openid.DEX", Policies: []string{"home"}, Claims: map[string][]string{"jwt:sub": {"sub"}}}
	for _, p := range []*directory.Person{&eve, &sub} {
		_, _, err := from.AddAccount(ctx, directory.NewAccount{Person: p, AccessKey: "key" + p.Name[len(p.Name)-3:len(p.Name)-2], Secret: "secret of theirs"})
		must(t, err)
	}
	exported := func(d *directory.Directory) *directory.Archive {
		a, err := d.Export(true)
		must(t, err)
		packed, err := a.Pack()
		must(t, err)
		a, err = directory.ReadArchive(packed)
		must(t, err)
		return a
	}
	want := exported(from)
	for range 2 { // the second time everything is there
		done, err := to.Import(ctx, want, true)
		must(t, err)
		if len(done.Reasons) > 0 {
			t.Errorf("skipped %v", done.Reasons)
		}
		if got := exported(to); !reflect.DeepEqual(got, want) {
			t.Errorf("got  %+v\nwant %+v", got, want)
		}
	}
}

func TestWhatCannotBeImportedLeavesNobodyWithMore(t *testing.T) {
	d, ctx := open(t, &directorytest.Records{}), t.Context()
	must(t, d.SetUser(ctx, "there", "secret of there", true))
	_, _, err := d.AddAccount(ctx, directory.NewAccount{Parent: "there", AccessKey: "theirs", Secret: "secret of theirs"})
	must(t, err)
	done := take(t, d, false, map[string]string{
		"policies.json": `{"bad":{"Statement":[{"Effect":"Deny","Action":"s3:Misspelt","Resource":"*"}]}}`,
		"users.json":    `{"root":{"secretKey":"a new secret","status":"enabled"},"theirs":{"secretKey":"a new secret","status":"enabled"},"ann":{"secretKey":"secret of ann","status":"enabled"}}`,
		"svcaccts.json": `{"rootskey":{"parent":"root","secretKey":"secret of rootskey","status":"on"},"tokens":{"parent":"c3Vi","secretKey":"secret of tokens","status":"on","claims":{"iss":"https://id","sub":"sub"}},
			"feigned":{"parent":"ann","secretKey":"secret of feigned","status":"on","claims":{"shoalPerson":{"Name":"ann","Provider":"ldap","Policies":["consoleAdmin"]}}},"orphan":{"parent":"nobody","secretKey":"secret of orphan","status":"on"},
			"lost":{"parent":"ann","secretKey":"secret of lost","status":"on","claims":{"sa-policy":"embedded-policy"},"sessionPolicy":null},"theirs":{"parent":"ann","secretKey":"secret of ann's","status":"on"}}`,
		"user_mappings.json": `{"ann":{"policy":"readwrite,bad"}}`,
	})
	want := directory.Names{Policies: []string{"bad"}, Users: []string{"root", "theirs"}, Accounts: []string{"feigned", "lost", "orphan", "rootskey", "theirs", "tokens"}, UserPolicies: []string{"ann"}}
	if !reflect.DeepEqual(done.Skipped, want) || !slices.Equal(done.Added.Users, []string{"ann"}) || len(done.Reasons) != 10 {
		t.Errorf("%+v", done)
	}
	for _, name := range []string{"rootskey", "orphan", "lost", "feigned", "tokens"} {
		unknown(t, d, name)
	}
	if got := may(t, d, "ann", "s3:PutObject", "x"); got != iam.Abstain {
		t.Errorf("ann has some of her policies: %v", got)
	}
	if _, secret, err := d.Lookup("theirs"); err != nil || secret != "secret of theirs" {
		t.Errorf("%q, %v", secret, err)
	}
}

func TestTheRootUsersAccountsAreExportedForHimOnly(t *testing.T) {
	d := open(t, &directorytest.Records{})
	_, _, err := d.AddAccount(t.Context(), directory.NewAccount{Parent: "root", AccessKey: "rootskey", Secret: "secret of rootskey"})
	must(t, err)
	for forRoot, want := range map[bool]int{true: 1, false: 0} {
		a, err := d.Export(forRoot)
		must(t, err)
		if len(a.Accounts) != want {
			t.Errorf("for root %v: %+v", forRoot, a.Accounts)
		}
	}
}

func TestAnArchiveThatIsNoneOrTooLongIsRefused(t *testing.T) {
	for what, packed := range map[string][]byte{
		"text":     []byte("text"),
		"not JSON": pack(t, map[string]string{"users.json": "{"}),
		"a list":   pack(t, map[string]string{"users.json": "[]"}),
		"a bomb":   pack(t, map[string]string{"users.json": string(make([]byte, 65<<20))}),
	} {
		if _, err := directory.ReadArchive(packed); !errors.Is(err, directory.ErrInvalid) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// FuzzImport has whatever can be read as an archive be taken in without harm: nobody
// acts for the root user, and what was taken in can be exported.
func FuzzImport(f *testing.F) {
	f.Add(`{"p":{"Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}}`, `{"ann":{"secretKey":"secret of ann","status":"enabled"}}`, `{"g":{"members":["ann"]}}`,
		`{"k":{"parent":"ann","secretKey":"secret of k"},"r":{"parent":"root","secretKey":"secret of r","status":"on"},"e":{"parent":"uid=e","secretKey":"secret of e","status":"on","claims":{"shoalPerson":{"Name":"uid=e","Provider":"ldap"}}}}`, `{"ann":{"policy":"p"}}`)
	f.Fuzz(func(t *testing.T, policies, users, groups, accounts, mappings string) {
		a, err := directory.ReadArchive(pack(t, map[string]string{"policies.json": policies, "users.json": users, "groups.json": groups, "svcaccts.json": accounts, "user_mappings.json": mappings}))
		if err != nil {
			return
		}
		d := open(t, &directorytest.Records{})
		if _, err := d.Import(t.Context(), a, false); err != nil {
			t.Fatal(err)
		}
		for name := range a.Accounts {
			if id, _, err := d.Lookup(name); err == nil && id.Root && name != "root" {
				t.Errorf("%s acts for root", name)
			}
		}
		exported, err := d.Export(true)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := json.Marshal(exported); err != nil {
			t.Error(err)
		}
	})
}

// FuzzReadArchive has no file make the reader fail otherwise than by saying so.
func FuzzReadArchive(f *testing.F) {
	f.Add(pack(f, map[string]string{"users.json": `{"ann":{"secretKey":"x"}}`}))
	f.Fuzz(func(t *testing.T, packed []byte) {
		if _, err := directory.ReadArchive(packed); err != nil && !errors.Is(err, directory.ErrInvalid) {
			t.Error(err)
		}
	})
}
