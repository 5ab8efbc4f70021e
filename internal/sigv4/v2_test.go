package sigv4_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/shoal-storage/shoal/internal/sigv4"
)

// The first URL is the example of AWS's page on query string authentication,
// the others were made by botocore 1.43 with the same credentials.
func TestPresignedURLsOfVersion2(t *testing.T) {
	const key, secret = "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
	verify := func(r sigv4.Request, secret string, at int64) error {
		a, err := sigv4.Parse(r)
		if err != nil {
			return err
		}
		if a.AccessKey != key || !a.Presigned || a.CheckScope("eu-central-1") != nil {
			t.Errorf("%+v", a)
		}
		return a.Verify(r, secret, time.Unix(at, 0))
	}
	puppy := sigv4.Request{
		Method: "GET", Bucket: "johnsmith", Path: "/photos/puppy.jpg", Header: sigv4.Fields{},
		Query: "AWSAccessKeyId=" + key + "&Signature=NpgCjnDzrM%2BWFzoENXmpNDUsSn8%3D&Expires=1175139620",
	}
	get := sigv4.Request{
		Method: "GET", Path: "/b/dir/a%20b%2Bc", Header: sigv4.Fields{},
		Query: "response-content-type=text%2Fx%20y&AWSAccessKeyId=" + key + "&Signature=PhkJD%2F7J79Et61c6nRlZVcRC9h8%3D&Expires=2000000000",
	}
	put := sigv4.Request{
		Method: "PUT", Path: "/b/k", Header: sigv4.Fields{{Name: "X-Amz-Meta-Color", Value: "blue"}, {Name: "Content-Type", Value: "text/plain"}},
		Query: "AWSAccessKeyId=" + key + "&Signature=o14hH1LOi%2BqkkOj3tDQpPyls5R0%3D&content-type=text%2Fplain&x-amz-meta-color=blue&Expires=2000000000",
	}
	temporary := sigv4.Request{
		Method: "GET", Path: "/b/k", Header: sigv4.Fields{},
		Query: "AWSAccessKeyId=" + key + "&Signature=Wb0jcdPHP77ZEunKT27yRYgAZUs%3D&x-amz-security-token=to%2Fken%2B%3D&Expires=2000000000",
	}
	if a, err := sigv4.Parse(temporary); err != nil || a.SecurityToken != "to/ken+=" {
		t.Errorf("%+v, %v", a, err)
	}
	for _, r := range []sigv4.Request{puppy, get, put, temporary} {
		if err := verify(r, secret, 1175139620); err != nil {
			t.Errorf("%s %s: %v", r.Method, r.Path, err)
		}
	}
	other := func(change func(*sigv4.Request)) sigv4.Request {
		r := get
		change(&r)
		return r
	}
	for name, tt := range map[string]struct {
		r      sigv4.Request
		secret string
		at     int64
		reason sigv4.Reason
	}{
		"too late":       {puppy, secret, 1175139621, sigv4.Expired},
		"another secret": {get, "x", 0, sigv4.SignatureMismatch},
		"another method": {other(func(r *sigv4.Request) { r.Method = "DELETE" }), secret, 0, sigv4.SignatureMismatch},
		"another key":    {other(func(r *sigv4.Request) { r.Path = "/b/dir/other" }), secret, 0, sigv4.SignatureMismatch},
		"a header added": {other(func(r *sigv4.Request) { r.Header = sigv4.Fields{{Name: "x-amz-acl", Value: "x"}} }), secret, 0, sigv4.SignatureMismatch},
		"another token": {sigv4.Request{
			Method: "GET", Path: "/b/k", Header: sigv4.Fields{}, Query: strings.Replace(temporary.Query, "ken", "kin", 1),
		}, secret, 0, sigv4.SignatureMismatch},
		"a parameter added": {other(func(r *sigv4.Request) { r.Query += "&versionId=1" }), secret, 0, sigv4.SignatureMismatch},
	} {
		err := verify(tt.r, tt.secret, tt.at)
		var e *sigv4.Error
		if !errors.As(err, &e) || e.Reason != tt.reason {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The form was made by boto3 1.43.
func TestFormsOfVersion2(t *testing.T) {
	const (
		key, secret = "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
		policy      = "eyJleHBpcmF0aW9uIjogIjIwMjYtMTEtMjVUMjI6MTQ6NDdaIiwgImNvbmRpdGlvbnMiOiBbeyJidWNrZXQiOiAiYiJ9LCB7ImtleSI6ICJrIn1dfQ=="
	)
	fields := map[string]string{"key": "k", "bucket": "b", "awsaccesskeyid": key, "policy": policy, "signature": "t166Y/VrKTh9hhgapZIyjUjvUl8="}
	a, err := sigv4.ParsePost(fields)
	if err != nil || a.AccessKey != key || a.CheckScope("eu-central-1") != nil {
		t.Fatalf("%+v, %v", a, err)
	}
	if err := a.VerifyPolicy(policy, secret); err != nil {
		t.Error(err)
	}
	p, err := sigv4.ParsePolicy(policy)
	if err != nil || p.Check(p.Expiration.Add(-time.Second), fields, 1) != nil {
		t.Errorf("%+v, %v", p, err)
	}
	if err := a.VerifyPolicy(policy, "x"); reason(err) != sigv4.SignatureMismatch {
		t.Errorf("another secret: %v", err)
	}
	if err := a.VerifyPolicy(policy+"e30=", secret); reason(err) != sigv4.SignatureMismatch {
		t.Errorf("another policy: %v", err)
	}
}
