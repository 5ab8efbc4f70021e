package gateway

import (
	"crypto/md5" //nolint:gosec // S3 defines the ETag and Content-MD5 by MD5.
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net"
	"strconv"

	"github.com/shoal-storage/shoal/internal/limits"
	"github.com/shoal-storage/shoal/internal/md5lanes"
	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/sigv4"
)

// body is the content of a request: it reads the connection, takes off the
// aws-chunked framing, hashes, and gives io.EOF only when all that the client
// declared of the content holds. It is an object.Body.
type body struct {
	r      *request
	wire   *wireReader
	source io.Reader          // the content: wire, or chunks
	chunks *sigv4.ChunkReader // nil if the content is not framed
	size   int64              // declared length of the content, -1 if unknown

	sums       summer
	wantMD5    []byte           // nil: not declared
	sha256     hash.Hash        // nil: the payload's hash is not signed, or is sums.sum
	wantSHA256 string           // lower-case hex as signed, or ""
	declared   object.Algorithm // of the checksum that the client declares, or NoAlgorithm
	check      hash.Hash        // computes it, or nil where sums does, as the checksum or as the MD5
	want       string           // raw value of the checksum, or ""
	trailer    string           // name of the trailer that will tell want, or ""

	lane   *md5lanes.Sum // sums.md5, if it may be computed together with others
	whole  bool          // everything came and held
	failed error
	digest object.Digest
}

// wireReader reads a request's body as it comes over the connection.
type wireReader struct {
	stream   io.Reader
	length   int64 // declared, -1 for a chunked transfer
	read     int64
	progress func()
	pace     *pace // nil: it may come as fast as it does
}

// errClientSilent says that nothing came from the client for too long. It is an error of its own, since
// deadlines of connections to other machines are none of the client's.
var errClientSilent = errors.New("the client sends nothing")

// errWireBroken says that the client has hung up, or does not send what its framing says. It is an error of
// its own too, and hides the cause, which could be taken for one of the storage's connections.
var errWireBroken = errors.New("the body breaks off")

// Read is needed because a stream that is cut off looks like one that ended
// (FH5).
func (w *wireReader) Read(p []byte) (int, error) {
	if w.pace != nil {
		p = p[:w.pace.piece(limits.Up, len(p))]
	}
	n, err := w.stream.Read(p)
	w.read += int64(n)
	if w.pace != nil {
		if late := w.pace.moved(limits.Up, int64(n), w.progress); late != nil {
			return n, late
		}
	}
	if n > 0 && w.progress != nil {
		w.progress()
	}
	switch {
	case errors.Is(err, io.EOF) && w.length >= 0 && w.read < w.length:
		err = io.ErrUnexpectedEOF
	case err == nil && w.length >= 0 && w.read == w.length:
		err = io.EOF
	}
	return n, wireError(err)
}

// wireError says of a failed read what the client has done: nobody else is on its connection. The body of
// another request that this one is a part of has errors of its own.
func wireError(err error) error {
	var timeout net.Error
	var known *s3Error
	switch {
	case err == nil, errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.As(err, &known):
		return err
	case errors.As(err, &timeout) && timeout.Timeout():
		return fmt.Errorf("%w: %w", errClientSilent, err)
	}
	return fmt.Errorf("%w: %s", errWireBroken, err.Error())
}

// bodyOptions say what a handler wants of a body beyond what the request
// declares.
type bodyOptions struct {
	algorithm object.Algorithm // computed if the client declares no other; none if NoAlgorithm
	fixed     bool             // algorithm is computed whatever the client declares
	plain     bool             // no MD5 is needed: the body is a document, not content
	foreign   bool             // checksum headers are about something else than the body
	limit     int64            // bytes of content that are accepted
}

// lanesFrom is from how many bytes on it is worth while to compute the MD5 of content together
// with that of others.
const lanesFrom = 512 << 10

// openBody returns the body of the request. Malformed declarations are found
// before the first byte is read.
func (s *Server) openBody(r *request, opt bodyOptions) (*body, error) {
	if r.part != nil {
		return r.openPart(opt)
	}
	b := &body{r: r, wire: &wireReader{stream: r.ctx.RequestBodyStream(), length: r.contentLength(), progress: r.progress, pace: r.pace}}
	if b.wire.stream == nil {
		b.wire.stream, b.wire.length = eofReader{}, 0
	}
	b.source, b.size = b.wire, b.wire.length
	if err := b.declare(opt); err != nil {
		return nil, err
	}
	if b.size > opt.limit && opt.plain {
		return nil, errMessageTooLong.detailed("MaxMessageLengthBytes", fmt.Sprint(opt.limit))
	}
	if b.size > opt.limit {
		return nil, tooLarge(b.size, opt.limit)
	}
	if c := clientConn(r.ctx.Conn()); c != nil {
		c.reading.Store(true)
	}
	needsMD5 := !opt.plain || b.wantMD5 != nil || b.declared == object.MD5
	switch {
	case !needsMD5:
	case b.size < lanesFrom:
		b.sums.md5 = md5.New() //nolint:gosec // as above
	default:
		b.lane = s.lanes.Open()
		b.sums.md5 = b.lane
	}
	r.body = b
	return b, nil
}

