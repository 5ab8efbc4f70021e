package gateway

import (
	"context"
	"encoding/xml"
	"math"
	"strconv"
	"strings"

	"github.com/valyala/fasthttp"

	"github.com/shoal-storage/shoal/internal/events"
	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/sse"
)

// uploadRef names the upload the request is about.
func (r *request) uploadRef() object.UploadRef {
	return object.UploadRef{Ref: r.ref(), ID: r.query.get("uploadId")}
}

// createUpload serves CreateMultipartUpload
// (https://docs.aws.amazon.com/AmazonS3/latest/API/API_CreateMultipartUpload.html).
func (s *Server) createUpload(ctx context.Context, r *request) error {
	if r.identity.Anonymous() {
		return errAccessDenied.with("Anonymous users cannot initiate multipart uploads.  Please authenticate.")
	}
	meta, err := r.readMeta()
	if err != nil {
		return err
	}
	if err := s.protect(r, r.ref(), r.header, &meta); err != nil {
		return err
	}
	up := object.Upload{UploadRef: object.UploadRef{Ref: r.ref()}, Meta: meta}
	if err := r.uploadChecksum(&up); err != nil {
		return err
	}
	wished, _, err := s.wish(r, r.lookup, r.bucket)
	if err != nil {
		return err
	}
	e, err := s.encrypt(ctx, wished)
	if err != nil {
		return err
	}
	up.Meta.Seal = e.text()
	up, err = s.Store.CreateUpload(ctx, up)
	if err != nil {
		return err
	}
	if !up.Implied {
		r.set("x-amz-checksum-algorithm", up.Algorithm.String())
		r.set("x-amz-checksum-type", up.Type.String())
	}
	r.setAll(e.madeHeaders())
	s.setAbort(r, &up)
	w := newXML("InitiateMultipartUploadResult")
	w.text("Bucket", r.bucket)
	w.text("Key", r.key)
	w.text("UploadId", up.ID)
	r.answerXML(w.end("InitiateMultipartUploadResult"))
	return nil
}

// uploadChecksum reads the algorithm and type that a new upload asks for.
func (r *request) uploadChecksum(up *object.Upload) error {
	name, kind := r.header("x-amz-checksum-algorithm"), r.header("x-amz-checksum-type")
	if name == "" {
		if kind != "" {
			if _, err := parseChecksumType(kind); err != nil {
				return err
			}
			return errInvalidRequest.with("The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header.")
		}
		up.Algorithm, up.Type, up.Implied = object.CRC64NVME, object.FullObject, true
		return nil
	}
	var ok bool
	if up.Algorithm, ok = object.ParseAlgorithm(name); !ok {
		return errUnsupportedAlgorithm()
	}
	up.Type = up.Algorithm.DefaultType()
	if kind != "" {
		var err error
		if up.Type, err = parseChecksumType(kind); err != nil {
			return err
		}
	}
	if !up.Algorithm.Supports(up.Type) {
		return errInvalidRequest.with("The " + up.Type.String() + " checksum type cannot be used with the " + strings.ToLower(up.Algorithm.String()) + " checksum algorithm.")
	}
	return nil
}

// parseChecksumType reads x-amz-checksum-type.
func parseChecksumType(name string) (object.ChecksumType, error) {
	for _, kind := range []object.ChecksumType{object.FullObject, object.Composite} {
		if strings.EqualFold(name, kind.String()) {
			return kind, nil
		}
	}
	return 0, invalidChecksum("x-amz-checksum-type")
}

