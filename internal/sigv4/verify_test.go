package sigv4_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shoal-storage/shoal/internal/sigv4"
)

// signed returns a request signed for the header, made from what is given.
func signed(r sigv4.Request, more ...sigv4.Field) sigv4.Request {
	h := host(more...)
	r.Header = h
	r.Header = append(h, exampleCredentials().Sign(r, emptySHA256, exampleTime())...)
	return r
}

func verify(r sigv4.Request, now time.Time) error {
	a, err := sigv4.Parse(r)
	if err != nil {
		return err
	}
	var v sigv4.Verifier
	first := v.Verify(a, r, exampleSecret, now)
	if second := v.Verify(a, r, exampleSecret, now); (first == nil) != (second == nil) || (first == nil) != (a.Verify(r, exampleSecret, now) == nil) {
		return errors.New("a Verifier that remembers the key decides otherwise than one that does not")
	}
	return first
}

func reason(err error) sigv4.Reason {
	if e, ok := errors.AsType[*sigv4.Error](err); ok {
		return e.Reason
	}
	return 0
}

// set returns the request with a header in place of those of its name; an
// empty value takes them away.
func set(r sigv4.Request, name, value string) sigv4.Request {
	h := slices.DeleteFunc(slices.Clone(r.Header.(sigv4.Fields)), func(f sigv4.Field) bool { return strings.EqualFold(f.Name, name) })
	if value != "" {
		h = append(h, sigv4.Field{Name: name, Value: value})
	}
	r.Header = h
	return r
}

func TestEverySignedThingThatIsChangedBreaksTheSignature(t *testing.T) {
	r := signed(sigv4.Request{Method: "PUT", Path: "/b/key", Query: "partNumber=1&uploadId=x"},
		sigv4.Field{Name: "X-Amz-Meta-Colour", Value: "blue"}, sigv4.Field{Name: "Content-Type", Value: "text/plain"})
	if err := verify(r, exampleTime()); err != nil {
		t.Fatal(err, explain(err))
	}
	other := func(f func(*sigv4.Request)) sigv4.Request {
		c := r
		f(&c)
		return c
	}
	for name, changed := range map[string]sigv4.Request{
		"method":        other(func(r *sigv4.Request) { r.Method = "DELETE" }),
		"path":          other(func(r *sigv4.Request) { r.Path = "/b/kez" }),
		"path case":     other(func(r *sigv4.Request) { r.Path = "/b/Key" }),
		"double slash":  other(func(r *sigv4.Request) { r.Path = "/b//key" }),
		"dot segment":   other(func(r *sigv4.Request) { r.Path = "/b/./key" }),
		"query value":   other(func(r *sigv4.Request) { r.Query = "partNumber=2&uploadId=x" }),
		"query added":   other(func(r *sigv4.Request) { r.Query += "&x" }),
		"query removed": other(func(r *sigv4.Request) { r.Query = "partNumber=1" }),
		"host":          set(r, "Host", "other.s3.amazonaws.com"),
		"metadata":      set(r, "X-Amz-Meta-Colour", "red"),
		"content type":  set(r, "Content-Type", "text/html"),
		"header gone":   set(r, "Content-Type", ""),
		"payload hash":  set(r, "X-Amz-Content-Sha256", strings.Repeat("0", 64)),
		"date":          set(r, "X-Amz-Date", "20130524T000001Z"),
	} {
		t.Run(name, func(t *testing.T) {
			if err := verify(changed, exampleTime()); reason(err) != sigv4.SignatureMismatch {
				t.Errorf("got %v", err)
			}
		})
	}
	a, err := sigv4.Parse(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Verify(r, exampleSecret+"x", exampleTime()); reason(err) != sigv4.SignatureMismatch {
		t.Errorf("another secret: %v", err)
	}
}

func TestEveryWayToWriteARequestSignsTheSame(t *testing.T) {
	for _, tt := range []struct{ name, signedPath, signedQuery, path, query string }{
		{"an escaped letter in the path", "/b/a", "", "/b/%61", ""},
		{"a bracket in the path", "/b/%28", "", "/b/(", ""},
		{"a plus in the path", "/b/%2B", "", "/b/+", ""},
		{"an escape in lower case", "/b/%C3%A4", "", "/b/%c3%a4", ""},
		{"an escaped slash signed as a slash", "/b/a/c", "", "/b/a%2Fc", ""},
		{"an escaped slash signed as it is", "/b/a%2Fc", "", "/b/a%2fc", ""},
		{"the order of parameters", "/b", "a=1&b=2", "/b", "b=2&a=1"},
		{"a parameter without '='", "/b", "acl=", "/b", "acl"},
		{"a space written as plus", "/b", "prefix=a%20b", "/b", "prefix=a+b"},
		{"a slash in a parameter", "/b", "prefix=a%2Fb", "/b", "prefix=a/b"},
		{"the order of the values of one parameter", "/b", "a=1&a=2", "/b", "a=2&a=1"},
		{"a name that is the start of another", "/b", "a=1&a-b=1&a.b=1&a0=1", "/b", "a0=1&a-b=1&a=1&a.b=1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := signed(sigv4.Request{Method: "GET", Path: tt.signedPath, Query: tt.signedQuery})
			r.Path, r.Query = tt.path, tt.query
			if err := verify(r, exampleTime()); err != nil {
				t.Error(err, explain(err))
			}
		})
	}
}

