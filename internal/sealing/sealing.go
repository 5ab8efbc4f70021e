// Package sealing encrypts under a password as MinIO's admin clients do: what they
// send and read, and the key of the records that hold secrets.
//
//	sealed   = salt[32] || algorithm[1] || nonce[8] || fragments
//	key      = Argon2id(password, salt, t=1, m=64 MiB, p=4), or PBKDF2-HMAC-SHA256 of 8192 rounds
//	nonce(i) = nonce || i as 32 bits, little-endian
//	tag      = the authentication tag of nothing under nonce(0)
//
// The content is cut into fragments of 16 KiB. The one of number i = 1, 2, ... is
// sealed under nonce(i) with the additional data flag || tag, where the flag is 0x80
// for the last fragment, which may be empty only if it is the only one, and 0 for
// the others. So none can be left out, repeated, or put elsewhere.
package sealing

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/chacha20poly1305"
	"golang.org/x/sys/cpu"
)

// The algorithms, as the byte after the salt names them.
const (
	argon2AES    = 0
	argon2ChaCha = 1
	pbkdf2AES    = 2
)

const (
	saltSize     = 32
	nonceSize    = 8
	headerSize   = saltSize + 1 + nonceSize
	fragmentSize = 16 << 10
	tagSize      = 16
	keySize      = 32

	argon2Time, argon2Memory, argon2Threads = 1, 64 << 10, 4 // memory in KiB
	pbkdf2Rounds                            = 8192
)

// Overhead is by how much n bytes grow when they are sealed.
func Overhead(n int) int { return headerSize + tagSize*max(1, (n+fragmentSize-1)/fragmentSize) }

// ErrOpen says that a password is not the right one, or that what was sealed is
// damaged.
var ErrOpen = errors.New("sealing: wrong password, or damaged")

// Sealer seals and opens. Deriving a key takes 64 MiB, so only so many do at the same
// time as it was made for; others wait. Its methods may be called concurrently.
type Sealer struct {
	turns chan struct{}
}

// New returns a Sealer that derives keys at the same time for up to n callers.
func New(n int) *Sealer { return &Sealer{turns: make(chan struct{}, n)} }

// Seal encrypts content under a password.
func (s *Sealer) Seal(password string, content []byte) ([]byte, error) {
	algorithm := byte(argon2ChaCha)
	if cpu.X86.HasAES || cpu.ARM64.HasAES {
		algorithm = argon2AES
	}
	return s.seal(algorithm, password, content)
}

func (s *Sealer) seal(algorithm byte, password string, content []byte) ([]byte, error) {
	out := make([]byte, headerSize, len(content)+Overhead(len(content)))
	rand.Read(out) //nolint:errcheck // it never fails, as crypto/rand promises
	out[saltSize] = algorithm
	f, err := s.fragments(password, out)
	if err != nil {
		return nil, err
	}
	for last := false; !last; {
		n := min(len(content), fragmentSize)
		last = n == len(content)
		out = f.aead.Seal(out, f.next(last), content[:n], f.bound[:])
		content = content[n:]
	}
	return out, nil
}

// Open decrypts what was sealed under a password. What is not of its form costs no
// derivation.
func (s *Sealer) Open(password string, sealed []byte) ([]byte, error) {
	if len(sealed) < headerSize+tagSize || sealed[saltSize] > pbkdf2AES {
		return nil, ErrOpen
	}
	f, err := s.fragments(password, sealed[:headerSize])
	if err != nil {
		return nil, err
	}
	rest := sealed[headerSize:]
	content := make([]byte, 0, len(rest))
	for last := false; !last; {
		n := min(len(rest), fragmentSize+tagSize)
		last = n == len(rest)
		if content, err = f.aead.Open(content, f.next(last), rest[:n], f.bound[:]); err != nil {
			return nil, ErrOpen
		}
		rest = rest[n:]
	}
	return content, nil
}

// fragments seals or opens one fragment after the other.
type fragments struct {
	aead  cipher.AEAD
	nonce [nonceSize + 4]byte
	bound [1 + tagSize]byte // additional data of the next one
	count uint32
}

// fragments begins with the header of what is sealed.
func (s *Sealer) fragments(password string, header []byte) (*fragments, error) {
	var f fragments
	var err error
	key, err := s.derive(header[saltSize], password, header[:saltSize])
	if err != nil {
		return nil, err
	}
	if header[saltSize] == argon2ChaCha {
		f.aead, err = chacha20poly1305.New(key)
	} else {
		f.aead, err = newGCM(key)
	}
	if err != nil {
		return nil, fmt.Errorf("sealing: make cipher: %w", err)
	}
	copy(f.nonce[:], header[saltSize+1:])
	f.aead.Seal(f.bound[:1], f.nonce[:], nil, nil)
	return &f, nil
}

// next returns the nonce of the next fragment and sets what it is bound to.
func (f *fragments) next(last bool) []byte {
	f.count++
	binary.LittleEndian.PutUint32(f.nonce[nonceSize:], f.count)
	f.bound[0] = 0
	if last {
		f.bound[0] = 0x80
	}
	return f.nonce[:]
}

func (s *Sealer) derive(algorithm byte, password string, salt []byte) ([]byte, error) {
	if algorithm == pbkdf2AES {
		key, err := pbkdf2.Key(sha256.New, password, salt, pbkdf2Rounds, keySize)
		if err != nil {
			return nil, fmt.Errorf("sealing: derive key: %w", err)
		}
		return key, nil
	}
	s.turns <- struct{}{}
	defer func() { <-s.turns }()
	return argon2.IDKey([]byte(password), salt, argon2Time, argon2Memory, argon2Threads, keySize), nil
}

func newGCM(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err //nolint:wrapcheck // wrapped by the caller
	}
	return cipher.NewGCM(block) //nolint:wrapcheck // wrapped by the caller
}
