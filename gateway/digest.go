package gateway

import (
	"crypto/md5" //nolint:gosec // S3 defines the ETag by MD5.
	"hash"
	"io"

	"github.com/shoal-storage/shoal/internal/object"
)

// summer computes what a Body has to tell of its bytes.
type summer struct {
	size      int64
	algorithm object.Algorithm
	md5       md5Sum    // nil: not wanted
	sum       hash.Hash // nil: not wanted, or md5 is the checksum too
}

// md5Sum computes an MD5: crypto/md5, or internal/md5lanes.
type md5Sum interface {
	io.Writer
	Sum(b []byte) []byte
}

func newSummer(a object.Algorithm) summer {
	return summer{algorithm: a, md5: md5.New(), sum: hashBesideMD5(a)} //nolint:gosec // as above
}

// hashBesideMD5 returns a hash of the algorithm where an MD5 is computed already, nil if
// that is all that is needed.
func hashBesideMD5(a object.Algorithm) hash.Hash {
	if a == object.MD5 {
		return nil
	}
	return a.NewHash()
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
	switch {
	case s.sum != nil:
		d.Checksum = object.Checksum{Algorithm: s.algorithm, Type: object.FullObject, Value: string(s.sum.Sum(nil))}
	case s.algorithm == object.MD5:
		d.Checksum = object.Checksum{Algorithm: object.MD5, Type: object.FullObject, Value: string(d.MD5[:])}
	}
	return d
}
