package test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awscredentials "github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// withToken has a client sign with temporary credentials.
func withToken(v credentials.Value) func(*s3.Options) {
	return func(o *s3.Options) {
		o.Credentials = awscredentials.NewStaticCredentialsProvider(v.AccessKeyID, v.SecretAccessKey, v.SessionToken)
	}
}

// readEverywhere wants an answer to a GET of temporary credentials on each gateway: "" for
// success, or the code of the error.
func (a *administration) readEverywhere(t *testing.T, v credentials.Value, want string) {
	t.Helper()
	for i, s := range a.fleet {
		_, err := newS3(s, noRetry, withToken(v)).GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String("bucket"), Key: aws.String("k")})
		if got := errorCode(err); got != want || err != nil && want == "" {
			t.Errorf("gateway %d answers with %v, want %q", i, err, want)
		}
	}
}

// administerAnn is a fleet with an object and the user "ann", who may do everything to it.
func administerAnn(t *testing.T) *administration {
	t.Helper()
	a := administer(t)
	a.mc.run(t, "mb", "g0/bucket")
	_, err := newS3(a.fleet[0]).PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("bucket"), Key: aws.String("k"), Body: strings.NewReader("content")})
	must(t, err)
	a.admin(t, "user", "add", "@", "ann", "ann's secret")
	a.admin(t, "policy", "attach", "@", "readwrite", "--user", "ann")
	return a
}

// assumeAt makes temporary credentials of ann's on one gateway.
func (a *administration) assumeAt(t *testing.T, gateway int) credentials.Value {
	t.Helper()
	c, err := credentials.NewSTSAssumeRole(a.fleet[gateway].url, credentials.STSAssumeRoleOptions{AccessKey: "ann", SecretKey: "ann's secret"})
	must(t, err)
	v, err := c.GetWithContext(nil)
	must(t, err)
	return v
}

// TestTemporaryCredentialsOfOneGatewayCountOnAll also when whose they are is disabled or
// removed on another one: they are refused everywhere when that command has returned.
func TestTemporaryCredentialsOfOneGatewayCountOnAll(t *testing.T) {
	t.Parallel()
	a := administerAnn(t)
	var all []credentials.Value
	for i := range a.fleet {
		all = append(all, a.assumeAt(t, i))
		a.readEverywhere(t, all[i], "")
	}
	a.admin(t, "user", "disable", "@", "ann")
	a.readEverywhere(t, all[0], notKnown)
	a.admin(t, "user", "enable", "@", "ann")
	a.readEverywhere(t, all[1], "")
	a.admin(t, "policy", "detach", "@", "readwrite", "--user", "ann")
	a.readEverywhere(t, all[1], notAllowed)
	a.admin(t, "user", "remove", "@", "ann")
	for _, v := range all {
		a.readEverywhere(t, v, notKnown)
	}
	wrong := all[0]
	wrong.SessionToken = all[1].SessionToken
	a.readEverywhere(t, wrong, "InvalidToken")
}

func TestClientsUseTemporaryCredentials(t *testing.T) {
	t.Parallel()
	a := administerAnn(t)
	var urls []string
	for _, s := range a.fleet {
		urls = append(urls, s.url)
	}
	anns := append(awsEnv(), "AWS_ACCESS_KEY_ID=ann", "AWS_SECRET_ACCESS_KEY=ann's secret")
	t.Run("boto3", func(t *testing.T) {
		client(t, "/usr/bin/python3", append(anns, "ENDPOINTS="+strings.Join(urls, ","))).run(t, "clients/sts_test.py")
	})
	t.Run("aws", func(t *testing.T) {
		out := client(t, "/usr/bin/aws", anns, "--endpoint-url", urls[0]).run(t, "sts", "assume-role", "--role-arn", "arn:aws:iam::000000000000:role/any", "--role-session-name", "job", "--output", "json")
		var made struct {
			Credentials struct{ AccessKeyId, SecretAccessKey, SessionToken string } //nolint:revive,staticcheck // the names in AWS's JSON
		}
		must(t, json.Unmarshal([]byte(out), &made))
		temporary := append(awsEnv(), "AWS_ACCESS_KEY_ID="+made.Credentials.AccessKeyId, "AWS_SECRET_ACCESS_KEY="+made.Credentials.SecretAccessKey, "AWS_SESSION_TOKEN="+made.Credentials.SessionToken)
		cli := client(t, "/usr/bin/aws", temporary, "--endpoint-url", urls[1])
		if got := cli.run(t, "s3", "cp", "s3://bucket/k", "-"); got != "content" {
			t.Errorf("read %q", got)
		}
		fetch(t, strings.TrimSpace(cli.run(t, "s3", "presign", "s3://bucket/k")), []byte("content"))
	})
	t.Run("mc", func(t *testing.T) {
		v := a.assumeAt(t, 1)
		host := strings.TrimPrefix(urls[2], "http://")
		mc := client(t, "mc", []string{fmt.Sprintf("MC_HOST_temporary=http://%s:%s:%s@%s", v.AccessKeyID, v.SecretAccessKey, v.SessionToken, host)}, "--config-dir", t.TempDir(), "--no-color")
		if got := mc.run(t, "cat", "temporary/bucket/k"); got != "content" {
			t.Errorf("read %q", got)
		}
		mc.run(t, "cp", randomFile(t, 1<<20), "temporary/bucket/uploaded")
	})
}

