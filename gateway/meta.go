package gateway

import (
	"iter"
	"maps"
	"mime"
	"net/url"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/sigv4"
)

const (
	metaPrefix     = "x-amz-meta-"
	maxUserMeta    = 2 << 10 // bytes of names and values together
	defaultType    = "binary/octet-stream"
	maxObjectTags  = 10
	maxBucketTags  = 50
	maxTagKeyLen   = 128 // characters
	maxTagValueLen = 256 // characters
)

// readMeta reads what the headers say about a new object.
func (r *request) readMeta() (object.Meta, error) {
	m := object.Meta{
		ContentType:        r.header("Content-Type"),
		ContentEncoding:    r.contentEncoding(),
		ContentDisposition: r.header("Content-Disposition"),
		ContentLanguage:    r.header("Content-Language"),
		CacheControl:       r.header("Cache-Control"),
		Expires:            r.header("Expires"),
		StorageClass:       r.header("x-amz-storage-class"),
		WebsiteRedirect:    r.header("x-amz-website-redirect-location"),
	}
	if err := checkMeta(&m); err != nil {
		return m, err
	}
	var err error
	if m.User, err = r.userMeta(); err != nil {
		return m, err
	}
	m.Tags, err = parseTagHeader(r.header("x-amz-tagging"))
	return m, err
}

// checkMeta puts in the default content type and refuses what S3 does.
func checkMeta(m *object.Meta) error {
	if m.ContentType == "" {
		m.ContentType = defaultType
	}
	if u := m.WebsiteRedirect; u != "" && !strings.HasPrefix(u, "/") && !strings.HasPrefix(u, "http://") && !strings.HasPrefix(u, "https://") {
		return errInvalidRedirect
	}
	for _, h := range [...][2]string{
		{"Content-Type", m.ContentType},
		{"Content-Encoding", m.ContentEncoding},
		{"Content-Disposition", m.ContentDisposition},
		{"Content-Language", m.ContentLanguage},
		{"Cache-Control", m.CacheControl},
		{"Expires", m.Expires},
		{"x-amz-website-redirect-location", m.WebsiteRedirect},
	} {
		if err := checkHeaderText(h[0], h[1]); err != nil {
			return err
		}
	}
	return checkStorageClass(m.StorageClass)
}

// checkHeaderText refuses a value that no header can have: RFC 9110 section 5.5 leaves controls
// out, except the tab. Headers of requests have none (fasthttp refuses them), but what parameters
// and fields of forms say comes to be headers too.
func checkHeaderText(name, value string) error {
	for i := range len(value) {
		if c := value[i]; c < ' ' && c != '\t' || c == 0x7f {
			return errInvalidArgument.with("A header can have no control characters.").detailed("ArgumentName", name)
		}
	}
	return nil
}

// contentEncoding returns Content-Encoding as it is kept: without aws-chunked, which is about the
// transfer.
func (r *request) contentEncoding() string {
	value := r.header("Content-Encoding")
	items := slices.Collect(splitList(value))
	if !slices.ContainsFunc(items, isAWSChunked) {
		return value
	}
	return strings.Join(slices.DeleteFunc(items, isAWSChunked), ",")
}

// isAWSChunked reports whether an item of Content-Encoding is aws-chunked, in any case.
func isAWSChunked(item string) bool { return strings.EqualFold(item, "aws-chunked") }

// refuseAWSChunked refuses content that is said to be framed and cannot be, as S3 does of requests
// that are signed in the header (versitygw, pull request 2400).
func (r *request) refuseAWSChunked() error {
	if r.identity.Anonymous() || r.auth.Presigned || r.auth.V2 || r.auth.PayloadHash != sigv4.Unsigned.String() {
		return nil
	}
	value := r.header("Content-Encoding")
	for item := range splitList(value) {
		if isAWSChunked(item) {
			return errInvalidArgument.with("aws-chunked encoding is not supported when x-amz-content-sha256 UNSIGNED-PAYLOAD is supplied.").
				detailed("ArgumentName", "Content-Encoding").detailed("ArgumentValue", value)
		}
	}
	return nil
}

// splitList gives the items of a comma-separated header that are not empty.
func splitList(value string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for item := range strings.SplitSeq(value, ",") {
			if item = strings.TrimSpace(item); item != "" && !yield(item) {
				return
			}
		}
	}
}

// userMeta reads the x-amz-meta- headers; those of one name are joined.
func (r *request) userMeta() (map[string]string, error) {
	var user map[string]string
	size := 0
	for k, v := range r.ctx.Request.Header.All() {
		if !hasPrefixFold(k, metaPrefix) {
			continue
		}
		name, value := strings.ToLower(string(k[len(metaPrefix):])), decodeWords(string(v))
		size += len(name) + len(value)
		if user == nil {
			user = make(map[string]string)
		}
		if old, twice := user[name]; twice {
			value = old + "," + value
		}
		user[name] = value
	}
	if size > maxUserMeta {
		return nil, errMetadataTooLarge.detailed("Size", itoa(size)).detailed("MaxSizeAllowed", itoa(maxUserMeta))
	}
	return user, nil
}

// hasPrefixFold reports whether a name begins with prefix, in any case.
func hasPrefixFold(name []byte, prefix string) bool {
	return len(name) >= len(prefix) && strings.EqualFold(string(name[:len(prefix)]), prefix)
}

