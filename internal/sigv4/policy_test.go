package sigv4_test

import (
	"encoding/base64"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/shoal-storage/shoal/internal/sigv4"
)

func encodePolicy(conditions string) string {
	return base64.StdEncoding.EncodeToString([]byte(`{"expiration": "2013-05-25T00:00:00.000Z", "conditions": [` + conditions + `]}`))
}

func TestPolicyCheck(t *testing.T) {
	const covered = `{"bucket": "b"}, ["starts-with", "$key", "user/"], ["starts-with", "$Content-Type", "image/"]`
	fields := func(more ...string) map[string]string {
		m := map[string]string{"bucket": "b", "key": "user/x", "content-type": "image/png", "policy": "p", "x-amz-signature": "s", "file": "f"}
		for i := 0; i < len(more); i += 2 {
			m[more[i]] = more[i+1]
		}
		return m
	}
	for _, tt := range []struct {
		name       string
		conditions string
		fields     map[string]string
		size       int64
		want       sigv4.Reason
		message    string
	}{
		{"all met", covered, fields(), 1, 0, ""},
		{"another bucket", covered, fields("bucket", "c"), 1, sigv4.PolicyViolated, `["eq", "$bucket", "b"]`},
		{"another prefix", covered, fields("key", "other/x"), 1, sigv4.PolicyViolated, `["starts-with", "$key", "user/"]`},
		{"eq is not starts-with", `["eq", "$key", "user/"], {"bucket":"b"}, ["starts-with","$content-type",""]`, fields(), 1, sigv4.PolicyViolated, `["eq", "$key", "user/"]`},
		{"a field that is missing", covered + `, {"acl": "private"}`, fields(), 1, sigv4.PolicyViolated, `$acl`},
		{"a field that is not covered", covered, fields("acl", "public-read"), 1, sigv4.PolicyViolated, "Extra input fields: acl"},
		{"metadata that is not covered", covered, fields("x-amz-meta-a", "b"), 1, sigv4.PolicyViolated, "Extra input fields: x-amz-meta-a"},
		{"any value", covered + `, ["starts-with", "$x-amz-meta-a", ""]`, fields("x-amz-meta-a", "b"), 1, 0, ""},
		{"an ignored field", covered, fields("x-ignore-this", "b"), 1, 0, ""},
		{"a list of types, all allowed", covered, fields("content-type", "image/png, image/gif"), 1, 0, ""},
		{"a list of types, one not allowed", covered, fields("content-type", "image/png, text/html"), 1, sigv4.PolicyViolated, "$content-type"},
		{"names in any case", `{"BUCKET": "b"}, ["EQ", "$Key", "user/x"], ["Starts-With", "$CONTENT-type", ""]`, fields(), 1, 0, ""},
		{"at the least size", covered + `, ["content-length-range", 10, 20]`, fields(), 10, 0, ""},
		{"at the most", covered + `, ["content-length-range", 10, 20]`, fields(), 20, 0, ""},
		{"below", covered + `, ["content-length-range", 10, 20]`, fields(), 9, sigv4.EntityTooSmall, ""},
		{"above", covered + `, ["content-length-range", 10, 20]`, fields(), 21, sigv4.EntityTooLarge, ""},
		{"above one of two ranges", covered + `, ["content-length-range", 0, 20], ["content-length-range", 0, 30]`, fields(), 21, sigv4.EntityTooLarge, ""},
		{"of a size not known yet", covered + `, ["content-length-range", 10, 20]`, fields(), -1, 0, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, err := sigv4.ParsePolicy(encodePolicy(tt.conditions))
			if err != nil {
				t.Fatal(err)
			}
			err = p.Check(exampleTime(), tt.fields, tt.size)
			if reason(err) != tt.want || (err == nil) != (tt.want == 0) || err != nil && !strings.Contains(err.Error(), tt.message) {
				t.Errorf("got %v", err)
			}
			if err := p.Check(exampleTime().Add(24*time.Hour), tt.fields, tt.size); reason(err) != sigv4.PolicyExpired {
				t.Errorf("expired: %v", err)
			}
		})
	}
}

