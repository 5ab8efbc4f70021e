package gateway

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/valyala/fasthttp"

	"github.com/shoal-storage/shoal/internal/events"
	"github.com/shoal-storage/shoal/internal/iam"
	"github.com/shoal-storage/shoal/internal/object"
)

// copySource reads the x-amz-copy-source header: "bucket/key", perhaps with a
// leading slash and "?versionId=", URL-encoded as a form is. A body beside it is content
// that would be left out.
func (r *request) copySource() (object.Ref, error) {
	if r.contentLength() > 0 {
		return object.Ref{}, errInvalidRequest.with("The request included a body. Requests of this type must not include a non-empty body.")
	}
	return parseCopySource(r.header("x-amz-copy-source"))
}

// refuseCopySource refuses the source of a copy beside what copies nothing, whoever asks: a DELETE that
// was meant for a copy would delete (versitygw, pull request 1642).
func (r *request) refuseCopySource() error {
	switch {
	case r.op.level == service, r.method == fasthttp.MethodPut, r.method == fasthttp.MethodOptions:
		return nil
	case r.method == fasthttp.MethodPost && r.op.name != "CompleteMultipartUpload", !r.hasHeader("x-amz-copy-source"):
		return nil
	}
	return errInvalidArgument.with("You can only specify a copy source header for copy requests.").
		detailed("ArgumentName", "x-amz-copy-source").detailed("ArgumentValue", r.header("x-amz-copy-source"))
}

func parseCopySource(header string) (object.Ref, error) {
	invalid := func(message string) error {
		return errInvalidArgument.with(message).detailed("ArgumentName", "x-amz-copy-source").detailed("ArgumentValue", header)
	}
	raw, version, named := strings.Cut(header, "?versionId=")
	decoded, ok := unescape(raw, true) // S3 takes + for a space; a plus is %2B
	if !ok {
		return object.Ref{}, invalid("Invalid copy source encoding")
	}
	// The slash between bucket and key may be encoded too.
	bucket, key, _ := strings.Cut(strings.TrimPrefix(decoded, "/"), "/")
	switch {
	case !validBucketName(bucket):
		return object.Ref{}, invalid("Invalid copy source bucket name")
	case key == "":
		return object.Ref{}, invalid("Invalid copy source object key")
	case len(key) > object.MaxKeyLen:
		return object.Ref{}, errKeyTooLong
	case named && version == "":
		return object.Ref{}, invalid("Version id cannot be the empty string")
	}
	return object.Ref{Bucket: bucket, Key: key, Version: version}, nil
}

// openSource opens what is to be copied. A version that is a delete marker has
// an error of its own there, and what is not there is named, for it is not what the
// request's path names; but as with GetObject only to who lists its bucket.
func (s *Server) openSource(ctx context.Context, who iam.Identity, src object.Ref, lists bool, customer *customerKey) (object.Handle, *encryption, error) {
	h, e, err := s.openDecrypted(ctx, who, src, customer)
	switch {
	case errors.Is(err, object.DeleteMarker):
		err = errInvalidRequest.with("The source of a copy request may not specifically refer to a delete marker by version id.").because(err)
	case errors.Is(err, object.NoSuchKey) && !lists:
		err = errAccessDenied.because(err)
	case errors.Is(err, object.NoSuchKey):
		err = fromKind(object.NoSuchKey, err).detailed("Key", src.Key)
	case errors.Is(err, object.NoSuchVersion):
		err = fromKind(object.NoSuchVersion, err).detailed("Key", src.Key).detailed("VersionId", src.Version)
	case errors.Is(err, object.BadVersion):
		err = fromKind(object.BadVersion, err).detailed("ArgumentName", "versionId").detailed("ArgumentValue", src.Version)
	case errors.Is(err, object.NoSuchBucket):
		err = errNoSuchBucket.detailed("BucketName", src.Bucket).because(err)
	}
	return h, e, err
}

