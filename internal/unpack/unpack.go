// Package unpack reads what was packed by gzip, bzip2, zstd, S2 or Snappy: the first
// bytes say by which.
package unpack

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"compress/gzip"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
)

// maxMemory is what unpacking zstd may take, in bytes.
const maxMemory = 64 << 20

// longestMagic is how many bytes say how something is packed.
const longestMagic = 10

// NewReader returns a reader of what is packed in r, or of r itself if nothing is. It
// reads ahead, and takes a bounded amount of memory whatever it reads. Close frees that
// and does not close r.
func NewReader(r io.Reader) (io.ReadCloser, error) {
	buffered := bufio.NewReaderSize(r, 64<<10)
	magic, err := buffered.Peek(longestMagic)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read the first bytes: %w", err)
	}
	is := func(prefix string) bool { return bytes.HasPrefix(magic, []byte(prefix)) }
	switch {
	case is("\x1f\x8b"):
		return gzip.NewReader(buffered)
	case is("BZh"):
		return io.NopCloser(bzip2.NewReader(buffered)), nil
	case is("\x28\xb5\x2f\xfd"):
		d, err := zstd.NewReader(buffered, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxMemory))
		if err != nil {
			return nil, fmt.Errorf("open zstd: %w", err)
		}
		return d.IOReadCloser(), nil
	case is("\xff\x06\x00\x00S2sTwO"), is("\xff\x06\x00\x00sNaPpY"):
		return io.NopCloser(s2.NewReader(buffered)), nil
	}
	return io.NopCloser(buffered), nil
}
