package erasure

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/shoal-storage/shoal/erasure/register"
	"github.com/shoal-storage/shoal/internal/lock"
	"github.com/shoal-storage/shoal/internal/object"
)

// An upload's ID is when it began, in ns, and a number of chance, both in 16 hex digits:
// IDs sort as the uploads began.
const uploadIDLen = 32

func uploadLock(bucket, id string) string { return "u/" + bucket + "/" + id }

func partLock(bucket, id string, number int) string {
	return "p/" + bucket + "/" + id + "/" + strconv.Itoa(number)
}

func (s *Store) newUploadID() (string, error) {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:], uint64(s.cfg.Now().UnixNano())) //nolint:gosec // after 1970
	if _, err := rand.Read(b[8:]); err != nil {
		return "", fmt.Errorf("erasure: %w", err)
	}
	return hex.EncodeToString(b[:]), nil
}

// uploadNumber returns the number of an upload, by which its parts are found.
func uploadNumber(id string) (uint64, bool) {
	b, err := hex.DecodeString(id)
	if err != nil || len(id) != uploadIDLen || strings.ToLower(id) != id {
		return 0, false
	}
	return binary.BigEndian.Uint64(b[8:]), true
}

// uploadKey names an upload: those of one key sort as they began.
func uploadKey(b *bucket, ref object.UploadRef) register.Key {
	return register.Key{Space: register.Uploads, Bucket: b.ID, Name: ref.Key + "\x00" + ref.ID}
}

func partKey(number uint64, part int) register.Key {
	return register.Key{Space: register.Parts, Bucket: number, Name: fmt.Sprintf("%05d", part)}
}

// uploadPlace is where an upload is: in the set that will have the object.
func (s *Store) uploadPlace(b *bucket, ref object.UploadRef) place {
	return s.placed(ref.Key, place{lock: uploadLock(ref.Bucket, ref.ID), key: uploadKey(b, ref)})
}

// partPlace is where a part of an upload is that a set has.
func partPlace(epoch uint64, s *set, ref object.UploadRef, number uint64, part int) place {
	return place{set: s, lock: partLock(ref.Bucket, ref.ID, part), key: partKey(number, part), epoch: epoch}
}

func noUpload(op string, ref object.UploadRef) error {
	return object.E(op, ref.Bucket+"/"+ref.Key, object.NoSuchUpload, nil)
}

// CreateUpload implements object.Uploads.
func (s *Store) CreateUpload(ctx context.Context, up object.Upload) (object.Upload, error) {
	const op = "create upload"
	defer s.enter().leave()
	b, err := s.bucket(ctx, op, up.Bucket)
	if err != nil {
		return object.Upload{}, err
	}
	if up.ID, err = s.newUploadID(); err != nil {
		return object.Upload{}, object.E(op, up.Bucket+"/"+up.Key, object.Internal, err)
	}
	up.Initiated, up.Meta = s.cfg.Now().UTC(), up.Meta.Clone()
	at := s.uploadPlace(b, up.UploadRef)
	v := &value{geometry: at.set.geometry(up.Meta.StorageClass, -1), start: at.set.start(up.Key), upload: up, info: object.Info{Meta: up.Meta}}
	r := register.Record{Version: register.Null, Kind: register.Object, Quorum: at.set.majority(), Value: v.encode()}
	err = s.holding(ctx, at, func(ctx context.Context, h *hold) error {
		return h.commit(ctx, at.set, r, commitment{})
	})
	if err != nil {
		return object.Upload{}, fail(op, up.Bucket+"/"+up.Key, err)
	}
	return up, nil
}

// upload returns an upload in progress, and the set that has it and its parts.
func (s *Store) upload(ctx context.Context, op string, ref object.UploadRef) (*value, *set, error) {
	b, err := s.bucket(ctx, op, ref.Bucket)
	if err != nil {
		return nil, nil, err
	}
	if _, ok := uploadNumber(ref.ID); !ok {
		return nil, nil, noUpload(op, ref)
	}
	at := s.uploadPlace(b, ref)
	r, set, err := s.located(ctx, at, func(a asking) (*register.Record, error) { return a.latest(ctx, at.key) })
	if err != nil {
		return nil, nil, fail(op, ref.Bucket+"/"+ref.Key, err)
	}
	v, err := uploadOf(op, ref, r)
	return v, set, err
}

