package object_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/shoal-storage/shoal/internal/object"
)

// known is what an algorithm makes of known contents, in hexadecimal: computed by the
// reference library of xxHash (its canonical representations), Python's hashlib, and
// the CRCs bit by bit.
type known struct {
	algorithm object.Algorithm
	number    uint8 // in records
	digits    string
	long      string // of longContent
	composite string // of the two parts "hello" and "123456789"; "" where there is none
	joins     bool   // there is one over the object
}

// longContent is as long as the hashes' fast paths take.
func longContent() []byte {
	b := make([]byte, 100_000)
	for i := range b {
		b[i] = byte(i*i>>8 ^ i)
	}
	return b
}

func knownChecksums() []known {
	return []known{
		{object.CRC32, 1, "cbf43926", "0dea2069", "7fb514d0", true},
		{object.CRC32C, 2, "e3069283", "f9a9627d", "afc4122f", true},
		{object.SHA1, 3, "f7c3bc1d808e04732adf679965ccc34ca7ae3441", "6ebe79fac19c07865e7f22c4eaeaa4e93266a9ba", "4cc068a4badc07b88b83a2f59b4321c2efd87e8a", false},
		{
			object.SHA256, 4, "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225",
			"b85542ab856501f8103305a886137726cb7794c17f38a50a43713eb69e95719a", "02e8deeee80c8020379eb94a228172d688cb5b9c3f336af08f13a18d7dac6844", false,
		},
		{object.CRC64NVME, 5, "ae8b14860a799888", "77a4c77bae928938", "", true},
		{object.MD5, 6, "25f9e794323b453885f5181f1b624d0b", "3882cb353abc27b9343ddef9cff0700c", "d75120dbfaf21625bb604e625a344629", false},
		{
			object.SHA512, 7, "d9e6762dd1c8eaf6d61b3c6192fc408d4d6d5f1176d0c29169bc24e71c3f274ad27fcd5811b313d681f7e55ec02d73d499c95455b6b5bb503acf574fba8ffe85",
			"0a48c29d3ed5cb20fe6361787e198488269a245385613c70958039318a5bbc6931c09258678a9141b96167267b0a1e25aa672dda8be9ec1ad2ef1400ee5f1179",
			"0984b74dd351b06a55898c03d2b228f8de5b1e4c078dcbc72a20e1e0210f9b16a226a9562285089d3bd40f3990afb99d85eb6f00ec3d63549d7847d8f1158540", false,
		},
		{object.XXHash64, 8, "8cb841db40e6ae83", "a0e99dc2b10b269e", "2176b0e6c6ca10a0", false},
		{object.XXHash3, 9, "72dcb18b67a17dff", "1c86c2d43eb94f61", "23acefa64965ee5b", false},
		{object.XXHash128, 10, "33119477ede5dcd5e9716427681d5860", "31f05b3d0ac9c81b1c86c2d43eb94f61", "cb571d25e3b7374e420c26d3fcaadfac", false},
	}
}

func TestEveryAlgorithmIsKnown(t *testing.T) {
	if got, want := len(object.Algorithms()), len(knownChecksums()); got != want {
		t.Errorf("%d algorithms, of which %d are tested", got, want)
	}
	for i, k := range knownChecksums() {
		if object.Algorithms()[i] != k.algorithm || uint8(k.algorithm) != k.number {
			t.Errorf("%v is algorithm %d, and stands in records as %d", k.algorithm, object.Algorithms()[i], k.number)
		}
	}
}

func TestChecksumsAreThoseOfTheReference(t *testing.T) {
	long := longContent()
	for _, k := range knownChecksums() {
		if got := fmt.Sprintf("%x", sum(k.algorithm, []byte("123456789"))); got != k.digits {
			t.Errorf("%v of 123456789 is %s, want %s", k.algorithm, got, k.digits)
		}
		for _, piece := range []int{1, 63, 1024, 1025, 70_001, len(long)} {
			h := k.algorithm.NewHash()
			for rest := long; len(rest) > 0; rest = rest[min(piece, len(rest)):] {
				h.Write(rest[:min(piece, len(rest))])
			}
			if got := fmt.Sprintf("%x", h.Sum(nil)); got != k.long || h.Size() != k.algorithm.Size() {
				t.Errorf("%v of what comes in pieces of %d bytes is %s, %d bytes; want %s, %d", k.algorithm, piece, got, h.Size(), k.long, k.algorithm.Size())
			}
		}
	}
	if object.NoAlgorithm.NewHash() != nil {
		t.Error("there is a hash of no algorithm")
	}
}

// Only CRCs can be joined to one over the object, and CRC64NVME only so
// (https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity-upload.html).
func TestTypesOfChecksumsAreThoseOfS3(t *testing.T) {
	for _, k := range knownChecksums() {
		composes := k.composite != ""
		if k.algorithm.Supports(object.FullObject) != k.joins || k.algorithm.Supports(object.Composite) != composes {
			t.Errorf("%v: over the object %v, over the parts %v", k.algorithm, k.algorithm.Supports(object.FullObject), k.algorithm.Supports(object.Composite))
		}
		if got := k.algorithm.DefaultType(); (got == object.Composite) != composes {
			t.Errorf("%v: an upload that names no type has %v", k.algorithm, got)
		}
	}
}

func TestACompositeChecksumIsThatOfTheChecksumsOfTheParts(t *testing.T) {
	for _, k := range knownChecksums() {
		if k.composite == "" {
			continue
		}
		var in object.CompleteInput
		var parts []object.Part
		for i, content := range []string{"hello", "123456789"} {
			p := object.Part{Number: i + 1, Size: object.MinPartSize, ETag: content, Checksum: sum(k.algorithm, []byte(content))}
			parts = append(parts, p)
			in.Parts = append(in.Parts, object.CompletedPart{Number: p.Number, ETag: p.ETag, Checksum: object.Checksum{Algorithm: k.algorithm, Value: p.Checksum}})
		}
		in.Size = -1
		got, err := object.Assemble(object.Upload{Algorithm: k.algorithm, Type: object.Composite}, parts, in)
		if err != nil || fmt.Sprintf("%x", got.Checksum.Value) != k.composite || got.Checksum.Parts != 2 {
			t.Errorf("%v: %x of %d parts, %v, want %s", k.algorithm, got.Checksum.Value, got.Checksum.Parts, err, k.composite)
		}
	}
}

func sum(a object.Algorithm, content []byte) string {
	h := a.NewHash()
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
