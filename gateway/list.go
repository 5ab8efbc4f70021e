package gateway

import (
	"cmp"
	"context"
	"strings"

	"github.com/shoal-storage/shoal/internal/object"
)

// encoding is how keys stand in an answer: as they are, or URL-encoded where
// the client asks for it because XML cannot hold every key.
type encoding struct{ url bool }

func (r *request) encoding() (encoding, error) {
	switch v := r.query.get("encoding-type"); {
	case v == "":
		return encoding{}, nil
	case strings.EqualFold(v, "url"):
		return encoding{url: true}, nil
	default:
		return encoding{}, errInvalidArgument.with("Invalid Encoding Method specified in Request").
			detailed("ArgumentName", "encoding-type").detailed("ArgumentValue", v)
	}
}

func (e encoding) apply(s string) string {
	if e.url {
		return escapeURL(s)
	}
	return s
}

// tell writes the element that says so.
func (e encoding) tell(w *xmlWriter) {
	if e.url {
		w.text("EncodingType", "url")
	}
}

// listQuery reads the parameters that the listings share.
func (r *request) listQuery() (object.Query, encoding, error) {
	enc, err := r.encoding()
	if err != nil {
		return object.Query{}, enc, err
	}
	limit, err := r.limit("max-keys")
	if err != nil {
		return object.Query{}, enc, err
	}
	return object.Query{
		Bucket: r.bucket, Prefix: r.query.get("prefix"), Delimiter: r.query.get("delimiter"), Limit: limit,
	}, enc, nil
}

// page asks the Store for a page of what the sender sees; a page of nothing only asks for
// the bucket.
func (s *Server) page(ctx context.Context, r *request, q object.Query) (page object.Page, err error) {
	if q.Limit == 0 {
		_, err := s.Store.StatBucket(ctx, q.Bucket)
		return object.Page{}, err
	}
	if page, err = s.Store.List(ctx, q); err != nil || !s.isJudged(r) {
		return page, err
	}
	visible := s.visible(ctx, r, q.Prefix)
	if page.Objects, err = seen(page.Objects, func(o *object.Info) string { return o.Key }, visible); err != nil {
		return page, err
	}
	page.Prefixes, err = seen(page.Prefixes, itself, visible)
	return page, err
}

// setRegion tells the region of the bucket that is listed. Where the request has not looked at
// the bucket it is that of the server: a page must not cost another look.
func (s *Server) setRegion(r *request) {
	r.set("x-amz-bucket-region", cmp.Or(r.known.region, s.Region))
}

// listObjects serves ListObjects, version 1
// (https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjects.html).
func (s *Server) listObjects(ctx context.Context, r *request) error {
	q, enc, err := r.listQuery()
	if err != nil {
		return err
	}
	q.After = r.query.get("marker")
	page, err := s.page(ctx, r, q)
	if err != nil {
		return err
	}
	s.setRegion(r)
	w := newXML("ListBucketResult")
	w.text("Name", r.bucket)
	w.text("Prefix", enc.apply(q.Prefix))
	w.text("Marker", enc.apply(q.After))
	w.integer("MaxKeys", int64(q.Limit))
	w.optional("Delimiter", enc.apply(q.Delimiter))
	enc.tell(w)
	w.boolean("IsTruncated", page.More)
	if page.More && (q.Delimiter != "" || s.isJudged(r)) { // the last key may be none that he sees
		w.text("NextMarker", enc.apply(page.Next))
	}
	w.contents(page.Objects, enc, true)
	w.commonPrefixes(page.Prefixes, enc)
	r.answerXML(w.end("ListBucketResult"))
	return nil
}

// listObjectsV2 serves ListObjectsV2
// (https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html).
func (s *Server) listObjectsV2(ctx context.Context, r *request) error {
	if r.query.get("list-type") != "2" {
		return s.listObjects(ctx, r) // as S3 does
	}
	q, enc, err := r.listQuery()
	if err != nil {
		return err
	}
	startAfter, token := r.query.get("start-after"), r.query.get("continuation-token")
	if r.query.has("continuation-token") && token == "" {
		return errInvalidArgument.with("The continuation token provided is incorrect").detailed("ArgumentName", "continuation-token")
	}
	if q.After, err = decodeToken(token); err != nil {
		return err
	}
	if token == "" {
		q.After = startAfter
	}
	page, err := s.page(ctx, r, q)
	if err != nil {
		return err
	}
	if r.wantsMeta() {
		s.addMeta(ctx, r, pointers(page.Objects))
	}
	s.setRegion(r)
	w := newXML("ListBucketResult")
	w.text("Name", r.bucket)
	w.text("Prefix", enc.apply(q.Prefix))
	w.optional("StartAfter", enc.apply(startAfter))
	w.optional("ContinuationToken", token)
	if page.More {
		w.text("NextContinuationToken", encodeToken(page.Next))
	}
	w.integer("KeyCount", int64(len(page.Objects)+len(page.Prefixes)))
	w.integer("MaxKeys", int64(q.Limit))
	w.optional("Delimiter", enc.apply(q.Delimiter))
	enc.tell(w)
	w.boolean("IsTruncated", page.More)
	w.contents(page.Objects, enc, r.query.get("fetch-owner") == "true")
	w.commonPrefixes(page.Prefixes, enc)
	r.answerXML(w.end("ListBucketResult"))
	return nil
}

func pointers(objects []object.Info) []*object.Info {
	all := make([]*object.Info, len(objects))
	for i := range objects {
		all[i] = &objects[i]
	}
	return all
}

// contents writes the objects of a page.
func (w *xmlWriter) contents(objects []object.Info, enc encoding, owner bool) {
	for i := range objects {
		o := &objects[i]
		w.open("Contents")
		w.text("Key", enc.apply(o.Key))
		w.time("LastModified", o.Modified)
		w.etag(o.ETag)
		w.checksumKind(o.Checksum)
		w.integer("Size", o.Size)
		if owner {
			w.owner("Owner")
		}
		w.text("StorageClass", storageClass(o))
		w.meta(&o.Meta)
		w.close("Contents")
	}
}

// checksumKind writes what a listing tells of a checksum.
func (w *xmlWriter) checksumKind(c object.Checksum) {
	if !c.IsZero() {
		w.text("ChecksumAlgorithm", c.Algorithm.String())
		w.text("ChecksumType", c.Type.String())
	}
}

func storageClass(o *object.Info) string {
	if o.Meta.StorageClass == "" {
		return object.StorageClass
	}
	return o.Meta.StorageClass
}

func (w *xmlWriter) commonPrefixes(prefixes []string, enc encoding) {
	for _, p := range prefixes {
		w.open("CommonPrefixes")
		w.text("Prefix", enc.apply(p))
		w.close("CommonPrefixes")
	}
}
