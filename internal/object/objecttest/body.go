package objecttest

import (
	"bytes"
	"crypto/md5" //nolint:gosec // S3 defines the ETag by MD5.
	"hash"
	"io"

	"github.com/shoal-storage/shoal/internal/object"
)

// body is an object.Body over any reader.
type body struct {
	source    io.Reader
	size      int64
	algorithm object.Algorithm
	md5, sum  hash.Hash
}

// NewBody returns a Body of content whose Digest has a checksum of the
// algorithm.
func NewBody(content []byte, a object.Algorithm) object.Body {
	return bodyFrom(bytes.NewReader(content), int64(len(content)), a)
}

// bodyFrom returns a Body that declares size, -1 for unknown, and reads source.
func bodyFrom(source io.Reader, size int64, a object.Algorithm) object.Body {
	return &body{source: source, size: size, algorithm: a, md5: md5.New(), sum: a.NewHash()} //nolint:gosec // as above
}

func (b *body) Size() int64 { return b.size }

func (b *body) Read(p []byte) (int, error) {
	n, err := b.source.Read(p)
	b.md5.Write(p[:n])
	if b.sum != nil {
		b.sum.Write(p[:n])
	}
	return n, err
}

func (b *body) Digest() object.Digest {
	var d object.Digest
	b.md5.Sum(d.MD5[:0])
	if b.sum != nil {
		d.Checksum = object.Checksum{Algorithm: b.algorithm, Type: object.FullObject, Value: string(b.sum.Sum(nil))}
	}
	return d
}

// digestOf returns the digest of content.
func digestOf(content []byte, a object.Algorithm) object.Digest {
	b := NewBody(content, a)
	_, _ = io.Copy(io.Discard, b) // a bytes.Reader does not fail
	return b.Digest()
}

// failing gives content, and then an error in place of io.EOF.
type failing struct {
	content io.Reader
	err     error
	before  func() // called before the error, or nil
}

func (f *failing) Read(p []byte) (int, error) {
	n, err := f.content.Read(p)
	if err == nil {
		return n, nil
	}
	if f.before != nil {
		f.before()
	}
	return n, f.err
}

// pattern returns size bytes that differ with seed and from place to place.
func pattern(seed, size int) []byte {
	b := make([]byte, size)
	x := uint32(seed)*2654435761 + 1
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = byte(x >> 24)
	}
	return b
}
