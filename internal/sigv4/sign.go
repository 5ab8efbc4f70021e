package sigv4

import (
	"crypto/sha256"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Credentials are what a client signs with.
type Credentials struct {
	AccessKey     string
	Secret        string
	SecurityToken string // of temporary credentials, or ""
	Region        string
	Service       string // empty means s3
}

// Sign returns the headers to add to a request so that Verify accepts it:
// X-Amz-Date, X-Amz-Content-Sha256, X-Amz-Security-Token where there is one,
// and Authorization. payloadHash is a value of x-amz-content-sha256. All
// headers of r are signed but those that proxies and transports change, so r
// must have its Host.
func (c Credentials) Sign(r Request, payloadHash string, now time.Time) []Field {
	a := c.auth(now, payloadHash)
	added := []Field{{"X-Amz-Date", a.Time.Format(timeFormat)}, {"X-Amz-Content-Sha256", payloadHash}}
	if c.SecurityToken != "" {
		added = append(added, Field{"X-Amz-Security-Token", c.SecurityToken})
	}
	r.Header = withFields(r.Header, added)
	a.SignedHeaders = signable(r.Header)
	signature := a.sign(r, c.Secret)
	return append(added, Field{"Authorization", algorithm + " Credential=" + c.AccessKey + "/" + a.scope() +
		",SignedHeaders=" + strings.Join(a.SignedHeaders, ";") + ",Signature=" + signature})
}

// Presign returns the query that makes of r a presigned URL which is good for
// expires, in whole seconds up to MaxExpires. The headers of r must be sent
// with it.
func (c Credentials) Presign(r Request, expires time.Duration, now time.Time) string {
	a := c.auth(now, unsignedPayload)
	a.Presigned = true
	a.SignedHeaders = signable(r.Header)
	query := r.Query
	add := func(name, value string) {
		if query != "" {
			query += "&"
		}
		query += name + "=" + string(appendComponent(nil, strings.ReplaceAll(value, "+", "%2B")))
	}
	add("X-Amz-Algorithm", algorithm)
	add("X-Amz-Credential", c.AccessKey+"/"+a.scope())
	add("X-Amz-Date", a.Time.Format(timeFormat))
	add("X-Amz-Expires", strconv.FormatInt(int64(expires/time.Second), 10))
	if c.SecurityToken != "" {
		add("X-Amz-Security-Token", c.SecurityToken)
	}
	add("X-Amz-SignedHeaders", strings.Join(a.SignedHeaders, ";"))
	r.Query = query
	return query + "&" + signatureParameter + "=" + a.sign(r, c.Secret)
}

// SignPolicy returns the signature of a POST form's policy, which is base64.
func (c Credentials) SignPolicy(policy string, now time.Time) string {
	k := c.auth(now, "").key(c.Secret)
	signature := k.sign([]byte(policy))
	return string(signature[:])
}

func (c Credentials) auth(now time.Time, payloadHash string) Auth {
	if c.Service == "" {
		c.Service = service
	}
	now = now.UTC()
	return Auth{
		AccessKey: c.AccessKey, Region: c.Region, Service: c.Service,
		Date: now.Format(dateFormat), Time: now, PayloadHash: payloadHash,
	}
}

func (a *Auth) sign(r Request, secret string) string {
	k := a.key(secret)
	signature := k.sign(a.appendStringToSign(nil, sha256.Sum256(appendCanonical(nil, r, a, reading{}))))
	return string(signature[:])
}

func (a Auth) key(secret string) Key { return DeriveKey(secret, a.Date, a.Region, a.Service) }

// withFields returns the headers of h and those added.
func withFields(h Header, added []Field) Fields {
	var all Fields
	seen := map[string]bool{}
	for name := range h.Names() {
		if name = strings.ToLower(name); !seen[name] {
			seen[name] = true
			for _, v := range h.Values(name) {
				all = append(all, Field{name, v})
			}
		}
	}
	if !seen["host"] {
		all = append(all, Field{"host", h.Get("Host")})
	}
	return append(all, added...)
}

// signable returns the names of the headers that a client signs, sorted.
func signable(h Header) []string {
	names := []string{"host"}
	for name := range h.Names() {
		switch name = strings.ToLower(name); name {
		case "authorization", "user-agent", "accept-encoding", "connection", "content-length", "expect",
			"te", "transfer-encoding", "upgrade", "x-amzn-trace-id":
		default:
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