// copyObject serves CopyObject
// (https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html).
func (s *Server) copyObject(_ context.Context, r *request) error {
	src, err := s.mayCopy(r)
	if err != nil {
		return err
	}
	check, err := s.writeCheck(r)
	if err != nil {
		return err
	}
	c := copying{who: r.identity, src: src, lists: r.mayListIn(s, src.Bucket), dst: r.ref(), check: check, files: r.files(), source: s.sourceCheck(r, "x-amz-copy-source-")}
	if err := errors.Join(c.encrypted(s, r), c.directives(r)); err != nil {
		return err
	}
	if !c.tags {
		c.untagged = cmp.Or(s.allowByPolicy(r, ofVersion("s3:GetObjectTagging", src), src), s.allowByPolicy(r, "s3:PutObjectTagging", c.dst))
	}
	if err := s.protect(r, r.ref(), r.header, &c.meta); err != nil {
		return err
	}
	how, err := s.telling(r)
	if err != nil {
		return err
	}
	rules := s.lifecycleRules(r)
	return s.answerSlowly(r, func(ctx context.Context) (xmlAnswer, error) {
		done, err := s.copyOne(ctx, c)
		if err == nil {
			err = s.tell(ctx, how, eventOf(events.CreatedCopy, &done.info))
		}
		if err != nil {
			return xmlAnswer{}, err
		}
		w := newXML("CopyObjectResult")
		w.time("LastModified", done.info.Modified)
		w.etag(done.info.ETag)
		w.checksum(done.info.Checksum)
		header := []detail{{"x-amz-copy-source-version-id", done.version}, {"x-amz-version-id", madeVersion(&done.info)}, {expirationHeader, expiration(rules, &done.info)}}
		return xmlAnswer{w.end("CopyObjectResult"), append(header, done.encryption.madeHeaders()...)}, nil
	})
}

// copying is what a CopyObject request asks for.
type copying struct {
	who       iam.Identity // copies
	src, dst  object.Ref
	lists     bool // who copies may know what there is not in the source's bucket
	source    object.Check
	check     object.Check
	files     object.Files
	meta      object.Meta
	replace   bool             // meta stands for the source's, tags apart
	tags      bool             // meta.Tags stands for the source's
	untagged  error            // why who copies may not have the source's tags be the copy's, if it is to have them; or nil
	redirect  string           // never copied
	class     string           // never copied
	algorithm object.Algorithm // asked for, or NoAlgorithm for the source's
	wish      *wish            // how the copy is to be encrypted
	says      lookup           // headers of the request
	sourceKey *customerKey     // that the client sent for the source, or nil
}

// copied is what a copy came to.
type copied struct {
	version    string // that was copied
	info       object.Info
	encryption *encryption
}

// encrypted reads what the request says of the encryption of the source and the
// copy.
func (c *copying) encrypted(s *Server, r *request) (err error) {
	if c.sourceKey, err = s.customerKey(r, r.lookup, sourceHeaders, false); err != nil {
		return err
	}
	c.says = r.lookup
	c.wish, _, err = s.wish(r, c.says, c.dst.Bucket)
	return err
}

// directives reads what the request says of the copy's metadata.
func (c *copying) directives(r *request) error {
	var err error
	if c.meta, err = r.readMeta(); err != nil {
		return err
	}
	if c.replace, err = directive(r, "x-amz-metadata-directive"); err != nil {
		return err
	}
	if c.tags, err = directive(r, "x-amz-tagging-directive"); err != nil {
		return err
	}
	if !c.tags {
		c.meta.Tags = nil // they are the source's
	}
	c.redirect, c.class = c.meta.WebsiteRedirect, c.meta.StorageClass
	if name := r.header("x-amz-checksum-algorithm"); name != "" {
		var ok bool
		if c.algorithm, ok = object.ParseAlgorithm(name); !ok {
			return errUnsupportedAlgorithm()
		}
	}
	// S3 takes a default of the bucket's for a change too: what was put before there was one is encrypted so.
	if c.src == c.dst && !c.replace && !c.tags && c.class == "" && c.redirect == "" && c.wish == nil {
		return errInvalidRequest.with("This copy request is illegal because it is trying to copy an object to itself without changing the object's metadata, storage class, website redirect location or encryption attributes.")
	}
	return nil
}

// directive reads a header that says COPY (or nothing) or REPLACE.
func directive(r *request, name string) (replace bool, err error) {
	switch v := r.header(name); v {
	case "", "COPY":
		return false, nil
	case "REPLACE":
		return true, nil
	default:
		what := "metadata"
		if strings.Contains(name, "tagging") {
			what = "tagging"
		}
		return false, errInvalidArgument.with("Unknown "+what+" directive.").detailed("ArgumentName", name).detailed("ArgumentValue", v)
	}
}

// metaOf returns the metadata of the copy of an object.
func (c *copying) metaOf(source *object.Info) object.Meta {
	m := source.Meta.Clone()
	if c.replace {
		tags := m.Tags
		m = c.meta.Clone()
		m.Tags = tags
	}
	if c.tags {
		m.Tags = c.meta.Tags
	}
	m.WebsiteRedirect, m.StorageClass = c.redirect, c.class
	m.Retention, m.LegalHold = c.meta.Retention, c.meta.LegalHold // never copied
	return m
}

