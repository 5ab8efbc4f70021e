// Package sse encrypts objects on their way into a Store and decrypts them on their
// way out: keys and what they are kept as, chunks, and the arithmetic of ranges. It
// does no I/O but through the bodies and handles that it is given. See DESIGN.md.
package sse

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
)

// KeySize is the size of every key, in bytes.
const KeySize = 32

// Key is a key of AES-256: of an object, of a customer, or a master key. It never
// encrypts itself; what does is derived from it.
type Key [KeySize]byte

// WrappedSize is the size of what Wrap returns, in bytes.
const WrappedSize = saltSize + KeySize + tagSize

// saltSize is the size of what makes derived keys different, in bytes.
const saltSize = 16

// NewKey returns a random key.
func NewKey() Key {
	var k Key
	_, _ = rand.Read(k[:]) // never fails, as package rand promises
	return k
}

// NewSalt returns what a part is to be encrypted with beside the key of its upload:
// a part may be uploaded again, with other content.
func NewSalt() string {
	var salt [saltSize]byte
	_, _ = rand.Read(salt[:]) // as above
	return string(salt[:])
}

// derive returns the key for one purpose.
func (k Key) derive(purpose, salt string) Key {
	mac := hmac.New(sha256.New, k[:])
	mac.Write([]byte(purpose))
	mac.Write([]byte{0})
	mac.Write([]byte(salt))
	return Key(mac.Sum(nil))
}

// aead returns the cipher of a key that was derived.
func (k Key) aead() cipher.AEAD {
	block, err := aes.NewCipher(k[:])
	if err != nil {
		panic(err) // the size is right
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		panic(err) // a block of AES is what it takes
	}
	return gcm
}

// ErrWrongKey is returned where a key is not the one that something was wrapped
// under, or what was wrapped has been changed.
var ErrWrongKey = errors.New("the key does not fit")

// Wrap returns a key encrypted under another. Unwrap needs the same context, which
// is not in the result.
func (k Key) Wrap(key Key, context []byte) []byte {
	salt := NewSalt()
	gcm := k.derive("wrap", salt).aead()
	// The key that encrypts is new each time, so the nonce need not be.
	return gcm.Seal([]byte(salt), make([]byte, gcm.NonceSize()), key[:], context)
}

// Unwrap is the inverse of Wrap. It fails with ErrWrongKey.
func (k Key) Unwrap(wrapped, context []byte) (Key, error) {
	if len(wrapped) < saltSize {
		return Key{}, ErrWrongKey
	}
	gcm := k.derive("wrap", string(wrapped[:saltSize])).aead()
	key, err := gcm.Open(nil, make([]byte, gcm.NonceSize()), wrapped[saltSize:], context)
	if err != nil || len(key) != KeySize {
		return Key{}, ErrWrongKey
	}
	return Key(key), nil
}

// mask hides a value of at most twice KeySize bytes, or shows one that is hidden: it
// combines the two by exclusive or with what only the key gives. For each key,
// salt and name there must be only one value.
func (k Key) mask(name, salt, value string) string {
	pad := k.derive("mask of "+name, salt)
	masked := exclusiveOr(value[:min(len(value), KeySize)], pad)
	if len(value) > KeySize {
		masked += exclusiveOr(value[KeySize:], k.derive("mask of the rest of "+name, salt))
	}
	return masked
}

// exclusiveOr combines a value with as much of the pad.
func exclusiveOr(value string, pad Key) string {
	if len(value) > len(pad) {
		panic(fmt.Sprintf("%d bytes and a pad of %d", len(value), len(pad))) // there is no such checksum
	}
	combined := []byte(value)
	for i := range combined {
		combined[i] ^= pad[i]
	}
	return string(combined)
}
