package gateway

import (
	"context"
	"errors"
	"io"
	"maps"
	"mime"
	"mime/multipart"
	"net/url"
	"strings"

	"github.com/shoal-storage/shoal/internal/events"
	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/sigv4"
)

// Bounds of a browser's form. S3 allows 20 KB of fields before the file.
const (
	maxFormFields = 64
	maxFormBytes  = 32 << 10
)

// postObject serves a browser's form upload
// (https://docs.aws.amazon.com/AmazonS3/latest/API/RESTObjectPOST.html). The
// fields come first and say who the sender is and what may be sent; the file
// is the last field that counts.
func (s *Server) postObject(ctx context.Context, r *request) error {
	kind, params, err := mime.ParseMediaType(r.header("Content-Type"))
	if err != nil || kind != "multipart/form-data" {
		return errPreconditionFailed.detailed("Condition", "Bucket POST must be of the enclosure-type multipart/form-data")
	}
	if params["boundary"] == "" {
		return errMalformedPOST
	}
	if r.contentLength() < 0 || !r.declaresLength() {
		return r.noLength()
	}
	b, err := s.openBody(r, bodyOptions{plain: true, foreign: true, limit: object.MaxPartSize + maxFormBytes})
	if err != nil {
		return err
	}
	form := multipart.NewReader(b, params["boundary"])
	f, err := readForm(form)
	if err != nil {
		return err
	}
	if err := s.authenticateForm(r, f); err != nil {
		return err
	}
	r.key = f.key()   // for the log
	r.form = f.fields // for conditions of policies
	if acl, there := f.fields["acl"]; there {
		f.fields["x-amz-acl"] = acl // as these call it
	}
	if err := s.allow(r, "s3:PutObject", object.Ref{Bucket: r.bucket, Key: f.key()}); err != nil {
		return err
	}
	if err := s.limit(r); err != nil {
		return err
	}
	r.body.wire.pace = r.pace
	info, err := s.storeForm(ctx, r, form, f)
	if err != nil {
		return err
	}
	return s.answerForm(r, f, &info)
}

// postForm is the fields of a form up to the file, with names in lower case.
type postForm struct {
	fields map[string]string
	values int64 // bytes that the fields have taken at least
	file   *multipart.Part
	policy sigv4.Policy
}

// readForm reads the fields up to the file.
func readForm(form *multipart.Reader) (*postForm, error) {
	f := &postForm{fields: map[string]string{}}
	budget := maxFormBytes
	for {
		part, err := form.NextRawPart()
		switch {
		case errors.Is(err, io.EOF) && len(f.fields) == 0:
			return nil, errMalformedPOST
		case errors.Is(err, io.EOF):
			return nil, errInvalidArgument.with("POST requires exactly one file upload per request.").detailed("ArgumentName", "file").detailed("ArgumentValue", "0")
		case err != nil:
			return nil, formError(err)
		}
		name := strings.ToLower(part.FormName())
		switch name {
		case "file":
			f.file = part
			return f, nil
		case "":
			return nil, errMalformedPOST.with("A part of the form has no name.")
		}
		value, err := io.ReadAll(io.LimitReader(part, int64(budget)+1))
		if err != nil {
			return nil, formError(err)
		}
		budget -= len(name) + len(value)
		if budget < 0 || len(f.fields) == maxFormFields {
			return nil, &s3Error{code: "MaxPostPreDataLengthExceeded", status: 400, message: "Your POST request fields preceding the upload file were too large."}
		}
		f.fields[name] = string(value)
		f.values += int64(len(value))
	}
}

// formError keeps what the body or the connection found wrong; everything else
// is the form's.
func formError(err error) error {
	if _, ok := errors.AsType[*s3Error](err); ok {
		return err
	}
	if e := fromTransport(err); e != nil {
		return e
	}
	return errMalformedPOST.because(err)
}

// lookup finds a field.
func (f *postForm) lookup(name string) (string, bool) {
	value, there := f.fields[name]
	return value, there
}

