package iam_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/shoal-storage/shoal/internal/iam"
)

// values are those of a request.
type values map[string][]string

func (v values) Value(key string) []string { return v[key] }

func root() iam.Identity { return iam.Identity{AccessKey: "admin", Root: true} }
func user() iam.Identity { return iam.Identity{AccessKey: "ann"} }

func parse(t *testing.T, text string) *iam.Policy {
	t.Helper()
	p, err := iam.ParsePolicy([]byte(text), "bucket")
	if err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return p
}

// policy returns a policy of one statement, of which any part can be replaced.
func policy(parts map[string]string) string {
	all := map[string]string{"Effect": `"Allow"`, "Principal": `"*"`, "Action": `"s3:GetObject"`, "Resource": `"arn:aws:s3:::bucket/*"`}
	for name, text := range parts {
		all[name] = text
	}
	var members []string
	for name, text := range all {
		if text != "" {
			members = append(members, fmt.Sprintf("%q: %s", name, text))
		}
	}
	return `{"Version": "2012-10-17", "Statement": [{` + strings.Join(members, ", ") + `}]}`
}

func get(key string) iam.Request {
	return iam.Request{Action: "s3:GetObject", Bucket: "bucket", Key: key}
}

func TestAStatementAppliesToItsPrincipals(t *testing.T) {
	for _, tt := range []struct {
		principal             string
		nobody, ann, rootUser bool
	}{
		{`"Principal": "*"`, true, true, true},
		{`"Principal": {"AWS": "*"}`, true, true, true},
		{`"Principal": {"AWS": ["*"]}`, true, true, true},
		{`"Principal": {"AWS": "arn:aws:iam::123456789012:user/ann"}`, false, true, false},
		{`"Principal": {"AWS": "arn:aws:iam::123456789012:user/staff/ann"}`, false, true, false},
		{`"Principal": {"AWS": ["arn:aws:iam::123456789012:user/bob", "arn:aws:iam::123456789012:user/ann"]}`, false, true, false},
		{`"Principal": {"AWS": "arn:aws:iam::123456789012:user/anna"}`, false, false, false},
		{`"Principal": {"AWS": "arn:aws:iam::123456789012:role/ann"}`, false, false, false},
		{`"Principal": {"AWS": "arn:aws:iam::123456789012:root"}`, false, false, true},
		{`"Principal": {"AWS": "123456789012"}`, false, false, true},
		{`"Principal": {"CanonicalUser": "abc"}`, false, false, false},
		{`"Principal": {"Service": "logging.s3.amazonaws.com"}`, false, false, false},
		{`"NotPrincipal": {"AWS": "arn:aws:iam::123456789012:user/ann"}`, true, false, true},
		{`"NotPrincipal": "*"`, false, false, false},
	} {
		p := parse(t, `{"Statement": {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::bucket/*", `+tt.principal+`}}`)
		for i, who := range []iam.Identity{{}, user(), root()} {
			r := get("k")
			r.Identity = who
			if got := p.Decide(&r) == iam.Allow; got != []bool{tt.nobody, tt.ann, tt.rootUser}[i] {
				t.Errorf("%s: %+v is allowed: %v", tt.principal, who, got)
			}
		}
	}
}

// What is denied to an account is denied to all of it, and what is denied to a session to that one.
func TestADenialMeansWhomAPolicyOfAWSMeans(t *testing.T) {
	job := iam.Identity{AccessKey: "temporary", Parent: "ann", Session: &iam.Session{Name: "job"}}
	for _, tt := range []struct {
		principal                    string
		nobody, ann, annsJob, rooted bool
	}{
		{`"Principal": {"AWS": "123456789012"}`, false, true, true, true},
		{`"Principal": {"AWS": "arn:aws:iam::123456789012:root"}`, false, true, true, true},
		{`"Principal": {"AWS": "arn:aws:iam::123456789012:user/ann"}`, false, true, true, false},
		{`"Principal": {"AWS": "arn:aws:sts::000000000000:assumed-role/ann/job"}`, false, false, true, false},
		{`"Principal": {"AWS": "arn:aws:sts::000000000000:assumed-role/ann/other"}`, false, false, false, false},
		{`"NotPrincipal": {"AWS": "arn:aws:sts::000000000000:assumed-role/ann/job"}`, true, true, false, true},
		{`"NotPrincipal": {"AWS": "123456789012"}`, true, true, true, false},
	} {
		p := parse(t, `{"Statement": {"Effect": "Deny", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::bucket/*", `+tt.principal+`}}`)
		for i, who := range []iam.Identity{{}, user(), job, root()} {
			r := get("k")
			r.Identity = who
			if got := p.Decide(&r) == iam.Deny; got != []bool{tt.nobody, tt.ann, tt.annsJob, tt.rooted}[i] {
				t.Errorf("%s: %+v is denied: %v", tt.principal, who, got)
			}
		}
	}
}

