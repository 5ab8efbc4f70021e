package sse

import (
	"crypto/cipher"
	"encoding/binary"
	"errors"
)

const (
	// chunkSize is how much content is encrypted at a time, in bytes. A range is
	// read in whole chunks.
	chunkSize = 64 << 10
	// tagSize is how much longer a chunk is when it is encrypted, in bytes.
	tagSize = 16

	sealedSize = chunkSize + tagSize
)

// ErrDamaged is returned for content that is not what was encrypted: it was
// changed, cut off or put together anew.
var ErrDamaged = errors.New("the content is not what was encrypted")

// chunksOf returns how many chunks a content of size bytes has. Even an empty one
// has a last chunk.
func chunksOf(size int64) int64 { return max((size+chunkSize-1)/chunkSize, 1) }

// held returns how many bytes a content of size bytes takes when it is encrypted.
func held(size int64) int64 { return size + tagSize*chunksOf(size) }

// stream encrypts the chunks of one content. Its key is used for nothing else, so
// the number of a chunk is its nonce. Which chunk is the last goes into the nonce as
// well: a content cannot be cut off behind any other
// (https://eprint.iacr.org/2015/189, STREAM).
type stream struct{ aead cipher.AEAD }

// content returns the stream of an object, or of the part with a salt.
func (k Key) content(salt string) stream { return stream{k.derive("content", salt).aead()} }

func nonce(index int64, last bool) []byte {
	var n [12]byte
	if last {
		n[0] = 1
	}
	binary.BigEndian.PutUint64(n[4:], uint64(index)) //nolint:gosec // never negative
	return n[:]
}

// seal appends the encrypted chunk to dst.
func (s stream) seal(dst, plain []byte, index int64, last bool) []byte {
	return s.aead.Seal(dst, nonce(index, last), plain, nil)
}

// open decrypts a chunk in place.
func (s stream) open(sealed []byte, index int64, last bool) ([]byte, error) {
	plain, err := s.aead.Open(sealed[:0], nonce(index, last), sealed, nil)
	if err != nil {
		return nil, ErrDamaged
	}
	return plain, nil
}