func TestCanonicalRequest(t *testing.T) {
	r := sigv4.Request{Method: "GET", Path: "/b/a//b/../%2e/ü~+%zz", Query: "b&a-=2&a=2&a=1&&a=&=x&%7e=+%2B/", Header: host(
		sigv4.Field{Name: "X-Amz-Meta-A", Value: "  two   spaces\t and tab "}, sigv4.Field{Name: "x-amz-meta-a", Value: "second"})}
	r = authorize(withHash(r), "host;x-amz-content-sha256;x-amz-date;x-amz-meta-a", strings.Repeat("0", 64))
	a, err := sigv4.Parse(r)
	if err != nil {
		t.Fatal(err)
	}
	e, ok := errors.AsType[*sigv4.Error](a.Verify(r, exampleSecret, exampleTime()))
	if !ok {
		t.Fatal("no error")
	}
	want := "GET\n/b/a//b/.././%C3%BC~%2B%25zz\n" +
		"=x&a=&a=1&a=2&a-=2&b=&~=%20%2B%2F\n" +
		"host:examplebucket.s3.amazonaws.com\nx-amz-content-sha256:" + emptySHA256 + "\nx-amz-date:20130524T000000Z\n" +
		"x-amz-meta-a:two spaces and tab,second\n\nhost;x-amz-content-sha256;x-amz-date;x-amz-meta-a\n" + emptySHA256
	if e.CanonicalRequest != want {
		t.Errorf("got\n%s\nwant\n%s", e.CanonicalRequest, want)
	}
	if !strings.HasPrefix(e.StringToSign, "AWS4-HMAC-SHA256\n20130524T000000Z\n20130524/us-east-1/s3/aws4_request\n") {
		t.Errorf("string to sign %q", e.StringToSign)
	}
}

func withHash(r sigv4.Request) sigv4.Request {
	r.Header = withDateAndHash(r.Header.(sigv4.Fields), emptySHA256)
	return r
}

