package sse

import (
	"bufio"
	"errors"
	"io"
	"slices"

	"github.com/shoal-storage/shoal/internal/object"
)

// Decrypt returns h with its content decrypted. Ranges are of the content, and Info
// tells of it, with the object's checksum as it is. A range that does not turn out to be
// what was encrypted fails with ErrDamaged, after the part of it that did.
func Decrypt(h object.Handle, key Key) object.Handle {
	sealed := h.Info()
	d := &decrypted{handle: h, key: key, info: Reveal(sealed, key), parts: sealed.Parts}
	d.info.Overhead = 0
	if len(d.parts) == 0 {
		d.parts = []object.PartInfo{{Size: sealed.Size}}
	}
	return d
}

// Reveal returns what info says of encrypted content, with its checksum as it is;
// those of parts stay as they are kept.
func Reveal(info object.Info, key Key) object.Info {
	info.Checksum = key.maskChecksum(info.Checksum, "")
	return info
}

// RevealParts returns info with the checksums of the parts as they are. It takes a
// while where there are many.
func RevealParts(info object.Info, key Key) object.Info {
	info.Parts = slices.Clone(info.Parts)
	for i := range info.Parts {
		info.Parts[i].Checksum = PartChecksum(&info.Parts[i], info.Checksum.Algorithm, key)
	}
	return info
}

// PartChecksum returns the checksum of a part of an encrypted object as it is, empty if it has none.
func PartChecksum(p *object.PartInfo, a object.Algorithm, key Key) string {
	return key.partChecksum(a, p.Salt, p.Checksum)
}

// RevealPart returns a part of an encrypted upload with its checksum as it is.
func RevealPart(part object.Part, a object.Algorithm, key Key) object.Part {
	part.Checksum = key.partChecksum(a, part.Salt, part.Checksum)
	return part
}

// Conceal returns the checksum of an encrypted object as it is kept.
func Conceal(sum object.Checksum, key Key) object.Checksum { return key.maskChecksum(sum, "") }

func (k Key) partChecksum(a object.Algorithm, salt, value string) string {
	if value == "" {
		return ""
	}
	return k.maskChecksum(object.Checksum{Algorithm: a, Value: value}, salt).Value
}

// decrypted is a Handle of decrypted content.
type decrypted struct {
	handle object.Handle
	key    Key
	info   object.Info
	parts  []object.PartInfo // in order; each is encrypted for itself
}

// Info implements object.Handle.
func (d *decrypted) Info() object.Info { return d.info }

// Close implements object.Handle.
func (d *decrypted) Close() error { return d.handle.Close() }

// Range implements object.Handle. The reader is an io.WriterTo.
func (d *decrypted) Range(offset, length int64) io.Reader {
	length = max(min(length, d.info.Size-offset), 0)
	switch {
	case length == 0:
		return &reader{err: io.EOF}
	case !sound(d.parts, d.info.Size):
		return &reader{err: ErrDamaged}
	}
	from := seek(d.parts, offset)
	through := seek(d.parts, offset+length-1)
	end := through.at + through.length(d.parts) + tagSize
	r := &reader{parts: d.parts, key: d.key, place: from, left: length}
	r.source = bufio.NewReaderSize(d.handle.Range(from.at, end-from.at), int(min(end-from.at, readAhead)))
	r.enter()
	return r
}

// sound reports whether parts can be those of a content of size bytes.
func sound(parts []object.PartInfo, size int64) bool {
	for _, p := range parts {
		if p.Size < 0 || p.Size > size {
			return false
		}
		size -= p.Size
	}
	return size == 0
}

// readAhead is how much is read from a Store at a time, in bytes.
const readAhead = 4 * sealedSize

// place is where a byte of the content is among the encrypted ones.
type place struct {
	part  int
	chunk int64 // of the part
	at    int64 // where the chunk begins, in encrypted bytes of the object
	skip  int64 // bytes of the chunk before the one in question
}

// seek finds a byte of the content, which there must be.
func seek(parts []object.PartInfo, offset int64) place {
	var p place
	for offset >= parts[p.part].Size {
		offset -= parts[p.part].Size
		p.at += held(parts[p.part].Size)
		p.part++
	}
	p.chunk, p.skip = offset/chunkSize, offset%chunkSize
	p.at += p.chunk * sealedSize
	return p
}

// length returns how much content is in the chunk of a place, in bytes.
func (p place) length(parts []object.PartInfo) int64 {
	return min(parts[p.part].Size-p.chunk*chunkSize, chunkSize)
}

// last reports whether the chunk of a place is its part's last.
func (p place) last(parts []object.PartInfo) bool {
	return p.chunk == chunksOf(parts[p.part].Size)-1
}

// reader reads a range of the content.
type reader struct {
	parts  []object.PartInfo
	key    Key
	stream stream
	source *bufio.Reader
	place  place  // of the next chunk
	left   int64  // bytes of the range that are still in chunks
	plain  []byte // decrypted, not given yet
	taken  int    // bytes of source that plain lies in
	err    error
}

// enter prepares for the part that the next chunk is of.
func (r *reader) enter() { r.stream = r.key.content(r.parts[r.place.part].Salt) }

// advance decrypts the next chunk.
func (r *reader) advance() error {
	if r.err != nil {
		return r.err
	}
	if r.taken > 0 {
		_, _ = r.source.Discard(r.taken) // which has been peeked at
		r.taken = 0
	}
	if r.left == 0 {
		r.err = io.EOF
		return r.err
	}
	if r.err = r.decrypt(); r.err != nil {
		return r.err
	}
	if r.place.last(r.parts) {
		r.nextPart()
	} else {
		r.place.chunk++
	}
	return nil
}

func (r *reader) decrypt() error {
	n := int(r.place.length(r.parts)) + tagSize
	sealed, err := r.source.Peek(n)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = ErrDamaged
	}
	if err != nil {
		return err
	}
	plain, err := r.stream.open(sealed, r.place.chunk, r.place.last(r.parts))
	if err != nil {
		return err
	}
	plain = plain[r.place.skip:]
	r.plain = plain[:min(int64(len(plain)), r.left)]
	r.left -= int64(len(r.plain))
	r.place.skip, r.taken = 0, n
	return nil
}

// nextPart goes on in the next part, if there is one. A part may be empty, and has
// a chunk all the same.
func (r *reader) nextPart() {
	r.place.part++
	r.place.chunk = 0
	if r.place.part < len(r.parts) {
		r.enter()
	}
}

// Prefetch implements object.Prefetcher.
func (r *reader) Prefetch() error {
	if err := r.advance(); err != io.EOF { //nolint:errorlint // of advance itself
		return err
	}
	return nil
}

// Read implements io.Reader.
func (r *reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for len(r.plain) == 0 {
		if err := r.advance(); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.plain)
	r.plain = r.plain[n:]
	return n, nil
}

// WriteTo implements io.WriterTo, without another copy.
func (r *reader) WriteTo(w io.Writer) (int64, error) {
	var sum int64
	for {
		if len(r.plain) > 0 {
			n, err := w.Write(r.plain)
			sum += int64(n)
			r.plain = r.plain[n:]
			if err != nil {
				return sum, err
			}
		}
		if err := r.advance(); err == io.EOF { //nolint:errorlint // of advance itself
			return sum, nil
		} else if err != nil {
			return sum, err
		}
	}
}
