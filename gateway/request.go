package gateway

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"iter"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/shoal-storage/shoal/internal/iam"
	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/sigv4"
)

// request is one S3 request and its answer. It is the only holder of a
// RequestCtx, whose memory is reused once the handler returns (FH1): what the
// methods hand out are copies.
type request struct {
	ctx        *fasthttp.RequestCtx
	id         string // of the request, as x-amz-request-id says it
	started    time.Time
	op         *operation
	method     string
	path       string // as sent
	host       string // bucket that the Host names, or ""
	rawQuery   string // as sent
	bucket     string
	key        string
	query      query
	auth       sigv4.Auth // zero if nobody signed
	secret     string     // of the signer
	identity   iam.Identity
	admin      bool              // it is for the admin API
	agreed     bool              // it is, and changes what all gateways have to agree upon
	sts        bool              // it is for the security token service
	encryption bool              // it has headers of server-side encryption
	form       map[string]string // fields of a POST upload, or what a body says for policies; else nil
	website    bool              // it comes from a browser that looks at a website
	release    func()            // gives back what admission took
	known      bucketDocuments
	body       *body // what the handler reads, once it has asked for it
	failure    *s3Error
	part       *bytes.Reader // body, where that is a part of another request's, or nil
	pace       *pace         // of what it moves, or nil
	progress   func()        // tells the request's clock that the body moves, or nil
}

// Get returns the first value of a header, as sigv4.Header.
func (r *request) Get(name string) string { return r.header(name) }

// Values returns all values of a header, as sigv4.Header.
func (r *request) Values(name string) []string {
	all := r.ctx.Request.Header.PeekAll(name)
	values := make([]string, len(all))
	for i, v := range all {
		values[i] = string(v)
	}
	return values
}

// Names yields the names of all headers, as sigv4.Header.
func (r *request) Names() iter.Seq[string] {
	return func(yield func(string) bool) {
		for k := range r.ctx.Request.Header.All() {
			if !yield(string(k)) {
				return
			}
		}
	}
}

// header returns the first value of a header, or "".
func (r *request) header(name string) string {
	return string(r.ctx.Request.Header.Peek(name))
}

// list returns a header whose value is a list, which may be in several lines (RFC 9110 section 5.3).
func (r *request) list(name string) string {
	lines := r.ctx.Request.Header.PeekAll(name)
	if len(lines) == 1 {
		return string(lines[0])
	}
	var b []byte
	for _, line := range lines {
		switch {
		case len(line) == 0:
		case len(b) == 0:
			b = append(b, line...)
		default:
			b = append(append(b, ", "...), line...)
		}
	}
	return string(b)
}

// hasHeader reports whether a header is there, be it empty.
func (r *request) hasHeader(name string) bool {
	return len(r.ctx.Request.Header.PeekAll(name)) > 0
}

// set sets a header of the answer unless value is empty.
func (r *request) set(name, value string) {
	if value != "" {
		r.ctx.Response.Header.Set(name, value)
	}
}

// setETag sets the ETag with its quotes.
func (r *request) setETag(etag string) { r.set("ETag", `"`+etag+`"`) }

// answerJSON answers with a value.
func (r *request) answerJSON(v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return errInternal.because(err)
	}
	r.set("Content-Type", "application/json")
	r.ctx.Response.SetBodyRaw(text)
	return nil
}

// answerXML answers with a document.
func (r *request) answerXML(document []byte) {
	r.set("Content-Type", "application/xml")
	r.ctx.Response.SetBodyRaw(document)
}

// answerEmpty answers with a status alone.
func (r *request) answerEmpty(status int) {
	r.ctx.SetStatusCode(status)
}

// answerError answers with an error document.
func (r *request) answerError(e *s3Error) {
	if r.sts {
		e = toSTS(e)
	}
	r.failure = e
	h := &r.ctx.Response.Header
	h.Del("Content-Encoding")
	h.Del("ETag")
	h.Del("Last-Modified")
	for _, d := range e.header {
		r.set(d.name, d.value)
	}
	r.ctx.Response.ResetBody()
	r.ctx.SetStatusCode(e.status)
	if e.status == fasthttp.StatusNotModified {
		return
	}
	if r.ctx.IsHead() {
		// The body is not sent. MinIO's clients take the error from these.
		r.set("x-minio-error-code", e.code)
		r.set("x-minio-error-desc", `"`+e.message+`"`)
	}
	if e.status == fasthttp.StatusServiceUnavailable && len(h.Peek(fasthttp.HeaderRetryAfter)) == 0 {
		r.set(fasthttp.HeaderRetryAfter, "1")
	}
	if r.admin {
		r.answerAdminError(e)
		return
	}
	if r.sts {
		r.set("Content-Type", "text/xml")
		r.ctx.Response.SetBodyRaw(stsErrorXML(e, r.id))
		return
	}
	if r.website {
		r.set("Content-Type", "text/html; charset=utf-8")
		r.ctx.Response.SetBodyRaw(errorPage(r.naming(e), r.id))
		return
	}
	r.answerXML(errorXML(r.naming(e), r.path, r.id))
}

