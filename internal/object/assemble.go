package object

import (
	"cmp"
	"crypto/md5" //nolint:gosec // S3 defines the ETag by MD5.
	"encoding/hex"
	"fmt"
	"slices"
)

// Assembly is what completing an upload comes to.
type Assembly struct {
	Parts    []Part     // the parts to join, in order
	Infos    []PartInfo // what the object remembers of them
	Size     int64      // bytes
	ETag     string
	Checksum Checksum
}

// Assemble applies S3's rules for CompleteMultipartUpload to the stored parts,
// which are sorted by number, and the client's list of them. It is the one
// place for these rules, for every Store. Errors have the Kind InvalidPart,
// InvalidPartOrder, PartTooSmall, BadDigest or InvalidRequest.
//
// https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompleteMultipartUpload.html
func Assemble(up Upload, have []Part, in CompleteInput) (Assembly, error) {
	var a Assembly
	if in.Type != nil && *in.Type != up.Type {
		return a, E("complete", up.Key, InvalidRequest, fmt.Errorf(
			"the upload was created using the %s checksum mode. The complete request must use the same checksum mode", up.Type))
	}
	if len(in.Parts) == 0 || len(in.Parts) > MaxPartNumber {
		return a, E("complete", up.Key, InvalidRequest, fmt.Errorf("%d parts named", len(in.Parts)))
	}
	for i, want := range in.Parts {
		if i > 0 && want.Number <= in.Parts[i-1].Number {
			return a, E("complete", up.Key, InvalidPartOrder, fmt.Errorf("part %d after %d", want.Number, in.Parts[i-1].Number))
		}
	}
	for i, want := range in.Parts {
		part, err := choose(up, have, want)
		if err != nil {
			return Assembly{}, err
		}
		if part.Size < MinPartSize && i < len(in.Parts)-1 {
			return Assembly{}, E("complete", up.Key, PartTooSmall, &PartError{part.Number, part.ETag, part.Size, "too small"})
		}
		a.Parts = append(a.Parts, part)
		a.Infos = append(a.Infos, PartInfo{Number: part.Number, Size: part.Size, Checksum: part.Checksum, Salt: part.Salt})
		a.Size += part.Size
	}
	if a.Size > MaxObjectSize {
		return Assembly{}, E("complete", up.Key, TooLarge, fmt.Errorf("%d bytes", a.Size))
	}
	if in.Size >= 0 && in.Size != a.Size {
		return Assembly{}, E("complete", up.Key, InvalidRequest, fmt.Errorf(
			"the provided 'x-amz-mp-object-size' header value %d does not match what was computed: %d", in.Size, a.Size))
	}
	a.ETag = multipartETag(a.Parts)
	if up.Meta.Seal != "" {
		a.Checksum = in.Checksum
		return a, nil
	}
	var err error
	a.Checksum, err = joinChecksums(up, a.Parts, in.Checksum)
	if err != nil {
		return Assembly{}, err
	}
	return a, nil
}

// PartError says which part of an upload was refused, and why.
type PartError struct {
	Number  int
	ETag    string // as the client named it
	Size    int64  // bytes, where the part is there
	Problem string
}

func (e *PartError) Error() string { return fmt.Sprintf("part %d: %s", e.Number, e.Problem) }

// choose returns the stored part that the client named.
func choose(up Upload, have []Part, want CompletedPart) (Part, error) {
	i, found := slices.BinarySearchFunc(have, want.Number, func(p Part, n int) int { return cmp.Compare(p.Number, n) })
	if !found || have[i].ETag != want.ETag {
		return Part{}, E("complete", up.Key, InvalidPart, &PartError{Number: want.Number, ETag: want.ETag, Problem: "not there"})
	}
	return have[i], checkPart(up, have[i], want)
}

// checkPart holds the checksum that the client states for a part against the
// stored one. Where the client named no algorithm when it created the upload,
// each part may come with one of its own: that was verified when the part was
// stored, is not kept, and the ETag stands for it.
func checkPart(up Upload, part Part, want CompletedPart) error {
	stated := want.Checksum
	switch {
	case up.Meta.Seal != "":
	case stated.IsZero() && up.Type == Composite && !up.Implied:
		return E("complete", up.Key, InvalidRequest, fmt.Errorf(
			"the upload was created using a %s checksum. The complete request must include the checksum for each part. It was missing for part %d in the request",
			lowerName(up.Algorithm), want.Number))
	case stated.IsZero(), up.Implied && stated.Algorithm != up.Algorithm:
	case stated.Algorithm != up.Algorithm:
		return E("complete", up.Key, BadDigest, fmt.Errorf("the %s you specified for part %d did not match what we received", lowerName(stated.Algorithm), want.Number))
	case stated.Value != part.Checksum:
		return E("complete", up.Key, InvalidPart, &PartError{part.Number, part.ETag, part.Size, "another checksum"})
	}
	return nil
}

func lowerName(a Algorithm) string {
	name := []byte(a.String())
	for i, c := range name {
		if 'A' <= c && c <= 'Z' {
			name[i] = c + 'a' - 'A'
		}
	}
	return string(name)
}

// multipartETag is the MD5 of the parts' MD5s, and how many there are.
func multipartETag(parts []Part) string {
	h := md5.New() //nolint:gosec // as above
	for _, p := range parts {
		sum, err := hex.DecodeString(p.ETag)
		if err != nil {
			sum = []byte(p.ETag) // not ours; the ETag still changes when the part does
		}
		h.Write(sum)
	}
	return fmt.Sprintf("%x-%d", h.Sum(nil), len(parts))
}

// joinChecksums returns the object's checksum and compares it with what the
// client stated.
func joinChecksums(up Upload, parts []Part, stated Checksum) (Checksum, error) {
	values := make([]string, len(parts))
	for i, p := range parts {
		values[i] = p.Checksum
		if len(p.Checksum) != up.Algorithm.Size() {
			return Checksum{}, E("complete", up.Key, InvalidPart, fmt.Errorf("part %d has no %s checksum", p.Number, up.Algorithm))
		}
	}
	var sum Checksum
	if up.Type == Composite {
		sum = composite(up.Algorithm, values)
	} else {
		value := values[0]
		for i, p := range parts[1:] {
			joined, ok := up.Algorithm.Combine(value, values[i+1], p.Size)
			if !ok {
				return Checksum{}, E("complete", up.Key, InvalidRequest, fmt.Errorf("%s has no full object checksum", up.Algorithm))
			}
			value = joined
		}
		sum = Checksum{Algorithm: up.Algorithm, Type: FullObject, Value: value}
	}
	if stated.IsZero() {
		return sum, nil
	}
	if stated.Algorithm != sum.Algorithm || stated.Value != sum.Value || stated.Parts != 0 && stated.Parts != sum.Parts {
		return Checksum{}, E("complete", up.Key, BadDigest, fmt.Errorf("the %s you specified did not match the calculated checksum", stated.Algorithm))
	}
	return sum, nil
}
