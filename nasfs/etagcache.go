package nasfs

import (
	"encoding/hex"
	"strconv"
	"strings"
	"sync"

	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/vfs"
)

// etagShards is how many tables the cache is spread over.
const etagShards = 64

// etagCache remembers what a listing shows of objects and their stamps do not
// tell. An entry counts only while its stamp is the file's, and holds only
// what never changes of a stamp, so nothing need ever be taken out. That a file
// has no record can change, as by a copy in two passes: so such an entry counts
// only while the file's time of change is the same, too.
type etagCache struct {
	limit  int // entries of one shard
	shards [etagShards]etagShard
}

type etagShard struct {
	mu sync.RWMutex
	m  map[uint64]etagEntry // by inode
}

// etagEntry has no pointers, so that a large cache costs the garbage collector
// nothing.
type etagEntry struct {
	size, mtime int64
	overhead    int64 // bytes of the file that are none of the content
	modified    int64 // ns; of foreign content the file's time of change
	sum         [16]byte
	parts       int32 // -1: no suffix
	class       uint8 // index into storageClasses
	algorithm   object.Algorithm
	kind        object.ChecksumType
	foreign     bool
	version     version
}

// storageClasses are the classes that S3 names
// (https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html).
func storageClasses() [13]string {
	return [...]string{
		"", "STANDARD", "REDUCED_REDUNDANCY", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER",
		"DEEP_ARCHIVE", "OUTPOSTS", "GLACIER_IR", "SNOW", "EXPRESS_ONEZONE", "FSX_OPENZFS",
	}
}

func newETagCache(entries int) *etagCache {
	c := &etagCache{limit: (entries + etagShards - 1) / etagShards}
	for i := range c.shards {
		c.shards[i].m = make(map[uint64]etagEntry)
	}
	return c
}

func (c *etagCache) shard(ino uint64) *etagShard {
	return &c.shards[(ino*0x9e3779b97f4a7c15)>>58]
}

// put remembers what a record says, nil being that of foreign content. What
// has an ETag of no usual form is not remembered.
func (c *etagCache) put(file vfs.Stat, r *record) {
	if c.limit == 0 {
		return
	}
	st := stampOf(file)
	e := etagEntry{size: st.size, mtime: st.mtime, modified: file.Ctime.UnixNano(), foreign: r == nil, parts: -1}
	if r != nil && !e.describe(r) {
		return
	}
	s := c.shard(st.ino)
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.m[st.ino]; !ok && len(s.m) >= c.limit {
		for victim := range s.m { // in the map's own, random order
			delete(s.m, victim)
			break
		}
	}
	s.m[st.ino] = e
}

// describe takes over what a record says, and reports whether it could.
func (e *etagEntry) describe(r *record) bool {
	e.modified, e.algorithm, e.kind = r.modified.UnixNano(), r.checksum.Algorithm, r.checksum.Type
	e.version, e.overhead = r.version, r.overhead
	found := false
	for i, class := range storageClasses() {
		if class == r.meta.StorageClass {
			e.class, found = uint8(i), true //nolint:gosec // of a short list
		}
	}
	if r.etag == "" {
		return found && copy(e.sum[:], r.md5) == len(e.sum)
	}
	sum, parts, suffix := strings.Cut(r.etag, "-")
	if suffix {
		n, err := strconv.Atoi(parts)
		if err != nil || n < 0 || n > object.MaxPartNumber || strconv.Itoa(n) != parts {
			return false
		}
		e.parts = int32(n) //nolint:gosec // bounded
	}
	n, err := hex.Decode(e.sum[:], []byte(sum[:min(len(sum), 2*len(e.sum))]))
	return found && err == nil && n == len(e.sum) && len(sum) == 2*n && strings.ToLower(sum) == sum
}

// get returns what a listing shows of the file of a stamp, if it is known.
func (c *etagCache) get(ref object.Ref, file vfs.Stat, deployment string) (object.Info, bool) {
	st := stampOf(file)
	s := c.shard(st.ino)
	s.mu.RLock()
	e, ok := s.m[st.ino]
	s.mu.RUnlock()
	if !ok || e.size != st.size || e.mtime != st.mtime || e.foreign && e.modified != file.Ctime.UnixNano() {
		return object.Info{}, false
	}
	info := object.Info{Bucket: ref.Bucket, Key: ref.Key, Size: st.size - e.overhead, Overhead: e.overhead}
	if e.foreign {
		info.ETag, info.Modified = st.foreignETag(deployment), unixTime(st.mtime)
		return info, true
	}
	b := hex.AppendEncode(make([]byte, 0, 40), e.sum[:])
	if e.parts >= 0 {
		b = strconv.AppendInt(append(b, '-'), int64(e.parts), 10)
	}
	info.ETag, info.Modified = string(b), unixTime(e.modified)
	info.Meta.StorageClass = storageClasses()[e.class]
	info.Checksum = object.Checksum{Algorithm: e.algorithm, Type: e.kind}
	if !e.version.isZero() {
		info.Version = e.version.String()
	}
	return info, true
}
