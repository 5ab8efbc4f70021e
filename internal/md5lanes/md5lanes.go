// Package md5lanes computes the MD5 of several streams at a time in the lanes of one
// processor's vector registers, which costs little more than that of one.
package md5lanes

import (
	"crypto/md5" //nolint:gosec // S3 defines the ETag by MD5.
	"hash"
	"sync"

	"github.com/klauspost/cpuid/v2"
	md5simd "github.com/minio/md5-simd"
)

const (
	// fewest is how many streams there have to be at a time: for fewer it costs more to
	// hand their bytes over than lanes save.
	fewest = 4
	// most is how many lanes there are.
	most = 16
)

// Lanes hands out sums. The zero value is ready to use; its methods may be called at once
// by several goroutines. Close it when it is used no more.
type Lanes struct {
	mu     sync.Mutex
	open   int            // sums that are not closed
	server md5simd.Server // nil: none was needed yet
	made   int
	free   []md5simd.Hasher
	closed bool
}

// Close ends what computes, when the last lane has been given back. Sums that are opened
// after it get none.
func (l *Lanes) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	l.end()
}

// end ends the server if it is used no more. The caller holds mu.
func (l *Lanes) end() {
	if l.closed && l.server != nil && len(l.free) == l.made {
		l.server.Close()
		l.server, l.free, l.made = nil, nil, 0
	}
}

// Open returns the sum of a new stream. It has to be closed.
func (l *Lanes) Open() *Sum {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open++
	lane := l.lane()
	if lane == nil {
		return &Sum{from: l, hash: md5.New()} //nolint:gosec // as above
	}
	return &Sum{from: l, hash: lane, lane: lane}
}

// lane returns a lane that is free; nil if there is none, or if it would not pay. The
// caller holds mu.
func (l *Lanes) lane() md5simd.Hasher {
	if l.closed || l.open < fewest || !cpuid.CPU.Supports(cpuid.AVX2) {
		return nil
	}
	if n := len(l.free); n > 0 {
		lane := l.free[n-1]
		l.free = l.free[:n-1]
		return lane
	}
	if l.made == most {
		return nil
	}
	if l.server == nil {
		l.server = md5simd.NewServer()
	}
	l.made++
	return l.server.NewHash()
}

// Sum is the MD5 of one stream. Its methods may be called at once by several goroutines.
type Sum struct {
	from *Lanes

	mu   sync.Mutex
	hash hash.Hash      // nil: it was closed
	lane md5simd.Hasher // hash, if it is one
}

// Write adds bytes, unless the sum was closed. It returns no error.
func (s *Sum) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hash == nil {
		return len(p), nil
	}
	return s.hash.Write(p) //nolint:wrapcheck // there is none
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

// Close gives a lane back. It may be called again.
func (s *Sum) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hash == nil {
		return
	}
	s.hash = nil
	if s.lane != nil {
		s.lane.Reset()
	}
	s.from.mu.Lock()
	defer s.from.mu.Unlock()
	s.from.open--
	if s.lane != nil {
		s.from.free = append(s.from.free, s.lane)
		s.from.end()
	}
}
