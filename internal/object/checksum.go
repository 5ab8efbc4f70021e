package object

import (
	"crypto/md5"  //nolint:gosec // S3 offers MD5 and SHA-1 as checksums; nothing here relies on them against an adversary.
	"crypto/sha1" //nolint:gosec // as above
	"crypto/sha256"
	"crypto/sha512"
	"hash"
	"hash/crc32"
	"strings"

	"github.com/cespare/xxhash/v2"
	"github.com/minio/crc64nvme"
	"github.com/zeebo/xxh3"
)

// Algorithm is a checksum algorithm of S3
// (https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html).
// Its values are stored in records and must not change.
type Algorithm uint8

// The algorithms.
const (
	NoAlgorithm Algorithm = 0
	CRC32       Algorithm = 1
	CRC32C      Algorithm = 2
	SHA1        Algorithm = 3
	SHA256      Algorithm = 4
	CRC64NVME   Algorithm = 5 // what S3 computes when the client names none
	MD5         Algorithm = 6
	SHA512      Algorithm = 7
	XXHash64    Algorithm = 8  // XXH64, seed 0
	XXHash3     Algorithm = 9  // XXH3 of 64 bits, seed 0
	XXHash128   Algorithm = 10 // XXH3 of 128 bits, seed 0
)

// Algorithms lists all algorithms but NoAlgorithm.
func Algorithms() []Algorithm {
	return []Algorithm{CRC32, CRC32C, SHA1, SHA256, CRC64NVME, MD5, SHA512, XXHash64, XXHash3, XXHash128}
}

// String returns the name that S3 uses, such as "CRC32C"; empty for NoAlgorithm and
// what a later version may know.
func (a Algorithm) String() string {
	switch a {
	case CRC32:
		return "CRC32"
	case CRC32C:
		return "CRC32C"
	case SHA1:
		return "SHA1"
	case SHA256:
		return "SHA256"
	case CRC64NVME:
		return "CRC64NVME"
	case MD5:
		return "MD5"
	case SHA512:
		return "SHA512"
	case XXHash64:
		return "XXHASH64"
	case XXHash3:
		return "XXHASH3"
	case XXHash128:
		return "XXHASH128"
	case NoAlgorithm:
	}
	return ""
}

// Size returns the length of a value in bytes.
func (a Algorithm) Size() int {
	switch a {
	case CRC32, CRC32C:
		return 4
	case CRC64NVME, XXHash64, XXHash3:
		return 8
	case MD5, XXHash128:
		return 16
	case SHA1:
		return sha1.Size
	case SHA256:
		return sha256.Size
	case SHA512:
		return sha512.Size
	case NoAlgorithm:
	}
	return 0
}

// NewHash returns a hash that computes the checksum, nil for NoAlgorithm. The bytes of
// its sum are in the order in which S3 encodes them: CRCs and XXHashes big-endian.
func (a Algorithm) NewHash() hash.Hash {
	switch a {
	case CRC32:
		return crc32.NewIEEE()
	case CRC32C:
		return crc32.New(crc32.MakeTable(crc32.Castagnoli))
	case CRC64NVME:
		return crc64nvme.New()
	case MD5:
		return md5.New() //nolint:gosec // as above
	case SHA1:
		return sha1.New() //nolint:gosec // as above
	case SHA256:
		return sha256.New()
	case SHA512:
		return sha512.New()
	case XXHash64:
		return xxhash.New()
	case XXHash3:
		return xxh3.New()
	case XXHash128:
		return xxh3.New128()
	case NoAlgorithm:
	}
	return nil
}

// ParseAlgorithm is the inverse of String, without regard to case.
func ParseAlgorithm(name string) (Algorithm, bool) {
	for _, a := range Algorithms() {
		if strings.EqualFold(name, a.String()) {
			return a, true
		}
	}
	return NoAlgorithm, false
}

// ChecksumType says what a checksum was computed over. Its values are stored
// in records and must not change.
type ChecksumType uint8

// The types.
const (
	FullObject ChecksumType = 0 // over the bytes of the object
	Composite  ChecksumType = 1 // over the checksums of the parts
)

