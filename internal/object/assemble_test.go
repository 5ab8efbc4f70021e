package object_test

import (
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"testing"

	"github.com/shoal-storage/shoal/internal/object"
)

// stored returns a part of content that repeats c.
func stored(number int, size int, c byte, a object.Algorithm) (object.Part, []byte) {
	content := make([]byte, size)
	for i := range content {
		content[i] = c
	}
	return object.Part{
		Number: number, Size: int64(size), ETag: fmt.Sprintf("%x", md5.Sum(content)), Checksum: sum(a, content),
	}, content
}

func named(parts ...object.Part) []object.CompletedPart {
	var list []object.CompletedPart
	for _, p := range parts {
		list = append(list, object.CompletedPart{Number: p.Number, ETag: p.ETag})
	}
	return list
}

func TestAssembleJoinsSizeETagAndChecksum(t *testing.T) {
	p1, c1 := stored(2, object.MinPartSize, 'a', object.CRC64NVME)
	p2, c2 := stored(7, 10, 'b', object.CRC64NVME)
	up := object.Upload{Algorithm: object.CRC64NVME, Type: object.FullObject, Implied: true}
	got, err := object.Assemble(up, []object.Part{p1, p2}, object.CompleteInput{Parts: named(p1, p2), Size: -1})
	if err != nil {
		t.Fatal(err)
	}
	var md5s []byte
	for _, p := range []object.Part{p1, p2} {
		b, _ := hex.DecodeString(p.ETag)
		md5s = append(md5s, b...)
	}
	if want := fmt.Sprintf("%x-2", md5.Sum(md5s)); got.ETag != want {
		t.Errorf("ETag %s, want %s", got.ETag, want)
	}
	if got.Size != p1.Size+p2.Size {
		t.Errorf("size %d", got.Size)
	}
	want := object.Checksum{Algorithm: object.CRC64NVME, Type: object.FullObject, Value: sum(object.CRC64NVME, append(c1, c2...))}
	if got.Checksum != want {
		t.Errorf("checksum %+v, want %+v", got.Checksum, want)
	}
}

func TestAssembleRefuses(t *testing.T) {
	full := object.Upload{Algorithm: object.CRC32, Type: object.FullObject}
	comp := object.Upload{Algorithm: object.CRC32, Type: object.Composite}
	p1, _ := stored(1, object.MinPartSize, 'a', object.CRC32)
	p2, _ := stored(2, 10, 'b', object.CRC32)
	p3, _ := stored(3, 10, 'c', object.CRC32)
	have := []object.Part{p1, p2, p3}
	wrongSum := named(p1)
	wrongSum[0].Checksum = object.Checksum{Algorithm: object.CRC32, Value: "0000"}
	otherSum := named(p1)
	otherSum[0].Checksum = object.Checksum{Algorithm: object.SHA1, Value: "0000"}
	composite := object.Composite
	otherTag := named(p1)
	otherTag[0].ETag = p2.ETag
	for _, tt := range []struct {
		name string
		up   object.Upload
		in   object.CompleteInput
		want object.Kind
	}{
		{"no parts", full, object.CompleteInput{Size: -1}, object.InvalidRequest},
		{"descending parts", full, object.CompleteInput{Parts: named(p2, p1), Size: -1}, object.InvalidPartOrder},
		{"a part twice", full, object.CompleteInput{Parts: named(p1, p1), Size: -1}, object.InvalidPartOrder},
		{"a part that is not there", full, object.CompleteInput{Parts: []object.CompletedPart{{Number: 9, ETag: p1.ETag}}, Size: -1}, object.InvalidPart},
		{"another ETag", full, object.CompleteInput{Parts: otherTag, Size: -1}, object.InvalidPart},
		{"another part checksum", full, object.CompleteInput{Parts: wrongSum, Size: -1}, object.InvalidPart},
		{"a part checksum of another algorithm", full, object.CompleteInput{Parts: otherSum, Size: -1}, object.BadDigest},
		{"another checksum type", full, object.CompleteInput{Parts: named(p1, p2), Size: -1, Type: &composite}, object.InvalidRequest},
		{"a small part that is not the last", full, object.CompleteInput{Parts: named(p1, p2, p3), Size: -1}, object.PartTooSmall},
		{"another total size", full, object.CompleteInput{Parts: named(p1, p2), Size: 5}, object.InvalidRequest},
		{"another object checksum", full, object.CompleteInput{Parts: named(p1, p2), Size: -1, Checksum: object.Checksum{Algorithm: object.CRC32, Value: "0000"}}, object.BadDigest},
		{"a composite upload without part checksums", comp, object.CompleteInput{Parts: named(p1, p2), Size: -1}, object.InvalidRequest},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := object.Assemble(tt.up, have, tt.in); !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
}

func TestPartsOfAnUploadWithoutAlgorithmMayStateAnyChecksum(t *testing.T) {
	p, _ := stored(1, 10, 'a', object.CRC64NVME)
	in := object.CompleteInput{Size: -1, Parts: named(p)}
	in.Parts[0].Checksum = object.Checksum{Algorithm: object.CRC32, Value: "0000"}
	up := object.Upload{Algorithm: object.CRC64NVME, Type: object.FullObject}
	if _, err := object.Assemble(up, []object.Part{p}, in); !errors.Is(err, object.BadDigest) {
		t.Errorf("where the algorithm was named: %v", err)
	}
	up.Implied = true
	if _, err := object.Assemble(up, []object.Part{p}, in); err != nil {
		t.Errorf("where none was: %v", err)
	}
	in.Parts[0].Checksum = object.Checksum{Algorithm: object.CRC64NVME, Value: "00000000"}
	if _, err := object.Assemble(up, []object.Part{p}, in); !errors.Is(err, object.InvalidPart) {
		t.Errorf("a wrong one of our own algorithm: %v", err)
	}
}

func TestErrorShowsKindAndCauseToErrorsIs(t *testing.T) {
	cause := errors.New("disk on fire")
	err := fmt.Errorf("handler: %w", object.E("put", "b/k", object.Full, cause))
	if !errors.Is(err, object.Full) || !errors.Is(err, cause) || errors.Is(err, object.NoSuchKey) {
		t.Errorf("%v", err)
	}
	if object.KindOf(err) != object.Full || object.KindOf(cause) != object.Internal {
		t.Errorf("kinds %v, %v", object.KindOf(err), object.KindOf(cause))
	}
}

func TestMatchETag(t *testing.T) {
	for _, tt := range []struct {
		list, etag string
		want       bool
	}{
		{`"abc"`, "abc", true},
		{`abc`, "abc", true},
		{`W/"abc"`, "abc", true},
		{`*`, "abc", true},
		{`"x", "abc"`, "abc", true},
		{`"x"`, "abc", false},
		{``, "abc", false},
	} {
		if got := object.MatchETag(tt.list, tt.etag); got != tt.want {
			t.Errorf("MatchETag(%q, %q) = %v", tt.list, tt.etag, got)
		}
	}
}