// tooLarge is the error of content that is longer than it may be.
func tooLarge(size, limit int64) *s3Error {
	return errEntityTooLarge.detailed("ProposedSize", fmt.Sprint(size)).detailed("MaxSizeAllowed", fmt.Sprint(limit))
}

// refuseTooLarge refuses what openBody would for the length of the content, before a client is told to
// send it.
func (r *request) refuseTooLarge() error {
	if r.op.name != "PutObject" && r.op.name != "UploadPart" {
		return nil
	}
	size := r.contentLength()
	if payload, err := sigv4.ParsePayload(r.auth.PayloadHash); err == nil && payload.Mode.Framed() {
		if size, err = r.decodedLength(); err != nil {
			return err
		}
	}
	if size > object.MaxPartSize {
		return tooLarge(size, object.MaxPartSize)
	}
	return nil
}

// openPart is openBody where the body is a part of that of another request, whose headers
// say nothing about it.
func (r *request) openPart(opt bodyOptions) (*body, error) {
	b := &body{r: r, wire: &wireReader{stream: r.part, length: r.part.Size()}, size: r.part.Size()}
	b.source = b.wire
	if b.size > opt.limit {
		return nil, errMessageTooLong
	}
	return b, nil
}

// eofReader is the body of a request that has none.
type eofReader struct{}

func (eofReader) Read([]byte) (int, error) { return 0, io.EOF }

// declare reads what the headers say about the content.
func (b *body) declare(opt bodyOptions) error {
	if err := b.declareMD5(); err != nil {
		return err
	}
	if !opt.foreign {
		if err := b.declareChecksum(opt); err != nil {
			return err
		}
	}
	return b.declarePayload(opt)
}

func (b *body) declareMD5() error {
	if b.r.hasHeader("Content-MD5") {
		sum, err := base64.StdEncoding.DecodeString(b.r.header("Content-MD5"))
		if err != nil || len(sum) != md5.Size {
			return errInvalidDigest.detailed("Content-MD5", b.r.header("Content-MD5"))
		}
		b.wantMD5 = sum
	}
	return nil
}

// vouched reports whether the client has declared what the content is to be held against, be it in a
// trailer. What is signed of it does not count.
func (b *body) vouched() bool { return b.wantMD5 != nil || b.declared != object.NoAlgorithm }

func (b *body) declareChecksum(opt bodyOptions) error {
	d, err := declaredChecksum(b.r)
	if err != nil {
		return err
	}
	if d.parts > 0 { // which only the checksum of a whole upload has
		return invalidChecksum(headerOf(d.algorithm))
	}
	b.declared, b.want, b.trailer = d.algorithm, d.value, d.trailer
	b.choose(opt)
	return nil
}

// choose says what is computed of the content.
func (b *body) choose(opt bodyOptions) {
	b.sums.algorithm = b.declared
	if b.declared == object.NoAlgorithm || opt.fixed {
		b.sums.algorithm = opt.algorithm
	}
	if b.declared != b.sums.algorithm {
		b.check = hashBesideMD5(b.declared)
	}
	b.sums.sum = hashBesideMD5(b.sums.algorithm)
}

// declarePayload reads x-amz-content-sha256: whether the content is framed,
// and whether its hash is signed. A document may do without a length, as curl sends
// what has no body; content may not, so that one that was forgotten makes no empty object.
func (b *body) declarePayload(opt bodyOptions) error {
	payload, err := sigv4.ParsePayload(b.r.auth.PayloadHash)
	if err != nil {
		return err
	}
	if b.r.identity.Anonymous() && payload.Mode.SignsChunks() {
		return errInvalidRequest.with("Anonymous requests don't support this x-amz-content-sha256 value. Please use UNSIGNED-PAYLOAD or STREAMING-UNSIGNED-PAYLOAD-TRAILER.")
	}
	if !opt.plain {
		if err := b.r.refuseAWSChunked(); err != nil {
			return err
		}
	}
	if !payload.Mode.Framed() {
		if b.trailer != "" {
			return errInvalidRequest.with("x-amz-trailer announces a trailer, and the body is not aws-chunked: it has none")
		}
		if payload.Mode == sigv4.Signed && !b.r.identity.Anonymous() {
			b.wantSHA256 = payload.SHA256
			if b.sums.algorithm != object.SHA256 {
				b.sha256 = sha256.New()
			}
		}
		if b.wire.length < 0 || !opt.plain && !b.r.declaresLength() {
			return b.r.noLength()
		}
		return nil
	}
	size, err := b.r.decodedLength()
	if err != nil {
		return err
	}
	b.size = size
	cfg := sigv4.ChunkConfig{Mode: payload.Mode, DecodedLength: size, Auth: b.r.auth, Secret: b.r.secret}
	if b.trailer != "" {
		cfg.Trailers = []string{b.trailer}
	}
	b.chunks = sigv4.NewChunkReader(b.wire, cfg)
	b.source = b.chunks
	return nil
}