// naming returns an error with the name of what is not there, or cannot be asked so, as S3 tells
// it. The source of a copy has been named by then (openSource), and so has an upload (checkUploadParameters).
func (r *request) naming(e *s3Error) *s3Error {
	named := func(d detail) bool {
		return slices.Contains([]string{"Key", "BucketName", "ArgumentName", "ResourceType"}, d.name)
	}
	switch {
	case slices.ContainsFunc(e.detail, named):
	case e.code == errNoSuchKey.code:
		return e.detailed("Key", r.key)
	case e.code == errNoSuchVersion.code:
		return e.detailed("Key", r.key).detailed("VersionId", r.query.get("versionId"))
	case e.code == errNoSuchUpload.code:
		return e.detailed("UploadId", r.query.get("uploadId"))
	case e.code == errNoSuchBucket.code:
		return e.detailed("BucketName", r.bucket)
	case errors.Is(e, object.BadVersion):
		return e.detailed("ArgumentName", "versionId").detailed("ArgumentValue", r.query.get("versionId"))
	case e.code == errMethodNotAllowed.code && errors.Is(e, object.DeleteMarker):
		return e.detailed("Method", r.method).detailed("ResourceType", "DeleteMarker")
	case e.code == errCORSForbidden.code:
		return e.detailed("Method", cmp.Or(r.header(fasthttp.HeaderAccessControlRequestMethod), r.method)).detailed("ResourceType", r.level().resourceType())
	case e.code == errMethodNotAllowed.code:
		return e.detailed("Method", r.method).detailed("ResourceType", r.level().resourceType())
	}
	return e
}

// errorXML is the body of an error (its root has no namespace, as in S3).
func errorXML(e *s3Error, resource, id string) []byte {
	w := &xmlWriter{buf: []byte(xmlDeclaration + "<Error>")}
	w.text("Code", e.code)
	w.message(e.message)
	for _, d := range e.detail {
		w.text(d.name, d.value)
	}
	w.text("Resource", resource)
	w.text("RequestId", id)
	w.text("HostId", id)
	return w.end("Error")
}

// level says what the request is about.
func (r *request) level() level {
	switch {
	case r.key != "":
		return objectLevel
	case r.bucket != "":
		return bucketLevel
	}
	return service
}

// ref names the object the request is about.
func (r *request) ref() object.Ref { return object.Ref{Bucket: r.bucket, Key: r.key} }

// remoteIP returns the address of the client's end of the connection.
func (r *request) remoteIP() string {
	if tcp, ok := r.ctx.RemoteAddr().(*net.TCPAddr); ok {
		return tcp.IP.String()
	}
	return r.ctx.RemoteAddr().String()
}

// scheme returns how the client reached us.
func (r *request) scheme() string {
	if r.ctx.IsTLS() {
		return "https"
	}
	return "http"
}

// contentLength returns the declared length of the body, -1 if it is chunked,
// 0 if there is none.
func (r *request) contentLength() int64 {
	n := r.ctx.Request.Header.ContentLength()
	if n < -1 {
		return 0
	}
	return int64(n)
}

// declaresLength reports whether the request has a Content-Length. fasthttp
// makes one of 0 where there is none, so an empty body is looked at closely.
func (r *request) declaresLength() bool {
	return r.contentLength() != 0 || r.sentContentLength()
}

// sentContentLength reports whether there is a Content-Length in the header as
// it was sent.
func (r *request) sentContentLength() bool {
	for line := range bytes.Lines(r.ctx.Request.Header.RawHeaders()) {
		name, _, _ := bytes.Cut(line, []byte(":"))
		if bytes.EqualFold(name, []byte(fasthttp.HeaderContentLength)) {
			return true
		}
	}
	return false
}

// checkFraming refuses a request that declares its length and is chunked too:
// a proxy before us may have read another end of it than we would (RFC 9112
// section 6.1).
func (r *request) checkFraming() error {
	if r.contentLength() < 0 && r.sentContentLength() {
		return errBadRequest
	}
	return nil
}

// parse reads bucket, key and parameters from the request line and the Host.
func (r *request) parse(domains, websites []string) error {
	h := &r.ctx.Request.Header
	r.method = string(h.Method())
	target := string(h.RequestURI())
	if i := strings.Index(target, "://"); i > 0 && !strings.HasPrefix(target, "/") {
		rest := target[i+3:] // absolute form, RFC 9112 section 3.2.2
		if j := strings.IndexByte(rest, '/'); j >= 0 {
			target = rest[j:]
		} else {
			target = "/"
		}
	}
	r.path, r.rawQuery, _ = strings.Cut(target, "?")
	if !strings.HasPrefix(r.path, "/") {
		return errInvalidURI
	}
	var err error
	if r.query, err = parseQuery(r.rawQuery); err != nil {
		return err
	}
	if r.host = hostBucket(string(h.Host()), websites); r.host != "" {
		r.website = true
	} else {
		r.host = hostBucket(string(h.Host()), domains)
	}
	bucket, key := r.host, r.path[1:]
	if bucket == "" {
		bucket, key, _ = strings.Cut(key, "/")
		var ok bool
		if bucket, ok = unescape(bucket, false); !ok {
			return errInvalidURI
		}
	}
	decoded, ok := unescape(key, false)
	if !ok {
		return errInvalidURI
	}
	r.bucket, r.key = bucket, decoded
	return nil
}

// checkNames refuses names that no bucket or object can have.
func (r *request) checkNames() error {
	if (r.bucket != "" || r.key != "") && !validBucketName(r.bucket) {
		return errInvalidBucketName.detailed("BucketName", r.bucket)
	}
	if len(r.key) > object.MaxKeyLen {
		return errKeyTooLong.detailed("Size", strconv.Itoa(len(r.key))).
			detailed("MaxSizeAllowed", strconv.Itoa(object.MaxKeyLen))
	}
	return nil
}

// hostBucket returns the bucket that a virtual-host style Host names, or "".
func hostBucket(host string, domains []string) string {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.ToLower(host)
	for _, domain := range domains {
		if bucket, ok := strings.CutSuffix(host, "."+domain); ok && bucket != "" {
			if _, err := netip.ParseAddr(host); err != nil {
				return bucket
			}
		}
	}
	return ""
}