func uploadOf(op string, ref object.UploadRef, r *register.Record) (*value, error) {
	if r == nil {
		return nil, noUpload(op, ref)
	}
	v, err := decodeValue(r.Value)
	if err != nil {
		return nil, fail(op, ref.Bucket+"/"+ref.Key, err)
	}
	v.upload.UploadRef, v.upload.Meta = ref, v.info.Meta
	return v, nil
}

// StatUpload implements object.Uploads.
func (s *Store) StatUpload(ctx context.Context, ref object.UploadRef) (object.Upload, error) {
	defer s.enter().leave()
	v, _, err := s.upload(ctx, "stat upload", ref)
	if err != nil {
		return object.Upload{}, err
	}
	return v.upload, nil
}

// PutPart implements object.Uploads. The upload's lock is shared until the part is stored:
// nobody completes or ends it meanwhile.
func (s *Store) PutPart(ctx context.Context, ref object.UploadRef, number int, body object.Body) (object.Part, error) {
	const op = "put part"
	defer s.enter().leave()
	name := ref.Bucket + "/" + ref.Key
	up, set, err := s.upload(ctx, op, ref)
	if err != nil {
		return object.Part{}, err
	}
	w, err := s.write(ctx, set, up.geometry, ref.Key, body)
	if err != nil {
		return object.Part{}, fail(op, name, err)
	}
	if w.digest.Checksum.Algorithm != up.upload.Algorithm {
		s.drop(w)
		return object.Part{}, object.E(op, name, object.InvalidRequest, fmt.Errorf("the upload has %s checksums, the part has not", up.upload.Algorithm))
	}
	for try := 1; ; try++ {
		v := w.value(s)
		err := s.commitPart(ctx, op, ref, number, w, v)
		if errors.Is(err, errMoved) && try < maxHolds {
			if up, set, err = s.upload(ctx, op, ref); err == nil {
				w, err = s.carry(ctx, w, set, up.geometry, ref)
			}
			if err == nil {
				continue
			}
		}
		if err == nil {
			return partOf(number, v), nil
		}
		if !errors.Is(err, object.Unknown) {
			s.drop(w)
		}
		return object.Part{}, fail(op, name, err)
	}
}

// value returns what is said of a content that was written.
func (w *written) value(s *Store) *value {
	v := &value{geometry: w.geometry, start: w.start, info: object.Info{
		Size: w.size - w.digest.Overhead, Overhead: w.digest.Overhead, Modified: s.cfg.Now().UTC(), ETag: hex.EncodeToString(w.digest.MD5[:]),
		Checksum: w.digest.Checksum,
	}}
	if w.size > 0 {
		v.contents = []content{w.content}
	}
	return v
}

// record returns the record of a content that was written.
func (w *written) record(v *value) register.Record {
	r := register.Record{Kind: register.Object, Quorum: register.WriteQuorum(len(w.set.drives), w.geometry.K)}
	if w.size > 0 {
		r.Data, r.Need = []register.DataID{w.id}, w.geometry.K
	}
	r.Value = v.encode()
	return r
}

func (s *Store) commitPart(ctx context.Context, op string, ref object.UploadRef, number int, w *written, v *value) error {
	lease, err := s.acquire(ctx, lock.Shared, place{set: w.set, lock: uploadLock(ref.Bucket, ref.ID)})
	if err != nil {
		return err
	}
	defer lease.Release()
	b, err := s.bucketNow(ctx, op, ref.Bucket)
	if err != nil {
		return err
	}
	at := s.uploadPlace(b, ref)
	up, err := asking{s: w.set}.latest(ctx, at.key)
	switch {
	case err != nil:
		return err
	case up == nil && (at.moves != nil || at.set != w.set):
		return object.E(op, ref.Bucket+"/"+ref.Key, object.Unavailable, errMoved)
	case up == nil:
		return noUpload(op, ref)
	}
	id, _ := uploadNumber(ref.ID)
	v.info.Parts = []object.PartInfo{{Number: number, Salt: w.digest.Salt}}
	r := w.record(v)
	r.Version = register.Null
	return s.holding(ctx, partPlace(at.epoch, w.set, ref, id, number), func(ctx context.Context, h *hold) error {
		return h.commit(ctx, h.set, r, w.commitment())
	})
}

