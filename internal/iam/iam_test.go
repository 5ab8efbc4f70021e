package iam_test

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/shoal-storage/shoal/internal/iam"
)

func TestOnlyTheRootUsersKeyIsKnown(t *testing.T) {
	root := iam.NewRoot("admin", "the secret")
	id, secret, err := root.Lookup("admin")
	if want := (iam.Identity{AccessKey: "admin", Root: true}); !reflect.DeepEqual(id, want) || secret != "the secret" || err != nil {
		t.Errorf("got %+v, %q, %v", id, secret, err)
	}
	for _, other := range []string{"", "Admin", "admi", "admin ", "admin\x00", "the secret"} {
		if id, secret, err := root.Lookup(other); !errors.Is(err, iam.ErrNoSuchKey) || !reflect.DeepEqual(id, iam.Identity{}) || secret != "" {
			t.Errorf("%q is known as %+v with the secret %q: %v", other, id, secret, err)
		}
	}
}

func TestRootMayDoEverythingAndNobodyElseAnything(t *testing.T) {
	for _, request := range []iam.Request{
		{Action: "s3:ListAllMyBuckets"},
		{Action: "s3:CreateBucket", Bucket: "b"},
		{Action: "s3:GetObject", Bucket: "b", Key: "k"},
		{Action: "admin:CreateUser"},
	} {
		for _, tt := range []struct {
			who  iam.Identity
			want iam.Decision
		}{
			{iam.Identity{AccessKey: "admin", Root: true}, iam.Allow},
			{iam.Identity{AccessKey: "admin"}, iam.Abstain}, // the name alone says nothing
			{iam.Identity{}, iam.Abstain},
		} {
			request.Identity = tt.who
			if got := tt.who.Decide(&request); got != tt.want {
				t.Errorf("%+v: %v, want %v", request, got, tt.want)
			}
		}
	}
}

func TestWhoeverHasNotSignedIsAnonymous(t *testing.T) {
	if !(iam.Identity{}).Anonymous() || (iam.Identity{AccessKey: "admin"}).Anonymous() {
		t.Error("an identity is anonymous if it has no access key, and only then")
	}
}

// userPolicy returns a policy of users.
func userPolicy(t testing.TB, statements string) *iam.Policy {
	t.Helper()
	p, err := iam.ParseUserPolicy([]byte(`{"Version":"2012-10-17","Statement":[` + statements + `]}`))
	if err != nil {
		t.Fatalf("%v: %s", err, statements)
	}
	return p
}

func cannedPolicy(t testing.TB, name string) *iam.Policy {
	t.Helper()
	p, err := iam.ParseUserPolicy([]byte(iam.Canned()[name]))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return p
}

func TestAUserMayDoWhatOneOfHisPoliciesAllowsAndNoneDenies(t *testing.T) {
	read, write := cannedPolicy(t, "readonly"), cannedPolicy(t, "writeonly")
	secret := userPolicy(t, `{"Effect":"Deny","Action":"s3:*","Resource":"arn:aws:s3:::b/secret/*"}`)
	for _, tt := range []struct {
		policies []*iam.Policy
		action   string
		key      string
		want     iam.Decision
	}{
		{nil, "s3:GetObject", "k", iam.Abstain},
		{[]*iam.Policy{read}, "s3:GetObject", "k", iam.Allow},
		{[]*iam.Policy{read}, "s3:PutObject", "k", iam.Abstain},
		{[]*iam.Policy{read, write}, "s3:PutObject", "k", iam.Allow},
		{[]*iam.Policy{secret, read}, "s3:GetObject", "secret/k", iam.Deny},
		{[]*iam.Policy{read, secret}, "s3:GetObject", "secret/k", iam.Deny},
		{[]*iam.Policy{read, secret}, "s3:GetObject", "k", iam.Allow},
	} {
		who := iam.Identity{AccessKey: "ann", Access: &iam.Access{Policies: tt.policies}}
		r := iam.Request{Identity: who, Action: tt.action, Bucket: "b", Key: tt.key}
		if got := who.Decide(&r); got != tt.want {
			t.Errorf("%d policies, %s of %s: %v, want %v", len(tt.policies), tt.action, tt.key, got, tt.want)
		}
	}
}

func TestAServiceAccountMayDoNoMoreThanItsUserAndItsBound(t *testing.T) {
	bound := userPolicy(t, `{"Effect":"Allow","Action":["s3:GetObject","s3:PutObject"],"Resource":"arn:aws:s3:::b/own/*"}`)
	read := &iam.Access{Policies: []*iam.Policy{cannedPolicy(t, "readonly")}, Bounds: []*iam.Policy{bound}}
	for _, tt := range []struct {
		who    iam.Identity
		action string
		key    string
		want   iam.Decision
	}{
		{iam.Identity{AccessKey: "x", Parent: "ann", Access: read}, "s3:GetObject", "own/k", iam.Allow},
		{iam.Identity{AccessKey: "x", Parent: "ann", Access: read}, "s3:PutObject", "own/k", iam.Abstain},
		{iam.Identity{AccessKey: "x", Parent: "ann", Access: read}, "s3:GetObject", "k", iam.Deny},
		{iam.Identity{AccessKey: "x", Parent: "admin", Root: true, Access: read}, "s3:PutObject", "own/k", iam.Allow},
		{iam.Identity{AccessKey: "x", Parent: "admin", Root: true, Access: read}, "s3:PutObject", "k", iam.Deny},
		{iam.Identity{AccessKey: "x", Parent: "admin", Root: true}, "s3:PutObject", "k", iam.Allow},
	} {
		r := iam.Request{Identity: tt.who, Action: tt.action, Bucket: "b", Key: tt.key}
		if got := tt.who.Decide(&r); got != tt.want {
			t.Errorf("root %v, %s of %s: %v, want %v", tt.who.Root, tt.action, tt.key, got, tt.want)
		}
	}
}

