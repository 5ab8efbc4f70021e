package gateway

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/shoal-storage/shoal/internal/events"
	"github.com/shoal-storage/shoal/internal/object"
)

// getObject serves GetObject
// (https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html).
func (s *Server) getObject(ctx context.Context, r *request) error {
	ref, err := r.checkRead()
	if err != nil {
		return err
	}
	customer, err := s.readingKey(r)
	if err != nil {
		return err
	}
	h, e, err := s.openDecrypted(r.knowing(ctx), r.identity, ref, customer)
	if err != nil {
		return err
	}
	info := h.Info()
	part, err := s.choose(r, &info)
	if err != nil {
		return errors.Join(err, h.Close())
	}
	body, err := s.contentBody(h, part, r.id)
	if err == nil {
		err = s.tellOf(ctx, r, eventOf(events.AccessedGet, &info))
	}
	if err != nil {
		return errors.Join(err, h.Close())
	}
	s.describe(r, ref, &info, e, part)
	r.setAll(e.headers())
	r.ctx.Response.SetBodyStream(body, int(part.length))
	return nil
}

// contentBody returns the body of an answer, of which the beginning is there: where that cannot be read, the
// status still says so.
func (s *Server) contentBody(h object.Handle, part span, id string) (*objectBody, error) {
	source := h.Range(part.offset, part.length)
	if p, ok := source.(object.Prefetcher); ok {
		if err := p.Prefetch(); err != nil {
			return nil, err
		}
	}
	return &objectBody{handle: h, source: source, left: part.length, server: s, request: id}, nil
}

// headObject serves HeadObject
// (https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html).
func (s *Server) headObject(ctx context.Context, r *request) error {
	ref, err := r.checkRead()
	if err != nil {
		return err
	}
	info, err := s.Store.Stat(r.knowing(ctx), ref)
	if err != nil {
		return err
	}
	e, info, err := s.examine(ctx, r, info, r.wantsChecksum())
	if err != nil {
		return err
	}
	part, err := s.choose(r, &info)
	if err == nil {
		err = s.tellOf(ctx, r, eventOf(events.AccessedHead, &info))
	}
	if err != nil {
		return err
	}
	s.describe(r, ref, &info, e, part)
	r.setAll(e.headers())
	r.ctx.Response.Header.SetContentLength(int(part.length))
	return nil
}

// wantsChecksum reports whether the answer is to tell the object's checksum.
func (r *request) wantsChecksum() bool {
	return strings.EqualFold(r.header("x-amz-checksum-mode"), "ENABLED")
}

// span is the part of an object that is asked for.
type span struct {
	offset, length int64
	partial        bool             // answered with 206
	part           *object.PartInfo // that it is; nil: it is not asked for as one
}

// choose holds the object against the request's preconditions, and finds the span that is asked for.
func (s *Server) choose(r *request, info *object.Info) (span, error) {
	if err := s.conditions(r, "").evaluate(info.ETag, info.Modified); err != nil {
		if errors.Is(err, errNotModified) {
			return span{}, notModified(info)
		}
		return span{}, err
	}
	return r.selectSpan(info)
}

// describe sets all headers of the answer.
func (s *Server) describe(r *request, ref object.Ref, info *object.Info, e *encryption, part span) {
	r.setETag(info.ETag)
	r.setVersion(info.Version)
	r.set("Last-Modified", httpTime(info.Modified))
	r.setMeta(info)
	s.setTagCount(r, ref, &info.Meta)
	s.setLock(r, ref, &info.Meta)
	if ref.Version == "" {
		s.setExpiration(r, info)
	}
	switch {
	case !r.wantsChecksum():
	case part.part != nil && info.Checksum.Type == object.Composite: // where the whole has one S3 tells none of a part
		r.setChecksum(e.partChecksum(part.part, info.Checksum))
	case part.length == info.Size:
		r.setChecksum(info.Checksum)
	}
	if part.partial {
		r.ctx.SetStatusCode(fasthttp.StatusPartialContent)
		r.set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", part.offset, part.offset+part.length-1, info.Size))
	}
	r.override()
}

// httpTime is how headers tell a time (RFC 9110 section 5.6.7).
func httpTime(t time.Time) string { return t.UTC().Format(http.TimeFormat) }