func TestAStatementAppliesToItsActions(t *testing.T) {
	for _, tt := range []struct {
		element, action string
		applies         bool
	}{
		{`"Action": "s3:GetObject"`, "s3:GetObject", true},
		{`"Action": "S3:getobject"`, "s3:GetObject", true},
		{`"Action": "s3:GetObject"`, "s3:GetObjectVersion", false},
		{`"Action": "s3:GetObject*"`, "s3:GetObjectVersion", true},
		{`"Action": "s3:*"`, "s3:PutObject", true},
		{`"Action": "*"`, "s3:PutObject", true},
		{`"Action": "s3:?etObject"`, "s3:GetObject", true},
		{`"Action": ["s3:PutObject", "s3:GetObject"]`, "s3:GetObject", true},
		{`"Action": ["s3:PutObject", "s3:DeleteObject"]`, "s3:GetObject", false},
		{`"NotAction": "s3:GetObject"`, "s3:GetObject", false},
		{`"NotAction": "s3:GetObject"`, "s3:PutObject", true},
		{`"NotAction": ["s3:Get*", "s3:Put*"]`, "s3:PutObject", false},
		{`"NotAction": ["s3:Get*", "s3:Put*"]`, "s3:DeleteObject", true},
	} {
		p := parse(t, `{"Statement": [{"Effect": "Allow", "Principal": "*", "Resource": "arn:aws:s3:::bucket/*", `+tt.element+`}]}`)
		r := get("k")
		r.Action = tt.action
		if got := p.Decide(&r) == iam.Allow; got != tt.applies {
			t.Errorf("%s, %s: %v", tt.element, tt.action, got)
		}
	}
}

func TestAStatementAppliesToItsResources(t *testing.T) {
	for _, tt := range []struct {
		element, key string
		applies      bool
	}{
		{`"Resource": "arn:aws:s3:::bucket/*"`, "a/b/c", true},
		{`"Resource": "arn:aws:s3:::bucket*"`, "a", true},
		{`"Resource": "arn:aws:s3:::*"`, "a", true},
		{`"Resource": "arn:aws:s3:::bucket/a/*"`, "a/b", true},
		{`"Resource": "arn:aws:s3:::bucket/a/*"`, "b/a/b", false},
		{`"Resource": "arn:aws:s3:::bucket/a/*"`, "a", false},
		{`"Resource": "arn:aws:s3:::bucket/*.jpg"`, "x/y.jpg", true},
		{`"Resource": "arn:aws:s3:::bucket/*.jpg"`, "x/y.JPG", false},
		{`"Resource": "arn:aws:s3:::bucket/?"`, "a", true},
		{`"Resource": "arn:aws:s3:::bucket/?"`, "ab", false},
		{`"Resource": "arn:aws:s3:::bucket/a*b*c"`, "a-xb-b-c", true},
		{`"Resource": "arn:aws:s3:::bucket/a*b*c"`, "a-x-c", false},
		{`"Resource": ["arn:aws:s3:::bucket/x", "arn:aws:s3:::bucket/y"]`, "y", true},
		{`"NotResource": "arn:aws:s3:::bucket/a/*"`, "a/b", false},
		{`"NotResource": "arn:aws:s3:::bucket/a/*"`, "b", true},
		{`"Resource": "arn:aws:s3:::bucket/home/${aws:username}/*"`, "home/ann/x", true},
		{`"Resource": "arn:aws:s3:::bucket/home/${aws:username}/*"`, "home/bob/x", false},
		{`"Resource": "arn:aws:s3:::bucket/${aws:FederatedProvider, 'none'}/*"`, "none/x", true},
		{`"Resource": "arn:aws:s3:::bucket/${aws:FederatedProvider}/*"`, "none/x", false},
		{`"Resource": "arn:aws:s3:::bucket/${*}/${?}/${$}"`, "*/?/$", true},
		{`"Resource": "arn:aws:s3:::bucket/${*}"`, "x", false},
	} {
		p := parse(t, `{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", `+tt.element+`}]}`)
		r := get(tt.key)
		r.Values = values{"aws:username": {"ann"}}
		if got := p.Decide(&r) == iam.Allow; got != tt.applies {
			t.Errorf("%s, %q: %v", tt.element, tt.key, got)
		}
	}
}