func TestParsePolicyExposesTheRange(t *testing.T) {
	for conditions, want := range map[string][2]int64{
		``: {0, math.MaxInt64}, `["content-length-range", 1, 2]`: {1, 2}, `["content-length-range", "1", "2"]`: {1, 2},
		`["content-length-range", 1, 5], ["content-length-range", 3, 9]`: {3, 5},
	} {
		p, err := sigv4.ParsePolicy(encodePolicy(conditions))
		if err != nil || p.MinSize != want[0] || p.MaxSize != want[1] {
			t.Errorf("%s: %d to %d, %v", conditions, p.MinSize, p.MaxSize, err)
		}
	}
}

func TestParsePolicyTakesTheEscapesOfPolicies(t *testing.T) {
	for written, want := range map[string]string{
		`\$foo`: `$foo`, `a\vb`: "a\vb", `\\$foo`: `\$foo`, `\\\$foo`: `\$foo`, `\\v`: `\v`, `\"\$\u00fc\n`: "\"$\u00fc\n",
	} {
		p, err := sigv4.ParsePolicy(encodePolicy(`["eq", "$key", "` + written + `"]`))
		if err != nil || p.Conditions[len(p.Conditions)-1].Value != want {
			t.Errorf("%s: %v, %v", written, p.Conditions, err)
		}
	}
}