// errMoved says that an upload is in another set by now, or is no more.
var errMoved = errors.New("erasure: the upload has been moved meanwhile")

// partOf returns what is told of a part.
func partOf(number int, v *value) object.Part {
	p := object.Part{Number: number, Size: v.info.Size, ETag: v.info.ETag, Modified: v.info.Modified, Checksum: v.info.Checksum.Value}
	if len(v.info.Parts) > 0 {
		p.Salt = v.info.Parts[0].Salt
	}
	return p
}

// stored is a part, and where it is.
type stored struct {
	object.Part
	v    *value
	made register.Token
}

// partsOf is the listing of an upload's parts that a set has.
func (s *Store) partsOf(in *set, ref object.UploadRef, number uint64) *listing {
	return &listing{s: s, sets: []*set{in}, q: register.ScanQuery{Space: register.Parts, Bucket: number}, lockName: func(name string) string {
		n, _ := strconv.Atoi(name)
		return partLock(ref.Bucket, ref.ID, n)
	}}
}

// parts returns the parts of an upload with numbers greater than after.
func (s *Store) parts(ctx context.Context, in *set, ref object.UploadRef, after, limit int) (parts []stored, more bool, err error) {
	number, _ := uploadNumber(ref.ID)
	l := s.partsOf(in, ref, number)
	err = l.from(ctx, fmt.Sprintf("%05d", after+1), func(name string, r *register.Record) (bool, error) {
		if len(parts) == limit {
			more = true
			return false, nil
		}
		n, err := strconv.Atoi(name)
		if err != nil {
			return false, fmt.Errorf("erasure: part %q: %w", name, err)
		}
		v, err := decodeValue(r.Value)
		if err != nil {
			return false, err
		}
		parts = append(parts, stored{partOf(n, v), v, r.Made})
		return true, nil
	})
	return parts, more, err
}

// partsNow returns the parts of an upload that has not moved meanwhile.
func (s *Store) partsNow(ctx context.Context, op string, ref object.UploadRef, after, limit int) (parts []stored, more bool, err error) {
	_, set, err := s.upload(ctx, op, ref)
	for range maxHolds {
		if err != nil {
			return nil, false, err
		}
		if parts, more, err = s.parts(ctx, set, ref, after, limit); err != nil {
			return nil, false, err
		}
		if len(s.epoch.Load().sources) == 0 {
			return parts, more, nil // nothing moves
		}
		before := set
		if _, set, err = s.upload(ctx, op, ref); err == nil && set == before {
			return parts, more, nil
		}
	}
	return nil, false, cmp.Or(err, object.E(op, ref.Bucket+"/"+ref.Key, object.Unavailable, errMoved))
}

// ListParts implements object.Uploads.
func (s *Store) ListParts(ctx context.Context, ref object.UploadRef, after, limit int) ([]object.Part, bool, error) {
	const op = "list parts"
	defer s.enter().leave()
	all, more, err := s.partsNow(ctx, op, ref, after, limit)
	if err != nil {
		return nil, false, fail(op, ref.Bucket+"/"+ref.Key, err)
	}
	var parts []object.Part
	for i := range all {
		parts = append(parts, all[i].Part)
	}
	return parts, more, nil
}

// CompleteUpload implements object.Uploads. No content moves: the object's record refers to
// those of the parts.
func (s *Store) CompleteUpload(ctx context.Context, ref object.UploadRef, in object.CompleteInput) (object.Info, error) {
	const op = "complete upload"
	defer s.enter().leave()
	var info object.Info
	b, err := s.bucket(ctx, op, ref.Bucket)
	if err != nil {
		return info, err
	}
	if _, ok := uploadNumber(ref.ID); !ok {
		return info, noUpload(op, ref)
	}
	err = s.holding(ctx, s.uploadPlace(b, ref), func(ctx context.Context, h *hold) error {
		r, set, err := h.latest(ctx)
		if err != nil {
			return err
		}
		up, err := uploadOf(op, ref, r)
		if errors.Is(err, object.NoSuchUpload) {
			info, err = s.completedBefore(ctx, ref, in, err)
			return err
		}
		if err != nil {
			return err
		}
		// Who made the object of it may not have come to ending it: it is not made once more.
		info, err = s.completedBefore(ctx, ref, in, errNotYet)
		switch {
		case err == nil:
			err = s.lacking(ctx, set, ref, func() error { return s.commitAgain(ctx, set, ref) })
		case errors.Is(err, errNotYet):
			info, err = s.assemble(ctx, set, up, in)
		}
		if err != nil {
			return err
		}
		return h.partly(s.endUpload(ctx, h, ref))
	})
	return info, fail(op, ref.Bucket+"/"+ref.Key, err)
}

