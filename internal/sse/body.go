package sse

import (
	"io"

	"github.com/shoal-storage/shoal/internal/object"
)

// Encrypt returns body encrypted under the key of an object, and for a part of an
// upload under a new salt too. Its Digest tells of the content, with the checksum
// masked. The ETag is masked unless plainETag is set: an MD5 would let everybody who
// sees it test what the content is.
func Encrypt(body object.Body, key Key, salt string, plainETag bool) object.Body {
	return &encrypted{body: body, key: key, salt: salt, plainETag: plainETag, stream: key.content(salt)}
}

// encrypted is a Body of encrypted content.
type encrypted struct {
	body      object.Body
	key       Key
	salt      string
	plainETag bool
	stream    stream

	plain  []byte // content that is not encrypted yet; one byte beyond a chunk shows that it is not the last
	filled int    // bytes of plain
	ended  bool   // body is at its end
	out    []byte // encrypted, for when a reader has no room for a chunk
	ready  []byte // of out, not given yet
	chunks int64  // that were encrypted
	err    error
}

// Size implements object.Body.
func (s *encrypted) Size() int64 {
	size := s.body.Size()
	if size < 0 {
		return -1
	}
	return held(size)
}

// ContentSize is what object.ContentSize asks for.
func (s *encrypted) ContentSize() int64 { return s.body.Size() }

// MostSize is what object.MostSize asks for.
func (s *encrypted) MostSize() int64 { return object.MostSize(s.body) }

// Digest implements object.Body.
func (s *encrypted) Digest() object.Digest {
	d := s.body.Digest()
	d.Overhead, d.Salt = tagSize*s.chunks, s.salt
	d.Checksum = s.key.maskChecksum(d.Checksum, s.salt)
	if !s.plainETag {
		copy(d.MD5[:], s.key.mask("ETag", s.salt, string(d.MD5[:])))
	}
	return d
}

// Read implements io.Reader. It encrypts straight into p if that has room for a
// chunk.
func (s *encrypted) Read(p []byte) (int, error) {
	if len(s.ready) > 0 {
		n := copy(p, s.ready)
		s.ready = s.ready[n:]
		return n, nil
	}
	if s.err != nil || len(p) == 0 {
		return 0, s.err
	}
	if s.err = s.fill(); s.err != nil {
		return 0, s.err
	}
	if s.ended && s.filled <= chunkSize {
		s.err = io.EOF // once this chunk, which is the last, has been given
	}
	chunk := s.plain[:min(s.filled, chunkSize)]
	last := s.err != nil
	if len(p) >= len(chunk)+tagSize {
		n := len(s.stream.seal(p[:0], chunk, s.chunks, last))
		s.taken(len(chunk))
		return n, nil
	}
	s.out = s.stream.seal(s.out[:0], chunk, s.chunks, last)
	s.taken(len(chunk))
	n := copy(p, s.out)
	s.ready = s.out[n:]
	return n, nil
}

// taken is called behind a chunk that was encrypted.
func (s *encrypted) taken(n int) {
	s.chunks++
	s.filled = copy(s.plain, s.plain[n:s.filled])
}

// fill reads until there is one byte more than a chunk, or the body ends.
func (s *encrypted) fill() error {
	if s.plain == nil {
		size := int64(chunkSize)
		if known := s.body.Size(); known >= 0 {
			size = min(size, known)
		}
		s.plain = make([]byte, size+1)
	}
	const idle = 100 // reads of nothing before it counts as an error, as in package bufio
	for empty := 0; s.filled <= chunkSize && !s.ended; {
		if s.filled == len(s.plain) { // there is more than the body said
			s.plain = append(s.plain, make([]byte, chunkSize+1-len(s.plain))...)
		}
		n, err := s.body.Read(s.plain[s.filled:])
		s.filled += n
		switch {
		case err == io.EOF: //nolint:errorlint // object.Body: on this and on nothing that wraps it
			s.ended = true
		case err != nil:
			return err
		case n > 0:
			empty = 0
		default:
			if empty++; empty == idle {
				return io.ErrNoProgress
			}
		}
	}
	return nil
}

// maskChecksum hides the value of a checksum, or shows it: the CRC of a short
// content tells the content.
func (k Key) maskChecksum(sum object.Checksum, salt string) object.Checksum {
	if !sum.IsZero() {
		sum.Value = k.mask(sum.Algorithm.String(), salt, sum.Value)
	}
	return sum
}