// checkUploadParameters refuses to put an upload itself, which can only be completed, listed and aborted,
// and to replace an object by what was meant for a part.
func (r *request) checkUploadParameters(op *operation) error {
	switch op.name {
	case "UploadPart", "UploadPartCopy":
		if !r.query.has("partNumber") {
			e := errMethodNotAllowed.detailed("Method", r.method).detailed("ResourceType", "UPLOAD")
			e.header = []detail{{fasthttp.HeaderAllow, "DELETE, POST, GET"}}
			return e
		}
	case "PutObject", "CopyObject":
		if r.query.has("partNumber") {
			return errInvalidArgument.with("This operation does not accept partNumber without uploadId").
				detailed("ArgumentName", "partNumber").detailed("ArgumentValue", "partNumber")
		}
	}
	return nil
}

// uploadPart serves UploadPart
// (https://docs.aws.amazon.com/AmazonS3/latest/API/API_UploadPart.html).
func (s *Server) uploadPart(ctx context.Context, r *request) error {
	number, err := partNumber(r.query.get("partNumber"))
	if err != nil {
		return err
	}
	up, err := s.Store.StatUpload(ctx, r.uploadRef())
	if err != nil {
		return err
	}
	e, err := s.partKey(ctx, r, &up)
	if err != nil {
		return err
	}
	b, err := s.openBody(r, bodyOptions{algorithm: up.Algorithm, fixed: up.Implied, limit: object.MaxPartSize})
	if err != nil {
		return err
	}
	if err := mayLock(&up.Meta, b, "Put Part"); err != nil {
		return err
	}
	if err := checkPartChecksum(&up, b.declared); err != nil {
		return err
	}
	part, err := s.Store.PutPart(ctx, up.UploadRef, number, e.partBody(b))
	if err != nil {
		return err
	}
	part = e.revealPart(part, up.Algorithm)
	r.setAll(e.headers())
	r.setETag(part.ETag)
	sum := object.Checksum{Algorithm: up.Algorithm, Value: part.Checksum}
	if b.declared != object.NoAlgorithm {
		sum = object.Checksum{Algorithm: b.declared, Value: b.want}
	}
	r.set(headerOf(sum.Algorithm), encodeChecksum(sum))
	return nil
}

// checkPartChecksum refuses a part whose checksum is of another algorithm than
// the upload's, or that has none where the object's is made of the parts'. An
// upload that was created without an algorithm takes any: SDKs add a checksum
// of their own to parts where the caller asks for none.
func checkPartChecksum(up *object.Upload, declared object.Algorithm) error {
	actual := strings.ToLower(declared.String())
	switch {
	case up.Implied, declared == up.Algorithm, declared == object.NoAlgorithm && up.Type == object.FullObject:
		return nil
	case declared == object.NoAlgorithm:
		actual = "null"
	}
	return errInvalidRequest.with("Checksum Type mismatch occurred, expected checksum Type: " +
		strings.ToLower(up.Algorithm.String()) + ", actual checksum Type: " + actual)
}

// completeRequest is the body of CompleteMultipartUpload.
type completeRequest struct {
	XMLName xml.Name       `xml:"CompleteMultipartUpload"`
	Part    []completePart `xml:"Part"`
}

// completePart is one part in it.
type completePart struct {
	PartNumber        *int
	ETag              string
	ChecksumCRC32     string
	ChecksumCRC32C    string
	ChecksumCRC64NVME string
	ChecksumMD5       string
	ChecksumSHA1      string
	ChecksumSHA256    string
	ChecksumSHA512    string
	ChecksumXXHASH64  string
	ChecksumXXHASH3   string
	ChecksumXXHASH128 string
}

// maxCompleteDocument bounds the body of CompleteMultipartUpload: 10,000 parts
// with ETag and checksum.
const maxCompleteDocument = 4 << 20

