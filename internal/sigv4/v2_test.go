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

// The first requests are the examples of AWS's page on the authentication of REST requests.
func TestHeadersOfVersion2AreReadByWhoAsksForThem(t *testing.T) {
	const key, secret = "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
	request := func(method, path, query, date, signature string, more ...sigv4.Field) sigv4.Request {
		header := append(sigv4.Fields{{Name: "Date", Value: date}, {Name: "Authorization", Value: "AWS " + key + ":" + signature}}, more...)
		return sigv4.Request{Method: method, Bucket: "johnsmith", Path: path, Query: query, Header: header}
	}
	verify := func(r sigv4.Request, secret string, now time.Time) error {
		if _, err := sigv4.Parse(r); reason(err) != sigv4.UnsupportedV2 {
			t.Errorf("%s %s is read by Parse: %v", r.Method, r.Path, err)
		}
		a, err := sigv4.ParseV2(r)
		if err != nil {
			return err
		}
		if a.AccessKey != key || a.Presigned || !a.V2 || a.CheckScope("eu-central-1") != nil {
			t.Errorf("%+v", a)
		}
		return a.Verify(r, secret, now)
	}
	at := time.Date(2007, 3, 27, 19, 40, 0, 0, time.UTC)
	get := request("GET", "/photos/puppy.jpg", "", "Tue, 27 Mar 2007 19:36:42 +0000", "bWq2s1WEIj+Ydj0vQ697zp+IXMU=")
	for _, r := range []sigv4.Request{
		get,
		request("GET", "/", "prefix=photos&max-keys=50&marker=puppy", "Tue, 27 Mar 2007 19:42:41 +0000", "htDYFYduRNen8P9ZfE/s9SuKy0U="),
		request("GET", "/", "acl", "Tue, 27 Mar 2007 19:44:46 +0000", "c2WLPFtWHVgbEmeEG93a4cG37dM="),
	} {
		if err := verify(r, secret, at); err != nil {
			t.Errorf("%s %s?%s: %v", r.Method, r.Path, r.Query, err)
		}
	}
	put := request("PUT", "/photos/puppy.jpg", "", "Tue, 27 Mar 2007 21:15:45 +0000", "MyyxeRY7whkBe+bq8fHCL/2kKUg=", sigv4.Field{Name: "Content-Type", Value: "image/jpeg"})
	if err := verify(put, secret, at.Add(100*time.Minute)); err != nil {
		t.Errorf("PUT: %v", err)
	}
	changed := func(change func(*sigv4.Request)) sigv4.Request {
		r := get
		change(&r)
		return r
	}
	with := func(fields ...sigv4.Field) sigv4.Request {
		return changed(func(r *sigv4.Request) { r.Header = append(sigv4.Fields{}, fields...) })
	}
	date := sigv4.Field{Name: "Date", Value: "Tue, 27 Mar 2007 19:36:42 +0000"}
	signed := func(value string) sigv4.Field { return sigv4.Field{Name: "Authorization", Value: value} }
	ours := signed("AWS " + key + ":bWq2s1WEIj+Ydj0vQ697zp+IXMU=")
	for name, tt := range map[string]struct {
		r      sigv4.Request
		secret string
		now    time.Time
		reason sigv4.Reason
	}{
		"another secret":      {get, "x", at, sigv4.SignatureMismatch},
		"another key":         {changed(func(r *sigv4.Request) { r.Path = "/photos/kitten.jpg" }), secret, at, sigv4.SignatureMismatch},
		"another bucket":      {changed(func(r *sigv4.Request) { r.Bucket = "other" }), secret, at, sigv4.SignatureMismatch},
		"another operation":   {changed(func(r *sigv4.Request) { r.Query = "tagging" }), secret, at, sigv4.SignatureMismatch},
		"a header added":      {with(date, ours, sigv4.Field{Name: "x-amz-acl", Value: "private"}), secret, at, sigv4.SignatureMismatch},
		"another date":        {with(sigv4.Field{Name: "Date", Value: "Tue, 27 Mar 2007 19:36:43 +0000"}, ours), secret, at, sigv4.SignatureMismatch},
		"too late":            {get, secret, at.Add(time.Hour), sigv4.TimeTooSkewed},
		"too early":           {get, secret, at.Add(-time.Hour), sigv4.TimeTooSkewed},
		"no date":             {with(ours), secret, at, sigv4.MissingDate},
		"no signature":        {with(date, signed("AWS "+key)), secret, at, sigv4.HeaderMalformed},
		"an empty signature":  {with(date, signed("AWS "+key+":")), secret, at, sigv4.HeaderMalformed},
		"chunks of version 4": {with(date, ours, sigv4.Field{Name: "x-amz-content-sha256", Value: "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"}), secret, at, sigv4.UnsupportedV2},
	} {
		if err := verify(tt.r, tt.secret, tt.now); reason(err) != tt.reason {
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
