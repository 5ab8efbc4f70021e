package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/url"
	"strings"

	"github.com/shoal-storage/shoal/gateway/admin"
	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/relay"
	"github.com/shoal-storage/shoal/internal/sigv4"
)

// newAPI returns the admin API of the gateway.
func (s *Server) newAPI() *admin.API {
	return admin.New(s.root, s.attending, admin.Shared{
		Store: s.Store, Directory: s.Directory, Logger: s.Logger, Region: s.Region, OpenID: s.OpenID, LDAP: s.LDAP, Events: s.Events,
		Trace: s.Trace, Node: s.Node, Connected: s.Self != Node{}, MasterKeys: s.MasterKeys, Version: s.Version, Now: s.Now,
	}, s.Admin)
}

// isAdmin reports whether the request is for the admin API.
func (r *request) isAdmin() bool {
	below, _, _ := strings.Cut(r.key, "/")
	return r.host == "" && r.bucket == ownBucket && (below == "admin" || below == "kms")
}

// prepareAdmin is prepare for the admin API. Only requests count whose body is signed
// too: some bring documents that are not sealed.
func (s *Server) prepareAdmin(r *request) error {
	r.admin = true
	op, below, unknown := s.api.Find(r.method, r.key)
	r.bucket, r.key = "", ""
	r.op = &operation{name: "AdminUnknown", level: service, action: admin.Own}
	if unknown == nil {
		r.op, r.agreed = adminOperation(op, below), op.Agreed
	}
	if err := s.authenticate(r); err != nil {
		return err
	}
	payload, err := sigv4.ParsePayload(r.auth.PayloadHash)
	if err != nil || r.identity.Anonymous() || r.auth.Presigned || payload.Mode != sigv4.Signed {
		return errAccessDenied
	}
	if unknown != nil {
		return unknown
	}
	if r.op.action != admin.Own {
		if err := s.allow(r, r.op.action, object.Ref{}); err != nil {
			return err
		}
	}
	return s.admit(r)
}

// adminOperation is a call of the admin API as other operations are.
func adminOperation(op *admin.Operation, below string) *operation {
	of := map[admin.Class]class{admin.Usual: listing, admin.Long: long, admin.Data: data}
	return &operation{name: op.Name, level: service, action: op.Action, class: of[op.Class], handle: func(s *Server, ctx context.Context, r *request) error {
		return s.api.Do(ctx, op, s.adminCall(r, below))
	}}
}

// adminCall is the request as the admin API knows it.
func (s *Server) adminCall(r *request, below string) *admin.Call {
	c := &admin.Call{
		ID: r.id, Method: r.method, Below: below, Query: make(url.Values, len(r.query)), Scheme: r.scheme(), Host: r.header("Host"), Remote: r.remoteIP(),
		Identity: r.identity, Secret: r.secret, Token: r.auth.SecurityToken, Values: &conditionValues{s: s, r: r}, Front: adminFront{s, r},
	}
	for _, p := range r.query {
		c.Query.Add(p.name, p.value)
	}
	return c
}

// adminFront is what the gateway does for a call of the admin API. It implements admin.Front.
type adminFront struct {
	s *Server
	r *request
}

// Allow implements admin.Front.
func (f adminFront) Allow(action string, ref object.Ref) error { return f.s.allow(f.r, action, ref) }

// Body implements admin.Front.
func (f adminFront) Body(limit int64) ([]byte, error) {
	b, err := f.s.openBody(f.r, bodyOptions{plain: true, limit: limit})
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(b, limit+1))
	if int64(len(text)) > limit {
		return nil, errMessageTooLong
	}
	return text, err
}

// Unsigned implements admin.Front.
func (f adminFront) Unsigned() io.Reader {
	stream := f.r.ctx.RequestBodyStream()
	if stream == nil {
		return eofReader{}
	}
	if c := clientConn(f.r.ctx.Conn()); c != nil {
		c.reading.Store(true)
	}
	return &wireReader{stream: stream, length: f.r.contentLength(), progress: f.r.progress, pace: f.r.pace}
}

// Header implements admin.Front.
func (f adminFront) Header(name, value string) { f.r.set(name, value) }

// Answer implements admin.Front.
func (f adminFront) Answer(status int, contentType string, document []byte) {
	f.r.ctx.SetStatusCode(status)
	f.r.set("Content-Type", contentType)
	f.r.ctx.Response.SetBodyRaw(document)
}

// Stream implements admin.Front.
func (f adminFront) Stream(body io.ReadCloser) {
	f.r.set("Content-Type", "application/json")
	f.r.ctx.Response.SetBodyStream(body, -1)
}

// Listen implements admin.Front.
func (f adminFront) Listen(l *relay.Listener) {
	f.r.set("Cache-Control", "no-cache")
	f.Stream(&listenBody{listener: l, beat: listenBeat{every: spaceEvery, text: " "}, next: []byte(" ")})
}

// Operate implements admin.Front. The operation has the answer of the call, whose document it is taken from.
func (f adminFront) Operate(ctx context.Context, operation, bucket string, body []byte) ([]byte, error) {
	part := *f.r
	part.bucket, part.key, part.query, part.part, part.known = bucket, "", nil, bytes.NewReader(body), bucketDocuments{}
	err := f.s.table.names[operation].handle(f.s, ctx, &part)
	document := bytes.Clone(part.ctx.Response.Body())
	part.ctx.Response.ResetBody()
	return document, err
}

// EnsureBucket implements admin.Front.
func (f adminFront) EnsureBucket(ctx context.Context, bucket string, locked bool) error {
	if !validBucketName(bucket) {
		return errInvalidBucketName
	}
	if _, err := f.s.Store.StatBucket(ctx, bucket); !errors.Is(err, object.NoSuchBucket) {
		return err
	}
	b := object.Bucket{Name: bucket, Created: f.s.Now().UTC(), Region: f.s.Region}
	if locked {
		text, err := newLockConfiguration()
		if err != nil {
			return err
		}
		b.Versioning, b.Documents = object.Versioned, map[string]string{lockDocument: text}
	}
	return f.s.Store.CreateBucket(ctx, b)
}

// Explain implements admin.Front.
func (f adminFront) Explain(err error) *admin.Error {
	e := toS3(err)
	return &admin.Error{Code: e.code, Status: e.status, Message: e.message, Cause: err}
}

// fromAdmin is an error of the admin API as others are.
func fromAdmin(e *admin.Error) *s3Error {
	return &s3Error{code: e.Code, status: e.Status, message: e.Message, cause: e.Cause}
}

// answerAdminError answers as the admin API does.
func (r *request) answerAdminError(e *s3Error) {
	document, err := json.Marshal(map[string]string{
		"Code": e.code, "Message": e.message, "Resource": r.path, "RequestId": r.id, "HostId": r.id,
	})
	if err != nil {
		return // strings can be encoded
	}
	r.set("Content-Type", "application/json")
	r.ctx.Response.SetBodyRaw(document)
}