// completeUpload serves CompleteMultipartUpload
// (https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompleteMultipartUpload.html).
func (s *Server) completeUpload(_ context.Context, r *request) error {
	check, err := s.writeCheck(r)
	if err != nil {
		return err
	}
	in := object.CompleteInput{Check: check, Size: -1, Files: r.files()}
	if err := r.statedObject(&in); err != nil {
		return err
	}
	b, err := s.openDocument(r, maxCompleteDocument)
	if err != nil {
		return err
	}
	if b.size == 0 {
		return errInvalidRequest.with("You must specify at least one part")
	}
	var doc completeRequest
	if err := readXML(b, maxCompleteDocument, &doc); err != nil {
		return err
	}
	if in.Parts, err = doc.parts(); err != nil {
		return err
	}
	customer, err := s.readingKey(r)
	if err != nil {
		return err
	}
	how, err := s.telling(r)
	if err != nil {
		return err
	}
	rules := s.lifecycleRules(r)
	ref, location := r.uploadRef(), r.scheme()+"://"+r.header("Host")+r.path
	return s.answerSlowly(r, func(ctx context.Context) (xmlAnswer, error) {
		info, e, err := s.complete(ctx, ref, in, customer)
		if err == nil {
			err = s.tell(ctx, how, eventOf(events.CreatedComplete, &info))
		}
		if err != nil {
			return xmlAnswer{}, ofUpload(err, ref.ID)
		}
		w := newXML("CompleteMultipartUploadResult")
		w.text("Location", location)
		w.text("Bucket", ref.Bucket)
		w.text("Key", ref.Key)
		w.etag(info.ETag)
		w.checksum(info.Checksum)
		header := []detail{{"x-amz-version-id", madeVersion(&info)}, {expirationHeader, expiration(rules, &info)}}
		if e != nil && e.seal.Mode != sse.Customer {
			header = append(header, e.headers()...)
		}
		return xmlAnswer{w.end("CompleteMultipartUploadResult"), header}, nil
	})
}

// openDocument returns the body of a request whose checksum headers are about
// an object and not about the body.
func (s *Server) openDocument(r *request, limit int64) (*body, error) {
	return s.openBody(r, bodyOptions{plain: true, foreign: true, limit: limit})
}

// statedObject reads what the client says of the object as a whole.
func (r *request) statedObject(in *object.CompleteInput) error {
	d, err := declaredChecksum(r)
	if err != nil {
		return err
	}
	if d.value != "" {
		in.Checksum = object.Checksum{Algorithm: d.algorithm, Value: d.value, Parts: d.parts}
	}
	if v := r.header("x-amz-checksum-type"); v != "" {
		kind, err := parseChecksumType(v)
		if err != nil {
			return err
		}
		in.Type = &kind
	}
	if v := r.header("x-amz-mp-object-size"); v != "" {
		if in.Size, err = strconv.ParseInt(v, 10, 64); err != nil {
			return errInvalidRequest.with("Value for x-amz-mp-object-size header is invalid: '" + v + "'")
		}
		if in.Size < 0 {
			return errInvalidRequest.with("Value for x-amz-mp-object-size header is less than zero: '" + v + "'")
		}
	}
	return nil
}

// parts checks the list of parts as far as that can be done without the Store.
func (c *completeRequest) parts() ([]object.CompletedPart, error) {
	if len(c.Part) == 0 {
		return nil, errMalformedXML
	}
	if len(c.Part) > object.MaxPartNumber {
		return nil, errMalformedXML.with("You have attempted to complete an upload with more than 10000 parts.")
	}
	parts := make([]object.CompletedPart, len(c.Part))
	for i, p := range c.Part {
		if p.PartNumber == nil || p.ETag == "" {
			return nil, errMalformedXML
		}
		if *p.PartNumber < 1 {
			return nil, errInvalidArgument.with("PartNumber must be >= 1").
				detailed("ArgumentName", "PartNumber").detailed("ArgumentValue", itoa(*p.PartNumber))
		}
		sum, err := p.checksum()
		if err != nil {
			return nil, err
		}
		parts[i] = object.CompletedPart{Number: *p.PartNumber, ETag: strings.Trim(p.ETag, `"`), Checksum: sum}
	}
	return parts, nil
}

