// Package uuid makes the names of what must never be mistaken for another.
package uuid

import (
	"crypto/rand"
	"encoding/hex"
	"strings"
)

// New returns a random UUID (RFC 9562 section 5.4).
func New() string {
	var u [16]byte
	_, _ = rand.Read(u[:]) // crypto/rand never fails
	u[6], u[8] = u[6]&0x0f|0x40, u[8]&0x3f|0x80
	h := hex.EncodeToString(u[:])
	return strings.Join([]string{h[:8], h[8:12], h[12:16], h[16:20], h[20:]}, "-")
}
