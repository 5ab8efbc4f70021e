package sigv4

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"slices"
	"strings"
)

// MinChunk is the least size in bytes of a chunk that is not the last.
const MinChunk = 8192

const (
	// chunkBuffer bounds a line of framing: a size with its signature takes 100
	// bytes, the longest trailer of S3 about 90.
	chunkBuffer = 512
	// maxTrailerLines bounds what comes after the last chunk.
	maxTrailerLines = 16
	// maxEmptyReads is how often the source may give nothing in a row.
	maxEmptyReads = 100

	trailerSignature = "x-amz-trailer-signature"
)

// ChunkConfig says what an aws-chunked body must be.
type ChunkConfig struct {
	Mode          Mode     // one of the framed modes
	DecodedLength int64    // x-amz-decoded-content-length, in bytes
	Auth          Auth     // of the request, verified: its signature is the seed
	Secret        string   // of the signer; not used by UnsignedTrailer
	Trailers      []string // the names that x-amz-trailer announced
	MaxChunk      int64    // the largest chunk in bytes, 0 for no limit
}

// ChunkReader takes the aws-chunked framing off a body
// (https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html and
// sigv4-streaming-trailers.html). It is used by one goroutine.
//
// A chunk's signature is known to hold only at its end, so bytes are handed out
// before they are verified: nothing read may be believed until Read has
// returned io.EOF.
type ChunkReader struct {
	source io.Reader
	cfg    ChunkConfig
	key    Key

	buf    [chunkBuffer]byte
	lo, hi int // what is in buf and not yet used

	state    chunkState
	chunk    int64 // bytes of the chunk still to come
	size     int64 // of the chunk
	left     int64 // bytes of content still to come
	first    bool  // no chunk header was read yet
	previous [64]byte
	claimed  [64]byte // the signature in the chunk's header
	digest   hash.Hash
	trailers []Field
	pending  error // came with bytes of the source that were still to be used
	err      error
}

type chunkState uint8

const (
	atHeader   chunkState = iota // the line before a chunk
	inChunk                      // its bytes
	afterChunk                   // the line end after them
	atTrailers                   // what follows the last chunk's header
)

// NewChunkReader returns a reader of the content framed in r, which must end
// where the request's body does.
func NewChunkReader(r io.Reader, cfg ChunkConfig) *ChunkReader {
	c := &ChunkReader{source: r, cfg: cfg, left: cfg.DecodedLength, first: true}
	if !cfg.Mode.Framed() {
		c.err = refuse(InvalidContentSHA256, "the payload is not aws-chunked")
	}
	if cfg.DecodedLength < 0 {
		c.err = refuse(IncompleteBody, "x-amz-decoded-content-length is negative")
	}
	if cfg.Mode != UnsignedTrailer {
		c.key = DeriveKey(cfg.Secret, cfg.Auth.Date, cfg.Auth.Region, cfg.Auth.Service)
		c.digest = sha256.New()
		copy(c.previous[:], cfg.Auth.Signature)
	}
	return c
}

// Trailer returns the value of an announced trailer. It is valid after io.EOF.
func (c *ChunkReader) Trailer(name string) string {
	return Fields(c.trailers).Get(name)
}

// Read reads content. It returns io.EOF after the last chunk, when every
// signature, the declared length and the announced trailers held;
// io.ErrUnexpectedEOF if the body ended before; an *Error of the reasons
// SignatureMismatch, IncompleteBody, InvalidChunkSize or MalformedTrailer; or
// an error of the source. After an error it returns that for ever.
func (c *ChunkReader) Read(p []byte) (int, error) {
	for c.err == nil && len(p) > 0 {
		switch c.state {
		case atHeader:
			c.err = c.readHeader()
		case inChunk:
			n, err := c.readContent(p)
			c.err = err
			if n > 0 {
				return n, err
			}
		case afterChunk:
			c.err = c.readLineEnd()
		case atTrailers:
			if c.err = c.readTrailers(); c.err == nil {
				c.err = io.EOF
			}
		}
	}
	return 0, c.err
}

// readContent reads bytes of the chunk, straight from the source unless they
// came with the header.
func (c *ChunkReader) readContent(p []byte) (int, error) {
	p = p[:min(int64(len(p)), c.chunk)]
	n := copy(p, c.buf[c.lo:c.hi])
	c.lo += n
	var err error
	if n == 0 {
		n, err = c.fill(p)
	}
	if c.digest != nil {
		c.digest.Write(p[:n])
	}
	c.chunk -= int64(n)
	c.left -= int64(n)
	if c.chunk > 0 || err != nil {
		return n, err
	}
	c.state = afterChunk
	return n, c.verifyChunk()
}