// provider is an OpenID provider with one key.
type provider struct {
	url string
	key *rsa.PrivateKey
}

func startProvider(t *testing.T) *provider {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	must(t, err)
	p := &provider{key: key}
	mux := http.NewServeMux()
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"issuer":%q,"jwks_uri":%q}`, p.url, p.url+"/keys")
	})
	mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"keys":[{"kty":"RSA","kid":"1","use":"sig","e":"AQAB","n":%q}]}`, base64.RawURLEncoding.EncodeToString(key.N.Bytes()))
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	p.url = server.URL
	return p
}

// token returns a token of somebody with policies, for an hour.
func (p *provider) token(t *testing.T, subject, policies string) string {
	t.Helper()
	claims, err := json.Marshal(map[string]any{"iss": p.url, "aud": "shoal", "sub": subject, "policy": policies, "exp": time.Now().Add(time.Hour).Unix()})
	must(t, err)
	encode := base64.RawURLEncoding.EncodeToString
	signed := encode([]byte(`{"alg":"RS256","kid":"1"}`)) + "." + encode(claims)
	sum := sha256.Sum256([]byte(signed))
	signature, err := rsa.SignPKCS1v15(rand.Reader, p.key, crypto.SHA256, sum[:])
	must(t, err)
	return signed + "." + encode(signature)
}