// String returns the name that S3 uses.
func (t ChecksumType) String() string {
	if t == Composite {
		return "COMPOSITE"
	}
	return "FULL_OBJECT"
}

// Supports reports whether S3 offers the type for multipart objects with the
// algorithm: the CRCs can be combined to one over the object, the others cannot,
// and CRC64NVME is never composite.
func (a Algorithm) Supports(t ChecksumType) bool {
	switch a {
	case CRC32, CRC32C:
		return true
	case CRC64NVME:
		return t == FullObject
	case MD5, SHA1, SHA256, SHA512, XXHash64, XXHash3, XXHash128:
		return t == Composite
	case NoAlgorithm:
	}
	return false
}

// DefaultType is the type of a multipart upload that names none.
func (a Algorithm) DefaultType() ChecksumType {
	if a.Supports(Composite) {
		return Composite
	}
	return FullObject
}

// Checksum is one checksum of an object or part. Checksums can be compared
// with ==.
type Checksum struct {
	Algorithm Algorithm
	Type      ChecksumType
	Value     string // raw bytes
	Parts     int    // of a Composite: how many parts it covers
}

// IsZero reports whether there is no checksum.
func (c Checksum) IsZero() bool { return c.Algorithm == NoAlgorithm }

// composite returns the checksum over the values of the parts.
func composite(a Algorithm, values []string) Checksum {
	if !a.Supports(Composite) {
		return Checksum{}
	}
	h := a.NewHash()
	for _, v := range values {
		h.Write([]byte(v))
	}
	return Checksum{Algorithm: a, Type: Composite, Value: string(h.Sum(nil)), Parts: len(values)}
}

// crcPoly returns the reflected polynomial of a CRC and its width in bits, or
// a width of 0 for what is no CRC.
func crcPoly(a Algorithm) (poly uint64, width uint) {
	switch a {
	case CRC32:
		return crc32.IEEE, 32
	case CRC32C:
		return crc32.Castagnoli, 32
	case CRC64NVME:
		return 0x9a6c9329ac4bc9b5, 64
	case MD5, SHA1, SHA256, SHA512, XXHash64, XXHash3, XXHash128, NoAlgorithm:
	}
	return 0, 0
}

// Combine returns the checksum of the concatenation of two pieces of content
// from theirs, where second is size bytes long; ok is false for what is no CRC.
//
// All three CRCs begin and end with every bit inverted, so that, as zlib's
// crc32_combine has it, crc(A+B) is crc(A) times x^(8*len(B)) modulo the
// polynomial, plus crc(B).
func (a Algorithm) Combine(first, second string, size int64) (value string, ok bool) {
	poly, width := crcPoly(a)
	if width == 0 || len(first) != a.Size() || len(second) != a.Size() {
		return "", false
	}
	f := crcField{poly: poly, one: 1 << (width - 1)}
	sum := f.multiply(f.powerOfX(size), bigEndian(first)) ^ bigEndian(second)
	out := make([]byte, a.Size())
	for i := range out {
		out[len(out)-1-i] = byte(sum >> (8 * i))
	}
	return string(out), true
}

func bigEndian(s string) uint64 {
	var v uint64
	for i := range len(s) {
		v = v<<8 | uint64(s[i])
	}
	return v
}

// crcField does arithmetic on polynomials over GF(2) modulo a CRC's, in
// reflected order: the highest bit is the coefficient of x^0.
type crcField struct {
	poly, one uint64
}

func (f crcField) multiply(a, b uint64) uint64 {
	var product uint64
	for bit := f.one; bit != 0; bit >>= 1 {
		if a&bit != 0 {
			product ^= b
		}
		if b&1 != 0 {
			b = b>>1 ^ f.poly
		} else {
			b >>= 1
		}
	}
	return product
}

// powerOfX returns x^(8*size).
func (f crcField) powerOfX(size int64) uint64 {
	result, square := f.one, f.one>>8
	for ; size > 0; size >>= 1 {
		if size&1 != 0 {
			result = f.multiply(result, square)
		}
		square = f.multiply(square, square)
	}
	return result
}
