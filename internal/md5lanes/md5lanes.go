// Package md5lanes computes the MD5 of several streams, of up to three at a time on one
// processor, which costs little more than that of one.
package md5lanes

import (
	"crypto/md5" //nolint:gosec // S3 defines the ETag by MD5.
	"hash"
	"sync"
	"sync/atomic"
)

// least is from how many bytes on it pays to look for other streams.
const least = 4 << 10

// Lanes has those streams meet that are under way at the same time. The zero value is ready
// to use; its methods may be called at once by several goroutines.
type Lanes struct {
	open atomic.Int64 // sums that are not closed
	combiners
}

// Open returns the sum of a new stream. It has to be closed.
func (l *Lanes) Open() *Sum {
	l.open.Add(1)
	return &Sum{from: l, hash: md5.New(), job: newJob()} //nolint:gosec // as above
}

// Sum is the MD5 of one stream. Its methods may be called at once by several goroutines.
type Sum struct {
	from *Lanes

	mu     sync.Mutex
	hash   hash.Hash // nil: it was closed
	length int       // bytes written
	job    job       // what it has the combiners do
}

// Write adds bytes, unless the sum was closed. It returns no error.
func (s *Sum) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hash == nil {
		return len(p), nil
	}
	begun := -s.length & (md5.BlockSize - 1) // missing of a block
	whole := (len(p) - begun) &^ (md5.BlockSize - 1)
	s.length += len(p)
	if len(p) < least || s.from.open.Load() == 1 {
		return s.hash.Write(p) //nolint:wrapcheck // there is none
	}
	s.hash.Write(p[:begun])
	s.from.sum(s, p[begun:begun+whole])
	s.hash.Write(p[begun+whole:])
	return len(p), nil
}

// Sum appends the MD5 of what was written; nothing, if the sum was closed.
func (s *Sum) Sum(b []byte) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hash == nil {
		return b
	}
	return s.hash.Sum(b)
}

// Close ends the stream. It may be called again.
func (s *Sum) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hash == nil {
		return
	}
	s.hash = nil
	s.from.open.Add(-1)
}