// fill reads at least one byte from the source.
func (c *ChunkReader) fill(p []byte) (int, error) {
	for range maxEmptyReads {
		n, err := 0, c.pending
		if err == nil {
			n, err = c.source.Read(p)
		}
		if n > 0 {
			c.pending = err
			return n, nil
		}
		if errors.Is(err, io.EOF) {
			return 0, io.ErrUnexpectedEOF
		}
		if err != nil {
			return 0, err
		}
	}
	return 0, io.ErrNoProgress
}

// line returns the next line without its '\n'. It is valid until the next call.
func (c *ChunkReader) line(broken Reason) ([]byte, error) {
	for seen := 0; ; {
		have := c.buf[c.lo:c.hi]
		if i := bytes.IndexByte(have[seen:], '\n'); i >= 0 {
			c.lo += seen + i + 1
			return have[:seen+i], nil
		}
		seen = len(have)
		if c.lo > 0 {
			c.hi = copy(c.buf[:], have)
			c.lo = 0
		}
		if c.hi == len(c.buf) {
			return nil, refuse(broken, "a line of the aws-chunked framing is too long")
		}
		n, err := c.fill(c.buf[c.hi:])
		if err != nil {
			return nil, err
		}
		c.hi += n
	}
}

func brokenFraming(message string) error { return refuse(IncompleteBody, message) }

// readHeader reads "SIZE;chunk-signature=SIGNATURE\r\n", without the signature
// in UnsignedTrailer. To S3 a signature that is missing or has not its length is broken framing, and
// not a wrong signature (versitygw, issue 1685).
func (c *ChunkReader) readHeader() error {
	line, err := c.line(IncompleteBody)
	if err != nil {
		return err
	}
	line, ok := bytes.CutSuffix(line, []byte("\r"))
	if !ok {
		return brokenFraming("a chunk header must end in CRLF")
	}
	digits, extension, extended := bytes.Cut(line, []byte(";"))
	size, ok := parseHex(digits)
	if !ok {
		return brokenFraming("a chunk size is not hexadecimal")
	}
	if c.cfg.Mode == UnsignedTrailer {
		if extended {
			return brokenFraming("an unsigned chunk has an extension")
		}
	} else {
		signature, ok := bytes.CutPrefix(extension, []byte("chunk-signature="))
		if !ok || len(signature) != len(c.claimed) {
			return brokenFraming("a chunk of a signed body has no signature")
		}
		copy(c.claimed[:], signature)
	}
	return c.beginChunk(size)
}

// beginChunk checks the size of a chunk against what is still to come.
func (c *ChunkReader) beginChunk(size int64) error {
	if size == 0 {
		if c.left > 0 {
			return brokenFraming("the body has fewer bytes than x-amz-decoded-content-length says")
		}
		c.state = atTrailers
		return c.verifyChunk()
	}
	switch {
	case !c.first && c.size < MinChunk:
		return refuse(InvalidChunkSize, "Only the last chunk is allowed to have a size less than 8192 bytes")
	case c.cfg.MaxChunk > 0 && size > c.cfg.MaxChunk:
		return refuse(InvalidChunkSize, "A chunk is larger than this server accepts")
	case size > c.left:
		return brokenFraming("the body has more bytes than x-amz-decoded-content-length says")
	}
	c.first, c.size, c.chunk, c.state = false, size, size, inChunk
	return nil
}

// parseHex reads 1 to 15 hex digits, which fit into an int64.
func parseHex(s []byte) (int64, bool) {
	if len(s) == 0 || len(s) > 15 {
		return 0, false
	}
	var n int64
	for _, c := range s {
		d, ok := digit(c)
		if !ok {
			return 0, false
		}
		n = n<<4 | int64(d)
	}
	return n, true
}

func (c *ChunkReader) readLineEnd() error {
	for c.hi-c.lo < 2 {
		if c.lo > 0 {
			c.hi = copy(c.buf[:], c.buf[c.lo:c.hi])
			c.lo = 0
		}
		n, err := c.fill(c.buf[c.hi:])
		if err != nil {
			return err
		}
		c.hi += n
	}
	if c.buf[c.lo] != '\r' || c.buf[c.lo+1] != '\n' {
		return brokenFraming("a chunk is not followed by CRLF")
	}
	c.lo += 2
	c.state = atHeader
	return nil
}

