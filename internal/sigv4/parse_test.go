package sigv4_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/shoal-storage/shoal/internal/sigv4"
)

func TestParseRefusesHeaders(t *testing.T) {
	const scope = "/20130524/us-east-1/s3/aws4_request"
	sig := strings.Repeat("a", 64)
	whole := "AWS4-HMAC-SHA256 Credential=AK" + scope + ", SignedHeaders=host;x-amz-date, Signature=" + sig
	for _, tt := range []struct {
		name, authorization, date, hash string
		want                            sigv4.Reason
	}{
		{"nothing wrong", whole, "20130524T000000Z", emptySHA256, 0},
		{"no spaces", strings.ReplaceAll(whole, ", ", ","), "20130524T000000Z", emptySHA256, 0},
		{"a key with slashes", strings.Replace(whole, "=AK/", "=A/K/x/", 1), "20130524T000000Z", emptySHA256, 0},
		{"an empty region", strings.Replace(whole, "us-east-1", "", 1), "20130524T000000Z", emptySHA256, 0},
		{"signature version 2", "AWS AK:c2lnbmF0dXJl", "20130524T000000Z", emptySHA256, sigv4.UnsupportedV2},
		{"another scheme", "Bearer x", "20130524T000000Z", emptySHA256, sigv4.UnsupportedType},
		{"ECDSA", strings.Replace(whole, "HMAC", "ECDSA-P256", 1), "20130524T000000Z", emptySHA256, sigv4.NotImplemented},
		{"nothing after the scheme", "AWS4-HMAC-SHA256", "20130524T000000Z", emptySHA256, sigv4.UnsupportedType},
		{"no signature", whole[:strings.LastIndex(whole, ",")], "20130524T000000Z", emptySHA256, sigv4.HeaderMalformed},
		{"a component twice", whole + ",Signature=" + sig, "20130524T000000Z", emptySHA256, sigv4.HeaderMalformed},
		{"an unknown component", whole + ",X=" + sig, "20130524T000000Z", emptySHA256, sigv4.HeaderMalformed},
		{"a short signature", whole[:len(whole)-1], "20130524T000000Z", emptySHA256, 0},
		{"a signature that is not hex", whole[:len(whole)-1] + "g", "20130524T000000Z", emptySHA256, 0},
		{"a scope too short", strings.Replace(whole, "/s3", "", 1), "20130524T000000Z", emptySHA256, sigv4.HeaderMalformed},
		{"a scope with another end", strings.Replace(whole, "aws4", "aws5", 1), "20130524T000000Z", emptySHA256, sigv4.HeaderMalformed},
		{"a scope with a bad date", strings.Replace(whole, "20130524", "2013052x", 1), "20130524T000000Z", emptySHA256, sigv4.HeaderMalformed},
		{"no access key", strings.Replace(whole, "=AK/", "=/", 1), "20130524T000000Z", emptySHA256, sigv4.HeaderMalformed},
		{"host not signed", strings.Replace(whole, "host;", "", 1), "20130524T000000Z", emptySHA256, sigv4.HeaderMalformed},
		{"a signed header without a name", strings.Replace(whole, "host;", "host;;", 1), "20130524T000000Z", emptySHA256, sigv4.HeaderMalformed},
		{"too many signed headers", strings.Replace(whole, "host;", "host;"+strings.Repeat("a;", 200), 1), "20130524T000000Z", emptySHA256, sigv4.HeaderMalformed},
		{"no date", whole, "", emptySHA256, sigv4.MissingDate},
		{"a date that cannot be read", whole, "yesterday", emptySHA256, sigv4.MissingDate},
		{"the date of another day", whole, "20130525T000000Z", emptySHA256, sigv4.HeaderMalformed},
		{"no payload hash", whole, "20130524T000000Z", "", sigv4.MissingContentSHA256},
		{"no payload hash for another service", strings.Replace(whole, "/s3/", "/sts/", 1), "20130524T000000Z", "", 0},
		{"an invalid payload hash", whole, "20130524T000000Z", "abc", sigv4.InvalidContentSHA256},
		{"an ECDSA payload", whole, "20130524T000000Z", "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD", sigv4.NotImplemented},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := sigv4.Request{Method: "GET", Path: "/", Header: host()}
			r = set(set(set(r, "Authorization", tt.authorization), "X-Amz-Date", tt.date), "X-Amz-Content-Sha256", tt.hash)
			_, err := sigv4.Parse(r)
			if reason(err) != tt.want || (err == nil) != (tt.want == 0) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestParseRefusesQueries(t *testing.T) {
	for _, tt := range []struct {
		name, query string
		want        sigv4.Reason
	}{
		{"nothing wrong", presignedQuery, 0},
		{"with other parameters", "prefix=x&" + presignedQuery + "&list-type=2", 0},
		{"an escaped name", strings.Replace(presignedQuery, "X-Amz-Date", "%58-Amz-Date", 1), 0},
		{"no expiry", strings.Replace(presignedQuery, "Expires", "Expired", 1), sigv4.QueryMalformed},
		{"no algorithm", strings.Replace(presignedQuery, "X-Amz-Algorithm", "Algorithm", 1), sigv4.QueryMalformed},
		{"another algorithm", strings.Replace(presignedQuery, "HMAC-SHA256", "HMAC-MD5", 1), sigv4.QueryMalformed},
		{"ECDSA", strings.Replace(presignedQuery, "HMAC", "ECDSA-P256", 1), sigv4.NotImplemented},
		{"a bad credential", strings.Replace(presignedQuery, "%2Fs3%2F", "%2F", 1), sigv4.QueryMalformed},
		{"a bad date", strings.Replace(presignedQuery, "T000000Z", "", 1), sigv4.QueryMalformed},
		{"the date of another day", strings.Replace(presignedQuery, "Date=20130524", "Date=20130525", 1), sigv4.QueryMalformed},
		{"expiry no number", strings.Replace(presignedQuery, "86400", "day", 1), sigv4.QueryMalformed},
		{"expiry negative", strings.Replace(presignedQuery, "86400", "-1", 1), sigv4.QueryMalformed},
		{"expiry zero", strings.Replace(presignedQuery, "86400", "0", 1), sigv4.QueryMalformed},
		{"expiry one week", strings.Replace(presignedQuery, "86400", "604800", 1), 0},
		{"expiry over a week", strings.Replace(presignedQuery, "86400", "604801", 1), sigv4.QueryMalformed},
		{"expiry beyond any number", strings.Replace(presignedQuery, "86400", "99999999999999999999", 1), sigv4.QueryMalformed},
		{"host not signed", strings.Replace(presignedQuery, "=host", "=range", 1), sigv4.QueryMalformed},
		{"a parameter twice", presignedQuery + "&X-Amz-Date=20130524T000000Z", sigv4.QueryMalformed},
		{"version 2 without an end", "AWSAccessKeyId=AK&Signature=x", sigv4.QueryV2Malformed},
		{"version 2 with an end that is no number", "AWSAccessKeyId=AK&Expires=soon&Signature=x", sigv4.QueryV2Malformed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := sigv4.Parse(sigv4.Request{Method: "GET", Path: "/", Query: tt.query, Header: host()})
			if reason(err) != tt.want || (err == nil) != (tt.want == 0) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestARequestHasOneSignature(t *testing.T) {
	r := signed(sigv4.Request{Method: "GET", Path: "/"})
	r.Query = presignedQuery
	if _, err := sigv4.Parse(r); reason(err) != sigv4.SeveralMechanisms {
		t.Errorf("got %v", err)
	}
}

func TestARequestWithoutSignatureIsAnonymous(t *testing.T) {
	r := sigv4.Request{Method: "PUT", Path: "/", Query: "prefix=x", Header: host(sigv4.Field{Name: "x-amz-content-sha256", Value: "STREAMING-UNSIGNED-PAYLOAD-TRAILER"})}
	a, err := sigv4.Parse(r)
	if !errors.Is(err, sigv4.ErrAnonymous) || a.PayloadHash != "STREAMING-UNSIGNED-PAYLOAD-TRAILER" {
		t.Errorf("%+v, %v", a, err)
	}
}

func TestParsePayload(t *testing.T) {
	for _, tt := range []struct {
		value string
		want  sigv4.Payload
		err   sigv4.Reason
	}{
		{"", sigv4.Payload{Mode: sigv4.Unsigned}, 0},
		{"UNSIGNED-PAYLOAD", sigv4.Payload{Mode: sigv4.Unsigned}, 0},
		{emptySHA256, sigv4.Payload{Mode: sigv4.Signed, SHA256: emptySHA256}, 0},
		{strings.ToUpper(emptySHA256), sigv4.Payload{Mode: sigv4.Signed, SHA256: emptySHA256}, 0},
		{"STREAMING-AWS4-HMAC-SHA256-PAYLOAD", sigv4.Payload{Mode: sigv4.Chunked}, 0},
		{"STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER", sigv4.Payload{Mode: sigv4.ChunkedTrailer}, 0},
		{"STREAMING-UNSIGNED-PAYLOAD-TRAILER", sigv4.Payload{Mode: sigv4.UnsignedTrailer}, 0},
		{"STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD-TRAILER", sigv4.Payload{}, sigv4.NotImplemented},
		{"unsigned-payload", sigv4.Payload{}, sigv4.InvalidContentSHA256},
		{emptySHA256[1:], sigv4.Payload{}, sigv4.InvalidContentSHA256},
		{"g" + emptySHA256[1:], sigv4.Payload{}, sigv4.InvalidContentSHA256},
	} {
		got, err := sigv4.ParsePayload(tt.value)
		if got != tt.want || reason(err) != tt.err {
			t.Errorf("ParsePayload(%q) = %+v, %v", tt.value, got, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(presignedQuery, "", "20130524T000000Z", "/a%2Fb")
	f.Add("a=b", "AWS4-HMAC-SHA256 Credential=A/20130524/r/s3/aws4_request,SignedHeaders=host,Signature="+strings.Repeat("a", 64), "20130524T000000Z", "/%")
	f.Add("%", "AWS x:y", "Fri, 24 May 2013 00:00:00 GMT", "")
	f.Add("AWSAccessKeyId=A&Expires=1175139620&Signature=NpgCjnDzrM%2BWFzoENXmpNDUsSn8%3D&acl", "", "", "/b/k")
	f.Fuzz(func(t *testing.T, query, authorization, date, path string) {
		r := sigv4.Request{Method: "GET", Path: path, Query: query, Header: host(sigv4.Field{Name: "Authorization", Value: authorization},
			sigv4.Field{Name: "x-amz-date", Value: date}, sigv4.Field{Name: "x-amz-content-sha256", Value: emptySHA256})}
		a, err := sigv4.Parse(r)
		if err != nil {
			return
		}
		if a.AccessKey == "" || a.Signature == "" || !a.V2 && (len(a.Date) != 8 || len(a.SignedHeaders) == 0) {
			t.Errorf("accepted %+v", a)
		}
		if err := a.Verify(r, "a secret that signed none of this", a.Time); err == nil {
			t.Error("forged")
		}
	})
}

func FuzzSignThenVerify(f *testing.F) {
	f.Add("/b/k", "a=b&c", "value")
	f.Add("/%2F//..//%zz", "&&=&+=%2B&a&a=", " a  b\t")
	f.Fuzz(func(t *testing.T, path, query, value string) {
		r := sigv4.Request{Method: "PUT", Path: path, Query: query}
		if _, err := sigv4.Parse(sigv4.Request{Query: query, Header: host()}); !errors.Is(err, sigv4.ErrAnonymous) {
			return // brings its own signature
		}
		if err := verify(signed(r, sigv4.Field{Name: "x-amz-meta-v", Value: value}), exampleTime()); err != nil {
			t.Error(err, explain(err))
		}
	})
}
