package gateway

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/shoal-storage/shoal/internal/object"
)

const checksumHeader = "x-amz-checksum-"

// headerOf returns the header that carries a checksum of the algorithm.
func headerOf(a object.Algorithm) string {
	return checksumHeader + strings.ToLower(a.String())
}

// algorithmOf returns the algorithm whose checksum a header carries, NoAlgorithm for any
// other header.
func algorithmOf(header []byte) object.Algorithm {
	if !hasPrefixFold(header, checksumHeader) {
		return object.NoAlgorithm
	}
	a, _ := object.ParseAlgorithm(string(header[len(checksumHeader):]))
	return a
}

// isChecksumHeader reports whether a header with that prefix is one that is
// known: a checksum's, or one that says how checksums are to be taken.
func isChecksumHeader(name string) bool {
	switch rest := name[len(checksumHeader):]; rest {
	case "algorithm", "mode", "type":
		return true
	default:
		_, ok := object.ParseAlgorithm(rest)
		return ok
	}
}

// declared is what a request says about the checksum of its content.
type declared struct {
	algorithm object.Algorithm
	value     string // raw, or ""
	parts     int    // the N of "value-N", or 0
	trailer   string // the trailer that will bring the value, or ""
}

// declaredChecksum reads the checksum headers of a request: at most one
// x-amz-checksum-<algorithm>, or one announced by x-amz-trailer, and perhaps
// x-amz-sdk-checksum-algorithm, which must agree.
func declaredChecksum(r *request) (declared, error) {
	var d declared
	for name := range r.ctx.Request.Header.All() { // counted before it is read: of two, it is not the value that is wrong
		a := algorithmOf(name)
		if a == object.NoAlgorithm {
			continue
		}
		if d.algorithm != object.NoAlgorithm {
			return d, errSeveralChecksums()
		}
		d.algorithm = a
	}
	if d.algorithm != object.NoAlgorithm {
		header := headerOf(d.algorithm)
		var err error
		if d.value, d.parts, err = decodeComposite(d.algorithm, header, r.header(header)); err != nil {
			return d, err
		}
	}
	if err := d.announce(r.header("x-amz-trailer")); err != nil {
		return d, err
	}
	return d, d.agree(r.header("x-amz-sdk-checksum-algorithm"))
}

// announce takes note of the trailer that a header announces.
func (d *declared) announce(trailer string) error {
	if trailer == "" {
		return nil
	}
	name := strings.ToLower(strings.TrimSpace(trailer))
	a, ok := object.ParseAlgorithm(strings.TrimPrefix(name, checksumHeader))
	if !ok || !strings.HasPrefix(name, checksumHeader) {
		return errInvalidRequest.with("The value specified in the x-amz-trailer header is not supported")
	}
	if d.algorithm != object.NoAlgorithm {
		return errInvalidRequest.with("Expecting a single x-amz-checksum- header")
	}
	*d = declared{algorithm: a, trailer: name}
	return nil
}

// agree holds the SDK's word for the algorithm against the checksum.
func (d *declared) agree(name string) error {
	if name == "" {
		return nil
	}
	a, ok := object.ParseAlgorithm(name)
	if !ok {
		return errInvalidRequest.with("Value for x-amz-sdk-checksum-algorithm header is invalid.")
	}
	if d.algorithm == object.NoAlgorithm {
		return errInvalidRequest.with("x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or x-amz-trailer headers were found.")
	}
	if a != d.algorithm {
		return errInvalidRequest.with("Value for x-amz-sdk-checksum-algorithm header is invalid.")
	}
	return nil
}

// errUnsupportedAlgorithm says which algorithms x-amz-checksum-algorithm can name.
func errUnsupportedAlgorithm() error {
	var names []string
	for _, a := range object.Algorithms() {
		names = append(names, a.String())
	}
	slices.Sort(names)
	return errInvalidRequest.with("Checksum algorithm provided is unsupported. Please try again with any of the valid types: [" + strings.Join(names, ", ") + "]")
}

func errSeveralChecksums() error {
	return errInvalidRequest.with("Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.")
}

func invalidChecksum(name string) error {
	return errInvalidRequest.with(fmt.Sprintf("Value for %s header is invalid.", name))
}

// decodeChecksum decodes the value of a checksum header or trailer.
func decodeChecksum(a object.Algorithm, name, encoded string) (string, error) {
	raw, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil || len(raw) != a.Size() {
		return "", invalidChecksum(name)
	}
	return string(raw), nil
}

// decodeComposite decodes a value that may end in "-N", N being how many parts
// it covers.
func decodeComposite(a object.Algorithm, name, encoded string) (value string, parts int, err error) {
	if sum, count, found := strings.Cut(encoded, "-"); found {
		if parts, err = strconv.Atoi(count); err != nil || parts < 1 || parts > object.MaxPartNumber {
			return "", 0, invalidChecksum(name)
		}
		encoded = sum
	}
	value, err = decodeChecksum(a, name, encoded)
	return value, parts, err
}

// encodeChecksum is how a checksum stands in headers and documents.
func encodeChecksum(c object.Checksum) string {
	s := base64.StdEncoding.EncodeToString([]byte(c.Value))
	if c.Type == object.Composite && c.Parts > 0 {
		s += "-" + strconv.Itoa(c.Parts)
	}
	return s
}

// setChecksum sets the headers that tell an object's checksum.
func (r *request) setChecksum(c object.Checksum) {
	if c.IsZero() {
		return
	}
	r.set(headerOf(c.Algorithm), encodeChecksum(c))
	r.set("x-amz-checksum-type", c.Type.String())
}

// checksum writes the elements that tell an object's checksum.
func (w *xmlWriter) checksum(c object.Checksum) {
	if c.IsZero() {
		return
	}
	w.text("Checksum"+c.Algorithm.String(), encodeChecksum(c))
	w.text("ChecksumType", c.Type.String())
}
