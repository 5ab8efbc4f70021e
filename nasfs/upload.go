package nasfs

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"

	"github.com/shoal-storage/shoal/internal/lock"
	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/vfs"
)

// uploadFile is the file, in an upload's directory, that describes the upload.
// What has none is no upload, or not yet.
const uploadFile = "upload"

// uploadIndex is what the uploads of the tree are, as long as this process
// alone makes and ends them; in a fleet it is empty, and the tree is asked.
type uploadIndex struct {
	mu       sync.Mutex
	byBucket map[string]map[string]*upload // bucket, upload ID
}

// upload is one upload in progress.
type upload struct {
	object.Upload
	parts map[int]string // file that this process stored a part in
}

func (x *uploadIndex) get(ref object.UploadRef) (*upload, bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	up, ok := x.byBucket[ref.Bucket][ref.ID]
	return up, ok && up.Key == ref.Key
}

func (x *uploadIndex) add(up object.Upload) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.byBucket == nil {
		x.byBucket = make(map[string]map[string]*upload)
	}
	if x.byBucket[up.Bucket] == nil {
		x.byBucket[up.Bucket] = make(map[string]*upload)
	}
	x.byBucket[up.Bucket][up.ID] = &upload{Upload: up, parts: make(map[int]string)}
}

func (x *uploadIndex) remove(ref object.UploadRef) {
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.byBucket[ref.Bucket], ref.ID)
}

// removeBucket removes a bucket's uploads.
func (x *uploadIndex) removeBucket(bucket string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.byBucket, bucket)
}

// sorted returns a bucket's uploads by key, time and ID.
func (x *uploadIndex) sorted(bucket string) []object.Upload {
	x.mu.Lock()
	defer x.mu.Unlock()
	list := make([]object.Upload, 0, len(x.byBucket[bucket]))
	for _, up := range x.byBucket[bucket] {
		list = append(list, up.Upload)
	}
	slices.SortFunc(list, compareUploads)
	return list
}

func compareUploads(x, y object.Upload) int {
	return cmp.Or(strings.Compare(x.Key, y.Key), x.Initiated.Compare(y.Initiated), strings.Compare(x.ID, y.ID))
}

// replacePart notes the file that a part is stored in now, and returns the one
// that it was stored in before, as far as that is known.
func (x *uploadIndex) replacePart(ref object.UploadRef, number int, name string) (before string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if up := x.byBucket[ref.Bucket][ref.ID]; up != nil {
		before, up.parts[number] = up.parts[number], name
	}
	return before
}

func uploadPath(ref object.UploadRef) string { return uploadsDir + "/" + ref.Bucket + "/" + ref.ID }

func uploadName(ref object.UploadRef) string { return ref.Bucket + "/" + ref.Key }

// CreateUpload implements object.Uploads.
func (s *Store) CreateUpload(ctx context.Context, up object.Upload) (object.Upload, error) {
	const op = "create upload"
	up.ID, up.Initiated, up.Meta = rand.Text(), s.cfg.Now().UTC(), up.Meta.Clone()
	// The upload's own lock keeps a sweep away until its file is there.
	h, err := s.lockNames(ctx, up.Bucket, uploadLock(up.Bucket, up.ID))
	if err != nil {
		return object.Upload{}, fail(op, uploadName(up.UploadRef), err)
	}
	if err := s.locked(ctx, h, func() error { return s.createUpload(up) }, nil); err != nil {
		return object.Upload{}, fail(op, uploadName(up.UploadRef), err)
	}
	up.Meta = up.Meta.Clone()
	return up, nil
}

func (s *Store) createUpload(up object.Upload) error {
	if err := s.bucketThere(up.Bucket); err != nil {
		return err
	}
	path := uploadPath(up.UploadRef)
	err := s.makeUploadDir(up.UploadRef)
	if err == nil {
		err = s.syncParent(path)
	}
	if err == nil {
		rec := record{
			key: up.Key, modified: up.Initiated, meta: up.Meta, uploadID: up.ID, implied: up.Implied, writer: s.locker.Session().ID(),
			checksum: object.Checksum{Algorithm: up.Algorithm, Type: up.Type},
		}
		err = s.publishFile(path, uploadFile, rec.encode())
	}
	if err != nil && !isUnknown(err) {
		_ = s.throwUpload(up.UploadRef) // without its file it is no upload anyway
		return err
	}
	if !s.fleet {
		s.uploads.add(up)
	}
	return err
}