// key returns the key that the form names; "${filename}" in it stands for the
// file's name.
func (f *postForm) key() string {
	name := f.file.FileName()
	if i := strings.LastIndexAny(name, `/\`); i >= 0 {
		name = name[i+1:]
	}
	return strings.ReplaceAll(f.fields["key"], "${filename}", name)
}

// authenticateForm verifies the signature of the form's policy, and the policy
// against the fields.
func (s *Server) authenticateForm(r *request, f *postForm) error {
	if f.fields["key"] == "" || f.key() == "" {
		return errInvalidArgument.with("Bucket POST must contain a field named 'key'.  If it is specified, please check the order of the fields.").
			detailed("ArgumentName", "key")
	}
	if len(f.key()) > object.MaxKeyLen {
		return errKeyTooLong
	}
	auth, err := sigv4.ParsePost(f.fields)
	if errors.Is(err, sigv4.ErrAnonymous) {
		f.policy.MaxSize = object.MaxPartSize
		return nil
	}
	if err != nil {
		return err
	}
	if err := auth.CheckScope(s.signedFor()); err != nil {
		return err
	}
	identity, _, err := s.prove(r, auth, func(secret string) error {
		return auth.VerifyPolicy(f.fields["policy"], secret)
	})
	if err != nil {
		return err
	}
	if f.policy, err = sigv4.ParsePolicy(f.fields["policy"]); err != nil {
		return err
	}
	fields := maps.Clone(f.fields)
	fields["bucket"], fields["key"] = r.bucket, f.key()
	if err := f.policy.Check(s.Now(), fields, -1); err != nil {
		return err
	}
	r.auth, r.identity = auth, identity
	return nil
}

// storeForm puts the file.
func (s *Server) storeForm(ctx context.Context, r *request, form *multipart.Reader, f *postForm) (object.Info, error) {
	meta, err := f.meta()
	if err != nil {
		return object.Info{}, err
	}
	if err := s.protect(r, r.ref(), func(name string) string { return f.fields[name] }, &meta); err != nil {
		return object.Info{}, err
	}
	d, err := f.checksum()
	if err != nil {
		return object.Info{}, err
	}
	w, _, err := s.wish(r, f.lookup, r.bucket)
	if err != nil {
		return object.Info{}, err
	}
	content := &formContent{file: f.file, rest: form, body: r.body, policy: f.policy, most: r.contentLength() - f.values, sums: newSummer(d.algorithm), want: d.value}
	content.policy.MaxSize = min(content.policy.MaxSize, object.MaxPartSize)
	info, e, err := s.putEncrypted(ctx, object.Ref{Bucket: r.bucket, Key: f.key()}, object.PutInput{Body: content, Meta: meta, Files: r.files()}, w)
	if err == nil {
		r.setAll(e.headers())
		err = s.tellOf(ctx, r, eventOf(events.CreatedPost, &info))
	}
	return info, err
}

// checksum reads the field that states the file's checksum.
func (f *postForm) checksum() (declared, error) {
	var d declared
	for _, a := range object.Algorithms() {
		v := f.fields[headerOf(a)]
		if v == "" {
			continue
		}
		if d.algorithm != object.NoAlgorithm {
			return d, errSeveralChecksums()
		}
		value, err := decodeChecksum(a, headerOf(a), v)
		if err != nil {
			return d, err
		}
		d = declared{algorithm: a, value: value}
	}
	if d.algorithm == object.NoAlgorithm {
		d.algorithm = object.CRC64NVME
	}
	return d, nil
}

// meta reads what the fields say of the object.
func (f *postForm) meta() (object.Meta, error) {
	m := object.Meta{
		ContentType:        f.fields["content-type"],
		ContentEncoding:    f.fields["content-encoding"],
		ContentDisposition: f.fields["content-disposition"],
		ContentLanguage:    f.fields["content-language"],
		CacheControl:       f.fields["cache-control"],
		Expires:            f.fields["expires"],
		StorageClass:       f.fields["x-amz-storage-class"],
		WebsiteRedirect:    f.fields["x-amz-website-redirect-location"],
	}
	if err := checkMeta(&m); err != nil {
		return m, err
	}
	if acl := f.fields["acl"]; acl != "" {
		if err := checkACL(acl); err != nil {
			return m, err
		}
	}
	size := 0
	for name, value := range f.fields {
		if err := refuseHeader(name, value); err != nil {
			return m, err
		}
		if user, ok := strings.CutPrefix(name, metaPrefix); ok {
			if !isToken(user) {
				return m, errMalformedPOST
			}
			if m.User == nil {
				m.User = map[string]string{}
			}
			m.User[user] = value
			size += len(user) + len(value)
		}
	}
	if size > maxUserMeta {
		return m, errMetadataTooLarge
	}
	var err error
	m.Tags, err = parseTagField(f.fields["tagging"])
	return m, err
}

// isToken reports whether name can be part of a header's name (RFC 9110 section
// 5.6.2). Unlike a header, a field may be named anything.
func isToken(name string) bool {
	for i := range len(name) {
		c := name[i]
		if c <= ' ' || c >= 0x7f || strings.IndexByte(`"(),/:;<=>?@[\]{}`, c) >= 0 {
			return false
		}
	}
	return name != ""
}

