package sealing

import (
	"bytes"
	"encoding/hex"
	"errors"
	"testing"
)

func TestWhatIsSealedOpensUnderItsPasswordOnly(t *testing.T) {
	s := New(2)
	for algorithm, sizes := range map[byte][]int{
		argon2AES: {40000}, argon2ChaCha: {40000},
		pbkdf2AES: {0, 1, fragmentSize - 1, fragmentSize, fragmentSize + 1, 40000},
	} {
		for _, size := range sizes {
			content := bytes.Repeat([]byte("x"), size)
			sealed, err := s.seal(algorithm, "password", content)
			if err != nil || len(sealed) != size+Overhead(size) {
				t.Fatalf("algorithm %d, %d bytes: sealed %d, %v", algorithm, size, len(sealed), err)
			}
			if got, err := s.Open("password", sealed); err != nil || !bytes.Equal(got, content) {
				t.Errorf("algorithm %d, %d bytes: %d bytes, %v", algorithm, size, len(got), err)
			}
			if got, err := s.Open("Password", sealed); !errors.Is(err, ErrOpen) || got != nil {
				t.Errorf("algorithm %d, %d bytes: opens under another password: %v", algorithm, size, err)
			}
		}
	}
}

func TestASealedDocumentHasTheLengthThatMinIOsHas(t *testing.T) {
	if got := 40000 + Overhead(40000); got != 40089 {
		t.Errorf("40000 bytes become %d", got)
	}
}

// TestAnyChangeIsNoticed changes bytes, cuts, repeats and swaps fragments.
func TestAnyChangeIsNoticed(t *testing.T) {
	s := New(1)
	sealed, err := s.seal(pbkdf2AES, "p", bytes.Repeat([]byte("0123456789abcdef"), 3<<10))
	if err != nil {
		t.Fatal(err)
	}
	const step = fragmentSize + tagSize
	first, second := sealed[headerSize:headerSize+step], sealed[headerSize+step:headerSize+2*step]
	header := sealed[:headerSize]
	for name, changed := range map[string][]byte{
		"cut to the header":        header,
		"cut after a fragment":     sealed[:headerSize+step],
		"cut within a fragment":    sealed[:len(sealed)-1],
		"longer":                   append(bytes.Clone(sealed), 0),
		"fragments swapped":        bytes.Join([][]byte{header, second, first, sealed[headerSize+2*step:]}, nil),
		"a fragment twice":         bytes.Join([][]byte{header, first, first, sealed[headerSize+2*step:]}, nil),
		"nothing":                  nil,
		"of an unknown algorithm":  append(append(bytes.Clone(sealed[:saltSize]), 3), sealed[saltSize+1:]...),
		"of another algorithm":     append(append(bytes.Clone(sealed[:saltSize]), argon2ChaCha), sealed[saltSize+1:]...),
		"another byte in the salt": append([]byte{sealed[0] ^ 1}, sealed[1:]...),
	} {
		if _, err := s.Open("p", changed); !errors.Is(err, ErrOpen) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// others returns a document of each algorithm that was sealed by an implementation of
// the description in another language.
func others(t testing.TB) (blobs [][]byte) {
	t.Helper()
	for _, digits := range []string{
		"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f00000000000000000073a559655326302363ff1c5c14346c6bc211868dd676b80d675663173f26afbcfaf27d8c",
		"0708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425260101010101010101013de3963cb7e087033b9b8a761fb57f3b0176f59c4b6abcadf94974ae4616df02ae1b525f",
		"0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d0202020202020202022d3f539311445cd25c5e23e29929117fe4b40c57b6cb82e11daed673bb27d108414166f4",
	} {
		blob, err := hex.DecodeString(digits)
		if err != nil {
			t.Fatal(err)
		}
		blobs = append(blobs, blob)
	}
	return blobs
}

func TestWhatOthersHaveSealedOpens(t *testing.T) {
	for algorithm, blob := range others(t) {
		if got, err := New(1).Open("the secret", blob); err != nil || string(got) != `{"status":"enabled"}` {
			t.Errorf("algorithm %d: %q, %v", algorithm, got, err)
		}
	}
}

func FuzzOpen(f *testing.F) {
	s, sealed := New(1), others(f)[pbkdf2AES]
	f.Add(sealed)
	f.Add(sealed[:headerSize])
	f.Fuzz(func(t *testing.T, blob []byte) {
		if len(blob) > saltSize && blob[saltSize] < pbkdf2AES {
			return // these differ in what they cost only
		}
		if content, err := s.Open("the secret", blob); err == nil && !bytes.Equal(blob, sealed) {
			t.Errorf("opened %d bytes that were not sealed", len(content))
		}
	})
}