func TestVariablesAreTextBeforeTheVersionThatHasThem(t *testing.T) {
	p := parse(t, `{"Version": "2008-10-17", "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::bucket/${aws:username}"}]}`)
	for key, want := range map[string]bool{"ann": false, "${aws:username}": true} {
		r := get(key)
		r.Values = values{"aws:username": {"ann"}}
		if got := p.Decide(&r) == iam.Allow; got != want {
			t.Errorf("%q: %v", key, got)
		}
	}
}

// TestAValueOfAVariableIsNoPattern has a user whose name is a wildcard.
func TestAValueOfAVariableIsNoPattern(t *testing.T) {
	p := parse(t, policy(map[string]string{"Resource": `"arn:aws:s3:::bucket/home/${aws:username}/*"`}))
	r := get("home/ann/x")
	r.Values = values{"aws:username": {"*"}}
	if p.Decide(&r) != iam.Abstain {
		t.Error("a user called * gets at the homes of all")
	}
}

func TestConditionsHoldAsTheirOperatorsSay(t *testing.T) {
	const yes, no = true, false
	for _, tt := range []struct {
		operator, key, want string
		cases               map[string]bool // by the values of the request, joined by '|'; "-" is none
	}{
		{"StringEquals", "s3:prefix", `"a"`, map[string]bool{"a": yes, "A": no, "ab": no, "-": no, "": no}},
		{"StringEquals", "s3:prefix", `["a", "b"]`, map[string]bool{"a": yes, "b": yes, "c": no}},
		{"StringEquals", "S3:PREFIX", `"a"`, map[string]bool{"a": yes, "b": no}},
		{"StringEquals", "s3:prefix", `"a*"`, map[string]bool{"a*": yes, "ab": no}},
		{"StringEquals", "s3:prefix", `""`, map[string]bool{"": yes, "a": no, "-": no}},
		{"StringEquals", "s3:prefix", `"${aws:username}"`, map[string]bool{"ann": yes, "bob": no}},
		{"StringNotEquals", "s3:prefix", `"a"`, map[string]bool{"a": no, "b": yes, "-": yes}},
		{"StringNotEquals", "s3:prefix", `["a", "b"]`, map[string]bool{"a": no, "b": no, "c": yes}},
		{"StringEqualsIgnoreCase", "s3:prefix", `"a"`, map[string]bool{"A": yes, "b": no, "-": no}},
		{"StringNotEqualsIgnoreCase", "s3:prefix", `"a"`, map[string]bool{"A": no, "b": yes, "-": yes}},
		{"StringLike", "s3:prefix", `"home/*"`, map[string]bool{"home/": yes, "home/a/b": yes, "home": no, "-": no}},
		{"StringLike", "s3:prefix", `["a?", "b"]`, map[string]bool{"ab": yes, "a": no, "b": yes}},
		{"StringLike", "s3:prefix", `"${aws:username}/*"`, map[string]bool{"ann/x": yes, "bob/x": no}},
		{"StringNotLike", "s3:prefix", `"home/*"`, map[string]bool{"home/a": no, "other": yes, "-": yes}},
		{"StringEqualsIfExists", "s3:prefix", `"a"`, map[string]bool{"a": yes, "b": no, "-": yes}},
		{"StringNotEqualsIfExists", "s3:prefix", `"a"`, map[string]bool{"a": no, "b": yes, "-": yes}},
		{"StringLikeIfExists", "s3:prefix", `"a*"`, map[string]bool{"ab": yes, "b": no, "-": yes}},
		{"NumericEquals", "s3:max-keys", `10`, map[string]bool{"10": yes, "10.0": yes, "9": no, "x": no, "-": no}},
		{"NumericEquals", "s3:max-keys", `"10"`, map[string]bool{"10": yes, "11": no}},
		{"NumericNotEquals", "s3:max-keys", `10`, map[string]bool{"10": no, "9": yes, "-": yes}},
		{"NumericLessThan", "s3:max-keys", `10`, map[string]bool{"9": yes, "10": no, "-": no}},
		{"NumericLessThanEquals", "s3:max-keys", `10`, map[string]bool{"10": yes, "11": no, "-": no}},
		{"NumericGreaterThan", "s3:max-keys", `10`, map[string]bool{"10": no, "11": yes, "-": no}},
		{"NumericGreaterThanEquals", "s3:max-keys", `10`, map[string]bool{"10": yes, "9": no}},
		{"NumericLessThanIfExists", "s3:max-keys", `10`, map[string]bool{"9": yes, "10": no, "-": yes}},
		{"DateEquals", "aws:CurrentTime", `"2026-01-01T00:00:00Z"`, map[string]bool{"2026-01-01T00:00:00Z": yes, "2026-01-01T01:00:00+01:00": yes, "2026-01-02T00:00:00Z": no}},
		{"DateNotEquals", "aws:CurrentTime", `"2026-01-01T00:00:00Z"`, map[string]bool{"2026-01-01T00:00:00Z": no, "2026-01-02T00:00:00Z": yes}},
		{"DateLessThan", "aws:CurrentTime", `"2026-01-01"`, map[string]bool{"2025-12-31T23:59:59Z": yes, "2026-01-01T00:00:00Z": no, "-": no}},
		{"DateLessThanEquals", "aws:CurrentTime", `"2026-01-01T00:00:00Z"`, map[string]bool{"2026-01-01T00:00:00Z": yes, "2026-01-01T00:00:01Z": no}},
		{"DateGreaterThan", "aws:CurrentTime", `"2026-01-01T00:00:00Z"`, map[string]bool{"2026-01-01T00:00:01Z": yes, "2026-01-01T00:00:00Z": no}},
		{"DateGreaterThanEquals", "aws:EpochTime", `1767225600`, map[string]bool{"1767225600": yes, "1767225599": no}},
		{"Bool", "aws:SecureTransport", `"true"`, map[string]bool{"true": yes, "false": no, "-": no}},
		{"Bool", "aws:SecureTransport", `false`, map[string]bool{"true": no, "false": yes, "-": no}},
		{"BoolIfExists", "aws:SecureTransport", `"true"`, map[string]bool{"true": yes, "false": no, "-": yes}},
		{"BinaryEquals", "s3:x-amz-key", `"QUJD"`, map[string]bool{"QUJD": yes, "QUJE": no, "-": no}},
		{"IpAddress", "aws:SourceIp", `"192.0.2.0/24"`, map[string]bool{"192.0.2.1": yes, "192.0.3.1": no, "::ffff:192.0.2.1": yes, "-": no}},
		{"IpAddress", "aws:SourceIp", `["192.0.2.7", "2001:db8::/32"]`, map[string]bool{"192.0.2.7": yes, "192.0.2.8": no, "2001:db8::1": yes, "2001:db9::1": no}},
		{"NotIpAddress", "aws:SourceIp", `"192.0.2.0/24"`, map[string]bool{"192.0.2.1": no, "192.0.3.1": yes, "-": yes}},
		{"ArnEquals", "aws:SourceArn", `"arn:aws:s3:::a*"`, map[string]bool{"arn:aws:s3:::ab": yes, "arn:aws:s3:::b": no}},
		{"ArnLike", "aws:SourceArn", `"arn:aws:s3:::a?"`, map[string]bool{"arn:aws:s3:::ab": yes, "arn:aws:s3:::a": no}},
		{"ArnNotLike", "aws:SourceArn", `"arn:aws:s3:::a*"`, map[string]bool{"arn:aws:s3:::ab": no, "arn:aws:s3:::b": yes, "-": yes}},
		{"Null", "s3:prefix", `"true"`, map[string]bool{"-": yes, "a": no, "": no}},
		{"Null", "s3:prefix", `false`, map[string]bool{"-": no, "a": yes}},
		{"ForAllValues:StringEquals", "s3:RequestObjectTagKeys", `["a", "b"]`, map[string]bool{"a": yes, "a|b": yes, "a|c": no, "-": yes}},
		{"ForAnyValue:StringEquals", "s3:RequestObjectTagKeys", `["a", "b"]`, map[string]bool{"a": yes, "a|c": yes, "c": no, "-": no}},
		{"ForAllValues:StringNotEquals", "s3:RequestObjectTagKeys", `"a"`, map[string]bool{"b|c": yes, "a|b": no, "-": yes}},
		{"ForAnyValue:StringNotEquals", "s3:RequestObjectTagKeys", `"a"`, map[string]bool{"a|b": yes, "a": no, "-": no}},
		{"ForAnyValue:StringLike", "s3:RequestObjectTagKeys", `"a*"`, map[string]bool{"x|ab": yes, "x": no}},
		{"StringEquals", "s3:ExistingObjectTag/Team", `"a"`, map[string]bool{"a": yes, "b": no, "-": no}},
	} {
		p := parse(t, policy(map[string]string{"Condition": fmt.Sprintf(`{%q: {%q: %s}}`, tt.operator, tt.key, tt.want)}))
		name, tag, _ := strings.Cut(tt.key, "/")
		key := strings.ToLower(name)
		if tag != "" {
			key += "/" + tag
		}
		for have, want := range tt.cases {
			v := values{"aws:username": {"ann"}}
			if have != "-" {
				v[key] = strings.Split(have, "|")
			}
			r := get("k")
			r.Values = v
			if got := p.Decide(&r) == iam.Allow; got != want {
				t.Errorf("%s %s %s with %q: %v", tt.operator, tt.key, tt.want, have, got)
			}
		}
	}
}