func TestTimeOfTheSignature(t *testing.T) {
	inHeader := signed(sigv4.Request{Method: "GET", Path: "/b"})
	presigned := sigv4.Request{Method: "GET", Path: "/test.txt", Query: presignedQuery, Header: host()}
	for _, tt := range []struct {
		name string
		r    sigv4.Request
		at   time.Duration // of the server's clock after the signature
		want sigv4.Reason
	}{
		{"header, the clocks agree", inHeader, 0, 0},
		{"header, 15 min late", inHeader, 15 * time.Minute, 0},
		{"header, later", inHeader, 15*time.Minute + 1, sigv4.TimeTooSkewed},
		{"header, 15 min early", inHeader, -15 * time.Minute, 0},
		{"header, earlier", inHeader, -15*time.Minute - 1, sigv4.TimeTooSkewed},
		{"presigned, at its end", presigned, 24 * time.Hour, 0},
		{"presigned, after its end", presigned, 24*time.Hour + 1, sigv4.Expired},
		{"presigned, 15 min early", presigned, -15 * time.Minute, 0},
		{"presigned, earlier", presigned, -15*time.Minute - 1, sigv4.NotYetValid},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := verify(tt.r, exampleTime().Add(tt.at)); reason(err) != tt.want || tt.want == 0 && err != nil {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestTheDateHeaderServesWhereThereIsNoXAmzDate(t *testing.T) {
	r := sigv4.Request{Method: "GET", Path: "/b", Header: host()}
	date := sigv4.Field{Name: "Date", Value: "Fri, 24 May 2013 00:00:00 GMT"}
	hash := sigv4.Field{Name: "x-amz-content-sha256", Value: emptySHA256}
	r.Header = host(date, hash)
	probe := authorize(r, "date;host;x-amz-content-sha256", strings.Repeat("0", 64))
	a, err := sigv4.Parse(probe)
	if err != nil {
		t.Fatal(err)
	}
	e, _ := errors.AsType[*sigv4.Error](a.Verify(probe, exampleSecret, exampleTime()))
	if e == nil || !strings.Contains(e.StringToSign, "\n20130524T000000Z\n") {
		t.Errorf("%+v", e)
	}
}

func TestUnsignedAmzHeadersAreRefused(t *testing.T) {
	inHeader := signed(sigv4.Request{Method: "GET", Path: "/b"})
	presigned := sigv4.Request{Method: "GET", Path: "/test.txt", Query: presignedQuery, Header: host()}
	for _, tt := range []struct {
		name    string
		r       sigv4.Request
		header  string
		refused bool
	}{
		{"header", inHeader, "X-Amz-Acl", true},
		{"header, metadata", inHeader, "x-AMZ-meta-a", true},
		{"header, token", inHeader, "X-Amz-Security-Token", true},
		{"header, not AWS's", inHeader, "X-Other", false},
		{"header, a trace of a load balancer", inHeader, "X-Amzn-Trace-Id", false},
		{"presigned", presigned, "X-Amz-Acl", true},
		{"presigned, token", presigned, "X-Amz-Security-Token", true},
		{"presigned, date", presigned, "X-Amz-Date", true},
		{"presigned, content type", presigned, "Content-Type", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := verify(set(tt.r, tt.header, "v"), exampleTime())
			if !tt.refused {
				if err != nil {
					t.Error(err)
				}
				return
			}
			e, ok := errors.AsType[*sigv4.Error](err)
			if !ok || e.Reason != sigv4.UnsignedHeaders || !slices.Equal(e.Headers, []string{strings.ToLower(tt.header)}) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestPayloadHashOfAPresignedURLIsSignedWithoutBeingListed(t *testing.T) {
	presigned := sigv4.Request{Method: "GET", Path: "/test.txt", Query: presignedQuery, Header: host()}
	if err := verify(set(presigned, "X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD"), exampleTime()); err != nil {
		t.Error(err)
	}
	if err := verify(set(presigned, "X-Amz-Content-Sha256", emptySHA256), exampleTime()); reason(err) != sigv4.SignatureMismatch {
		t.Errorf("another hash: %v", err)
	}
}

func TestCheckScope(t *testing.T) {
	for _, tt := range []struct {
		name     string
		auth     sigv4.Auth
		region   string
		services []string
		want     sigv4.Reason
	}{
		{"ours", sigv4.Auth{Region: "eu-west-1", Service: "s3"}, "eu-west-1", nil, 0},
		{"another region", sigv4.Auth{Region: "us-east-1", Service: "s3"}, "eu-west-1", nil, sigv4.HeaderMalformed},
		{"another region, presigned", sigv4.Auth{Region: "us-east-1", Service: "s3", Presigned: true}, "eu-west-1", nil, sigv4.QueryMalformed},
		{"none signed", sigv4.Auth{Service: "s3"}, "eu-west-1", nil, 0},
		{"none wanted", sigv4.Auth{Region: "mars", Service: "s3"}, "", nil, 0},
		{"another service", sigv4.Auth{Region: "r", Service: "ec2"}, "r", nil, sigv4.HeaderMalformed},
		{"another service, presigned", sigv4.Auth{Region: "r", Service: "ec2", Presigned: true}, "r", nil, sigv4.QueryMalformed},
		{"a service that is named", sigv4.Auth{Region: "r", Service: "sts"}, "r", []string{"sts"}, 0},
		{"s3 where sts is named", sigv4.Auth{Region: "r", Service: "s3"}, "r", []string{"sts"}, sigv4.HeaderMalformed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.auth.CheckScope(tt.region, tt.services...)
			if reason(err) != tt.want || (err == nil) != (tt.want == 0) {
				t.Errorf("got %v", err)
			}
			if e, ok := errors.AsType[*sigv4.Error](err); ok && strings.HasPrefix(tt.name, "another region") && e.Region != tt.region {
				t.Errorf("expected region %q", e.Region)
			}
		})
	}
}

func TestSecurityTokensAreSigned(t *testing.T) {
	c := exampleCredentials()
	c.SecurityToken = "to/ken+="
	r := sigv4.Request{Method: "GET", Path: "/b", Header: host()}
	inHeader := r
	inHeader.Header = host(c.Sign(r, emptySHA256, exampleTime())...)
	presigned := r
	presigned.Query = c.Presign(r, time.Minute, exampleTime())
	for name, r := range map[string]sigv4.Request{"header": inHeader, "presigned": presigned} {
		t.Run(name, func(t *testing.T) {
			a, err := sigv4.Parse(r)
			if err != nil || a.SecurityToken != c.SecurityToken {
				t.Fatalf("token %q, %v", a.SecurityToken, err)
			}
			if err := verify(r, exampleTime()); err != nil {
				t.Error(err, explain(err))
			}
			if name == "header" {
				r = set(r, "X-Amz-Security-Token", "other")
			} else {
				r.Query = strings.Replace(r.Query, "to%2Fken", "to%2Fcan", 1)
			}
			if err := verify(r, exampleTime()); reason(err) != sigv4.SignatureMismatch {
				t.Errorf("another token: %v", err)
			}
		})
	}
}

func BenchmarkVerify(b *testing.B) {
	r := signed(sigv4.Request{Method: "PUT", Path: "/bucket/photos/2026/january/picture%20one.jpeg", Query: "partNumber=12&uploadId=abcdefghij"},
		sigv4.Field{Name: "Content-Type", Value: "image/jpeg"}, sigv4.Field{Name: "X-Amz-Meta-Owner", Value: "somebody"},
		sigv4.Field{Name: "X-Amz-Storage-Class", Value: "STANDARD"})
	a, err := sigv4.Parse(r)
	if err != nil {
		b.Fatal(err)
	}
	var v sigv4.Verifier
	for name, check := range map[string]func() error{
		"derived":    func() error { return a.Verify(r, exampleSecret, exampleTime()) },
		"remembered": func() error { return v.Verify(a, r, exampleSecret, exampleTime()) },
		"parse":      func() error { _, err := sigv4.Parse(r); return err },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := check(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func TestSignatureOfAnyFormIsCompared(t *testing.T) {
	r := sigv4.Request{Method: "GET", Path: "/b", Header: host()}
	for _, signature := range []string{"x", strings.Repeat("A", 64), strings.Repeat("a", 65)} {
		signed := set(set(r, "X-Amz-Date", "20130524T000000Z"), "X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD")
		signed = set(signed, "Authorization", "AWS4-HMAC-SHA256 Credential=AK/20130524/us-east-1/s3/aws4_request,"+
			"SignedHeaders=host;x-amz-content-sha256;x-amz-date,Signature="+signature)
		a, err := sigv4.Parse(signed)
		if err != nil {
			t.Fatal(err)
		}
		if err := a.Verify(signed, "secret", a.Time); reason(err) != sigv4.SignatureMismatch {
			t.Errorf("%s: %v", signature, err)
		}
	}
}
