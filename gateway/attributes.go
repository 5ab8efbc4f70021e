package gateway

import (
	"context"
	"strconv"

	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/sse"
)

// getObjectAttributes serves GetObjectAttributes
// (https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObjectAttributes.html).
func (s *Server) getObjectAttributes(ctx context.Context, r *request) error {
	ref, err := r.version()
	if err != nil {
		return err
	}
	// Attributes are of the content, so one has to be allowed to read that as well.
	if err := s.allowByPolicy(r, readAction(ref), ref); err != nil {
		return err
	}
	wanted, err := r.wantedAttributes()
	if err != nil {
		return err
	}
	limit, marker, err := r.partsPage()
	if err != nil {
		return err
	}
	info, err := s.Store.Stat(ctx, ref)
	if err != nil {
		return err
	}
	e, info, err := s.examine(ctx, r, info, wanted["Checksum"] || wanted["ObjectParts"])
	if err != nil {
		return err
	}
	if wanted["ObjectParts"] && e != nil {
		info = sse.RevealParts(info, e.key)
	}
	if err := s.conditions(r, "").evaluate(info.ETag, info.Modified); err != nil {
		return err
	}
	w := newXML("GetObjectAttributesResponse")
	if wanted["ETag"] {
		w.text("ETag", info.ETag)
	}
	if wanted["Checksum"] && !info.Checksum.IsZero() {
		w.open("Checksum")
		sum := info.Checksum
		sum.Parts = 0 // which is told below
		w.checksum(sum)
		w.close("Checksum")
	}
	if wanted["ObjectParts"] && len(info.Parts) > 0 {
		w.objectParts(&info, limit, marker)
	}
	if wanted["StorageClass"] {
		w.text("StorageClass", storageClass(&info))
	}
	if wanted["ObjectSize"] {
		w.integer("ObjectSize", info.Size)
	}
	r.setVersion(info.Version)
	r.set("Last-Modified", httpTime(info.Modified))
	r.answerXML(w.end("GetObjectAttributesResponse"))
	return nil
}

// wantedAttributes reads x-amz-object-attributes.
func (r *request) wantedAttributes() (map[string]bool, error) {
	wanted := map[string]bool{}
	for _, line := range r.Values("x-amz-object-attributes") {
		for name := range splitList(line) {
			switch name {
			case "ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize":
				wanted[name] = true
			default:
				return nil, errInvalidArgument.with("Invalid attribute name specified.").
					detailed("ArgumentName", "x-amz-object-attributes").detailed("ArgumentValue", name)
			}
		}
	}
	if len(wanted) == 0 {
		return nil, errInvalidRequest.with("The x-amz-object-attributes header specifying the attributes to be retrieved is either missing or empty")
	}
	return wanted, nil
}

// partsPage reads which parts of an object are to be told. As in S3 a number of them that is none
// asks for nothing.
func (r *request) partsPage() (limit, marker int, err error) {
	limit = object.MaxListLimit
	if n, err := strconv.Atoi(r.header("x-amz-max-parts")); err == nil && n >= 0 {
		limit = min(n, limit)
	}
	if v := r.header("x-amz-part-number-marker"); v != "" {
		if marker, err = strconv.Atoi(v); err != nil || marker < 0 {
			return 0, 0, errInvalidArgument.with("x-amz-part-number-marker is not a number").detailed("ArgumentName", "x-amz-part-number-marker")
		}
	}
	return limit, marker, nil
}

// objectParts tells the parts of a multipart object. As in S3 the parts
// themselves are listed only where each has a checksum of its own.
func (w *xmlWriter) objectParts(info *object.Info, limit, marker int) {
	w.open("ObjectParts")
	w.integer("PartsCount", int64(len(info.Parts)))
	if info.Checksum.Type == object.Composite {
		var page []object.PartInfo
		for _, p := range info.Parts {
			if p.Number > marker {
				page = append(page, p)
			}
		}
		more := len(page) > limit
		page = page[:min(len(page), limit)]
		next := 0
		if len(page) > 0 {
			next = page[len(page)-1].Number
		}
		w.integer("PartNumberMarker", int64(marker))
		w.integer("NextPartNumberMarker", int64(next))
		w.integer("MaxParts", int64(limit))
		w.boolean("IsTruncated", more)
		for _, p := range page {
			w.open("Part")
			w.integer("PartNumber", int64(p.Number))
			w.integer("Size", p.Size)
			if p.Checksum != "" {
				w.text("Checksum"+info.Checksum.Algorithm.String(),
					encodeChecksum(object.Checksum{Algorithm: info.Checksum.Algorithm, Value: p.Checksum}))
			}
			w.close("Part")
		}
	}
	w.close("ObjectParts")
}