func TestAllConditionsOfAStatementMustHold(t *testing.T) {
	p := parse(t, policy(map[string]string{"Condition": `{"StringEquals": {"s3:prefix": "a", "s3:delimiter": "/"}, "Bool": {"aws:SecureTransport": "true"}}`}))
	for _, tt := range []struct {
		v    values
		want bool
	}{
		{values{"s3:prefix": {"a"}, "s3:delimiter": {"/"}, "aws:securetransport": {"true"}}, true},
		{values{"s3:prefix": {"a"}, "s3:delimiter": {"-"}, "aws:securetransport": {"true"}}, false},
		{values{"s3:prefix": {"a"}, "aws:securetransport": {"true"}}, false},
		{values{"s3:prefix": {"a"}, "s3:delimiter": {"/"}, "aws:securetransport": {"false"}}, false},
		{nil, false},
	} {
		r := get("k")
		r.Values = tt.v
		if got := p.Decide(&r) == iam.Allow; got != tt.want {
			t.Errorf("%v: %v", tt.v, got)
		}
	}
}

func TestADenialIsStrongerThanAnything(t *testing.T) {
	allow := `{"Effect": "Allow", "Principal": "*", "Action": "s3:*", "Resource": ["arn:aws:s3:::bucket", "arn:aws:s3:::bucket/*"]}`
	deny := `{"Effect": "Deny", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::bucket/secret/*"}`
	for _, order := range []string{allow + "," + deny, deny + "," + allow} {
		p := parse(t, `{"Statement": [`+order+`]}`)
		for key, want := range map[string]iam.Decision{"open": iam.Allow, "secret/x": iam.Deny} {
			r := get(key)
			if got := p.Decide(&r); got != want {
				t.Errorf("%s: %v, want %v", key, got, want)
			}
		}
		list := iam.Request{Action: "s3:ListBucket", Bucket: "bucket"}
		if got := p.Decide(&list); got != iam.Allow {
			t.Errorf("list: %v", got)
		}
	}
}

