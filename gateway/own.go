package gateway

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/valyala/fasthttp"
	"github.com/valyala/fasthttp/fasthttpadaptor"

	"github.com/shoal-storage/shoal/gateway/admin"
	"github.com/shoal-storage/shoal/internal/iam"
	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/throttle"
)

// ownBucket is the name under which the gateway's own pages stand, as they did
// in MinIO; no bucket may have it.
const ownBucket = "minio"

// serveOwn answers requests that are for the gateway itself and not for S3:
// health, metrics, and browsers that look for the console. It reports whether
// the request was one.
func (s *Server) serveOwn(r *request) bool {
	h := &r.ctx.Request.Header
	if !h.IsGet() && !h.IsHead() || hostBucket(string(h.Host()), s.WebsiteDomains) != "" {
		return false
	}
	path, _, _ := bytes.Cut(h.RequestURI(), []byte("?"))
	answer := s.ownPage(r, string(path))
	if answer == nil {
		return false
	}
	s.Metrics.inflight.Dec()
	answer()
	return true
}

// ownPage returns what answers a GET of the path, nil if it is S3's.
func (s *Server) ownPage(r *request, path string) func() {
	switch path {
	case "/minio/health/live":
		return func() {}
	case "/livez", "/readyz":
		if !r.unsigned() {
			return nil
		}
		if path == "/livez" {
			return func() {}
		}
		return func() { s.answerReady(r, s.Readable) }
	case "/minio/health/ready", "/minio/health/cluster/read":
		return func() { s.answerReady(r, s.Readable) }
	case "/minio/health/cluster":
		return func() { s.answerCluster(r) }
	case "/minio/v2/metrics/cluster", "/minio/v2/metrics/node", "/minio/v2/metrics/resource", "/minio/prometheus/metrics":
		return func() { s.answerMetrics(r, s.Metrics.Registry) }
	case "/minio/v2/metrics/bucket":
		return func() { s.answerMetrics(r, s.Metrics.Buckets) }
	case NodePath:
		if s.Self.ID != "" {
			return func() { r.answerNode(s.Self) }
		}
	case StatusPath:
		return func() { s.answerStatus(r) }
	case "/", "/minio", "/minio/", "/minio/login", "/index.html", "/favicon.ico":
		if s.ConsoleURL != "" && isBrowser(r) {
			return func() { r.ctx.Redirect(s.ConsoleURL, fasthttp.StatusTemporaryRedirect) }
		}
	}
	return nil
}

func isBrowser(r *request) bool {
	return strings.Contains(r.header(fasthttp.HeaderUserAgent), "Mozilla") && r.unsigned()
}

func (r *request) unsigned() bool {
	return Unsigned(r.header(fasthttp.HeaderAuthorization), string(r.ctx.Request.Header.RequestURI()))
}

// Unsigned reports whether a request with such a header and target carries no signature. Of /livez and
// /readyz, which could be buckets, only such a one is a probe.
func Unsigned(authorization, target string) bool {
	return authorization == "" && !strings.Contains(target, "X-Amz-")
}

// answerCluster answers as answerReady, or with 412 whoever asks whether this node can be taken away
// for maintenance, if nothing could be written then. Where there are sets of drives it also tells how many
// drives of one have to be there for writing, the most of all sets, and how many are being healed.
func (s *Server) answerCluster(r *request) {
	if s.Admin.Drives != nil {
		r.tellQuorums(admin.SetsOf(s.Admin.Drives()))
	}
	if string(r.ctx.QueryArgs().Peek("maintenance")) == "true" {
		if why := s.indispensable(); why != "" {
			r.answerOffline(fasthttp.StatusPreconditionFailed, why)
			return
		}
	}
	s.answerReady(r, nil)
}

func (r *request) tellQuorums(sets []admin.DriveSet) {
	write, healing := 0, 0
	for i := range sets {
		q := sets[i].Quorums()
		write, healing = max(write, q.Write), healing+q.Healing
	}
	r.set("x-minio-write-quorum", itoa(write))
	if healing > 0 {
		r.set("x-minio-healing-drives", itoa(healing))
	}
}

// indispensable says why nothing could be written without this node's drives, "" if it could.
func (s *Server) indispensable() string {
	if s.Admin.Drives == nil {
		return ""
	}
	all := slices.Clone(s.Admin.Drives())
	for i := range all {
		all[i].Online = all[i].Online && all[i].Node != "" && all[i].Node != s.Node
	}
	for _, set := range admin.SetsOf(all) {
		if q := set.Quorums(); q.Online < q.Write {
			return fmt.Sprintf("without this node %d drives of set %d of pool %d are left, and %d are needed", q.Online, set.Set+1, set.Pool+1, q.Write)
		}
	}
	return ""
}

// answerReady answers 200 if requests can be served here and now, 503 if not: if nothing is
// said, all, and otherwise those that least speaks of.
func (s *Server) answerReady(r *request, least func() error) {
	why := ""
	if s.draining.Load() {
		why = "draining"
	} else if h, ok := s.Store.(object.Health); ok {
		if err := h.Healthy(); err != nil {
			why = err.Error()
		}
	}
	if least == nil {
		least = s.Ready
	}
	if why == "" && least != nil {
		if err := least(); err != nil {
			why = err.Error()
		}
	}
	if why != "" {
		r.answerOffline(fasthttp.StatusServiceUnavailable, why)
	}
}