func TestTokensOfAProviderAreTakenForTemporaryCredentials(t *testing.T) {
	t.Parallel()
	p := startProvider(t)
	a := administer(t, "--identity-openid-config-url", p.url+"/.well-known/openid-configuration", "--identity-openid-client-id", "shoal")
	a.mc.run(t, "mb", "g0/bucket")
	_, err := newS3(a.fleet[0]).PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("bucket"), Key: aws.String("k"), Body: strings.NewReader("content")})
	must(t, err)
	file := filepath.Join(t.TempDir(), "policy.json")
	must(t, os.WriteFile(file, []byte(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::bucket/*","Condition":{"StringEquals":{"jwt:sub":"eve"}}}]}`), 0o600))
	a.admin(t, "policy", "create", "@", "eves", file)
	for subject, want := range map[string]string{"eve": "", "adam": notAllowed} {
		c, err := credentials.NewSTSWebIdentity(a.fleet[1].url, func() (*credentials.WebIdentityToken, error) {
			return &credentials.WebIdentityToken{Token: p.token(t, subject, "eves")}, nil
		})
		must(t, err)
		v, err := c.GetWithContext(nil)
		must(t, err)
		a.readEverywhere(t, v, want)
	}
	token := filepath.Join(t.TempDir(), "token")
	must(t, os.WriteFile(token, []byte(p.token(t, "eve", "eves")), 0o600))
	cli := client(t, "/usr/bin/aws", []string{"AWS_DEFAULT_REGION=" + region, "AWS_EC2_METADATA_DISABLED=true"}, "--endpoint-url", a.fleet[2].url)
	out := cli.run(t, "sts", "assume-role-with-web-identity", "--role-arn", "arn:aws:iam::000000000000:role/any", "--role-session-name", "job", "--web-identity-token", "file://"+token)
	if !strings.Contains(out, "SessionToken") || !strings.Contains(out, `"SubjectFromWebIdentityToken": "eve"`) {
		t.Error(out)
	}
}

// TestASecondProviderGivesItsRole which mc shows the name of, to whom of its tokens asks for
// it; to those who do not, what their tokens name.
func TestASecondProviderGivesItsRole(t *testing.T) {
	t.Parallel()
	own, other := startProvider(t), startProvider(t)
	a := administerFleet(t, startFleetWith(t, []string{
		"MINIO_IDENTITY_OPENID_CONFIG_URL_DEX=" + other.url + "/.well-known/openid-configuration", "MINIO_IDENTITY_OPENID_CLIENT_ID_DEX=shoal",
		"SHOAL_IDENTITY_OPENID_ROLE_POLICY_DEX=readonly",
	}, 3, "--identity-openid-config-url", own.url+"/.well-known/openid-configuration", "--identity-openid-client-id", "shoal"))
	a.mc.run(t, "mb", "g0/bucket")
	_, err := newS3(a.fleet[0]).PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("bucket"), Key: aws.String("k"), Body: strings.NewReader("content")})
	must(t, err)
	var list []struct{ Name, RoleARN string }
	out := a.mc.run(t, "idp", "openid", "ls", "g1", "--json")
	must(t, json.Unmarshal([]byte(out), &list))
	if len(list) != 2 || list[0].Name != "_" || list[0].RoleARN != "" || list[1].Name != "DEX" {
		t.Fatal(out)
	}
	role := list[1].RoleARN
	if out := a.mc.run(t, "idp", "openid", "info", "g2", "DEX"); !strings.Contains(out, role) || !strings.Contains(out, other.url) {
		t.Error(out)
	}
	for _, tt := range []struct {
		by             *provider
		role, policies string
		want           string // "": an object can be read; else a code, or what the token service says
	}{
		{other, role, "nothing", ""},
		{other, "", "nothing", ""},
		{own, "", "writeonly", notAllowed},
		{own, "", "readonly", ""},
		{own, role, "readonly", "token is not valid"},
		{other, role + "x", "readonly", "no role"},
	} {
		c, err := credentials.NewSTSWebIdentity(a.fleet[1].url, func() (*credentials.WebIdentityToken, error) {
			return &credentials.WebIdentityToken{Token: tt.by.token(t, "eve", tt.policies)}, nil
		}, func(i *credentials.STSWebIdentity) { i.RoleARN = tt.role })
		must(t, err)
		switch v, err := c.GetWithContext(nil); {
		case err == nil:
			a.readEverywhere(t, v, tt.want)
		case tt.want == "" || !strings.Contains(err.Error(), tt.want):
			t.Errorf("role %q of %s: %v", tt.role, tt.by.url, err)
		}
	}
}

// authority vouches for clients.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	must(t, err)
	cert, err := x509.ParseCertificate(der)
	must(t, err)
	return &authority{cert: cert, key: key}
}

// client returns a certificate of somebody, for so long.
func (a *authority) client(t *testing.T, name string, life time.Duration) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(life),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	must(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func TestCertificatesAreTakenForTemporaryCredentials(t *testing.T) {
	t.Parallel()
	c, trusted, stranger := newCerts(t, "s3.example.com"), newAuthority(t), newAuthority(t)
	must(t, os.Mkdir(filepath.Join(c.dir, "CAs"), 0o755))
	must(t, os.WriteFile(filepath.Join(c.dir, "CAs", "ca.crt"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: trusted.cert.Raw}), 0o600))
	s := start(t, "--certs-dir", c.dir)
	mc := client(t, "mc", nil, "--config-dir", t.TempDir(), "--no-color", "--disable-pager", "--insecure")
	mc.run(t, "alias", "set", "s", s.url, user, password)
	mc.run(t, "admin", "config", "set", "s", "identity_tls", "enable=on")
	assume := func(certificate tls.Certificate) (credentials.Value, time.Time, error) {
		transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: c.roots, Certificates: []tls.Certificate{certificate}}}
		defer transport.CloseIdleConnections()
		made, err := credentials.NewSTSCertificateIdentity(s.url, certificate, func(i *credentials.STSCertificateIdentity) { i.Client = &http.Client{Transport: transport} })
		must(t, err)
		v, err := made.GetWithContext(nil)
		return v, v.Expiration, err
	}
	v, ends, err := assume(trusted.client(t, "readwrite", 30*time.Minute))
	must(t, err)
	if left := time.Until(ends); left > 30*time.Minute {
		t.Errorf("the credentials outlive the certificate: %v", left)
	}
	trusting := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: c.roots}}
	t.Cleanup(trusting.CloseIdleConnections)
	s3Client := newS3(s, noRetry, withToken(v), func(o *s3.Options) { o.HTTPClient = &http.Client{Transport: trusting} })
	_, err = s3Client.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("bucket")})
	must(t, err)
	for what, certificate := range map[string]tls.Certificate{
		"none":                           {},
		"of an authority that is not in": stranger.client(t, "readwrite", time.Hour),
		"of no policy":                   trusted.client(t, "nothing", time.Hour),
		"that is about to expire":        trusted.client(t, "readwrite", time.Minute),
		"that has expired":               trusted.client(t, "readwrite", -time.Minute),
	} {
		if v, _, err := assume(certificate); err == nil {
			t.Errorf("a certificate %s gets %+v", what, v)
		}
	}
	mc.run(t, "admin", "config", "set", "s", "identity_tls", "enable=off")
	if v, _, err := assume(trusted.client(t, "readwrite", time.Hour)); err == nil {
		t.Errorf("where certificates are taken no more one gets %+v", v)
	}
}