func TestAPolicyThatS3WouldRefuseIsRefused(t *testing.T) {
	for _, tt := range []struct{ text, message string }{
		{``, "valid JSON"},
		{`[]`, "valid JSON"},
		{`{`, "invalid Json"},
		{`{"Statement": []}`, "Statement is empty"},
		{`{}`, "Missing required field Statement"},
		{`{"Version": "2020-01-01", "Statement": []}`, "valid version"},
		{policy(map[string]string{"Effect": `"Maybe"`}), "Invalid effect"},
		{policy(map[string]string{"Effect": ``}), "Invalid effect"},
		{policy(map[string]string{"Principal": ``}), "Missing required field Principal"},
		{policy(map[string]string{"Principal": `"ann"`}), "Invalid principal"},
		{policy(map[string]string{"Principal": `{}`}), "Invalid principal"},
		{policy(map[string]string{"Principal": `{"AWS": "ann"}`}), "Invalid principal"},
		{policy(map[string]string{"Principal": `{"Moon": "*"}`}), "Invalid principal"},
		{policy(map[string]string{"NotPrincipal": `"*"`}), "Invalid principal"},
		{policy(map[string]string{"Action": ``}), "Missing required field Action"},
		{policy(map[string]string{"Action": `"s3:Fly"`}), "invalid action"},
		{policy(map[string]string{"Action": `"ec2:Run"`}), "invalid action"},
		{policy(map[string]string{"NotAction": `"s3:*"`}), "invalid action"},
		{policy(map[string]string{"Resource": ``}), "Missing required field Resource"},
		{policy(map[string]string{"Resource": `"bucket/*"`}), "invalid resource"},
		{policy(map[string]string{"Resource": `"arn:aws:s3:::other/*"`}), "invalid resource"},
		{policy(map[string]string{"Resource": `"arn:aws:s3:::bucket"`}), "does not apply to any resource"},
		{policy(map[string]string{"Action": `"s3:ListBucket"`}), "does not apply to any resource"},
		{policy(map[string]string{"Condition": `{"StringIs": {"s3:prefix": "a"}}`}), "Invalid Condition type"},
		{policy(map[string]string{"Condition": `{"NotBool": {"aws:SecureTransport": "true"}}`}), "Invalid Condition type"},
		{policy(map[string]string{"Condition": `{"StringEquals": {"s3:prefix": []}}`}), "Invalid Condition type"},
		{policy(map[string]string{"Condition": `{"NullIfExists": {"s3:prefix": "true"}}`}), "Invalid Condition type"},
		{policy(map[string]string{"Condition": `{"IpAddress": {"aws:SourceIp": "somewhere"}}`}), "Invalid IP address"},
		{policy(map[string]string{"Condition": `{"StringEquals": {"s3:moon": "full"}}`}), "invalid condition key"},
		{policy(map[string]string{"Condition": `{"StringEquals": {"moon": "full"}}`}), "invalid condition key"},
		{policy(map[string]string{"Principal": `{"AWS": []}`}), "Invalid principal"},
		{policy(map[string]string{"Condition": `{"NumericEquals": {"s3:max-keys": "many"}}`}), "Invalid value"},
		{policy(map[string]string{"Condition": `{"Bool": {"aws:SecureTransport": "maybe"}}`}), "Invalid value"},
		{policy(map[string]string{"Condition": `{"DateEquals": {"aws:CurrentTime": "soon"}}`}), "Invalid value"},
		{policy(map[string]string{"Moon": `"full"`}), "unknown field"},
	} {
		if _, err := iam.ParsePolicy([]byte(tt.text), "bucket"); err == nil || !strings.Contains(err.Error(), tt.message) {
			t.Errorf("%s: %v, want %q", tt.text, err, tt.message)
		}
	}
}

