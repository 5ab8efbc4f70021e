package nasfs

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"strconv"

	"github.com/shoal-storage/shoal/internal/vfs"
)

// stamp names the content of a file: who changes the content changes it, and
// who renames or links the file, or changes its mode, does not.
type stamp struct {
	ino   uint64
	size  int64 // bytes
	mtime int64 // ns since 1970
}

func stampOf(st vfs.Stat) stamp {
	return stamp{ino: st.Ino, size: st.Size, mtime: fileNanos(st.Mtime)}
}

// name is the stamp as a file name.
func (s stamp) name() string {
	b := make([]byte, 0, 52)
	b = strconv.AppendUint(b, s.ino, 16)
	b = append(b, '-')
	b = strconv.AppendInt(b, s.size, 16)
	b = append(b, '-')
	return string(strconv.AppendInt(b, s.mtime, 16))
}

// bin is the directory, of 256, in which files named by stamps are kept.
func (s stamp) bin() uint8 {
	h := s.ino*0x9e3779b97f4a7c15 ^ uint64(s.mtime)*0xff51afd7ed558ccd //nolint:gosec // bits, not numbers
	return uint8(h >> 56)                                              //nolint:gosec // the top eight bits
}

// etagSum is the hash in the ETag of content that was not written through S3.
func (s stamp) etagSum(deployment string) [16]byte {
	b := make([]byte, 0, 96)
	b = append(b, "v1|"...)
	b = append(b, deployment...)
	b = append(b, '|')
	b = binary.BigEndian.AppendUint64(b, s.ino)
	b = binary.BigEndian.AppendUint64(b, uint64(s.size))  //nolint:gosec // bits
	b = binary.BigEndian.AppendUint64(b, uint64(s.mtime)) //nolint:gosec // bits
	sum := sha256.Sum256(b)
	return [16]byte(sum[:16])
}

// foreignETag is the ETag of content that was not written through S3. The dash
// keeps clients from taking it for an MD5, and "-0", being the number of no
// parts at all, from taking it for a multipart ETag.
func (s stamp) foreignETag(deployment string) string {
	sum := s.etagSum(deployment)
	return hex.EncodeToString(sum[:]) + "-0"
}
