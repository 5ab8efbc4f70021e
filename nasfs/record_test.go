package nasfs

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/shoal-storage/shoal/internal/lock"
	"github.com/shoal-storage/shoal/internal/object"
)

// records are records with every field in use, and with few.
func records() map[string]*record {
	return map[string]*record{
		"empty": {},
		"plain": {key: "a/b", stamp: stamp{1 << 60, 5 << 40, -1}, md5: []byte("0123456789abcdef"), modified: time.Unix(-1, 5).UTC()},
		"full": {
			key: "\xff\x00", stamp: stamp{1, 20, 3}, token: lock.Token{Generation: 1, Epoch: 2, Sequence: 3}, writer: "w", etag: "e-2",
			checksum: object.Checksum{Algorithm: object.SHA256, Type: object.Composite, Value: "sum", Parts: 2},
			parts:    []object.PartInfo{{Number: 1, Size: 5 << 30, Checksum: "x", Salt: "\x00\xff"}, {Number: 10000}},
			meta: object.Meta{
				ContentType: "1", ContentEncoding: "2", ContentDisposition: "3", ContentLanguage: "4", CacheControl: "5", Expires: "6",
				StorageClass: "7", WebsiteRedirect: "8", User: map[string]string{"a": "b", "": "", "c": strings.Repeat("x", 300)},
				Tags: []object.Tag{{Key: "k", Value: "v"}, {}}, Seal: "9",
			},
			modified: time.Unix(1<<33, 999).UTC(), uploadID: "u", implied: true, spilled: true, overhead: 20, salt: "\xff",
		},
	}
}

func TestARecordComesBackAsItWasWritten(t *testing.T) {
	for name, r := range records() {
		got, err := decodeRecord(r.encode())
		if err != nil || !reflect.DeepEqual(got, r) {
			t.Errorf("%s: got %+v, %v; want %+v", name, got, err, r)
		}
	}
}

func TestARecordOfMoreOverheadThanContentIsRefused(t *testing.T) {
	for _, overhead := range []int64{-1, 21} {
		r := &record{stamp: stamp{size: 20}, overhead: overhead}
		if _, err := decodeRecord(r.encode()); !errors.Is(err, errRecord) {
			t.Errorf("an overhead of %d bytes of 20: %v", overhead, err)
		}
	}
}

func TestADamagedRecordIsRefused(t *testing.T) {
	for name, r := range records() {
		whole := r.encode()
		for i := range whole {
			for bit := range 8 {
				b := append([]byte(nil), whole...)
				b[i] ^= 1 << bit
				if _, err := decodeRecord(b); !errors.Is(err, errRecord) {
					t.Fatalf("%s: with bit %d of byte %d turned: %v", name, bit, i, err)
				}
			}
			if _, err := decodeRecord(whole[:i]); !errors.Is(err, errRecord) {
				t.Fatalf("%s: the first %d bytes: %v", name, i, err)
			}
		}
	}
}

func TestAFieldOfALaterVersionIsSkipped(t *testing.T) {
	b := (&record{key: "k"}).encode()
	b = b[:len(b)-4]
	b = append(b, 0xf8, 0x3f, 0x01)                      // field 1023, a varint
	b = append(b, 0xfd, 0x3f, 1, 2, 3, 4)                // the same number, four bytes
	b = append(b, 0xfa, 0x3f, 2, 'h', 'i', 0x0a, 1, 'K') // bytes, and then a key again: the last one counts
	got, err := decodeRecord(seal(b))
	if err != nil || got.key != "K" {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestAChecksumOfAnAlgorithmOfALaterVersionIsNone(t *testing.T) {
	whole := record{key: "k", checksum: object.Checksum{Algorithm: 200, Type: object.Composite, Value: "later", Parts: 2}}
	got, err := decodeRecord(whole.encode())
	if err != nil || got.key != "k" || got.checksum != (object.Checksum{}) {
		t.Errorf("got %+v, %v", got, err)
	}
}

// FuzzRecord decodes what has the right version and checksum. What comes out
// must be written and read again as the same.
func FuzzRecord(f *testing.F) {
	for _, r := range records() {
		b := r.encode()
		f.Add(b[1 : len(b)-4])
	}
	f.Fuzz(func(t *testing.T, fields []byte) {
		if _, err := decodeRecord(fields); err == nil && len(fields) < 5 {
			t.Errorf("%d bytes are a record", len(fields))
		}
		r, err := decodeRecord(seal(append([]byte{recordVersion}, fields...)))
		if err != nil {
			if !errors.Is(err, errRecord) {
				t.Errorf("an error of another sort: %v", err)
			}
			return
		}
		again, err := decodeRecord(r.encode())
		if err != nil || !bytes.Equal(again.encode(), r.encode()) {
			t.Errorf("%+v came back as %+v, %v", r, again, err)
		}
	})
}