// notModified is the answer 304, with the headers that RFC 9110 section 15.4.5
// asks for.
func notModified(info *object.Info) error {
	e := *errNotModified
	e.header = []detail{
		{"ETag", `"` + info.ETag + `"`},
		{"Last-Modified", httpTime(info.Modified)},
		{"Cache-Control", info.Meta.CacheControl},
		{"Expires", info.Meta.Expires},
		{"x-amz-version-id", info.Version},
	}
	return &e
}

// selectSpan finds what the Range header or the partNumber parameter asks for.
func (r *request) selectSpan(info *object.Info) (span, error) {
	ranged := r.header(fasthttp.HeaderRange)
	if r.query.has("partNumber") {
		return r.selectPart(info)
	}
	if ranged == "" || !r.ifRange(info) {
		return span{length: info.Size}, nil
	}
	offset, length, err := parseRange(ranged, info.Size)
	switch {
	case errors.Is(err, errNoRange):
		return span{length: info.Size}, nil
	case err != nil:
		e := *errInvalidRange
		e.header = []detail{{"Content-Range", "bytes */" + strconv.FormatInt(info.Size, 10)}}
		return span{}, e.detailed("RangeRequested", ranged).detailed("ActualObjectSize", strconv.FormatInt(info.Size, 10))
	}
	return span{offset: offset, length: length, partial: true}, nil
}

// ifRange reports whether a range may be sent: always, unless an If-Range
// header names another version (RFC 9110 section 13.1.5).
func (r *request) ifRange(info *object.Info) bool {
	v := r.header(fasthttp.HeaderIfRange)
	if v == "" {
		return true
	}
	if date := parseDate(v); !date.IsZero() {
		return info.Modified.Unix() == date.Unix()
	}
	return !strings.HasPrefix(v, "W/") && object.MatchETag(v, info.ETag)
}

// selectPart finds the part of a multipart object; any other object is its own
// part 1.
func (r *request) selectPart(info *object.Info) (span, error) {
	n, err := partNumber(r.query.get("partNumber"))
	if err != nil {
		return span{}, err
	}
	if len(info.Parts) == 0 {
		if n != 1 {
			return span{}, errInvalidPartNumber.detailed("PartNumberRequested", itoa(n)).detailed("ActualPartCount", "1")
		}
		return span{length: info.Size, partial: info.Size > 0}, nil
	}
	if n > len(info.Parts) {
		return span{}, errInvalidPartNumber.detailed("PartNumberRequested", itoa(n)).detailed("ActualPartCount", itoa(len(info.Parts)))
	}
	r.set("x-amz-mp-parts-count", itoa(len(info.Parts)))
	var offset int64
	for _, p := range info.Parts[:n-1] {
		offset += p.Size
	}
	part := &info.Parts[n-1]
	return span{offset, part.Size, true, part}, nil
}

// partNumber parses the number of a part.
func partNumber(s string) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > object.MaxPartNumber {
		return 0, errInvalidArgument.with("Part number must be an integer between 1 and 10000, inclusive").
			detailed("ArgumentName", "partNumber").detailed("ArgumentValue", s)
	}
	return n, nil
}

// errNoRange says that a Range header is to be ignored.
var errNoRange = errors.New("no single byte range")

// parseRange finds the bytes that a Range header asks for. A header of other
// form, or with several ranges, is ignored as S3 does (errNoRange); one that
// reaches nothing cannot be satisfied (RFC 9110 section 14.1.2).
func parseRange(header string, size int64) (offset, length int64, err error) {
	spec, ok := strings.CutPrefix(header, "bytes=")
	first, last, dash := strings.Cut(spec, "-")
	if !ok || !dash || strings.Contains(spec, ",") || first == "" && last == "" {
		return 0, 0, errNoRange
	}
	if first == "" {
		n, err := parseOffset(last)
		if err != nil {
			return 0, 0, err
		}
		switch {
		case n == 0:
			return 0, 0, errInvalidRange
		case size == 0:
			return 0, 0, errNoRange // all there is, which no Content-Range can tell
		}
		n = min(n, size)
		return size - n, n, nil
	}
	begin, err := parseOffset(first)
	if err != nil {
		return 0, 0, err
	}
	end := size - 1
	if last != "" {
		n, err := parseOffset(last)
		if err != nil || n < begin {
			return 0, 0, errNoRange
		}
		end = min(n, end)
	}
	if begin >= size {
		return 0, 0, errInvalidRange
	}
	return begin, end - begin + 1, nil
}