func TestParsePolicyRefuses(t *testing.T) {
	for name, document := range map[string]string{
		"no JSON":                     `x`,
		"nothing":                     ``,
		"something after it":          `{"expiration": "2013-05-25T00:00:00Z", "conditions": []} {}`,
		"an unknown member":           `{"expiration": "2013-05-25T00:00:00Z", "conditions": [], "x": 1}`,
		"a member in upper case":      `{"expiration": "2013-05-25T00:00:00Z", "CONDITIONS": []}`,
		"no expiration":               `{"conditions": []}`,
		"no conditions":               `{"expiration": "2013-05-25T00:00:00Z"}`,
		"an expiration of words":      `{"expiration": "tomorrow", "conditions": []}`,
		"an expiration without zone":  `{"expiration": "2013-05-25T00:00:00", "conditions": []}`,
		"an unknown escape":           `{"expiration": "2013-05-25T00:00:00Z", "conditions": [["eq", "$key", "\q"]]}`,
		"an escape at the end":        `{"expiration": "2013-05-25T00:00:00Z", "conditions": []}\`,
		"an unknown operation":        `{"expiration": "2013-05-25T00:00:00Z", "conditions": [["ends-with", "$key", "x"]]}`,
		"two fields in one condition": `{"expiration": "2013-05-25T00:00:00Z", "conditions": [{"a": "b", "c": "d"}]}`,
		"a value that is no string":   `{"expiration": "2013-05-25T00:00:00Z", "conditions": [{"a": 1}]}`,
		"a list of two":               `{"expiration": "2013-05-25T00:00:00Z", "conditions": [["eq", "$key"]]}`,
		"a field without dollar":      `{"expiration": "2013-05-25T00:00:00Z", "conditions": [["eq", "key", "x"]]}`,
		"a field without name":        `{"expiration": "2013-05-25T00:00:00Z", "conditions": [["eq", "$", "x"]]}`,
		"a null":                      `{"expiration": "2013-05-25T00:00:00Z", "conditions": [null]}`,
		"a range upside down":         `{"expiration": "2013-05-25T00:00:00Z", "conditions": [["content-length-range", 2, 1]]}`,
		"a range below zero":          `{"expiration": "2013-05-25T00:00:00Z", "conditions": [["content-length-range", -1, 1]]}`,
		"a range of fractions":        `{"expiration": "2013-05-25T00:00:00Z", "conditions": [["content-length-range", 0.5, 1]]}`,
		"a range beyond any number":   `{"expiration": "2013-05-25T00:00:00Z", "conditions": [["content-length-range", 0, 99999999999999999999]]}`,
		"too many conditions":         `{"expiration": "2013-05-25T00:00:00Z", "conditions": [{"a":"b"}` + strings.Repeat(`,{"a":"b"}`, 100) + `]}`,
		"too many bytes":              strings.Repeat(" ", 20<<10),
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := sigv4.ParsePolicy(base64.StdEncoding.EncodeToString([]byte(document))); reason(err) != sigv4.InvalidPolicy {
				t.Errorf("got %v", err)
			}
		})
	}
	if _, err := sigv4.ParsePolicy("###"); reason(err) != sigv4.InvalidPolicy {
		t.Errorf("not base64: %v", err)
	}
}

func TestParsePostRefuses(t *testing.T) {
	whole := func(more ...string) map[string]string {
		m := map[string]string{
			"policy": "cA==", "x-amz-algorithm": "AWS4-HMAC-SHA256", "x-amz-date": "20130524T000000Z",
			"x-amz-credential": "AK/20130524/us-east-1/s3/aws4_request", "x-amz-signature": strings.Repeat("a", 64),
		}
		for i := 0; i < len(more); i += 2 {
			m[more[i]] = more[i+1]
		}
		return m
	}
	for name, tt := range map[string]struct {
		fields map[string]string
		want   sigv4.Reason
	}{
		"nothing wrong":       {whole(), 0},
		"an empty policy":     {whole("policy", ""), 0},
		"no date":             {whole("x-amz-date", ""), sigv4.FormMalformed},
		"no algorithm":        {whole("x-amz-algorithm", ""), sigv4.FormMalformed},
		"another algorithm":   {whole("x-amz-algorithm", "MD5"), sigv4.FormMalformed},
		"ECDSA":               {whole("x-amz-algorithm", "AWS4-ECDSA-P256-SHA256"), sigv4.NotImplemented},
		"a bad credential":    {whole("x-amz-credential", "AK"), sigv4.FormMalformed},
		"another day":         {whole("x-amz-date", "20130525T000000Z"), sigv4.FormMalformed},
		"a bad date":          {whole("x-amz-date", "today"), sigv4.FormMalformed},
		"a short signature":   {whole("x-amz-signature", "00"), 0},
		"version 2":           {map[string]string{"policy": "p", "signature": "s", "awsaccesskeyid": "AK"}, 0},
		"version 2, no key":   {map[string]string{"policy": "p", "signature": "s"}, sigv4.FormMalformed},
		"version 2, unsigned": {map[string]string{"policy": "p", "awsaccesskeyid": "AK"}, sigv4.FormMalformed},
		"version 2, nothing":  {map[string]string{"signature": "s", "awsaccesskeyid": "AK"}, sigv4.FormMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			a, err := sigv4.ParsePost(tt.fields)
			if reason(err) != tt.want || (err == nil) != (tt.want == 0) {
				t.Errorf("got %v", err)
			}
			if err == nil && reason(a.VerifyPolicy("cA==", "secret")) != sigv4.SignatureMismatch {
				t.Error("forged")
			}
		})
	}
	if _, err := sigv4.ParsePost(map[string]string{"key": "x"}); !errors.Is(err, sigv4.ErrAnonymous) {
		t.Errorf("unsigned form: %v", err)
	}
}

func FuzzParsePolicy(f *testing.F) {
	f.Add(examplePolicy, "key", "user/user1/x")
	f.Add(encodePolicy(`["content-length-range", 1, "2"], {"a":"b"}`), "a", "b")
	f.Fuzz(func(t *testing.T, encoded, field, value string) {
		p, err := sigv4.ParsePolicy(encoded)
		if err != nil {
			if reason(err) != sigv4.InvalidPolicy {
				t.Errorf("got %v", err)
			}
			return
		}
		if p.Check(p.Expiration, map[string]string{field: value}, 0) == nil {
			t.Error("an expired policy allowed something")
		}
		if p.Check(p.Expiration.Add(-1), map[string]string{field: value}, p.MaxSize) != nil {
			return
		}
		for _, c := range p.Conditions {
			if c.Field == field && !c.Prefix && c.Value != value {
				t.Errorf("%v allowed %q", c, value)
			}
		}
	})
}
