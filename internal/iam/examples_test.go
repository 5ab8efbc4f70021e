package iam_test

import (
	"testing"

	"github.com/shoal-storage/shoal/internal/iam"
)

// ask is a request in a word or two: who, what, and of what. Who is "nobody", "ann", "bob"
// or "root"; what is an action of S3 without its prefix; of what is a key, or "" for the
// bucket.
type ask struct {
	who, action, key string
	with             values
	want             iam.Decision
}

func (a ask) request() *iam.Request {
	who := map[string]iam.Identity{"nobody": {}, "ann": {AccessKey: "ann"}, "bob": {AccessKey: "bob"}, "root": {AccessKey: "admin", Root: true}}[a.who]
	v := values{}
	if a.who == "ann" || a.who == "bob" {
		v["aws:username"] = []string{a.who}
	}
	for key, have := range a.with {
		v[key] = have
	}
	return &iam.Request{Identity: who, Action: "s3:" + a.action, Bucket: "bucket", Key: a.key, Values: v}
}

// TestPoliciesOfTheGuideDecideAsItSays has policies in the manner of those in AWS's guide
// (https://docs.aws.amazon.com/AmazonS3/latest/userguide/example-bucket-policies.html and
// the pages next to it), and what they come to.
func TestPoliciesOfTheGuideDecideAsItSays(t *testing.T) {
	const (
		allow, deny, no = iam.Allow, iam.Deny, iam.Abstain
		objects         = `"Resource":"arn:aws:s3:::bucket/*"`
		itself          = `"Resource":"arn:aws:s3:::bucket"`
		both            = `"Resource":["arn:aws:s3:::bucket","arn:aws:s3:::bucket/*"]`
		everybody       = `"Principal":"*"`
		ann             = `"Principal":{"AWS":"arn:aws:iam::111122223333:user/ann"}`
	)
	with := func(pairs ...string) values {
		v := values{}
		for i := 0; i < len(pairs); i += 2 {
			v[pairs[i]] = append(v[pairs[i]], pairs[i+1])
		}
		return v
	}
	for name, tt := range map[string]struct {
		statements string
		asks       []ask
	}{
		"everybody reads": {`{"Effect":"Allow",` + everybody + `,"Action":["s3:GetObject","s3:GetObjectVersion"],` + objects + `}`, []ask{
			{"nobody", "GetObject", "k", nil, allow},
			{"ann", "GetObject", "deep/k", nil, allow},
			{"nobody", "GetObjectVersion", "k", nil, allow},
			{"nobody", "GetObjectTagging", "k", nil, no},
			{"nobody", "PutObject", "k", nil, no},
			{"nobody", "ListBucket", "", nil, no},
		}},
		"only by TLS": {`{"Effect":"Allow",` + everybody + `,"Action":"s3:GetObject",` + objects + `},{"Effect":"Deny",` + everybody + `,"Action":"s3:*",` + both + `,"Condition":{"Bool":{"aws:SecureTransport":"false"}}}`, []ask{
			{"nobody", "GetObject", "k", with("aws:securetransport", "true"), allow},
			{"nobody", "GetObject", "k", with("aws:securetransport", "false"), deny},
			{"root", "PutObject", "k", with("aws:securetransport", "false"), deny},
			{"root", "DeleteBucket", "", with("aws:securetransport", "false"), deny},
			{"root", "PutObject", "k", with("aws:securetransport", "true"), no},
		}},
		"only from an office": {`{"Effect":"Deny",` + everybody + `,"Action":"s3:*",` + both + `,"Condition":{"NotIpAddress":{"aws:SourceIp":["192.0.2.0/24","2001:db8:1234::/48"]}}},
			{"Effect":"Allow",` + everybody + `,"Action":"s3:GetObject",` + objects + `}`, []ask{
			{"nobody", "GetObject", "k", with("aws:sourceip", "192.0.2.143"), allow},
			{"nobody", "GetObject", "k", with("aws:sourceip", "2001:db8:1234:5678::1"), allow},
			{"nobody", "GetObject", "k", with("aws:sourceip", "198.51.100.4"), deny},
			{"nobody", "GetObject", "k", with("aws:sourceip", "2001:db8:1235::1"), deny},
			{"root", "ListBucket", "", with("aws:sourceip", "198.51.100.4"), deny},
			{"root", "ListBucket", "", with("aws:sourceip", "192.0.2.1"), no},
			{"nobody", "GetObject", "k", nil, deny},
		}},
		"from a network but one host": {`{"Effect":"Allow",` + everybody + `,"Action":"s3:GetObject",` + objects + `,"Condition":{"IpAddress":{"aws:SourceIp":"192.0.2.0/24"},"NotIpAddress":{"aws:SourceIp":"192.0.2.188/32"}}}`, []ask{
			{"nobody", "GetObject", "k", with("aws:sourceip", "192.0.2.1"), allow},
			{"nobody", "GetObject", "k", with("aws:sourceip", "192.0.2.188"), no},
			{"nobody", "GetObject", "k", with("aws:sourceip", "192.0.3.1"), no},
		}},
		"from pages of a site": {`{"Effect":"Allow",` + everybody + `,"Action":["s3:GetObject","s3:GetObjectVersion"],` + objects + `,"Condition":{"StringLike":{"aws:Referer":["http://www.example.com/*","http://example.com/*"]}}}`, []ask{
			{"nobody", "GetObject", "k", with("aws:referer", "http://www.example.com/a.html"), allow},
			{"nobody", "GetObject", "k", with("aws:referer", "http://example.com/"), allow},
			{"nobody", "GetObject", "k", with("aws:referer", "http://example.com.evil.test/"), no},
			{"nobody", "GetObject", "k", with("aws:referer", "https://www.example.com/a.html"), no},
			{"nobody", "GetObject", "k", nil, no},
		}},
		"a folder for each user": {`{"Effect":"Allow",` + everybody + `,"Action":["s3:PutObject","s3:GetObject"],"Resource":"arn:aws:s3:::bucket/home/${aws:username}/*"},
			{"Effect":"Allow",` + everybody + `,"Action":"s3:ListBucket",` + itself + `,"Condition":{"StringLike":{"s3:prefix":["home/${aws:username}/*","home/${aws:username}"]}}}`, []ask{
			{"ann", "PutObject", "home/ann/k", nil, allow},
			{"ann", "GetObject", "home/ann/a/b", nil, allow},
			{"ann", "GetObject", "home/bob/k", nil, no},
			{"ann", "GetObject", "home/ann", nil, no},
			{"ann", "DeleteObject", "home/ann/k", nil, no},
			{"bob", "GetObject", "home/bob/k", nil, allow},
			{"ann", "ListBucket", "", with("s3:prefix", "home/ann/"), allow},
			{"ann", "ListBucket", "", with("s3:prefix", "home/ann"), allow},
			{"ann", "ListBucket", "", with("s3:prefix", "home/bob/"), no},
			{"ann", "ListBucket", "", with("s3:prefix", ""), no},
			{"ann", "ListBucket", "", nil, no},
			{"nobody", "GetObject", "home//k", nil, no},
			{"nobody", "GetObject", "home/${aws:username}/k", nil, no},
		}},
		"a user lists one folder": {`{"Effect":"Allow",` + ann + `,"Action":"s3:ListBucket",` + itself + `,"Condition":{"StringEquals":{"s3:prefix":"projects/","s3:delimiter":"/"},"NumericLessThanEquals":{"s3:max-keys":"10"}}}`, []ask{
			{"ann", "ListBucket", "", with("s3:prefix", "projects/", "s3:delimiter", "/", "s3:max-keys", "10"), allow},
			{"ann", "ListBucket", "", with("s3:prefix", "projects/", "s3:delimiter", "/", "s3:max-keys", "11"), no},
			{"ann", "ListBucket", "", with("s3:prefix", "projects/", "s3:max-keys", "1"), no},
			{"ann", "ListBucket", "", with("s3:prefix", "projects/x", "s3:delimiter", "/", "s3:max-keys", "1"), no},
			{"ann", "ListBucket", "", with("s3:prefix", "projects/", "s3:delimiter", "/"), no},
			{"bob", "ListBucket", "", with("s3:prefix", "projects/", "s3:delimiter", "/", "s3:max-keys", "1"), no},
		}},
		"by the tags of an object": {`{"Effect":"Allow",` + ann + `,"Action":["s3:GetObject"],` + objects + `,"Condition":{"StringEquals":{"s3:ExistingObjectTag/environment":"production"}}},
			{"Effect":"Deny",` + ann + `,"Action":"s3:PutObjectTagging",` + objects + `,"Condition":{"ForAnyValue:StringNotLike":{"s3:RequestObjectTagKeys":["environment","cost*"]}}},
			{"Effect":"Allow",` + ann + `,"Action":"s3:PutObjectTagging",` + objects + `}`, []ask{
			{"ann", "GetObject", "k", with("s3:existingobjecttag/environment", "production"), allow},
			{"ann", "GetObject", "k", with("s3:existingobjecttag/environment", "test"), no},
			{"ann", "GetObject", "k", with("s3:existingobjecttag/other", "production"), no},
			{"ann", "GetObject", "k", nil, no},
			{"ann", "PutObjectTagging", "k", with("s3:requestobjecttagkeys", "environment", "s3:requestobjecttagkeys", "costcentre"), allow},
			{"ann", "PutObjectTagging", "k", with("s3:requestobjecttagkeys", "environment", "s3:requestobjecttagkeys", "owner"), deny},
			{"ann", "PutObjectTagging", "k", nil, allow},
		}},
		"only with a tag of some values": {`{"Effect":"Allow",` + ann + `,"Action":"s3:PutObject",` + objects + `,"Condition":{"StringEquals":{"s3:RequestObjectTag/project":["x","y"]}}}`, []ask{
			{"ann", "PutObject", "k", with("s3:requestobjecttag/project", "y"), allow},
			{"ann", "PutObject", "k", with("s3:requestobjecttag/project", "z"), no},
			{"ann", "PutObject", "k", nil, no},
		}},
		"only if encrypted": {`{"Effect":"Deny",` + everybody + `,"Action":"s3:PutObject",` + objects + `,"Condition":{"StringNotEquals":{"s3:x-amz-server-side-encryption":"AES256"}}},
			{"Effect":"Deny",` + everybody + `,"Action":"s3:PutObject",` + objects + `,"Condition":{"Null":{"s3:x-amz-server-side-encryption":"true"}}}`, []ask{
			{"root", "PutObject", "k", with("s3:x-amz-server-side-encryption", "AES256"), no},
			{"root", "PutObject", "k", with("s3:x-amz-server-side-encryption", "aws:kms"), deny},
			{"root", "PutObject", "k", nil, deny},
			{"root", "GetObject", "k", nil, no},
		}},
		"only with a canned ACL": {`{"Effect":"Allow",` + ann + `,"Action":"s3:PutObject",` + objects + `,"Condition":{"StringEquals":{"s3:x-amz-acl":"bucket-owner-full-control"}}}`, []ask{
			{"ann", "PutObject", "k", with("s3:x-amz-acl", "bucket-owner-full-control"), allow},
			{"ann", "PutObject", "k", with("s3:x-amz-acl", "private"), no},
			{"ann", "PutObject", "k", nil, no},
		}},
		"an old version for one user": {`{"Effect":"Allow",` + ann + `,"Action":["s3:GetObjectVersion"],` + objects + `},
			{"Effect":"Deny",` + ann + `,"Action":["s3:GetObjectVersion"],` + objects + `,"Condition":{"StringNotEquals":{"s3:VersionId":"v1"}}}`, []ask{
			{"ann", "GetObjectVersion", "k", with("s3:versionid", "v1"), allow},
			{"ann", "GetObjectVersion", "k", with("s3:versionid", "v2"), deny},
			{"ann", "GetObjectVersion", "k", nil, deny},
			{"ann", "GetObject", "k", nil, no},
		}},
		"all but a folder": {`{"Effect":"Allow",` + ann + `,"Action":"s3:GetObject","NotResource":"arn:aws:s3:::bucket/private/*"}`, []ask{
			{"ann", "GetObject", "public/k", nil, allow},
			{"ann", "GetObject", "private/k", nil, no},
			{"ann", "GetObject", "private", nil, allow},
		}},
		"all but deleting": {`{"Effect":"Allow",` + ann + `,"NotAction":["s3:Delete*","s3:PutBucket*"],` + both + `}`, []ask{
			{"ann", "GetObject", "k", nil, allow},
			{"ann", "PutObject", "k", nil, allow},
			{"ann", "ListBucket", "", nil, allow},
			{"ann", "DeleteObject", "k", nil, no},
			{"ann", "DeleteObjectVersion", "k", nil, no},
			{"ann", "DeleteBucket", "", nil, no},
			{"ann", "PutBucketPolicy", "", nil, no},
		}},
		"nobody but two": {`{"Effect":"Deny","NotPrincipal":{"AWS":["arn:aws:iam::111122223333:user/ann","arn:aws:iam::111122223333:root"]},"Action":"s3:*",` + both + `}`, []ask{
			{"ann", "GetObject", "k", nil, no},
			{"root", "GetObject", "k", nil, no},
			{"bob", "GetObject", "k", nil, deny},
			{"nobody", "ListBucket", "", nil, deny},
		}},
		"within some days": {`{"Effect":"Allow",` + everybody + `,"Action":"s3:GetObject",` + objects + `,"Condition":{"DateGreaterThan":{"aws:CurrentTime":"2026-11-01T00:00:00Z"},"DateLessThan":{"aws:CurrentTime":"2026-11-08T00:00:00Z"}}}`, []ask{
			{"nobody", "GetObject", "k", with("aws:currenttime", "2026-11-03T12:00:00Z"), allow},
			{"nobody", "GetObject", "k", with("aws:currenttime", "2026-10-31T23:59:59Z"), no},
			{"nobody", "GetObject", "k", with("aws:currenttime", "2026-11-08T00:00:00Z"), no},
		}},
		"by some programs": {`{"Effect":"Allow",` + everybody + `,"Action":"s3:GetObject",` + objects + `,"Condition":{"StringLike":{"aws:UserAgent":"backup/?.*"}}}`, []ask{
			{"nobody", "GetObject", "k", with("aws:useragent", "backup/1.22"), allow},
			{"nobody", "GetObject", "k", with("aws:useragent", "backup/12.2"), no},
			{"nobody", "GetObject", "k", with("aws:useragent", "other backup/1.2"), no},
		}},
		"with short retention": {`{"Effect":"Deny",` + everybody + `,"Action":"s3:PutObjectRetention",` + objects + `,"Condition":{"NumericGreaterThan":{"s3:object-lock-remaining-retention-days":"10"}}},
			{"Effect":"Allow",` + ann + `,"Action":"s3:PutObjectRetention",` + objects + `}`, []ask{
			{"ann", "PutObjectRetention", "k", with("s3:object-lock-remaining-retention-days", "10"), allow},
			{"ann", "PutObjectRetention", "k", with("s3:object-lock-remaining-retention-days", "11"), deny},
			{"bob", "PutObjectRetention", "k", with("s3:object-lock-remaining-retention-days", "1"), no},
		}},
		"by a second factor, which nobody has here": {`{"Effect":"Deny",` + everybody + `,"Action":"s3:*","Resource":"arn:aws:s3:::bucket/taxes/*","Condition":{"Null":{"aws:MultiFactorAuthAge":true}}}`, []ask{
			{"root", "GetObject", "taxes/k", nil, deny},
			{"root", "GetObject", "other/k", nil, no},
		}},
		"whoever is known": {`{"Effect":"Allow",` + everybody + `,"Action":"s3:GetObject",` + objects + `,"Condition":{"StringNotEquals":{"aws:PrincipalType":"Anonymous"}}}`, []ask{
			{"ann", "GetObject", "k", with("aws:principaltype", "User"), allow},
			{"nobody", "GetObject", "k", with("aws:principaltype", "Anonymous"), no},
		}},
		"letters and wildcards in keys": {`{"Effect":"Allow",` + everybody + `,"Action":"s3:GetObject","Resource":["arn:aws:s3:::bucket/logs/????-*.gz","arn:aws:s3:::bucket/a${*}b"]}`, []ask{
			{"nobody", "GetObject", "logs/2026-11.gz", nil, allow},
			{"nobody", "GetObject", "logs/2026-.gz", nil, allow},
			{"nobody", "GetObject", "logs/26-11.gz", nil, no},
			{"nobody", "GetObject", "logs/2026-a/b.gz", nil, allow},
			{"nobody", "GetObject", "LOGS/2026-11.gz", nil, no},
			{"nobody", "GetObject", "a*b", nil, allow},
			{"nobody", "GetObject", "axb", nil, no},
		}},
		"uploads in parts": {`{"Effect":"Allow",` + ann + `,"Action":["s3:PutObject","s3:AbortMultipartUpload","s3:ListMultipartUploadParts"],` + objects + `},
			{"Effect":"Allow",` + ann + `,"Action":"s3:ListBucketMultipartUploads",` + itself + `}`, []ask{
			{"ann", "PutObject", "k", nil, allow},
			{"ann", "AbortMultipartUpload", "k", nil, allow},
			{"ann", "ListMultipartUploadParts", "deep/k", nil, allow},
			{"ann", "ListBucketMultipartUploads", "", nil, allow},
			{"ann", "GetObject", "k", nil, no},
			{"ann", "ListBucket", "", nil, no},
			{"bob", "AbortMultipartUpload", "k", nil, no},
		}},
		"everything with objects, nothing with the bucket": {`{"Effect":"Allow",` + ann + `,"Action":"s3:*",` + objects + `}`, []ask{
			{"ann", "GetObject", "k", nil, allow},
			{"ann", "DeleteObjectVersion", "k", nil, allow},
			{"ann", "PutObjectLegalHold", "k", nil, allow},
			{"ann", "ListBucket", "", nil, no},
			{"ann", "PutBucketPolicy", "", nil, no},
			{"ann", "DeleteBucket", "", nil, no},
		}},
		"everything with the bucket, nothing with objects": {`{"Effect":"Allow",` + ann + `,"Action":"s3:*",` + itself + `}`, []ask{
			{"ann", "ListBucket", "", nil, allow},
			{"ann", "GetBucketPolicy", "", nil, allow},
			{"ann", "GetObject", "k", nil, no},
			{"ann", "PutObject", "bucket", nil, no},
		}},
		"whatever reads": {`{"Effect":"Allow",` + ann + `,"Action":["s3:Get*","s3:List*"],` + both + `}`, []ask{
			{"ann", "GetObject", "k", nil, allow},
			{"ann", "GetObjectTagging", "k", nil, allow},
			{"ann", "GetBucketPolicy", "", nil, allow},
			{"ann", "ListBucketVersions", "", nil, allow},
			{"ann", "ListMultipartUploadParts", "k", nil, allow},
			{"ann", "PutObject", "k", nil, no},
			{"ann", "RestoreObject", "k", nil, no},
			{"ann", "DeleteObject", "k", nil, no},
		}},
		"names of actions in any letters, with a question mark": {`{"Effect":"Allow",` + ann + `,"Action":["S3:?ETOBJECT","s3:listbucket"],` + both + `}`, []ask{
			{"ann", "GetObject", "k", nil, allow},
			{"ann", "ListBucket", "", nil, allow},
			{"ann", "GetObjectTagging", "k", nil, no},
			{"ann", "PutObject", "k", nil, no},
		}},
		"nobody deletes": {`{"Effect":"Allow",` + ann + `,"Action":"s3:*",` + both + `},{"Effect":"Deny",` + everybody + `,"Action":["s3:DeleteObject","s3:DeleteObjectVersion","s3:PutLifecycleConfiguration"],` + both + `}`, []ask{
			{"ann", "PutObject", "k", nil, allow},
			{"ann", "DeleteObject", "k", nil, deny},
			{"ann", "DeleteObjectVersion", "k", nil, deny},
			{"ann", "PutLifecycleConfiguration", "", nil, deny},
			{"ann", "DeleteObjectTagging", "k", nil, allow},
			{"root", "DeleteObject", "k", nil, deny},
			{"bob", "PutObject", "k", nil, no},
			{"nobody", "DeleteObject", "k", nil, deny},
		}},
		"with an ACL only a private one": {`{"Effect":"Allow",` + ann + `,"Action":"s3:PutObject",` + objects + `,"Condition":{"StringEqualsIfExists":{"s3:x-amz-acl":"private"}}}`, []ask{
			{"ann", "PutObject", "k", with("s3:x-amz-acl", "private"), allow},
			{"ann", "PutObject", "k", nil, allow},
			{"ann", "PutObject", "k", with("s3:x-amz-acl", "public-read"), no},
		}},
		"in small pages": {`{"Effect":"Allow",` + ann + `,"Action":"s3:ListBucket",` + itself + `,"Condition":{"NumericLessThanEqualsIfExists":{"s3:max-keys":"100"}}}`, []ask{
			{"ann", "ListBucket", "", with("s3:max-keys", "100"), allow},
			{"ann", "ListBucket", "", with("s3:max-keys", "101"), no},
			{"ann", "ListBucket", "", nil, allow},
			{"ann", "ListBucket", "", with("s3:max-keys", "many"), no},
		}},
		"from a network, and by TLS": {`{"Effect":"Allow",` + everybody + `,"Action":"s3:GetObject",` + objects + `,"Condition":{"IpAddress":{"aws:SourceIp":"192.0.2.0/24"},"Bool":{"aws:SecureTransport":"true"}}}`, []ask{
			{"nobody", "GetObject", "k", with("aws:sourceip", "192.0.2.9", "aws:securetransport", "true"), allow},
			{"nobody", "GetObject", "k", with("aws:sourceip", "192.0.2.9", "aws:securetransport", "false"), no},
			{"nobody", "GetObject", "k", with("aws:sourceip", "192.0.3.9", "aws:securetransport", "true"), no},
			{"nobody", "GetObject", "k", with("aws:sourceip", "192.0.2.9"), no},
		}},
		"the root folder and one more": {`{"Effect":"Allow",` + ann + `,"Action":"s3:ListBucket",` + itself + `,"Condition":{"StringEquals":{"s3:prefix":["","home/"],"s3:delimiter":"/"}}}`, []ask{
			{"ann", "ListBucket", "", with("s3:prefix", "", "s3:delimiter", "/"), allow},
			{"ann", "ListBucket", "", with("s3:prefix", "home/", "s3:delimiter", "/"), allow},
			{"ann", "ListBucket", "", with("s3:prefix", "home/ann/", "s3:delimiter", "/"), no},
			{"ann", "ListBucket", "", with("s3:prefix", "home/", "s3:delimiter", "|"), no},
			{"ann", "ListBucket", "", with("s3:delimiter", "/"), no},
		}},
		"with no other tags than some": {`{"Effect":"Allow",` + ann + `,"Action":"s3:PutObjectTagging",` + objects + `,"Condition":{"ForAllValues:StringEquals":{"s3:RequestObjectTagKeys":["a","b"]},"Null":{"s3:RequestObjectTagKeys":"false"}}}`, []ask{
			{"ann", "PutObjectTagging", "k", with("s3:requestobjecttagkeys", "a"), allow},
			{"ann", "PutObjectTagging", "k", with("s3:requestobjecttagkeys", "a", "s3:requestobjecttagkeys", "b"), allow},
			{"ann", "PutObjectTagging", "k", with("s3:requestobjecttagkeys", "a", "s3:requestobjecttagkeys", "c"), no},
			{"ann", "PutObjectTagging", "k", nil, no},
		}},
		"a user's name within a key": {`{"Effect":"Allow",` + everybody + `,"Action":"s3:GetObject","Resource":"arn:aws:s3:::bucket/teams/*/${aws:username}/x"}`, []ask{
			{"ann", "GetObject", "teams/t/ann/x", nil, allow},
			{"ann", "GetObject", "teams/a/b/ann/x", nil, allow},
			{"ann", "GetObject", "teams/t/bob/x", nil, no},
			{"ann", "GetObject", "teams/ann/x", nil, no},
			{"nobody", "GetObject", "teams/t//x", nil, no},
		}},
	} {
		p := parse(t, `{"Version":"2012-10-17","Statement":[`+tt.statements+`]}`)
		for _, a := range tt.asks {
			if got := p.Decide(a.request()); got != a.want {
				t.Errorf("%s: %s %s %q %v is decided %v, want %v", name, a.who, a.action, a.key, a.with, got, a.want)
			}
		}
	}
}