// parseOffset parses the digits of a range; numbers beyond an int64 count as
// its greatest.
func parseOffset(s string) (int64, error) {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, errNoRange
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return 0, errNoRange
	}
	return n, nil
}

// responseOverrides pairs query parameters with the headers they replace.
func responseOverrides() [6][2]string {
	return [...][2]string{
		{"response-content-type", "Content-Type"},
		{"response-content-language", "Content-Language"},
		{"response-expires", "Expires"},
		{"response-cache-control", "Cache-Control"},
		{"response-content-disposition", "Content-Disposition"},
		{"response-content-encoding", "Content-Encoding"},
	}
}

// checkRead returns what is to be read. It refuses a read that no object could
// answer.
func (r *request) checkRead() (object.Ref, error) {
	ref, err := r.version()
	if err != nil {
		return ref, err
	}
	if r.query.has("partNumber") {
		if _, err := partNumber(r.query.get("partNumber")); err != nil {
			return ref, err
		}
		if r.header(fasthttp.HeaderRange) != "" {
			return ref, errInvalidRequest.with("Cannot specify both Range header and partNumber query parameter")
		}
	}
	return ref, r.checkOverrides()
}

// checkOverrides refuses overrides of headers that have none
// (https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html#API_GetObject_RequestSyntax),
// those that no header can tell, and those of strangers, who could make a page of any object.
func (r *request) checkOverrides() error {
	if len(r.query) == 0 {
		return nil
	}
	overrides := responseOverrides()
	for _, p := range r.query {
		if strings.HasPrefix(p.name, "response-") && !slices.ContainsFunc(overrides[:], func(o [2]string) bool { return o[0] == p.name }) {
			return errInvalidArgument.with(p.name+" is not in the set of overridable response headers. Please refer to the S3 API documentation for a complete list of overridable response headers.").
				detailed("ArgumentName", p.name).detailed("ArgumentValue", p.value)
		}
	}
	for _, o := range overrides {
		if r.identity.Anonymous() && r.query.has(o[0]) {
			return errInvalidRequest.with("Request specific response headers cannot be used for anonymous GET requests.")
		}
		if err := checkHeaderText(o[0], r.query.get(o[0])); err != nil {
			return err
		}
	}
	return nil
}

func (r *request) override() {
	if len(r.query) == 0 {
		return
	}
	for _, o := range responseOverrides() {
		r.set(o[1], r.query.get(o[0]))
	}
}

// objectBody streams a range of an object to the client. It owns the handle:
// fasthttp reads it after the handler has returned, and closes it in every
// case (FH3).
type objectBody struct {
	handle  object.Handle
	source  io.Reader
	left    int64
	server  *Server
	request string
}

// smallBody is the length up to which a body is put behind its header in one
// buffer, and so in one packet.
const smallBody = 7 << 10

// Read reads on.
func (b *objectBody) Read(p []byte) (int, error) {
	n, err := b.source.Read(p)
	b.left -= int64(n)
	return n, b.note(err)
}

// WriteTo sends the whole range. A long one goes past w's buffer to the
// connection, where it becomes a sendfile(2).
func (b *objectBody) WriteTo(w io.Writer) (int64, error) {
	if buffered, ok := w.(*bufio.Writer); ok && b.left > smallBody {
		if err := buffered.Flush(); err != nil {
			return 0, err
		}
	}
	if to, ok := b.source.(io.WriterTo); ok {
		n, err := to.WriteTo(w)
		b.left -= n
		return n, b.note(err)
	}
	n, err := io.CopyBuffer(struct{ io.Writer }{w}, b.source, make([]byte, min(b.left, 256<<10)+1))
	b.left -= n
	return n, b.note(err)
}

// note logs what ends a body early: the status is sent already, so the client
// learns it from a body that is too short.
func (b *objectBody) note(err error) error {
	if err != nil && !errors.Is(err, io.EOF) && !clientGone(err) {
		b.server.Logger.Error("body broken off", "request", b.request, "left", b.left, "error", err)
	}
	return err
}

// Close closes the handle.
func (b *objectBody) Close() error { return b.handle.Close() }