// answerOffline answers a probe why it is refused.
func (r *request) answerOffline(status int, why string) {
	r.ctx.SetStatusCode(status)
	r.set("x-minio-server-status", "offline")
	r.set("Retry-After", "1")
	r.set("Content-Type", "text/plain; charset=utf-8")
	r.ctx.Response.SetBodyString(why + "\n")
}

// answerMetrics answers in Prometheus' format.
func (s *Server) answerMetrics(r *request, told prometheus.Gatherer) {
	if !s.PublicMetrics {
		if err := s.checkToken(r); err != nil {
			r.answerError(toS3(err))
			return
		}
	}
	fasthttpadaptor.NewFastHTTPHandler(promhttp.HandlerFor(told, promhttp.HandlerOpts{}))(r.ctx)
}

// NodePath is the page by which nodes that have drives of a set find each other.
const NodePath = "/minio/shoal/node"

// Node is what that page says. It is no secret: who is there is proved on the port.
type Node struct {
	ID   string `json:"id"`   // of the process
	Port string `json:"port"` // where it speaks with other nodes
}

func (r *request) answerNode(n Node) {
	document, err := json.Marshal(n)
	if err != nil {
		r.answerError(errInternal.because(err))
		return
	}
	r.set("Content-Type", "application/json")
	r.ctx.Response.SetBody(document)
}

// StatusPath is the page that "shoal status" asks for.
const StatusPath = "/minio/shoal/status"

// statusTimeout is how long nodes are waited for that are asked for theirs.
const statusTimeout = 3 * time.Second

// answerStatus answers with the state of the fleet, for those who may see the
// metrics by a token: it names addresses.
func (s *Server) answerStatus(r *request) {
	if err := s.checkToken(r); err != nil {
		r.answerError(toS3(err))
		return
	}
	if s.Status == nil {
		r.answerError(errNotImplemented.with("This server serves alone, and is in no fleet: \"shoal admin info\" shows it."))
		return
	}
	ctx, cancel := context.WithTimeout(s.root, statusTimeout)
	defer cancel()
	document, err := json.Marshal(s.Status(ctx))
	if err != nil {
		r.answerError(errInternal.because(err))
		return
	}
	r.set("Content-Type", "application/json")
	r.ctx.Response.SetBody(document)
}

// Token makes a token for the gateway's own pages, good until a time.
func Token(accessKey, secret string, until time.Time) (string, error) {
	claims, err := json.Marshal(map[string]any{"sub": accessKey, "iss": tokenIssuer, "exp": until.Unix()})
	if err != nil {
		return "", err
	}
	signed := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"HS512","typ":"JWT"}`)) + "." + base64.RawURLEncoding.EncodeToString(claims)
	return signed + "." + base64.RawURLEncoding.EncodeToString(tokenMAC(signed, secret)), nil
}

func tokenMAC(signed, secret string) []byte {
	mac := hmac.New(sha512.New, []byte(secret))
	mac.Write([]byte(signed))
	return mac.Sum(nil)
}

// tokenIssuer is what MinIO's tools put into their tokens.
const tokenIssuer = "prometheus"

// maxTokenBytes bounds a bearer token.
const maxTokenBytes = 4 << 10

// checkToken verifies the token that "mc admin prometheus generate" makes: a
// JWT (RFC 7519) with HS512 under the secret of the access key that it names.
func (s *Server) checkToken(r *request) error {
	token, ok := strings.CutPrefix(r.header(fasthttp.HeaderAuthorization), "Bearer ")
	if !ok || len(token) > maxTokenBytes {
		return errAccessDenied
	}
	signed, signature, ok := cutLast(token, ".")
	if !ok {
		return errAccessDenied
	}
	header, claims, ok := strings.Cut(signed, ".")
	if !ok {
		return errAccessDenied
	}
	var head struct{ Alg string }
	var body struct {
		Sub, Iss string
		Exp      float64 // seconds since 1970
	}
	if !decodeSegment(header, &head) || !decodeSegment(claims, &body) || head.Alg != "HS512" || body.Iss != tokenIssuer {
		return errAccessDenied
	}
	identity, secret, err := s.Authority.Lookup(body.Sub)
	if errors.Is(err, iam.ErrNoSuchKey) {
		return s.unproven(r, throttle.Failure{}, noSuchKey, errAccessDenied.because(err))
	}
	if err != nil {
		return errAccessDenied.because(err)
	}
	given, err := base64.RawURLEncoding.DecodeString(signature)
	if err != nil || !hmac.Equal(given, tokenMAC(signed, secret)) {
		return s.unproven(r, throttle.Failure{Name: body.Sub, Known: true}, wrongToken, errAccessDenied)
	}
	allowed := identity.Decide(&iam.Request{Identity: identity, Action: "admin:Prometheus"}) == iam.Allow
	if !allowed || !s.Now().Before(time.Unix(int64(body.Exp), 0)) {
		return errAccessDenied
	}
	return nil
}

func decodeSegment(segment string, v any) bool {
	raw, err := base64.RawURLEncoding.DecodeString(segment)
	return err == nil && json.Unmarshal(raw, v) == nil
}

// cutLast cuts s around the last sep.
func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}
