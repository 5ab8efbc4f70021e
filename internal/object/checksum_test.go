package object_test

import (
	"hash"
	"hash/crc32"
	"math/rand/v2"
	"testing"

	"github.com/minio/crc64nvme"

	"github.com/shoal-storage/shoal/internal/object"
)

func crcHash(a object.Algorithm) hash.Hash {
	switch a {
	case object.CRC32:
		return crc32.NewIEEE()
	case object.CRC32C:
		return crc32.New(crc32.MakeTable(crc32.Castagnoli))
	default:
		return crc64nvme.New()
	}
}

func sum(a object.Algorithm, content []byte) string {
	h := crcHash(a)
	h.Write(content)
	return string(h.Sum(nil))
}

func TestCombineIsTheChecksumOfTheConcatenation(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	for _, a := range []object.Algorithm{object.CRC32, object.CRC32C, object.CRC64NVME} {
		for range 200 {
			content := make([]byte, rng.IntN(5000))
			for i := range content {
				content[i] = byte(rng.Uint32())
			}
			cut := rng.IntN(len(content) + 1)
			first, second := content[:cut], content[cut:]
			got, ok := a.Combine(sum(a, first), sum(a, second), int64(len(second)))
			if want := sum(a, content); !ok || got != want {
				t.Fatalf("%v: %d+%d bytes: got %x, %v; want %x", a, len(first), len(second), got, ok, want)
			}
		}
	}
}

func TestCombineRefusesWhatIsNoCRC(t *testing.T) {
	if _, ok := object.SHA256.Combine(string(make([]byte, 32)), string(make([]byte, 32)), 1); ok {
		t.Error("SHA256 was combined")
	}
	if _, ok := object.CRC32.Combine("abc", "abcd", 1); ok {
		t.Error("a value of the wrong length was combined")
	}
}

func TestAlgorithmNamesRoundTrip(t *testing.T) {
	for _, a := range object.Algorithms() {
		if got, ok := object.ParseAlgorithm(a.String()); !ok || got != a {
			t.Errorf("%v parses as %v, %v", a, got, ok)
		}
		if !a.Supports(a.DefaultType()) {
			t.Errorf("%v does not support its default type", a)
		}
	}
}
