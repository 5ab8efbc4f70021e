package sigv4

import (
	"crypto/hmac"
	"crypto/sha256"
	"strings"
	"testing"
)

func TestMacIsHMAC(t *testing.T) {
	for _, keySize := range []int{0, 1, 32, 63, 64, 65, 200} {
		for _, size := range []int{0, 1, 55, 56, 64, 300, 512, 513, 5000} {
			key, message := []byte(strings.Repeat("k", keySize)), []byte(strings.Repeat("m", size))
			h := hmac.New(sha256.New, key)
			h.Write(message)
			if got := mac(key, message); string(got[:]) != string(h.Sum(nil)) {
				t.Errorf("key of %d, message of %d bytes", keySize, size)
			}
		}
	}
}

func TestVerifierForgetsKeysAndStaysRight(t *testing.T) {
	var v Verifier
	for i := range 3 * maxKeys {
		v.remember(scopedSecret{date: strings.Repeat("x", i)}, Key{})
		if len(v.keys) > maxKeys {
			t.Fatalf("%d keys", len(v.keys))
		}
	}
}