func TestAServiceAccountIsItsUserToPoliciesOfBuckets(t *testing.T) {
	p := parse(t, policy(map[string]string{"Principal": `{"AWS": "arn:aws:iam::123456789012:user/ann"}`}))
	r := get("k")
	r.Identity = iam.Identity{AccessKey: "x", Parent: "ann"}
	if got := p.Decide(&r); got != iam.Allow {
		t.Errorf("%v", got)
	}
}

// TestOnlyWhoIsNamedForItAdministers has statements that are about objects, however
// wide their actions.
func TestOnlyWhoIsNamedForItAdministers(t *testing.T) {
	for _, tt := range []struct {
		statement string
		want      iam.Decision
	}{
		{`{"Effect":"Allow","Action":"admin:*"}`, iam.Allow},
		{`{"Effect":"Allow","Action":"admin:Create*"}`, iam.Allow},
		{`{"Effect":"Allow","Action":"admin:ListUsers"}`, iam.Abstain},
		{`{"Effect":"Deny","Action":"admin:*"}`, iam.Deny},
		{`{"Effect":"Allow","Action":["admin:*","s3:*"],"Resource":"arn:aws:s3:::*"}`, iam.Allow},
		{`{"Effect":"Allow","Action":"*","Resource":"*"}`, iam.Allow},
		{`{"Effect":"Allow","Action":"*","Resource":"arn:aws:s3:::b/*"}`, iam.Abstain},
		{`{"Effect":"Allow","Action":"s3:*","Resource":"*"}`, iam.Abstain},
	} {
		if got := userPolicy(t, tt.statement).Decide(&iam.Request{Action: "admin:CreateUser"}); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.statement, got, tt.want)
		}
	}
}

func TestCannedPoliciesAllowWhatTheirNamesSay(t *testing.T) {
	allowed := map[string]string{
		"consoleAdmin": "admin:CreateUser s3:GetObject s3:PutObject s3:DeleteObject",
		"readwrite":    "s3:GetObject s3:PutObject s3:DeleteObject",
		"readonly":     "s3:GetObject",
		"writeonly":    "s3:PutObject",
		"diagnostics":  "admin:ServerInfo",
	}
	for name := range iam.Canned() {
		p := cannedPolicy(t, name)
		for _, action := range []string{"admin:CreateUser", "admin:ServerInfo", "s3:GetObject", "s3:PutObject", "s3:DeleteObject"} {
			r := iam.Request{Action: action, Bucket: "b", Key: "k"}
			if strings.HasPrefix(action, "admin:") {
				r.Bucket, r.Key = "", ""
			}
			want := strings.Contains(allowed[name], action) || name == "consoleAdmin"
			if got := p.Decide(&r) == iam.Allow; got != want {
				t.Errorf("%s, %s: %v", name, action, got)
			}
		}
	}
	if len(iam.Canned()) != len(allowed) {
		t.Errorf("there are %d", len(iam.Canned()))
	}
}

func TestAPolicyOfUsersThatMeansNothingIsRefused(t *testing.T) {
	for _, tt := range []struct{ statement, message string }{
		{`{"Effect":"Allow","Principal":"*","Action":"s3:*","Resource":"*"}`, "Invalid principal"},
		{`{"Effect":"Allow","Action":"s3:*"}`, "Missing required field Resource"},
		{`{"Effect":"Allow","NotAction":"admin:*"}`, "Missing required field Resource"},
		{`{"Effect":"Allow","Action":"s3:Fly","Resource":"*"}`, "invalid action"},
		{`{"Effect":"Allow","Action":"ec2:*","Resource":"*"}`, "invalid action"},
		{`{"Effect":"Allow","Action":"s3:*","Resource":"bucket/*"}`, "invalid resource"},
		{`{"Effect":"Allow","Resource":"*"}`, "Missing required field Action"},
	} {
		_, err := iam.ParseUserPolicy([]byte(`{"Statement":[` + tt.statement + `]}`))
		if err == nil || !strings.Contains(err.Error(), tt.message) {
			t.Errorf("%s: %v, want %q", tt.statement, err, tt.message)
		}
	}
}

func FuzzParseUserPolicy(f *testing.F) {
	for _, text := range iam.Canned() {
		f.Add(text, "k")
	}
	f.Add(fmt.Sprintf(`{"Version":"2012-10-17","Statement":{"Effect":"Deny","NotAction":"admin:*","NotResource":"%s${aws:username}/*"}}`, iam.ARNPrefix), "k")
	f.Fuzz(func(t *testing.T, text, key string) {
		p, err := iam.ParseUserPolicy([]byte(text))
		if err != nil {
			return
		}
		r := get(key)
		r.Identity = iam.Identity{AccessKey: "ann", Access: &iam.Access{Bounds: []*iam.Policy{p}}}
		if got := r.Identity.Decide(&r); got == iam.Allow {
			t.Error("a bound allows something by itself")
		}
	})
}
