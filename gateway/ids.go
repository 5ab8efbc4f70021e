package gateway

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"strings"
	"sync/atomic"
)

// requestIDs makes request IDs: 16 upper-case hex digits, as S3's are, that
// begin at a random place and go up by one.
type requestIDs struct {
	last atomic.Uint64
}

func newRequestIDs() (*requestIDs, error) {
	var seed [8]byte
	if _, err := rand.Read(seed[:]); err != nil {
		return nil, fmt.Errorf("seed request ids: %w", err)
	}
	ids := &requestIDs{}
	for _, b := range seed {
		ids.last.Store(ids.last.Load()<<8 | uint64(b))
	}
	return ids, nil
}

func (ids *requestIDs) next() string {
	n := ids.last.Add(1)
	var raw [8]byte
	for i := range raw {
		raw[i] = byte(n >> (56 - 8*i))
	}
	return strings.ToUpper(hex.EncodeToString(raw[:]))
}