// encodeWords is how a value of user metadata stands in an answer: as it is if
// it is ASCII, otherwise by RFC 2047
// (https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html).
func encodeWords(value string) string {
	charset := "UTF-8"
	if !utf8.ValidString(value) {
		charset = "ISO-8859-1"
	}
	return mime.BEncoding.Encode(charset, value)
}

// decodeWords is the value that a header means: one encoded by RFC 2047 is
// decoded, any other stands for itself.
func decodeWords(value string) string {
	if !strings.Contains(value, "=?") {
		return value
	}
	var d mime.WordDecoder
	decoded, err := d.DecodeHeader(value)
	if err != nil {
		return value
	}
	return decoded
}

// checkStorageClass accepts the classes whose objects can be read at once. A
// class that promises an archive would be a promise not kept.
func checkStorageClass(name string) error {
	switch name {
	case "", "STANDARD", "REDUCED_REDUNDANCY", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER_IR":
		return nil
	}
	return errInvalidStorageClass.detailed("StorageClassRequested", name)
}

// setMeta sets the headers that tell an object's metadata.
func (r *request) setMeta(info *object.Info) {
	m := &info.Meta
	if m.ContentType == "" {
		r.set("Content-Type", defaultType)
	}
	r.set("Content-Type", m.ContentType)
	r.set("Content-Encoding", m.ContentEncoding)
	r.set("Content-Disposition", m.ContentDisposition)
	r.set("Content-Language", m.ContentLanguage)
	r.set("Cache-Control", m.CacheControl)
	r.set("Expires", m.Expires)
	r.set("x-amz-website-redirect-location", m.WebsiteRedirect)
	if m.StorageClass != object.StorageClass {
		r.set("x-amz-storage-class", m.StorageClass)
	}
	for _, name := range slices.Sorted(maps.Keys(m.User)) {
		r.ctx.Response.Header.Set(metaPrefix+name, encodeWords(m.User[name]))
	}
}

// setTagCount tells who may read an object's tags how many there are.
func (s *Server) setTagCount(r *request, ref object.Ref, m *object.Meta) {
	if len(m.Tags) > 0 && s.allow(r, ofVersion("s3:GetObjectTagging", ref), ref) == nil {
		r.set("x-amz-tagging-count", itoa(len(m.Tags)))
	}
}

// parseTagHeader reads x-amz-tagging, which is encoded like a query string.
func parseTagHeader(value string) ([]object.Tag, error) {
	if value == "" {
		return nil, nil
	}
	invalid := errInvalidArgument.with("The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters without tag name duplicates.").
		detailed("ArgumentName", "x-amz-tagging").detailed("ArgumentValue", value)
	q, err := parseQuery(value)
	if err != nil {
		return nil, invalid
	}
	tags := make([]object.Tag, len(q))
	for i := range q {
		if q[i].name == "" || q[:i].has(q[i].name) {
			return nil, invalid
		}
		tags[i] = object.Tag{Key: q[i].name, Value: q[i].value}
	}
	return checkTags(tags, maxObjectTags)
}

// tagHeader is the inverse of parseTagHeader.
func tagHeader(tags []object.Tag) string {
	q := url.Values{}
	for _, t := range tags {
		q.Add(t.Key, t.Value)
	}
	return q.Encode()
}

// checkTags applies S3's rules for tag sets and returns the set sorted
// (https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-tagging.html).
func checkTags(tags []object.Tag, limit int) ([]object.Tag, error) {
	if len(tags) > limit {
		what := "Object tags"
		if limit == maxBucketTags {
			what = "Bucket tag count"
		}
		return nil, errBadRequest.with(what + " cannot be greater than " + itoa(limit))
	}
	for _, t := range tags {
		if err := checkTag(t, limit); err != nil {
			return nil, err
		}
	}
	tags = slices.SortedFunc(slices.Values(tags), func(a, b object.Tag) int { return strings.Compare(a.Key, b.Key) })
	for i := 1; i < len(tags); i++ {
		if tags[i].Key == tags[i-1].Key {
			return nil, errInvalidTag.with("Cannot provide multiple Tags with the same key").detailed("TagKey", tags[i].Key)
		}
	}
	return tags, nil
}

// checkTag returns nil if a tag may be in a set of up to limit of them.
func checkTag(t object.Tag, limit int) error {
	invalid := errInvalidTag.detailed("TagKey", t.Key)
	switch {
	case strings.HasPrefix(t.Key, "aws:") && limit == maxBucketTags:
		return invalid.with("System tags cannot be added/updated by requester")
	case strings.HasPrefix(t.Key, "aws:"):
		return invalid.with("Your TagKey cannot be prefixed with aws:")
	case t.Key == "" || utf8.RuneCountInString(t.Key) > maxTagKeyLen || !validTagText(t.Key):
		return invalid.with("The TagKey you have provided is invalid")
	case utf8.RuneCountInString(t.Value) > maxTagValueLen || !validTagText(t.Value):
		return invalid.with("The TagValue you have provided is invalid").detailed("TagValue", t.Value)
	}
	return nil
}

func validTagText(s string) bool {
	for _, c := range s {
		if !unicode.In(c, unicode.L, unicode.Z, unicode.N) && !strings.ContainsRune("_.:/=+-@", c) {
			return false
		}
	}
	return utf8.ValidString(s)
}