// errSourceChanged says that the source is no longer what the copy was decided
// on.
var errSourceChanged = errors.New("source changed")

// copyAttempts bounds how often a copy starts again because its source changes.
const copyAttempts = 5

// copyOne copies within the Store where the copy's ETag, checksum and encryption
// are the source's, otherwise through the gateway.
func (s *Server) copyOne(ctx context.Context, c copying) (done copied, err error) {
	for range copyAttempts {
		done, err = s.tryCopy(ctx, c)
		if !errors.Is(err, errSourceChanged) {
			return done, err
		}
	}
	return copied{}, errConflict
}

func (s *Server) tryCopy(ctx context.Context, c copying) (done copied, err error) {
	h, from, err := s.openSource(ctx, c.who, c.src, c.lists, c.sourceKey)
	if err != nil {
		return copied{}, err
	}
	defer func() { err = errors.Join(err, h.Close()) }()
	source := h.Info()
	if c.source != nil {
		if err := c.source(&source); err != nil {
			return copied{}, err
		}
	}
	if c.untagged != nil && len(source.Meta.Tags) > 0 {
		return copied{}, c.untagged
	}
	if source.Size > object.MaxPartSize {
		return copied{}, errInvalidRequest.with("The specified copy source is larger than the maximum allowable size for a copy source: " + fmt.Sprint(int64(object.MaxPartSize)))
	}
	if c.wish == nil {
		c.wish = from.keeping()
		if err := c.wish.chooseBucketKey(c.says); err != nil {
			return copied{}, err
		}
	}
	if copier, ok := s.Store.(object.Copier); ok && c.copiesAsIs(&source) && c.wish.fits(from, c.sourceKey) {
		done, err := c.within(ctx, copier, &source, from)
		if !errors.Is(err, object.NotImplemented) {
			return done, err
		}
	}
	return s.copyThrough(ctx, c, h)
}

// within copies within the Store.
func (c *copying) within(ctx context.Context, copier object.Copier, source *object.Info, from *encryption) (copied, error) {
	meta := c.metaOf(source)
	info, err := copier.Copy(ctx, c.src, c.dst, object.CopyInput{Meta: &meta, Check: c.check, Files: c.files, SourceCheck: func(now *object.Info) error {
		if now == nil || now.ETag != source.ETag || !now.Modified.Equal(source.Modified) || now.Version != source.Version {
			return errSourceChanged
		}
		return nil
	}})
	return copied{source.Version, from.reveal(info), from}, err
}

// copyThrough copies through the gateway.
func (s *Server) copyThrough(ctx context.Context, c copying, h object.Handle) (copied, error) {
	source := h.Info()
	algorithm := c.algorithm
	if algorithm == object.NoAlgorithm {
		algorithm = source.Checksum.Algorithm
	}
	if algorithm == object.NoAlgorithm {
		algorithm = object.CRC64NVME
	}
	content := newContent(h.Range(0, source.Size), source.Size, algorithm)
	info, to, err := s.putEncrypted(ctx, c.dst, object.PutInput{Body: content, Meta: c.metaOf(&source), Check: c.check, Files: c.files}, c.wish)
	return copied{source.Version, info, to}, err
}

// copiesAsIs reports whether S3 gives the copy the source's own ETag and
// checksum: not if the source was made of parts or by somebody else, since the
// ETag of a copy is its MD5.
func (c *copying) copiesAsIs(source *object.Info) bool {
	return len(source.ETag) == 32 && source.Checksum.Algorithm != object.NoAlgorithm && source.Checksum.Type == object.FullObject &&
		(c.algorithm == object.NoAlgorithm || c.algorithm == source.Checksum.Algorithm)
}

// mayCopy returns what is to be copied, if the sender may read it.
func (s *Server) mayCopy(r *request) (object.Ref, error) {
	src, err := r.copySource()
	switch {
	case err != nil:
		return src, err
	case r.identity.Anonymous():
		return src, errAccessDenied.with("Anonymous users cannot copy objects.  Please authenticate.")
	}
	return src, s.allow(r, readAction(src), src)
}

