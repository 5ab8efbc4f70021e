package gateway

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/shoal-storage/shoal/internal/directory"
	"github.com/shoal-storage/shoal/internal/iam"
	"github.com/shoal-storage/shoal/internal/sigv4"
)

// maxSTSForm bounds what a call of the security token service sends: tokens of identity
// providers can have some kilobytes.
const maxSTSForm = 64 << 10

// defaultSessionLife is how long a session lives that nobody says anything else of.
const defaultSessionLife = time.Hour

// stsCall is one row of the table of the security token service
// (https://docs.aws.amazon.com/STS/latest/APIReference/API_Operations.html).
type stsCall struct {
	name   string // the action, and the name in metrics and in the log
	signed bool   // the sender signs; others prove in the form who they are
	handle handler
}

// stsCalls is that table.
func stsCalls() []stsCall {
	return []stsCall{
		{"AssumeRole", true, (*Server).assumeRole},
		{"AssumeRoleWithWebIdentity", false, (*Server).assumeRoleWithWebIdentity},
		{"AssumeRoleWithClientGrants", false, (*Server).assumeRoleWithClientGrants},
		{"AssumeRoleWithLDAPIdentity", false, (*Server).assumeRoleWithLDAPIdentity},
		{"AssumeRoleWithCertificate", false, (*Server).assumeRoleWithCertificate},
		{"GetCallerIdentity", true, (*Server).getCallerIdentity},
	}
}

func newSTSTable(calls []stsCall) map[string]stsCall {
	t := make(map[string]stsCall)
	for _, c := range calls {
		t[c.name] = c
	}
	return t
}

// securityToken serves what is posted to the root: calls of the security token service.
// Their parameters are in a form, or in the query as some clients have it.
func (s *Server) securityToken(ctx context.Context, r *request) error {
	b, err := s.openBody(r, bodyOptions{plain: true, limit: maxSTSForm})
	if err != nil {
		return err
	}
	text, err := io.ReadAll(io.LimitReader(b, maxSTSForm+1))
	if err != nil {
		return err
	}
	form, err := parseQuery(string(text))
	if err != nil {
		return err
	}
	r.query = append(r.query, form...)
	call, known := s.sts[r.query.get("Action")]
	if !r.query.has("Action") {
		return errMethodNotAllowed
	}
	r.sts = true
	switch {
	case !known || s.Directory == nil:
		return errSTSInvalidAction
	case r.query.get("Version") != stsVersion:
		return errSTSInvalid.with("The version must be " + stsVersion + ".")
	}
	r.op = &operation{name: call.name, level: service, method: r.method, action: open, class: quick, handle: call.handle}
	if call.signed {
		if err := s.authenticateSTS(r, text); err != nil {
			return err
		}
	}
	return call.handle(s, ctx, r)
}

// authenticateSTS finds out who signed the call, whose body is signed too.
func (s *Server) authenticateSTS(r *request, body []byte) error {
	signed := sigv4.Request{Method: r.method, Path: r.path, Query: r.rawQuery, Header: r, Bucket: r.host}
	auth, err := sigv4.Parse(signed)
	if errors.Is(err, sigv4.ErrAnonymous) {
		return errSTSNotSigned
	}
	if err != nil {
		return err
	}
	if err := auth.CheckScope(s.signedFor(), "sts"); err != nil {
		return err
	}
	sum := sha256.Sum256(body)
	if auth.PayloadHash == "" {
		auth.PayloadHash = hex.EncodeToString(sum[:])
	}
	if !strings.EqualFold(auth.PayloadHash, hex.EncodeToString(sum[:])) || auth.Presigned {
		return errAccessDenied.with("The body of the call must be signed.")
	}
	identity, secret, err := s.prove(r, auth, func(secret string) error {
		return s.verifier.Verify(auth, signed, secret, s.Now())
	})
	if err != nil {
		return err
	}
	r.auth, r.secret, r.identity = auth, secret, identity
	return nil
}

// assumeRole makes temporary credentials of the sender's own. Which role is asked for
// does not matter: they may do what he may, and no more than the session policy says.
func (s *Server) assumeRole(ctx context.Context, r *request) error {
	if r.identity.Session != nil {
		return errAccessDenied.with("Temporary credentials cannot make others.")
	}
	question := &iam.Request{Identity: r.identity, Action: "sts:AssumeRole", Values: &conditionValues{s: s, r: r}}
	if r.identity.Decide(question) == iam.Deny {
		return errAccessDenied.because(errDeniedUser)
	}
	n, err := r.newSession()
	if err != nil {
		return err
	}
	n.Parent = r.identity.AccessKey
	session, err := s.Directory.AddSession(ctx, n)
	if err != nil {
		return err
	}
	w := newSTS("AssumeRole")
	w.credentials(session)
	w.assumedRole(r.identity.User(), n.Name)
	r.answerSTS(w)
	return nil
}

// newSession returns what the parameters say of a session, whoever it is to be of.
func (r *request) newSession() (directory.NewSession, error) {
	n := directory.NewSession{Name: r.query.get("RoleSessionName"), Policy: r.query.get("Policy"), Life: defaultSessionLife}
	if value := r.query.get("DurationSeconds"); value != "" {
		seconds, err := strconv.Atoi(value)
		if err != nil || seconds < 0 || seconds > int(directory.MaxSessionLife.Seconds()) {
			return n, errSTSInvalid.with("DurationSeconds is not a number of seconds that a session can live.")
		}
		n.Life = time.Duration(seconds) * time.Second
	}
	for i := range r.query {
		name := r.query[i].name
		switch kind, _, _ := strings.Cut(name, "."); kind {
		case "PolicyArns": // to leave out what narrows a session would widen it
			return n, errSTSInvalid.with("PolicyArns is not supported; put the statements into Policy.")
		case "SerialNumber", "TokenCode", "SourceIdentity", "Tags", "TransitiveTagKeys":
			return n, errSTSInvalid.with(name + " is not supported: nothing would come of it.")
		}
	}
	return n, nil
}

// getCallerIdentity tells the sender who he is.
func (s *Server) getCallerIdentity(_ context.Context, r *request) error {
	w := newSTS("GetCallerIdentity")
	w.text("UserId", userID(r.identity))
	w.text("Account", stsAccount)
	w.text("Arn", arnOf(r.identity))
	r.answerSTS(w)
	return nil
}