// errNotYet says that an upload has become no object.
var errNotYet = errors.New("erasure: the upload is not completed")

// lacking has a commit done that refers to what parts of an upload contain: by drives that have all of their
// shards, as others lose theirs with the parts. Where different ones lack some these are made first.
func (s *Store) lacking(ctx context.Context, set *set, ref object.UploadRef, commit func() error) error {
	err := commit()
	if !errors.Is(err, register.ErrNoShard) || errors.Is(err, object.Unknown) {
		return err
	}
	if unhealed := s.healParts(ctx, set, ref); unhealed != nil {
		return errors.Join(err, unhealed)
	}
	return commit()
}

// healParts makes the shards of parts that drives lack. It waits for those that somebody is writing.
func (s *Store) healParts(ctx context.Context, set *set, ref object.UploadRef) error {
	p := s.newHealing(nil)
	p.bucket, p.pace = ref.Bucket, newPacer(s.cfg.Now)
	number, _ := uploadNumber(ref.ID)
	return cmp.Or(p.space(ctx, s.partsOf(set, ref, number)), p.left)
}

// commitAgain commits the object of an upload once more, which may have come to be by drives without shards: nobody
// knew what became of it, and it was settled.
func (s *Store) commitAgain(ctx context.Context, set *set, ref object.UploadRef) error {
	return s.within(ctx, "complete upload", ref.Ref, func(ctx context.Context, h *hold, _ *bucket) error {
		r, in, err := h.named(ctx, ref.Ref)
		if err != nil || r == nil || r.Kind != register.Object || in != set { // what has moved was copied
			return err
		}
		v, err := decodeValue(r.Value)
		if err != nil || v.uploadID != ref.ID {
			return err
		}
		next := *r
		if next.Quorum = register.WriteQuorum(len(set.drives), v.geometry.K); len(r.Data) > 0 {
			next.Need = v.geometry.K
		}
		return h.commit(ctx, set, next, commitment{strict: true})
	})
}

// assemble commits the object that the parts of an upload make, in the set that has them.
func (s *Store) assemble(ctx context.Context, set *set, up *value, in object.CompleteInput) (info object.Info, err error) {
	parts, _, err := s.parts(ctx, set, up.upload.UploadRef, 0, object.MaxPartNumber)
	if err != nil {
		return info, err
	}
	err = s.lacking(ctx, set, up.upload.UploadRef, func() (err error) {
		info, err = s.assembled(ctx, set, up, parts, in)
		return err
	})
	return info, err
}

// assembled commits the object that parts make, if all drives that it takes have their shards.
func (s *Store) assembled(ctx context.Context, set *set, up *value, parts []stored, in object.CompleteInput) (object.Info, error) {
	have := make([]object.Part, len(parts))
	byNumber := make(map[int]*stored, len(parts))
	for i := range parts {
		have[i], byNumber[parts[i].Number] = parts[i].Part, &parts[i]
	}
	a, err := object.Assemble(up.upload, have, in)
	if err != nil {
		return object.Info{}, err
	}
	ref := up.upload.Ref
	v := &value{geometry: up.geometry, start: up.start, uploadID: up.upload.ID, info: object.Info{
		Size: a.Size, Modified: s.cfg.Now().UTC(), ETag: a.ETag, Checksum: a.Checksum, Parts: a.Infos, Meta: up.upload.Meta,
	}}
	r := register.Record{Kind: register.Object, Quorum: register.WriteQuorum(len(set.drives), up.geometry.K)}
	for _, p := range a.Parts {
		from := byNumber[p.Number].v
		v.info.Overhead += from.info.Overhead
		for _, c := range from.contents {
			v.contents = append(v.contents, c)
			r.Data, r.Need = append(r.Data, c.id), up.geometry.K
		}
	}
	var info object.Info
	err = s.within(ctx, "complete upload", ref, func(ctx context.Context, h *hold, b *bucket) error {
		if err := h.check(ctx, b, ref, in.Check); err != nil {
			return err
		}
		r.Version, r.Made = h.nextVersion(b)
		r.Value = v.encode()
		info = b.info(ref, &r, v)
		err := h.put(ctx, set, r, commitment{strict: true})
		info.Sequence = h.sequence()
		return err
	})
	return info, err
}