// uploadPartCopy serves UploadPartCopy
// (https://docs.aws.amazon.com/AmazonS3/latest/API/API_UploadPartCopy.html).
func (s *Server) uploadPartCopy(ctx context.Context, r *request) error {
	number, err := partNumber(r.query.get("partNumber"))
	if err != nil {
		return err
	}
	src, err := s.mayCopy(r)
	if err != nil {
		return err
	}
	up, err := s.Store.StatUpload(ctx, r.uploadRef())
	if err != nil {
		return err
	}
	c := partCopying{
		who: r.identity, src: src, lists: r.mayListIn(s, src.Bucket), up: up, number: number, check: s.sourceCheck(r, "x-amz-copy-source-"), span: r.header("x-amz-copy-source-range"),
	}
	if c.to, err = s.partKey(ctx, r, &up); err != nil {
		return err
	}
	if c.sourceKey, err = s.customerKey(r, r.lookup, sourceHeaders, false); err != nil {
		return err
	}
	return s.answerSlowly(r, func(ctx context.Context) (xmlAnswer, error) {
		source, part, err := s.copyPart(ctx, c)
		if err != nil {
			return xmlAnswer{}, err
		}
		w := newXML("CopyPartResult")
		w.time("LastModified", part.Modified)
		w.etag(part.ETag)
		if !up.Implied {
			w.text("Checksum"+up.Algorithm.String(), encodeChecksum(object.Checksum{Algorithm: up.Algorithm, Value: part.Checksum}))
		}
		return xmlAnswer{w.end("CopyPartResult"), append([]detail{{"x-amz-copy-source-version-id", source}}, c.to.headers()...)}, nil
	})
}

// partCopying is what an UploadPartCopy request asks for.
type partCopying struct {
	who    iam.Identity // copies
	src    object.Ref
	lists  bool // as in copying
	up     object.Upload
	number int
	check  object.Check // of the source
	span   string       // x-amz-copy-source-range

	to        *encryption  // of the upload
	sourceKey *customerKey // that the client sent for the source, or nil
}

// copyPart returns the version that was copied, too.
func (s *Server) copyPart(ctx context.Context, c partCopying) (version string, part object.Part, err error) {
	h, _, err := s.openSource(ctx, c.who, c.src, c.lists, c.sourceKey)
	if err != nil {
		return "", object.Part{}, err
	}
	defer func() { err = errors.Join(err, h.Close()) }()
	source := h.Info()
	if c.check != nil {
		if err := c.check(&source); err != nil {
			return "", object.Part{}, err
		}
	}
	offset, length, err := copyRange(c.span, source.Size)
	if err != nil {
		return "", object.Part{}, err
	}
	if length > object.MaxPartSize {
		return "", object.Part{}, errEntityTooLarge
	}
	content := newContent(h.Range(offset, length), length, c.up.Algorithm)
	part, err = s.Store.PutPart(ctx, c.up.UploadRef, c.number, c.to.partBody(content))
	return source.Version, c.to.revealPart(part, c.up.Algorithm), err
}

// copyRange reads x-amz-copy-source-range, which must be "bytes=first-last"
// within the source.
func copyRange(header string, size int64) (offset, length int64, err error) {
	if header == "" {
		return 0, size, nil
	}
	invalid := errInvalidArgument.with("The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the zero-based offsets of the first and last bytes to copy").
		detailed("ArgumentName", "x-amz-copy-source-range").detailed("ArgumentValue", header)
	spec, ok := strings.CutPrefix(header, "bytes=")
	first, last, dash := strings.Cut(spec, "-")
	if !ok || !dash || first == "" || last == "" {
		return 0, 0, invalid
	}
	begin, err1 := parseOffset(first)
	end, err2 := parseOffset(last)
	if err1 != nil || err2 != nil || begin > end {
		return 0, 0, invalid
	}
	switch {
	case begin >= size:
		return 0, 0, errInvalidRequest.with("The specified copy range is invalid for the source object size")
	case end >= size:
		return 0, 0, errInvalidArgument.with(fmt.Sprintf("Range specified is not valid for source object of size: %d", size)).
			detailed("ArgumentName", "x-amz-copy-source-range").detailed("ArgumentValue", header)
	}
	return begin, end - begin + 1, nil
}

// content is an object.Body of content that is in the Store already.
type content struct {
	source   io.Reader
	size     int64
	sums     summer
	progress func() // tells the request's clock that it moves, or nil
}

func newContent(source io.Reader, size int64, a object.Algorithm) *content {
	return &content{source: source, size: size, sums: newSummer(a)}
}

// Read reads and hashes.
func (c *content) Read(p []byte) (int, error) {
	n, err := c.source.Read(p)
	c.sums.write(p[:n])
	if n > 0 && c.progress != nil {
		c.progress()
	}
	if errors.Is(err, io.EOF) && c.sums.size != c.size {
		err = errSourceChanged
	}
	return n, err
}

// Size returns the length in bytes.
func (c *content) Size() int64 { return c.size }

// Digest describes the content; it is valid after io.EOF.
func (c *content) Digest() object.Digest { return c.sums.digest() }