func TestANewPolicySaysNothingTwice(t *testing.T) {
	for text, twice := range map[string]string{
		`{"Statement": [{"Effect": "Deny", "Effect": "Allow"}]}`:                                                                                           "effect",
		`{"Statement": [{"Effect": "Deny", "effect": "Allow"}]}`:                                                                                           "effect",
		`{"Statement": [{"Resource": "a", "Re\u017fource": "b"}]}`:                                                                                         "resource", // as encoding/json takes it
		`{"Statement": [{"Action": ["a", {"b": 1}], "Sid": "", "Action": "c"}]}`:                                                                           "action",
		`{"Statement": [], "Version": "", "Statement": []}`:                                                                                                "statement",
		`{"Statement": {"Condition": {"Bool": {"a": true}, "Null": {}, "Bool": {"b": true}}}}`:                                                             "bool",
		`{"Statement": {"Condition": {"Bool": {"a": true, "a": false}}}}`:                                                                                  "a",
		`{"Statement": {"Condition": {"StringEquals": {"s3:ExistingObjectTag/a": "", "s3:existingobjecttag/a": ""}}}}`:                                     "s3:existingobjecttag",
		`{"Statement": {"Condition": {"StringEquals": {"s3:ExistingObjectTag/a": "", "s3:ExistingObjectTag/A": ""}}}}`:                                     "",
		`{"Statement": [{"Effect": "Effect", "Action": ["Action", "Action"]}, {"Effect": "Deny", "Condition": {"Bool": {"a": "a"}, "Null": {"a": "a"}}}]}`: "",
	} {
		err := iam.Unambiguous([]byte(text))
		if (err != nil) != (twice != "") || err != nil && !strings.HasSuffix(strings.ToLower(strings.ToUpper(err.Error())), ": "+twice) {
			t.Errorf("%s: %v, want %q", text, err, twice)
		}
	}
}