// completedBefore returns the current object if it was made by the same Complete.
func (s *Store) completedBefore(ctx context.Context, ref object.UploadRef, in object.CompleteInput, not error) (object.Info, error) {
	f, err := s.find(ctx, "complete upload", ref.Ref, nil)
	switch {
	case object.KindOf(err) == object.Unavailable:
		return object.Info{}, err // who asks again, since he did not hear of it, may still find out
	case err != nil:
		return object.Info{}, not //nolint:nilerror // there is no such upload, whatever else is the matter
	}
	v := f.v
	if v.uploadID != ref.ID || len(v.info.Parts) != len(in.Parts) {
		return object.Info{}, not // another object
	}
	have := make([]object.Part, len(in.Parts))
	for i, p := range v.info.Parts {
		have[i] = object.Part{Number: p.Number, Size: p.Size, ETag: in.Parts[i].ETag, Checksum: p.Checksum, Salt: p.Salt}
	}
	up := object.Upload{UploadRef: ref, Algorithm: v.info.Checksum.Algorithm, Type: v.info.Checksum.Type, Implied: true, Meta: v.info.Meta}
	if a, err := object.Assemble(up, have, in); err != nil || a.ETag != v.info.ETag {
		return object.Info{}, not //nolint:nilerror // other parts: not this Complete
	}
	return f.b.info(ref.Ref, f.r, v), nil
}

// endUpload removes an upload and its parts, also if who has asked for it goes away meanwhile: nobody could ask
// again.
func (s *Store) endUpload(ctx context.Context, h *hold, ref object.UploadRef) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTime)
	defer cancel()
	return s.removeUpload(ctx, h, ref)
}

// removeUpload removes an upload and its parts. What they contain stays if an object refers to it.
func (s *Store) removeUpload(ctx context.Context, h *hold, ref object.UploadRef) error {
	all, err := h.copies(ctx, register.Null, register.Token{})
	if err == nil {
		err = h.remove(ctx, all)
	}
	if err != nil {
		return err
	}
	for _, set := range h.sets() {
		if err := s.dropParts(ctx, h.epoch, set, ref); err != nil {
			s.cfg.Logger.Warn("parts of an upload that has ended are left", "bucket", ref.Bucket, "key", ref.Key, "upload", ref.ID, "error", err)
		}
	}
	return nil
}

// endTime is how long it may take to remove what is left of uploads that are no more, for whoever has asked for that and
// may have gone away.
const endTime = 2 * time.Minute

// endUploads removes the uploads of a bucket that is no more.
func (s *Store) endUploads(ctx context.Context, b *bucket) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTime)
	defer cancel()
	var all errgroup.Group
	all.SetLimit(atOnce)
	err := s.uploads(b, b.Record.Name, "").each(ctx, func(name string, _ *register.Record) (bool, error) {
		key, id := splitUpload(name)
		ref := object.UploadRef{Ref: object.Ref{Bucket: b.Record.Name, Key: key}, ID: id}
		all.Go(func() error {
			return s.holding(ctx, s.uploadPlace(b, ref), func(ctx context.Context, h *hold) error { return s.removeUpload(ctx, h, ref) })
		})
		return true, nil
	})
	return errors.Join(err, all.Wait())
}

// dropParts removes the parts of an upload that a set has.
func (s *Store) dropParts(ctx context.Context, epoch uint64, in *set, ref object.UploadRef) error {
	parts, _, err := s.parts(ctx, in, ref, 0, object.MaxPartNumber)
	number, _ := uploadNumber(ref.ID)
	gone := register.Record{Version: register.Null, Kind: register.Tombstone, Quorum: in.majority()}
	var all errgroup.Group
	all.SetLimit(atOnce)
	for i := range parts {
		all.Go(func() error {
			return s.holding(ctx, partPlace(epoch, in, ref, number, parts[i].Number), func(ctx context.Context, h *hold) error {
				return h.commit(ctx, in, gone, commitment{})
			})
		})
	}
	return errors.Join(err, all.Wait())
}