// verifyChunk compares the signature of the chunk just read with the one in its
// header.
func (c *ChunkReader) verifyChunk() error {
	if c.digest == nil {
		return nil
	}
	if !c.chain("AWS4-HMAC-SHA256-PAYLOAD", emptySHA256+"\n", c.claimed[:]) {
		return refuse(SignatureMismatch, "The chunk signature we calculated does not match the signature you provided.")
	}
	return nil
}

// chain computes the next signature over what digest has seen, makes it the
// previous one, and reports whether it is the one claimed.
func (c *ChunkReader) chain(algorithm, middle string, claimed []byte) bool {
	var room [512]byte
	b := append(room[:0], algorithm...)
	b = append(b, '\n')
	b = c.cfg.Auth.appendScope(b)
	b = append(b, '\n')
	b = append(b, c.previous[:]...)
	b = append(b, '\n')
	b = append(b, middle...)
	var sum [sha256.Size]byte
	b = hex.AppendEncode(b, c.digest.Sum(sum[:0]))
	c.digest.Reset()
	c.previous = c.key.sign(b)
	return subtle.ConstantTimeCompare(c.previous[:], claimed) == 1
}

// readTrailers reads what follows the last chunk's header to the end of the
// body: the trailers, the signature over them in ChunkedTrailer, and an empty
// line. Clients differ: minio-go ends a trailer in a bare '\n', puts an empty
// line before the signature, and ends an unsigned body in two empty lines. All
// of that is taken, and nothing else.
func (c *ChunkReader) readTrailers() error {
	var signature []byte
	empty := 0 // lines in a row
	for lines := 0; ; lines++ {
		done, err := c.atEnd()
		if err != nil {
			return err
		}
		if done {
			break
		}
		if lines == maxTrailerLines {
			return malformedTrailer("there are too many")
		}
		line, err := c.line(MalformedTrailer)
		if err != nil {
			return err
		}
		if line = bytes.TrimSuffix(line, []byte("\r")); len(line) == 0 {
			empty++
			continue
		}
		name, value, ok := strings.Cut(string(line), ":")
		name = strings.ToLower(strings.TrimSpace(name))
		isSignature := name == trailerSignature && c.cfg.Mode == ChunkedTrailer
		if !ok || signature != nil || empty > 0 && !isSignature {
			return malformedTrailer("the lines after the last chunk are not trailers")
		}
		empty = 0
		if isSignature {
			signature = []byte(strings.TrimSpace(value))
			continue
		}
		if err := c.addTrailer(name, strings.TrimSpace(value)); err != nil {
			return err
		}
	}
	switch {
	case empty == 0:
		return io.ErrUnexpectedEOF
	case empty > 2:
		return malformedTrailer("something follows the end of the body")
	}
	return c.checkTrailers(signature)
}

// atEnd reports whether the body is at its end.
func (c *ChunkReader) atEnd() (bool, error) {
	if c.lo < c.hi {
		return false, nil
	}
	c.lo, c.hi = 0, 0
	n, err := c.fill(c.buf[:])
	c.hi = n
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return true, nil
	}
	return false, err
}

func malformedTrailer(message string) error {
	return refuse(MalformedTrailer, "The trailers of the request are malformed: "+message)
}

func (c *ChunkReader) addTrailer(name, value string) error {
	if !c.cfg.Mode.Trailers() || !slices.ContainsFunc(c.cfg.Trailers, func(s string) bool { return strings.EqualFold(s, name) }) {
		return malformedTrailer("one was not announced in x-amz-trailer")
	}
	if slices.ContainsFunc(c.trailers, func(f Field) bool { return f.Name == name }) {
		return malformedTrailer("one is there twice")
	}
	c.trailers = append(c.trailers, Field{Name: name, Value: value})
	return nil
}

// checkTrailers checks that all announced trailers came, and their signature.
func (c *ChunkReader) checkTrailers(signature []byte) error {
	if !c.cfg.Mode.Trailers() {
		return nil
	}
	if len(c.trailers) != len(c.cfg.Trailers) {
		return malformedTrailer("one that was announced in x-amz-trailer is missing")
	}
	if c.cfg.Mode != ChunkedTrailer {
		return nil
	}
	if signature == nil {
		return malformedTrailer("the signature over them is missing")
	}
	for _, f := range c.trailers {
		c.digest.Write([]byte(f.Name + ":" + f.Value + "\n"))
	}
	if !c.chain("AWS4-HMAC-SHA256-TRAILER", "", signature) {
		return refuse(SignatureMismatch, "The trailer signature we calculated does not match the signature you provided.")
	}
	return nil
}