func TestWhatNeverAppliesIsRefusedInANewPolicyAndReadInOneThatIsStored(t *testing.T) {
	condition := func(key string) string {
		return policy(map[string]string{"Condition": `{"StringEquals": {"` + key + `": "a"}}`})
	}
	about := func(actions, resources, more string) string {
		return `{"Statement": [{"Effect": "Allow", "Principal": "*", "Action": ` + actions + `, "Resource": ` + resources + more + `}]}`
	}
	const object, bucket, both = `"arn:aws:s3:::bucket/*"`, `"arn:aws:s3:::bucket"`, `["arn:aws:s3:::bucket", "arn:aws:s3:::bucket/*"]`
	const mismatch, pointless = "Conditions do not apply to combination", "Action does not apply to any resource"
	for text, message := range map[string]string{
		condition("aws:PrincipalTag/team"): "", condition("aws:ViaAWSService"): "",
		condition("aws:SecureTransprot"): "invalid condition key", condition("aws:"): "invalid condition key", condition("aws:Moon/full"): "invalid condition key",
		condition("aws:SourceIp"): "Invalid IP address", condition("aws:sourceip"): "Invalid IP address",
		about(`"s3:GetObject"`, object, `, "Condition": {"Null": {"aws:SourceIp": "true"}}`): "Invalid IP address",
		condition("s3:prefix"): mismatch, condition("s3:x-amz-acl"): mismatch, condition("s3:VersionId"): mismatch,
		about(`"s3:ListBucket"`, bucket, `, "Condition": {"StringEquals": {"s3:prefix": "a"}}`):                              "",
		about(`"s3:ListBucketMultipartUploads"`, bucket, `, "Condition": {"StringEquals": {"s3:prefix": "a"}}`):              mismatch,
		about(`["s3:GetObject", "s3:PutObject"]`, object, `, "Condition": {"StringEquals": {"s3:x-amz-acl": "private"}}`):    mismatch,
		about(`["s3:PutObjectAcl", "s3:PutObject"]`, object, `, "Condition": {"StringEquals": {"s3:x-amz-acl": "private"}}`): "",
		about(`["s3:Get*", "s3:*"]`, both, `, "Condition": {"StringEquals": {"s3:x-amz-acl": "private"}}`):                   "",
		about(`"s3:GetObjectVersion"`, object, `, "Condition": {"StringEquals": {"s3:VersionId": "x"}}`):                     "",
		about(`["s3:GetObject", "s3:ListBucket"]`, object, ``):                                                               pointless,
		about(`["s3:GetObject", "s3:ListBucket"]`, bucket, ``):                                                               pointless,
		about(`["s3:GetObject", "s3:ListBucket"]`, both, ``):                                                                 "",
		about(`["s3:GetObject", "s3:ListBucket"]`, `"arn:aws:s3:::buck*"`, ``):                                               "",
		about(`"s3:*"`, object, ``): "",
		policy(map[string]string{"Principal": `{"AWS": "arn:aws:iam::123456789012:group/g"}`}):                                          "Invalid principal",
		policy(map[string]string{"Principal": `{"AWS": "arn:aws:iam::123456789012:user/a*"}`}):                                          "Invalid principal",
		policy(map[string]string{"Principal": `{"AWS": "arn:aws:iam::123456789012:user/"}`}):                                            "Invalid principal",
		policy(map[string]string{"Principal": `{"AWS": "arn:aws:iam::123456789012:user/ann"}`}):                                         "",
		policy(map[string]string{"Principal": "", "NotPrincipal": `{"AWS": "arn:aws:iam::123456789012:user/ann"}`}):                     "Allow with NotPrincipal is not allowed",
		policy(map[string]string{"Effect": `"Deny"`, "Principal": "", "NotPrincipal": `{"AWS": "arn:aws:iam::123456789012:user/ann"}`}): "",
	} {
		p, err := iam.ParsePolicy([]byte(text), "bucket")
		if err != nil {
			t.Errorf("%s, stored: %v", text, err)
			continue
		}
		if err := p.Validate(); (err == nil) != (message == "") || err != nil && !strings.Contains(err.Error(), message) {
			t.Errorf("%s, new: %v, want %q", text, err, message)
		}
	}
}

