package erasure

import (
	"testing"

	"github.com/shoal-storage/shoal/internal/object"
)

func TestChecksumsOfEveryAlgorithmAreKept(t *testing.T) {
	for _, a := range object.Algorithms() {
		for _, typ := range []object.ChecksumType{object.FullObject, object.Composite} {
			sum := object.Checksum{Algorithm: a, Type: typ, Value: string(make([]byte, a.Size())), Parts: int(typ)}
			v := value{info: object.Info{Checksum: sum}, upload: object.Upload{Algorithm: a, Type: typ}}
			got, err := decodeValue(v.encode())
			if err != nil || got.info.Checksum != sum || got.upload.Algorithm != a || got.upload.Type != typ {
				t.Errorf("%v: got %+v, %v", a, got, err)
			}
		}
	}
}

func TestAChecksumOfAnAlgorithmOfALaterVersionIsNone(t *testing.T) {
	for _, later := range []object.Algorithm{11, 255} {
		v := value{info: object.Info{ETag: "etag", Checksum: object.Checksum{Algorithm: later, Type: object.Composite, Value: "later", Parts: 2}}}
		got, err := decodeValue(v.encode())
		if err != nil || got.info.ETag != "etag" || got.info.Checksum != (object.Checksum{}) {
			t.Errorf("%d: got %+v, %v", later, got, err)
		}
	}
}