// decodedLength reads the length of framed content.
func (r *request) decodedLength() (int64, error) {
	text := r.header("x-amz-decoded-content-length")
	if text == "" {
		return 0, r.noLength()
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return 0, errMissingContentLength
	}
	return n, nil
}

// noLength is the error of a body that does not say how long its content is. A chunked transfer is to S3 what
// it does not implement, unless the length is told beside it.
func (r *request) noLength() error {
	if r.contentLength() < 0 {
		return errNotImplemented.detailed("Header", "Transfer-Encoding")
	}
	return errMissingContentLength
}

// Size returns the declared length of the content in bytes, -1 if unknown.
func (b *body) Size() int64 { return b.size }

// Digest describes the content; it is valid after io.EOF.
func (b *body) Digest() object.Digest { return b.digest }

// received returns how many bytes came over the wire.
func (b *body) received() int64 { return b.wire.read }

// close tells that no more is read.
func (b *body) close() {
	if b != nil && b.lane != nil {
		b.lane.Close()
	}
}

// Read reads content. After an error it returns that error for ever.
func (b *body) Read(p []byte) (int, error) {
	if b.failed != nil {
		return 0, b.failed
	}
	n, err := b.source.Read(p)
	b.sums.write(p[:n])
	for _, h := range [...]hash.Hash{b.sha256, b.check} {
		if h != nil {
			h.Write(p[:n])
		}
	}
	if errors.Is(err, io.EOF) {
		if err = b.verify(); err == nil {
			b.whole = true
			err = io.EOF
		}
	}
	b.failed = err
	return n, err
}

// verify holds what came against what was declared.
func (b *body) verify() error {
	if b.size >= 0 && b.sums.size != b.size {
		return errIncompleteBody
	}
	if err := b.wire.end(); err != nil {
		return err
	}
	b.digest = b.sums.digest()
	b.close()
	if err := b.verifySHA256(); err != nil {
		return err
	}
	if b.wantMD5 != nil && string(b.wantMD5) != string(b.digest.MD5[:]) {
		return errBadDigest.with("The Content-MD5 you specified did not match what we received.").
			detailed("ExpectedDigest", hex.EncodeToString(b.wantMD5)).
			detailed("CalculatedDigest", base64.StdEncoding.EncodeToString(b.digest.MD5[:]))
	}
	return b.verifyChecksum()
}

func (b *body) verifySHA256() error {
	if b.wantSHA256 == "" {
		return nil
	}
	sum := hex.EncodeToString([]byte(b.digest.Checksum.Value))
	if b.sha256 != nil {
		sum = hex.EncodeToString(b.sha256.Sum(nil))
	}
	if subtle.ConstantTimeCompare([]byte(sum), []byte(b.wantSHA256)) != 1 {
		return errSHA256Mismatch.detailed("ClientComputedContentSHA256", b.wantSHA256).detailed("S3ComputedContentSHA256", sum)
	}
	return nil
}

func (b *body) verifyChecksum() error {
	if b.trailer != "" {
		raw, err := decodeChecksum(b.declared, b.trailer+" trailing", b.chunks.Trailer(b.trailer))
		if err != nil {
			return err
		}
		b.want = raw
	}
	sum := b.digest.Checksum.Value
	switch {
	case b.declared == object.MD5:
		sum = string(b.digest.MD5[:])
	case b.check != nil:
		sum = string(b.check.Sum(nil))
	}
	if b.want != "" && b.want != sum {
		return errBadDigest.with(fmt.Sprintf("The %s you specified did not match the calculated checksum.", b.declared))
	}
	return nil
}

// end makes sure that the wire has no more than was read from it.
func (w *wireReader) end() error {
	if w.length >= 0 && w.read == w.length {
		return nil
	}
	var one [1]byte
	switch n, err := w.Read(one[:]); {
	case n > 0:
		return errIncompleteBody.with("The request body is longer than its framing says.")
	case errors.Is(err, io.EOF):
		return nil
	case err == nil:
		return io.ErrNoProgress
	default:
		return err
	}
}

// broke reports whether the body came to an end before its time, or stands still: nothing more is
// to be waited for.
func (r *request) broke() bool { return r.body != nil && fromTransport(r.body.failed) != nil }

// drain reads what the handler left of a body of the declared length, if that
// is little; it reports whether the body is at its end.
func (r *request) drain(stream io.Reader, length int64) bool {
	var read int64
	if r.body != nil {
		read = r.body.wire.read
	}
	left := length - read
	if left == 0 {
		return true
	}
	if left > drainLimit {
		return false
	}
	if c := clientConn(r.ctx.Conn()); c != nil {
		c.reading.Store(true)
		defer c.reading.Store(false)
	}
	n, err := io.Copy(io.Discard, io.LimitReader(stream, left))
	return err == nil && n == left
}
