package gateway

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"sync"

	"github.com/shoal-storage/shoal/internal/object"
)

// metaWorkers is how many objects of a page are asked for their metadata at a time.
const metaWorkers = 16

// wantsMeta reports whether a listing has MinIO's parameter that asks for the metadata
// of what is listed.
func (r *request) wantsMeta() bool { return r.query.get("metadata") == "true" }

// addMeta gives the objects of a page their metadata, if the sender may read it. An
// object that is gone meanwhile stays as it was listed.
func (s *Server) addMeta(ctx context.Context, r *request, objects []*object.Info) {
	next := make(chan *object.Info)
	var workers sync.WaitGroup
	for range min(metaWorkers, len(objects)) {
		workers.Go(func() {
			for o := range next {
				if info, err := s.Store.Stat(ctx, object.Ref{Bucket: o.Bucket, Key: o.Key, Version: o.Version}); err == nil && info.ETag == o.ETag {
					o.Meta = info.Meta
				}
			}
		})
	}
	for _, o := range objects {
		o.Bucket = r.bucket
		// Not in the workers: the question is about the request, too.
		ref := object.Ref{Bucket: r.bucket, Key: o.Key, Version: o.Version}
		if s.allow(r, readAction(ref), ref) == nil {
			next <- o
		}
	}
	close(next)
	workers.Wait()
}

// meta writes the metadata of an object in a listing as MinIO's clients read it.
func (w *xmlWriter) meta(m *object.Meta) {
	if len(m.Tags) > 0 {
		tags := make([]byte, 0, 64)
		for i, t := range m.Tags {
			if i > 0 {
				tags = append(tags, '&')
			}
			tags = append(append(append(tags, escapeURL(t.Key)...), '='), escapeURL(t.Value)...)
		}
		w.text("UserTags", string(tags))
	}
	if m.ContentType == "" && len(m.User) == 0 {
		return
	}
	w.open("UserMetadata")
	w.optional("content-type", m.ContentType)
	w.optional("content-encoding", m.ContentEncoding)
	w.optional("cache-control", m.CacheControl)
	for _, name := range slices.Sorted(maps.Keys(m.User)) {
		if isElementName(name) {
			w.text(http.CanonicalHeaderKey("X-Amz-Meta-"+name), m.User[name])
		}
	}
	w.close("UserMetadata")
}

// isElementName reports whether a header's name can stand in that of an element.
func isElementName(name string) bool {
	for i := range len(name) {
		switch c := name[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_', c == '.':
		default:
			return false
		}
	}
	return true
}