// parseTagField reads the form's tagging field, which is a document or nothing.
func parseTagField(document string) ([]object.Tag, error) {
	if document == "" {
		return nil, nil
	}
	return parseTagging(document, maxObjectTags)
}

// answerForm answers as the form asks: by redirect, or with the status it
// names.
func (s *Server) answerForm(r *request, f *postForm, info *object.Info) error {
	key := f.key()
	location := r.scheme() + "://" + r.header("Host") + strings.TrimSuffix(r.path, "/") + "/" + (&url.URL{Path: key}).EscapedPath()
	r.setETag(info.ETag)
	r.setVersion(madeVersion(info))
	r.setChecksum(info.Checksum)
	r.set("Location", location)
	target := f.fields["success_action_redirect"]
	if target == "" {
		target = f.fields["redirect"]
	}
	if u, err := url.Parse(target); target != "" && err == nil && u.IsAbs() {
		told := "bucket=" + url.QueryEscape(r.bucket) + "&key=" + url.QueryEscape(key) + "&etag=" + url.QueryEscape(`"`+info.ETag+`"`)
		if u.RawQuery != "" {
			told = u.RawQuery + "&" + told // as it is: it may be signed
		}
		u.RawQuery = told
		r.set("Location", u.String())
		r.answerEmpty(303)
		return nil
	}
	switch f.fields["success_action_status"] {
	case "200":
	case "201":
		r.answerEmpty(201)
		w := newBareXML("PostResponse")
		w.text("Location", location)
		w.text("Bucket", r.bucket)
		w.text("Key", key)
		w.etag(info.ETag)
		r.answerXML(w.end("PostResponse"))
	default:
		r.answerEmpty(204)
	}
	return nil
}

// formContent is the file of a form as an object.Body. The file is whole when
// the form goes on, or ends, behind it and the request's body held.
type formContent struct {
	file   *multipart.Part
	rest   *multipart.Reader
	body   *body
	policy sigv4.Policy
	most   int64 // how long it can be
	sums   summer
	want   string // raw value of the checksum, or ""
	digest object.Digest
}

// Read reads the file.
func (c *formContent) Read(p []byte) (int, error) {
	n, err := c.file.Read(p)
	c.sums.write(p[:n])
	if c.sums.size > c.policy.MaxSize {
		return n, c.policy.CheckSize(c.sums.size)
	}
	if err == nil {
		return n, nil
	}
	if !errors.Is(err, io.EOF) {
		return n, formError(err)
	}
	if err := c.end(); err != nil {
		return n, err
	}
	return n, io.EOF
}

// end reads what follows the file and holds the file against its declarations.
func (c *formContent) end() error {
	for {
		part, err := c.rest.NextRawPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return formError(err)
		}
		if strings.EqualFold(part.FormName(), "file") {
			return errInvalidArgument.with("POST requires exactly one file upload per request.")
		}
	}
	if _, err := io.Copy(io.Discard, c.body); err != nil {
		return formError(err)
	}
	if err := c.policy.CheckSize(c.sums.size); err != nil {
		return err
	}
	c.digest = c.sums.digest()
	if c.want != "" && c.want != c.digest.Checksum.Value {
		return errBadDigest
	}
	return nil
}

// Size is not known before the form ends.
func (c *formContent) Size() int64 { return -1 }

// MostSize is what object.MostSize asks for: the form without its fields.
func (c *formContent) MostSize() int64 { return min(c.most, c.policy.MaxSize) }

// Digest describes the file; it is valid after io.EOF.
func (c *formContent) Digest() object.Digest { return c.digest }
