package iam_test

import (
	"testing"

	"github.com/shoal-storage/shoal/internal/iam"
)

func TestOnlyTheRootUsersKeyIsKnown(t *testing.T) {
	root := iam.NewRoot("admin", "the secret")
	id, secret, ok := root.Lookup("admin")
	if want := (iam.Identity{AccessKey: "admin", Root: true}); id != want || secret != "the secret" || !ok {
		t.Errorf("got %+v, %q, %v", id, secret, ok)
	}
	for _, other := range []string{"", "Admin", "admi", "admin ", "admin\x00", "the secret"} {
		if id, secret, ok := root.Lookup(other); ok || id != (iam.Identity{}) || secret != "" {
			t.Errorf("%q is known as %+v with the secret %q", other, id, secret)
		}
	}
}

func TestRootMayDoEverythingAndNobodyElseAnything(t *testing.T) {
	root := iam.NewRoot("admin", "the secret")
	for _, request := range []iam.Request{
		{Action: "s3:ListAllMyBuckets"},
		{Action: "s3:CreateBucket", Bucket: "b"},
		{Action: "s3:GetObject", Bucket: "b", Key: "k"},
	} {
		for _, tt := range []struct {
			who  iam.Identity
			want bool
		}{
			{iam.Identity{AccessKey: "admin", Root: true}, true},
			{iam.Identity{AccessKey: "admin"}, false}, // the name alone says nothing
			{iam.Identity{}, false},
		} {
			request.Identity = tt.who
			if root.Allowed(&request) != tt.want {
				t.Errorf("%+v: not %v", request, tt.want)
			}
		}
	}
}

func TestWhoeverHasNotSignedIsAnonymous(t *testing.T) {
	if !(iam.Identity{}).Anonymous() || (iam.Identity{AccessKey: "admin"}).Anonymous() {
		t.Error("an identity is anonymous if it has no access key, and only then")
	}
}