// AbortUpload implements object.Uploads.
func (s *Store) AbortUpload(ctx context.Context, ref object.UploadRef) error {
	const op = "abort upload"
	defer s.enter().leave()
	b, err := s.bucket(ctx, op, ref.Bucket)
	if err != nil {
		return err
	}
	if _, ok := uploadNumber(ref.ID); !ok {
		return noUpload(op, ref)
	}
	err = s.holding(ctx, s.uploadPlace(b, ref), func(ctx context.Context, h *hold) error {
		r, _, err := h.latest(ctx)
		if err != nil {
			return err
		}
		if r == nil {
			return noUpload(op, ref)
		}
		return s.endUpload(ctx, h, ref)
	})
	return fail(op, ref.Bucket+"/"+ref.Key, err)
}

// ListUploads implements object.Uploads.
func (s *Store) ListUploads(ctx context.Context, q object.UploadQuery) (object.UploadPage, error) {
	const op = "list uploads"
	defer s.enter().leave()
	b, err := s.bucket(ctx, op, q.Bucket)
	if err != nil {
		return object.UploadPage{}, err
	}
	var page object.UploadPage
	if q.Limit < 1 {
		return page, nil
	}
	err = s.uploads(b, q.Bucket, q.Prefix).from(ctx, q.AfterKey, func(name string, r *register.Record) (bool, error) {
		key, id := splitUpload(name)
		return s.addUpload(&page, q, object.UploadRef{Ref: object.Ref{Bucket: q.Bucket, Key: key}, ID: id}, r)
	})
	if err != nil {
		return object.UploadPage{}, fail(op, q.Bucket, err)
	}
	if !page.More {
		page.NextKey, page.NextID = "", ""
	}
	return page, nil
}

// uploads is the listing of the uploads of a bucket.
func (s *Store) uploads(b *bucket, bucket, prefix string) *listing {
	return &listing{s: s, sets: s.sets, q: register.ScanQuery{Space: register.Uploads, Bucket: b.ID, Prefix: prefix}, lockName: func(name string) string {
		_, id := splitUpload(name)
		return uploadLock(bucket, id)
	}, partition: func(name string) int {
		key, _ := splitUpload(name)
		return s.partition(key)
	}}
}

func splitUpload(name string) (key, id string) {
	i := strings.LastIndexByte(name, 0)
	return name[:max(i, 0)], name[i+1:]
}

// addUpload adds an upload to a page, or the common prefix that it is part of, and reports
// whether the page has room for more.
func (s *Store) addUpload(page *object.UploadPage, q object.UploadQuery, ref object.UploadRef, r *register.Record) (bool, error) {
	common := ""
	if q.Delimiter != "" {
		if i := strings.Index(ref.Key[len(q.Prefix):], q.Delimiter); i >= 0 {
			common = ref.Key[:len(q.Prefix)+i+len(q.Delimiter)]
		}
	}
	switch {
	case common != "" && (common <= q.AfterKey || slices.Contains(page.Prefixes, common)):
		return true, nil
	case common == "" && cmp.Or(cmp.Compare(ref.Key, q.AfterKey), afterID(q, ref.ID)) <= 0:
		return true, nil
	case len(page.Uploads)+len(page.Prefixes) == q.Limit:
		page.More = true
		return false, nil
	case common != "":
		page.Prefixes = append(page.Prefixes, common)
		page.NextKey, page.NextID = common, ""
		return true, nil
	}
	v, err := uploadOf("list uploads", ref, r)
	if err != nil {
		return false, err
	}
	page.Uploads = append(page.Uploads, v.upload)
	page.NextKey, page.NextID = ref.Key, ref.ID
	return true, nil
}

// afterID compares an upload with the marker, whose key it has.
func afterID(q object.UploadQuery, id string) int {
	if q.AfterID == "" {
		return -1
	}
	return cmp.Compare(id, q.AfterID)
}
