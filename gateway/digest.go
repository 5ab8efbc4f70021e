package gateway

import (
	"crypto/md5"  //nolint:gosec // S3 defines the ETag by MD5.
	"crypto/sha1" //nolint:gosec // one of S3's checksums
	"crypto/sha256"
	"hash"
	"hash/crc32"
	"io"

	"github.com/minio/crc64nvme"

	"github.com/shoal-storage/shoal/internal/object"
)

// newHash returns a hash of the algorithm, nil for none.
func newHash(a object.Algorithm) hash.Hash {
	switch a {
	case object.CRC32:
		return crc32.NewIEEE()
	case object.CRC32C:
		return crc32.New(crc32.MakeTable(crc32.Castagnoli))
	case object.CRC64NVME:
		return crc64nvme.New()
	case object.SHA1:
		return sha1.New() //nolint:gosec // as above
	case object.SHA256:
		return sha256.New()
	case object.NoAlgorithm:
	}
	return nil
}

// summer computes what a Body has to tell of its bytes.
type summer struct {
	size      int64
	algorithm object.Algorithm
	md5       md5Sum    // nil: not wanted
	sum       hash.Hash // nil: not wanted
}

// md5Sum computes an MD5: crypto/md5, or internal/md5lanes.
type md5Sum interface {
	io.Writer
	Sum(b []byte) []byte
}

func newSummer(a object.Algorithm) summer {
	return summer{algorithm: a, md5: md5.New(), sum: newHash(a)} //nolint:gosec // as above
}

func (s *summer) write(p []byte) {
	if len(p) == 0 {
		return
	}
	s.size += int64(len(p))
	if s.md5 != nil {
		_, _ = s.md5.Write(p) // a hash does not fail
	}
	if s.sum != nil {
		s.sum.Write(p)
	}
}

func (s *summer) digest() object.Digest {
	var d object.Digest
	if s.md5 != nil {
		s.md5.Sum(d.MD5[:0])
	}
	if s.sum != nil {
		d.Checksum = object.Checksum{Algorithm: s.algorithm, Type: object.FullObject, Value: string(s.sum.Sum(nil))}
	}
	return d
}
