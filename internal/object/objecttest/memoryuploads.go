package objecttest

import (
	"cmp"
	"context"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/shoal-storage/shoal/internal/object"
)

// upload is one upload in progress.
type upload struct {
	object.Upload
	parts map[int]*part
}

type part struct {
	object.Part
	content []byte
}

func (u *upload) sorted() []object.Part {
	var all []object.Part
	for _, n := range slices.Sorted(maps.Keys(u.parts)) {
		all = append(all, u.parts[n].Part)
	}
	return all
}

func cloneUpload(u object.Upload) object.Upload {
	u.Meta = u.Meta.Clone()
	return u
}

// CreateUpload implements object.Uploads.
func (m *Memory) CreateUpload(ctx context.Context, up object.Upload) (object.Upload, error) {
	b, err := m.in(ctx, "create upload", up.Bucket)
	defer m.mu.Unlock()
	if err != nil {
		return object.Upload{}, err
	}
	m.uploads++
	up = cloneUpload(up)
	up.ID, up.Initiated = fmt.Sprintf("upload-%08d", m.uploads), m.now()
	b.uploads[up.ID] = &upload{Upload: up, parts: map[int]*part{}}
	return cloneUpload(up), nil
}

// progress locks the store and returns the upload; the caller unlocks it.
func (m *Memory) progress(ctx context.Context, op string, ref object.UploadRef) (*bucket, *upload, error) {
	b, err := m.in(ctx, op, ref.Bucket)
	if err != nil {
		return nil, nil, err
	}
	u := b.uploads[ref.ID]
	if u == nil || u.Key != ref.Key {
		return b, nil, object.E(op, ref.Bucket+"/"+ref.Key, object.NoSuchUpload, nil)
	}
	return b, u, nil
}

// StatUpload implements object.Uploads.
func (m *Memory) StatUpload(ctx context.Context, ref object.UploadRef) (object.Upload, error) {
	_, u, err := m.progress(ctx, "stat upload", ref)
	defer m.mu.Unlock()
	if err != nil {
		return object.Upload{}, err
	}
	return cloneUpload(u.Upload), nil
}

// PutPart implements object.Uploads.
func (m *Memory) PutPart(ctx context.Context, ref object.UploadRef, number int, body object.Body) (object.Part, error) {
	_, _, err := m.progress(ctx, "put part", ref)
	m.mu.Unlock()
	if err != nil {
		return object.Part{}, err
	}
	content, err := readBody(ctx, body)
	if err != nil {
		return object.Part{}, fmt.Errorf("put part %d of %s/%s: %w", number, ref.Bucket, ref.Key, err)
	}
	digest := body.Digest()
	_, u, err := m.progress(ctx, "put part", ref)
	defer m.mu.Unlock()
	if err != nil {
		return object.Part{}, err
	}
	if digest.Checksum.Algorithm != u.Algorithm {
		return object.Part{}, object.E("put part", ref.Key, object.InvalidRequest,
			fmt.Errorf("the upload has %s checksums, the part has not", u.Algorithm))
	}
	p := &part{content: content, Part: object.Part{
		Number: number, Size: int64(len(content)) - digest.Overhead, ETag: hex.EncodeToString(digest.MD5[:]), Modified: m.now(),
		Checksum: digest.Checksum.Value, Salt: digest.Salt,
	}}
	u.parts[number] = p
	return p.Part, nil
}

// ListParts implements object.Uploads.
func (m *Memory) ListParts(ctx context.Context, ref object.UploadRef, after, limit int) (parts []object.Part, more bool, err error) {
	_, u, err := m.progress(ctx, "list parts", ref)
	defer m.mu.Unlock()
	if err != nil {
		return nil, false, err
	}
	for _, p := range u.sorted() {
		if p.Number <= after {
			continue
		}
		if len(parts) == limit {
			return parts, true, nil
		}
		parts = append(parts, p)
	}
	return parts, false, nil
}

// CompleteUpload implements object.Uploads.
func (m *Memory) CompleteUpload(ctx context.Context, ref object.UploadRef, in object.CompleteInput) (object.Info, error) {
	b, u, err := m.progress(ctx, "complete", ref)
	defer m.mu.Unlock()
	if err != nil {
		if b != nil {
			if s := b.current(ref.Key); s != nil && s.upload == ref.ID && slices.Equal(s.named, in.Parts) {
				return b.info(s), nil
			}
		}
		return object.Info{}, err
	}
	a, err := object.Assemble(u.Upload, u.sorted(), in)
	if err != nil {
		return object.Info{}, err
	}
	if err := b.check(ref.Key, in.Check); err != nil {
		return object.Info{}, err
	}
	s := &stored{upload: ref.ID, named: slices.Clone(in.Parts), info: object.Info{
		Bucket: ref.Bucket, Key: ref.Key, Version: m.newID(b), Size: a.Size, Modified: m.now(), ETag: a.ETag, Checksum: a.Checksum, Parts: a.Infos, Meta: u.Meta,
	}}
	for _, p := range a.Parts {
		s.content = append(s.content, u.parts[p.Number].content...)
	}
	s.info.Overhead = int64(len(s.content)) - a.Size
	b.add(s)
	delete(b.uploads, ref.ID)
	return b.info(s), nil
}

// AbortUpload implements object.Uploads.
func (m *Memory) AbortUpload(ctx context.Context, ref object.UploadRef) error {
	b, _, err := m.progress(ctx, "abort upload", ref)
	defer m.mu.Unlock()
	if err != nil {
		return err
	}
	delete(b.uploads, ref.ID)
	return nil
}

// ListUploads implements object.Uploads. The order of IDs is that in which the
// uploads began.
func (m *Memory) ListUploads(ctx context.Context, q object.UploadQuery) (object.UploadPage, error) {
	b, err := m.in(ctx, "list uploads", q.Bucket)
	defer m.mu.Unlock()
	if err != nil {
		return object.UploadPage{}, err
	}
	all := slices.SortedFunc(maps.Values(b.uploads), func(x, y *upload) int {
		return cmp.Or(cmp.Compare(x.Key, y.Key), cmp.Compare(x.ID, y.ID))
	})
	var page object.UploadPage
	lastPrefix := ""
	for _, u := range all {
		if !strings.HasPrefix(u.Key, q.Prefix) {
			continue
		}
		entry, common := commonPrefix(u.Key, q.Prefix, q.Delimiter)
		switch {
		case common && (entry <= q.AfterKey || entry == lastPrefix):
			continue
		case !common && (u.Key < q.AfterKey || u.Key == q.AfterKey && (q.AfterID == "" || u.ID <= q.AfterID)):
			continue
		}
		if len(page.Uploads)+len(page.Prefixes) == q.Limit {
			page.More = true
			return page, nil
		}
		if common {
			lastPrefix = entry
			page.Prefixes = append(page.Prefixes, entry)
			page.NextKey, page.NextID = entry, ""
			continue
		}
		page.Uploads = append(page.Uploads, cloneUpload(u.Upload))
		page.NextKey, page.NextID = u.Key, u.ID
	}
	page.NextKey, page.NextID = "", ""
	return page, nil
}