func TestAPolicyIsPublicIfItLetsInEveryone(t *testing.T) {
	for text, want := range map[string]bool{
		policy(nil): true,
		policy(map[string]string{"Effect": `"Deny"`}):                                                               false,
		policy(map[string]string{"Principal": `{"AWS": "arn:aws:iam::123456789012:user/ann"}`}):                     false,
		policy(map[string]string{"Condition": `{"IpAddress": {"aws:SourceIp": "192.0.2.0/24"}}`}):                   false,
		policy(map[string]string{"Condition": `{"IpAddress": {"aws:SourceIp": "0.0.0.0/1"}}`}):                      true,
		policy(map[string]string{"Condition": `{"NotIpAddress": {"aws:SourceIp": "192.0.2.0/24"}}`}):                true,
		policy(map[string]string{"Condition": `{"StringLike": {"aws:Referer": "https://example.com/*"}}`}):          true,
		policy(map[string]string{"Condition": `{"StringEquals": {"aws:PrincipalOrgID": "o-1"}}`}):                   false,
		policy(map[string]string{"Condition": `{"StringLike": {"aws:PrincipalOrgID": "o-*"}}`}):                     true,
		policy(map[string]string{"Principal": "", "NotPrincipal": `{"AWS": "arn:aws:iam::123456789012:user/ann"}`}): true,
	} {
		if got := parse(t, text).Public(); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
}

func FuzzParsePolicy(f *testing.F) {
	f.Add(policy(nil), "k", "v")
	f.Add(policy(map[string]string{"Condition": `{"ForAllValues:StringLike": {"s3:prefix": ["${aws:username}*", 1]}}`}), "k", "v")
	f.Fuzz(func(_ *testing.T, text, key, value string) {
		p, err := iam.ParsePolicy([]byte(text), "bucket")
		if err != nil {
			return
		}
		r := get(key)
		r.Values = values{"s3:prefix": {value}, "aws:username": {value}}
		p.Decide(&r)
		p.Public()
	})
}

// BenchmarkDecide is a policy of 50 statements, of which the last applies.
func BenchmarkDecide(b *testing.B) {
	var all []string
	for i := range 49 {
		all = append(all, fmt.Sprintf(`{"Effect": "Deny", "Principal": "*", "Action": ["s3:PutObject", "s3:GetObject*"], "Resource": "arn:aws:s3:::bucket/no%d/*", "Condition": {"StringLike": {"aws:UserAgent": "bot*"}}}`, i))
	}
	all = append(all, `{"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::bucket/*"}`)
	p, err := iam.ParsePolicy([]byte(`{"Statement": [`+strings.Join(all, ",")+`]}`), "bucket")
	if err != nil {
		b.Fatal(err)
	}
	r := get("a/key/of/some/length.txt")
	for b.Loop() {
		if p.Decide(&r) != iam.Allow {
			b.Fatal("not allowed")
		}
	}
}