// makeUploadDir makes an upload's directory, and that of the bucket's uploads.
func (s *Store) makeUploadDir(ref object.UploadRef) error {
	bucket := uploadsDir + "/" + ref.Bucket
	if !s.unsettled(bucket) {
		err := ownName(s.root.Mkdir(uploadPath(ref), systemMode))
		if err == nil {
			return s.awaitMade(bucket)
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := s.makeOwnDir(bucket); err != nil {
		return err
	}
	return ownName(s.root.Mkdir(uploadPath(ref), systemMode))
}

// loadUploads reads all uploads of the tree. Those that became objects, and
// what never became an upload are thrown away.
func (s *Store) loadUploads() error {
	buckets, err := readDir(s.root, uploadsDir)
	if err != nil {
		return err
	}
	for _, b := range buckets {
		done := s.loadBucketUploads
		if !isBucketName(b.Name) {
			done = func(bucket string) error { return s.throwAway(uploadsDir, bucket) }
		}
		if err := done(b.Name); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) loadBucketUploads(bucket string) error {
	path := uploadsDir + "/" + bucket
	dir, err := s.root.OpenDir(path)
	if err != nil {
		return err
	}
	defer closeDir(dir)
	entries, err := dir.ReadDir()
	if err != nil {
		return err
	}
	for _, e := range entries {
		up, there, err := readUpload(dir, bucket, e.Name)
		if err != nil {
			return err
		}
		if !there || s.becameObject(up.UploadRef) {
			if err := s.throwAway(path, e.Name); err != nil {
				return err
			}
			continue
		}
		s.uploads.add(up)
	}
	return nil
}

// readUpload reads what an upload is, from the directory of its bucket's
// uploads. It is not there where its file is missing, or no record.
func readUpload(dir vfs.Dir, bucket, id string) (up object.Upload, there bool, err error) {
	b, err := readFile(dir, id+"/"+uploadFile, maxRecord)
	switch {
	case isAbsent(err), errors.Is(err, errRecord):
		return up, false, nil
	case err != nil:
		return up, false, err
	}
	rec, err := decodeRecord(b)
	if err != nil {
		return up, false, nil //nolint:nilerror // as if it were missing
	}
	return object.Upload{
		UploadRef: object.UploadRef{Ref: object.Ref{Bucket: bucket, Key: rec.key}, ID: id},
		Initiated: rec.modified, Meta: rec.meta,
		Algorithm: rec.checksum.Algorithm, Type: rec.checksum.Type, Implied: rec.implied,
	}, true, nil
}

// becameObject reports whether an upload is an object already: the process
// that completed it did not come to ending it. Where its key cannot be looked
// at, as below a mount, it goes on: one key must not keep all others from being
// served.
func (s *Store) becameObject(ref object.UploadRef) bool {
	o, err := s.openObject(ref.Ref)
	if err != nil {
		if !errors.Is(err, errNoKey) && kindOf(err) != object.AccessDenied {
			s.log.Warn("an upload is kept, as its key cannot be looked at", "bucket", ref.Bucket, "key", ref.Key, "upload", ref.ID, "error", err)
		}
		return false
	}
	closeFile(o.file)
	return o.rec != nil && o.rec.uploadID == ref.ID
}

// StatUpload implements object.Uploads.
func (s *Store) StatUpload(ctx context.Context, ref object.UploadRef) (object.Upload, error) {
	up, err := s.lookUpload(ctx, ref)
	if err != nil {
		return object.Upload{}, fail("stat upload", uploadName(ref), err)
	}
	up.Meta = up.Meta.Clone()
	return up, nil
}

// lookUpload returns an upload in progress, in a phase of its own if it has to
// look on disk.
func (s *Store) lookUpload(ctx context.Context, ref object.UploadRef) (object.Upload, error) {
	if err := ctx.Err(); err != nil {
		return object.Upload{}, err
	}
	if !s.fleet {
		if known, ok := s.uploads.get(ref); ok {
			return known.Upload, nil
		}
	}
	var up object.Upload
	err := s.phase(ctx, s.calls, func() (err error) {
		up, err = s.findUpload(ref)
		return err
	}, nil)
	if err != nil {
		return object.Upload{}, err
	}
	return up, nil
}

// findUpload returns an upload in progress, or NoSuchUpload, or NoSuchBucket
// where that is why.
func (s *Store) findUpload(ref object.UploadRef) (object.Upload, error) {
	if !s.fleet {
		if up, ok := s.uploads.get(ref); ok {
			return up.Upload, nil
		}
		return object.Upload{}, s.noUpload(ref)
	}
	if !isUploadID(ref.ID) {
		return object.Upload{}, s.noUpload(ref)
	}
	return retryStale(func() (object.Upload, error) {
		dir, err := s.root.OpenDir(uploadsDir + "/" + ref.Bucket)
		if isAbsent(err) {
			return object.Upload{}, s.noUpload(ref)
		}
		if err != nil {
			return object.Upload{}, err
		}
		defer closeDir(dir)
		up, there, err := readUpload(dir, ref.Bucket, ref.ID)
		if err == nil && (!there || up.Key != ref.Key) {
			err = s.noUpload(ref)
		}
		return up, err
	})
}

// noUpload says why there is no upload.
func (s *Store) noUpload(ref object.UploadRef) error {
	if err := s.bucketThere(ref.Bucket); err != nil {
		return err
	}
	return errNoUpload(ref)
}

// isUploadID reports whether CreateUpload could have made an ID, which is the
// name of a directory.
func isUploadID(id string) bool {
	return len(id) == len(rand.Text()) && strings.Trim(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") == ""
}

// AbortUpload implements object.Uploads.
func (s *Store) AbortUpload(ctx context.Context, ref object.UploadRef) error {
	const op = "abort upload"
	// Not the bucket: a Complete that has the upload locked waits for that, and
	// behind a DeleteBucket that waits for us it would never get it.
	lease, err := s.locker.Acquire(ctx, lock.Exclusive, uploadLock(ref.Bucket, ref.ID))
	if err != nil {
		return fail(op, uploadName(ref), err)
	}
	return fail(op, uploadName(ref), s.locked(ctx, held{names: lease}, func() error { return s.endUpload(ref) }, nil))
}

// endUpload ends an upload, under its lock.
func (s *Store) endUpload(ref object.UploadRef) error {
	if _, err := s.findUpload(ref); err != nil {
		return err
	}
	if s.fleet {
		return s.takeUpload(ref)
	}
	err := s.throwAway(uploadsDir+"/"+ref.Bucket, ref.ID)
	if errors.Is(err, fs.ErrNotExist) && !isUnknown(err) {
		err = errNoUpload(ref) // somebody removed it from the tree
	}
	if err == nil || isUnknown(err) || errors.Is(err, object.NoSuchUpload) {
		s.uploads.remove(ref)
	}
	return err
}

// dropUploads ends all uploads of a bucket that is gone.
func (s *Store) dropUploads(bucket string) error {
	if s.fleet {
		return s.takeUploads(bucket)
	}
	s.uploads.removeBucket(bucket)
	err := s.throwAway(uploadsDir, bucket)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// errNoUpload says that an upload is not, or no longer, in progress.
func errNoUpload(ref object.UploadRef) error {
	return object.E("find upload", fmt.Sprintf("%s of %s/%s", ref.ID, ref.Bucket, ref.Key), object.NoSuchUpload, nil)
}

// PutPart implements object.Uploads.
func (s *Store) PutPart(ctx context.Context, ref object.UploadRef, number int, body object.Body) (object.Part, error) {
	const op = "put part"
	if _, err := s.lookUpload(ctx, ref); err != nil {
		return object.Part{}, fail(op, uploadName(ref), err)
	}
	st, err := s.stage(ctx, &staged{}, body, func(d object.Digest) record {
		return record{
			key: ref.Key, uploadID: ref.ID, md5: d.MD5[:], checksum: d.Checksum, overhead: d.Overhead, salt: d.Salt, modified: s.cfg.Now().UTC(),
		}
	})
	if err != nil {
		return object.Part{}, fail(op, uploadName(ref), err)
	}
	h, err := s.lockPart(ctx, ref, number)
	if err != nil {
		s.discard(ctx, st)
		return object.Part{}, fail(op, uploadName(ref), err)
	}
	token := s.token(h.names)
	err = s.locked(ctx, h, func() error {
		err := s.raise()
		if err == nil {
			err = s.putPart(ref, number, token, st)
		}
		if err != nil {
			s.remove(st)
		}
		return err
	}, nil)
	if errors.Is(err, errNotStarted) {
		s.discard(ctx, st)
	}
	if err != nil {
		return object.Part{}, fail(op, uploadName(ref), err)
	}
	return partOf(number, st.stat, &st.rec), nil
}

// lockPart takes a shared lease on the upload and an exclusive one on the part.
func (s *Store) lockPart(ctx context.Context, ref object.UploadRef, number int) (h held, err error) {
	if h.bucket, err = s.locker.Acquire(ctx, lock.Shared, uploadLock(ref.Bucket, ref.ID)); err != nil {
		return held{}, err
	}
	if h.names, err = s.locker.Acquire(ctx, lock.Exclusive, partLock(ref.Bucket, ref.ID, number)); err != nil {
		h.bucket.Release()
		return held{}, err
	}
	return h, nil
}

// putPart publishes a part under a name that says which of several is the
// latest; one that this process knows to be older is removed.
func (s *Store) putPart(ref object.UploadRef, number int, token lock.Token, st *staged) error {
	if _, err := s.findUpload(ref); err != nil {
		return err
	}
	dir, err := s.root.OpenDir(uploadPath(ref))
	if errors.Is(err, fs.ErrNotExist) {
		return errNoUpload(ref)
	}
	if err != nil {
		return err
	}
	defer closeDir(dir)
	name := partFile(number, token)
	if err := s.move(st, dir, name, false, vfs.Stat{}); err != nil {
		return err
	}
	if err := s.syncDir(dir); err != nil {
		return unknown{err}
	}
	if before := s.uploads.replacePart(ref, number, name); before != "" {
		s.nowOrLater("replaced part", func() error { return s.removePart(ref, before) })
	}
	return nil
}

// removePart removes a part's file that was replaced.
func (s *Store) removePart(ref object.UploadRef, name string) error {
	dir, err := s.root.OpenDir(uploadPath(ref))
	if isAbsent(err) {
		return nil // the upload has ended, and its files with it
	}
	if err != nil {
		return err
	}
	defer closeDir(dir)
	return removeFile(dir, name, s.forget)
}

// partFile returns the name of a part's file.
func partFile(number int, token lock.Token) string {
	return fmt.Sprintf("part.%05d.%x", number, token.Append(nil))
}

// parsePartFile is the inverse of partFile, of which token is left in hex.
func parsePartFile(name string) (number int, token string, ok bool) {
	rest, found := strings.CutPrefix(name, "part.")
	if !found || len(rest) != 5+1+2*lock.TokenSize || rest[5] != '.' {
		return 0, "", false
	}
	for i := range 5 {
		if rest[i] < '0' || rest[i] > '9' {
			return 0, "", false
		}
		number = 10*number + int(rest[i]-'0')
	}
	if strings.Trim(rest[6:], hexDigits) != "" || number < 1 || number > object.MaxPartNumber {
		return 0, "", false
	}
	return number, rest[6:], true
}

// partFiles returns the files of the parts by number: of several of one number
// the one with the highest token.
func (s *Store) partFiles(ref object.UploadRef) (vfs.Dir, map[int]string, error) {
	dir, err := s.root.OpenDir(uploadPath(ref))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, errNoUpload(ref)
	}
	if err != nil {
		return nil, nil, err
	}
	entries, err := dir.ReadDir()
	if err != nil {
		closeDir(dir)
		return nil, nil, err
	}
	files := make(map[int]string, len(entries))
	for _, e := range entries {
		// Names of one number differ in the token, whose bytes sort as it does.
		if number, _, ok := parsePartFile(e.Name); ok && e.Name > files[number] {
			files[number] = e.Name
		}
	}
	return dir, files, nil
}

// loadPart returns what is known of a part; not ok for a file that somebody
// else made, changed, or has just removed.
func (s *Store) loadPart(dir vfs.Dir, number int, name string) (part object.Part, ok bool, err error) {
	f, err := dir.Open(name)
	if err != nil {
		if isAbsent(err) {
			err = nil
		}
		return part, false, err
	}
	defer closeFile(f)
	st, err := f.Stat()
	if err != nil || !st.Mode.IsRegular() {
		return part, false, err
	}
	rec, _, err := s.loadRecord(f, stampOf(st))
	if err != nil || rec == nil {
		return part, false, err
	}
	return partOf(number, st, rec), true, nil
}

func partOf(number int, st vfs.Stat, rec *record) object.Part {
	return object.Part{
		Number: number, Size: st.Size - rec.overhead, ETag: rec.etagOf(), Modified: rec.modified, Checksum: rec.checksum.Value, Salt: rec.salt,
	}
}

// ListParts implements object.Uploads.
func (s *Store) ListParts(ctx context.Context, ref object.UploadRef, after, limit int) (_ []object.Part, _ bool, err error) {
	if _, err := s.lookUpload(ctx, ref); err != nil {
		return nil, false, fail("list parts", uploadName(ref), err)
	}
	var parts []object.Part
	var more bool
	err = s.phase(ctx, s.calls, func() (err error) {
		parts, more, err = s.listParts(ctx, ref, after, limit)
		return err
	}, nil)
	if err != nil {
		return nil, false, fail("list parts", uploadName(ref), err)
	}
	return parts, more, nil
}

// listParts is ListParts within a phase.
func (s *Store) listParts(ctx context.Context, ref object.UploadRef, after, limit int) (parts []object.Part, more bool, err error) {
	dir, files, err := s.partFiles(ref)
	if err != nil {
		return nil, false, err
	}
	defer closeDir(dir)
	numbers := make([]int, 0, len(files))
	for n := range files {
		if n > after {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	for _, n := range numbers {
		if err := ctx.Err(); err != nil {
			return nil, false, err
		}
		part, ok, err := s.loadPart(dir, n, files[n])
		if err != nil {
			return nil, false, err
		}
		if !ok {
			continue
		}
		if len(parts) >= limit {
			return parts, true, nil
		}
		parts = append(parts, part)
	}
	return parts, false, nil
}

// ListUploads implements object.Uploads.
func (s *Store) ListUploads(ctx context.Context, q object.UploadQuery) (object.UploadPage, error) {
	var list []object.Upload
	err := s.phase(ctx, s.calls, func() (err error) {
		if err = s.bucketThere(q.Bucket); err == nil && s.fleet {
			list, err = retryStale(func() ([]object.Upload, error) { return s.readUploads(ctx, q.Bucket) })
		}
		return err
	}, nil)
	if err != nil {
		return object.UploadPage{}, fail("list uploads", q.Bucket, err)
	}
	if !s.fleet {
		list = s.uploads.sorted(q.Bucket)
	}
	return pageOfUploads(list, q), nil
}

// pageOfUploads selects a page of sorted uploads.
func pageOfUploads(list []object.Upload, q object.UploadQuery) object.UploadPage {
	var page object.UploadPage
	// If the upload to go on behind has ended meanwhile, the others of its key
	// are shown again rather than left out.
	passed := q.AfterID == "" || !slices.ContainsFunc(list, func(up object.Upload) bool { return up.Key == q.AfterKey && up.ID == q.AfterID })
	last := ""
	for _, up := range list {
		rest, found := strings.CutPrefix(up.Key, q.Prefix)
		if !found {
			continue
		}
		if i := strings.Index(rest, q.Delimiter); q.Delimiter != "" && i >= 0 {
			common := up.Key[:len(q.Prefix)+i+len(q.Delimiter)]
			if common <= q.AfterKey || common == last {
				continue
			}
			if len(page.Uploads)+len(page.Prefixes) == q.Limit {
				page.More = true
				return page
			}
			last, page.NextKey, page.NextID = common, common, ""
			page.Prefixes = append(page.Prefixes, common)
			continue
		}
		if up.Key < q.AfterKey || up.Key == q.AfterKey && !passed {
			passed = passed || up.Key == q.AfterKey && up.ID == q.AfterID
			continue
		}
		if up.Key == q.AfterKey && q.AfterID == "" {
			continue
		}
		if len(page.Uploads)+len(page.Prefixes) == q.Limit {
			page.More = true
			return page
		}
		page.NextKey, page.NextID = up.Key, up.ID
		up.Meta = up.Meta.Clone()
		page.Uploads = append(page.Uploads, up)
	}
	page.NextKey, page.NextID = "", ""
	return page
}