// checksum returns the checksum that the client states for the part, of which
// there may be one.
func (p *completePart) checksum() (object.Checksum, error) {
	var sum object.Checksum
	var stated []string
	for _, c := range []struct {
		algorithm object.Algorithm
		encoded   string
	}{
		{object.CRC32, p.ChecksumCRC32},
		{object.CRC32C, p.ChecksumCRC32C},
		{object.CRC64NVME, p.ChecksumCRC64NVME},
		{object.MD5, p.ChecksumMD5},
		{object.SHA1, p.ChecksumSHA1},
		{object.SHA256, p.ChecksumSHA256},
		{object.SHA512, p.ChecksumSHA512},
		{object.XXHash64, p.ChecksumXXHASH64},
		{object.XXHash3, p.ChecksumXXHASH3},
		{object.XXHash128, p.ChecksumXXHASH128},
	} {
		if c.encoded == "" {
			continue
		}
		stated = append(stated, c.algorithm.String()+":"+c.encoded+";")
		value, err := decodeChecksum(c.algorithm, "", c.encoded)
		if err != nil {
			return sum, invalidPartChecksum(c.encoded)
		}
		sum = object.Checksum{Algorithm: c.algorithm, Value: value}
	}
	if len(stated) > 1 {
		return sum, invalidPartChecksum(strings.Join(stated, ""))
	}
	return sum, nil
}

func invalidPartChecksum(value string) error {
	return errInvalidArgument.with("Invalid Base64 or multiple checksums present in request").
		detailed("ArgumentName", "Checksum").detailed("ArgumentValue", value)
}

// abortUpload serves AbortMultipartUpload
// (https://docs.aws.amazon.com/AmazonS3/latest/API/API_AbortMultipartUpload.html).
func (s *Server) abortUpload(ctx context.Context, r *request) error {
	if v := r.header("x-amz-if-match-initiated-time"); v != "" {
		up, err := s.Store.StatUpload(ctx, r.uploadRef())
		if err != nil {
			return err
		}
		// The time of an upload never changes, so this needs no lock.
		if want := parseDate(v); want.IsZero() || want.Unix() != up.Initiated.Unix() {
			return unmet("x-amz-if-match-initiated-time")
		}
	}
	if err := s.Store.AbortUpload(ctx, r.uploadRef()); err != nil {
		return err
	}
	r.answerEmpty(204)
	return nil
}

// listParts serves ListParts
// (https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListParts.html).
func (s *Server) listParts(ctx context.Context, r *request) error {
	limit, err := r.limit("max-parts")
	if err != nil {
		return err
	}
	enc, err := r.encoding()
	if err != nil {
		return err
	}
	after, err := r.number("part-number-marker", 0, math.MaxInt32, 0)
	if err != nil {
		return err
	}
	up, err := s.Store.StatUpload(ctx, r.uploadRef())
	if err != nil {
		return err
	}
	customer, err := s.readingKey(r)
	if err != nil {
		return err
	}
	e, err := s.keyIfGiven(ctx, up.Meta.Seal, customer)
	if err != nil {
		return err
	}
	var parts []object.Part
	more := false
	if limit > 0 {
		if parts, more, err = s.Store.ListParts(ctx, up.UploadRef, after, limit); err != nil {
			return err
		}
	}
	w := newXML("ListPartsResult")
	w.text("Bucket", r.bucket)
	w.text("Key", enc.apply(r.key))
	enc.tell(w)
	w.text("UploadId", up.ID)
	w.owner("Initiator")
	w.owner("Owner")
	w.text("StorageClass", uploadClass(&up))
	w.integer("PartNumberMarker", int64(after))
	if len(parts) > 0 {
		// Not on an empty page, where AWS tells 0: the paginator of the JavaScript SDK goes on while
		// there is one, and from the page behind the last to the first.
		w.integer("NextPartNumberMarker", int64(parts[len(parts)-1].Number))
	}
	w.integer("MaxParts", int64(limit))
	w.boolean("IsTruncated", more)
	w.uploadChecksum(&up)
	for _, p := range parts {
		p = e.revealPart(p, up.Algorithm)
		w.part(&up, &p)
	}
	s.setAbort(r, &up)
	r.answerXML(w.end("ListPartsResult"))
	return nil
}

