package gateway

import (
	"strings"
	"testing"
)

// A rule whose filter is misspelled would be one for the whole bucket, and an object whose
// version is one for the current version.
func TestElementsThatNobodyReadsAreRefused(t *testing.T) {
	f := withBucket(t)
	f.put("victim", "v")
	lifecycle := func(rule string) string {
		return "<LifecycleConfiguration><Rule><Status>Enabled</Status>" + rule + "</Rule></LifecycleConfiguration>"
	}
	const days = "<Expiration><Days>1</Days></Expiration>"
	for _, tt := range []struct{ method, query, body string }{
		{"PUT", "lifecycle=", lifecycle("<Filter><Prefx>tmp/</Prefx></Filter>" + days)},
		{"PUT", "lifecycle=", lifecycle("<Filter><And><Prefix>tmp/</Prefix><Tga><Key>k</Key><Value>v</Value></Tga></And></Filter>" + days)},
		{"PUT", "lifecycle=", lifecycle("<Filter><Prefix>tmp/</Prefix></Filter><Filter><Prefix>keep/</Prefix></Filter>" + days)},
		{"PUT", "lifecycle=", lifecycle("<Filter/><Expiration><Days>100</Days><Days>1</Days></Expiration>")},
		{"PUT", "lifecycle=", lifecycle("<Filter/><NoncurrentVersionExpiration><NoncurrentDays>1</NoncurrentDays><NewerNoncurrentVersion>5</NewerNoncurrentVersion></NoncurrentVersionExpiration>")},
		{"POST", "delete=", `<Delete><Object><Key>victim</Key><Etag>"nomatch"</Etag></Object></Delete>`},
		{"POST", "delete=", `<Delete><Object><Key>victim</Key><VersionID>null</VersionID></Object></Delete>`},
		{"POST", "delete=", `<Delete><Object><Key>other</Key><Key>victim</Key></Object></Delete>`},
		{"PUT", "versioning=", "<VersioningConfiguration><Status>Suspended</Status><Status>Enabled</Status></VersioningConfiguration>"},
		{"PUT", "publicAccessBlock=", "<PublicAccessBlockConfiguration><BlockPublicPolicies>true</BlockPublicPolicies></PublicAccessBlockConfiguration>"},
		{"PUT", "tagging=", "<Tagging><TagSet><Tag><Key>k</Key><Value>v</Value></Tag></TagSet><TagSet/></Tagging>"},
		{"PUT", "tagging=", "<Tagging><TagSet><Tagg><Key>k</Key><Value>v</Value></Tagg></TagSet></Tagging>"},
		{"PUT", "cors=", "<CORSConfiguration><CORSRule><AllowedMethod>GET</AllowedMethod><AllowedMethodd>PUT</AllowedMethodd><AllowedOrigin>*</AllowedOrigin></CORSRule></CORSConfiguration>"},
		{"PUT", "website=", "<WebsiteConfiguration><IndexDocument><Suffix>i</Suffix></IndexDocument><ErorDocument><Key>e</Key></ErorDocument></WebsiteConfiguration>"},
		{"PUT", "logging=", "<BucketLoggingStatus><Foo/></BucketLoggingStatus>"},
		{"PUT", "encryption=", "<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>AES256<Bold/></SSEAlgorithm></ApplyServerSideEncryptionByDefault></Rule></ServerSideEncryptionConfiguration>"},
	} {
		f.refused("MalformedXML", call{method: tt.method, path: "/bucket", query: tt.query, body: tt.body, header: headers{"Content-MD5": md5Base64(tt.body)}})
	}
	if r := f.ok(call{method: "GET", path: "/bucket/victim"}); r.body != "v" {
		t.Errorf("it is %q", r.body)
	}
	f.refused("MalformedXML", call{method: "PUT", path: "/other", body: "<CreateBucketConfiguration><LocationConstraintt>eu</LocationConstraintt></CreateBucketConfiguration>"})
}

// A prefix of a name space, comments and white space are of no account, nor is what an element
// has in it that only has to be there.
func TestElementsMayBeWrittenAsXMLLets(t *testing.T) {
	f := withBucket(t)
	for query, body := range map[string]string{
		"tagging=":    `<?xml version="1.0"?><s3:Tagging xmlns:s3="http://s3.amazonaws.com/doc/2006-03-01/"><!-- a --> <s3:TagSet><s3:Tag><s3:Key>k</s3:Key><s3:Value>v</s3:Value></s3:Tag></s3:TagSet></s3:Tagging>`,
		"versioning=": `<VersioningConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Status>Enabled</Status></VersioningConfiguration>`,
	} {
		f.ok(call{method: "PUT", path: "/bucket", query: query, body: body})
	}
	transitions := "<LifecycleConfiguration><Rule><Status>Enabled</Status><Filter/><Transition><Days>1</Days></Transition><Transition><Days>2</Days></Transition></Rule></LifecycleConfiguration>"
	f.refused("NotImplemented", call{method: "PUT", path: "/bucket", query: "lifecycle=", body: transitions})
}

func TestABucketHasNoOtherOwner(t *testing.T) {
	f := withBucket(t)
	told := f.ok(call{method: "GET", path: "/bucket", query: "acl="}).body
	f.ok(call{method: "PUT", path: "/bucket", query: "acl=", body: told})
	f.refused("AccessDenied", call{method: "PUT", path: "/bucket", query: "acl=", body: strings.Replace(told, "<ID>", "<ID>f", 1)})
}