func (w *xmlWriter) part(up *object.Upload, p *object.Part) {
	w.open("Part")
	w.integer("PartNumber", int64(p.Number))
	w.time("LastModified", p.Modified)
	w.etag(p.ETag)
	w.integer("Size", p.Size)
	if !up.Implied && p.Checksum != "" {
		w.text("Checksum"+up.Algorithm.String(), encodeChecksum(object.Checksum{Algorithm: up.Algorithm, Value: p.Checksum}))
	}
	w.close("Part")
}

func (w *xmlWriter) uploadChecksum(up *object.Upload) {
	if !up.Implied {
		w.text("ChecksumAlgorithm", up.Algorithm.String())
		w.text("ChecksumType", up.Type.String())
	}
}

func uploadClass(up *object.Upload) string {
	if up.Meta.StorageClass == "" {
		return object.StorageClass
	}
	return up.Meta.StorageClass
}

// listUploads serves ListMultipartUploads
// (https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListMultipartUploads.html).
func (s *Server) listUploads(ctx context.Context, r *request) error {
	limit, err := r.limit("max-uploads")
	if err != nil {
		return err
	}
	enc, err := r.encoding()
	if err != nil {
		return err
	}
	q := object.UploadQuery{
		Bucket: r.bucket, Prefix: r.query.get("prefix"), Delimiter: r.query.get("delimiter"),
		AfterKey: r.query.get("key-marker"), AfterID: r.query.get("upload-id-marker"), Limit: limit,
	}
	if q.AfterKey == "" {
		q.AfterID = "" // ignored without a key marker, as documented
	}
	var page object.UploadPage
	if limit == 0 {
		_, err = s.Store.StatBucket(ctx, r.bucket)
	} else {
		page, err = s.uploadPage(ctx, r, q)
	}
	if err != nil {
		return err
	}
	w := newXML("ListMultipartUploadsResult")
	w.text("Bucket", r.bucket)
	w.text("KeyMarker", enc.apply(q.AfterKey))
	w.text("UploadIdMarker", q.AfterID)
	if page.More {
		w.text("NextKeyMarker", enc.apply(page.NextKey))
		w.text("NextUploadIdMarker", page.NextID)
	}
	w.optional("Delimiter", enc.apply(q.Delimiter))
	w.text("Prefix", enc.apply(q.Prefix))
	enc.tell(w)
	w.integer("MaxUploads", int64(limit))
	w.boolean("IsTruncated", page.More)
	for i := range page.Uploads {
		up := &page.Uploads[i]
		w.open("Upload")
		w.text("Key", enc.apply(up.Key))
		w.text("UploadId", up.ID)
		w.owner("Initiator")
		w.owner("Owner")
		w.text("StorageClass", uploadClass(up))
		w.time("Initiated", up.Initiated)
		w.uploadChecksum(up)
		w.close("Upload")
	}
	w.commonPrefixes(page.Prefixes, enc)
	r.answerXML(w.end("ListMultipartUploadsResult"))
	return nil
}

// uploadPage asks the Store for a page of the uploads that the sender sees.
func (s *Server) uploadPage(ctx context.Context, r *request, q object.UploadQuery) (object.UploadPage, error) {
	page, err := s.Store.ListUploads(ctx, q)
	if err != nil || !s.isJudged(r) {
		return page, err
	}
	visible := s.visible(ctx, r, q.Prefix)
	if page.Uploads, err = seen(page.Uploads, func(u *object.Upload) string { return u.Key }, visible); err != nil {
		return page, err
	}
	page.Prefixes, err = seen(page.Prefixes, itself, visible)
	return page, err
}
