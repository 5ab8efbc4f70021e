package sigv4_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/shoal-storage/shoal/internal/sigv4"
)

var seedFlag = flag.Uint64("seed", 0, "seed of the random tests; 0 picks one") //nolint:gochecknoglobals // flags are

func random(t testing.TB) *rand.Rand {
	seed := *seedFlag
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

const crcTrailer = "x-amz-checksum-crc32"

// encoder is an aws-chunked client.
type encoder struct {
	mode     sigv4.Mode
	previous string
	out      bytes.Buffer
}

func newEncoder(mode sigv4.Mode) *encoder { return &encoder{mode: mode, previous: seedSignature()} }

func seedSignature() string { return strings.Repeat("5e", 32) }

func seedAuth() sigv4.Auth {
	return sigv4.Auth{Date: "20130524", Region: "us-east-1", Service: "s3", Time: exampleTime(), Signature: seedSignature()}
}

func (e *encoder) sign(algorithm, middle string, content []byte) string {
	key := sigv4.DeriveKey(exampleSecret, "20130524", "us-east-1", "s3")
	sum := sha256.Sum256(content)
	h := hmac.New(sha256.New, key[:])
	fmt.Fprintf(h, "%s\n20130524T000000Z\n20130524/us-east-1/s3/aws4_request\n%s\n%s%x", algorithm, e.previous, middle, sum)
	e.previous = hex.EncodeToString(h.Sum(nil))
	return e.previous
}

func (e *encoder) chunk(content []byte) {
	fmt.Fprintf(&e.out, "%x", len(content))
	if e.mode != sigv4.UnsignedTrailer {
		e.out.WriteString(";chunk-signature=" + e.sign("AWS4-HMAC-SHA256-PAYLOAD", emptySHA256+"\n", content))
	}
	e.out.WriteString("\r\n")
	if len(content) > 0 {
		e.out.Write(content)
		e.out.WriteString("\r\n")
	}
}

// finish writes the last chunk and the trailers.
func (e *encoder) finish() {
	e.chunk(nil)
	if e.mode != sigv4.Chunked {
		e.out.WriteString(crcTrailer + ":AAAAAA==\r\n")
	}
	if e.mode == sigv4.ChunkedTrailer {
		e.out.WriteString("x-amz-trailer-signature:" + e.sign("AWS4-HMAC-SHA256-TRAILER", "", []byte(crcTrailer+":AAAAAA==\n")) + "\r\n")
	}
	e.out.WriteString("\r\n")
}

func encode(mode sigv4.Mode, content []byte, chunk int) []byte {
	e := newEncoder(mode)
	for piece := range slices.Chunk(content, chunk) {
		e.chunk(piece)
	}
	e.finish()
	return e.out.Bytes()
}

func config(mode sigv4.Mode, size int) sigv4.ChunkConfig {
	c := sigv4.ChunkConfig{Mode: mode, DecodedLength: int64(size), Auth: seedAuth(), Secret: exampleSecret}
	if mode.Trailers() {
		c.Trailers = []string{crcTrailer}
	}
	return c
}

func modes() []sigv4.Mode {
	return []sigv4.Mode{sigv4.Chunked, sigv4.ChunkedTrailer, sigv4.UnsignedTrailer}
}

func pattern(size int) []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(i * 7 >> 3)
	}
	return b
}

func TestChunkedContentComesThroughHoweverItIsCut(t *testing.T) {
	for _, mode := range modes() {
		for _, size := range []int{0, 1, 8191, 8192, 8193, 50000} {
			content := pattern(size)
			wire := encode(mode, content, 9000)
			for name, r := range map[string]io.Reader{
				"whole": bytes.NewReader(wire), "single bytes": iotest.OneByteReader(bytes.NewReader(wire)),
				"halves": iotest.HalfReader(bytes.NewReader(wire)), "error with data": iotest.DataErrReader(bytes.NewReader(wire)),
			} {
				t.Run(fmt.Sprintf("%v/%d/%s", mode, size, name), func(t *testing.T) {
					c := sigv4.NewChunkReader(r, config(mode, size))
					if err := iotest.TestReader(c, content); err != nil {
						t.Error(err)
					}
					if mode.Trailers() && c.Trailer(crcTrailer) != "AAAAAA==" {
						t.Errorf("trailer %q", c.Trailer(crcTrailer))
					}
				})
			}
		}
	}
}

func TestATruncatedChunkedBodyIsAnUnexpectedEOF(t *testing.T) {
	content := pattern(20000)
	for _, mode := range modes() {
		wire := encode(mode, content, 9000)
		for cut := range len(wire) {
			if cut > 300 && cut < len(wire)-300 && cut%97 != 0 {
				continue
			}
			if _, err := io.ReadAll(sigv4.NewChunkReader(bytes.NewReader(wire[:cut]), config(mode, len(content)))); !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Fatalf("%v cut at %d of %d: %v", mode, cut, len(wire), err)
			}
		}
	}
}

func TestABitThatFlipsInASignedBodyIsSeen(t *testing.T) {
	rng := random(t)
	content := pattern(20000)
	for _, mode := range []sigv4.Mode{sigv4.Chunked, sigv4.ChunkedTrailer} {
		wire := encode(mode, content, 9000)
		for range 2000 {
			bad := bytes.Clone(wire)
			i := rng.IntN(len(bad))
			bad[i] ^= 1 << rng.IntN(8)
			got, err := io.ReadAll(sigv4.NewChunkReader(bytes.NewReader(bad), config(mode, len(content))))
			if err == nil && !bytes.Equal(got, content) {
				t.Fatalf("%v: a change of byte %d went unseen", mode, i)
			}
		}
	}
}

func TestChunkReaderRefuses(t *testing.T) {
	big, small := pattern(9000), pattern(100)
	chunks := func(mode sigv4.Mode, pieces ...[]byte) []byte {
		e := newEncoder(mode)
		for _, p := range pieces {
			e.chunk(p)
		}
		e.finish()
		return e.out.Bytes()
	}
	replace := func(wire []byte, from, to string) []byte { return bytes.Replace(wire, []byte(from), []byte(to), 1) }
	unsigned, signed := chunks(sigv4.UnsignedTrailer, small), chunks(sigv4.Chunked, small)
	otherTrailer := config(sigv4.UnsignedTrailer, 100)
	otherTrailer.Trailers = []string{"x-amz-checksum-sha256"}
	twoTrailers := config(sigv4.UnsignedTrailer, 100)
	twoTrailers.Trailers = []string{crcTrailer, "x-amz-checksum-sha256"}
	limited := config(sigv4.UnsignedTrailer, 9000)
	limited.MaxChunk = 8999
	otherSecret := config(sigv4.Chunked, 9000)
	otherSecret.Secret = "other"
	for _, tt := range []struct {
		name string
		wire []byte
		cfg  sigv4.ChunkConfig
		want sigv4.Reason
	}{
		{"a small chunk before another", chunks(sigv4.UnsignedTrailer, small, big), config(sigv4.UnsignedTrailer, 9100), sigv4.InvalidChunkSize},
		{"a small signed chunk before another", chunks(sigv4.Chunked, small, small), config(sigv4.Chunked, 200), sigv4.InvalidChunkSize},
		{"a chunk above the limit", chunks(sigv4.UnsignedTrailer, big), limited, sigv4.InvalidChunkSize},
		{"more than declared", chunks(sigv4.UnsignedTrailer, big), config(sigv4.UnsignedTrailer, 8999), sigv4.IncompleteBody},
		{"less than declared", chunks(sigv4.UnsignedTrailer, big), config(sigv4.UnsignedTrailer, 9001), sigv4.IncompleteBody},
		{"a negative length", chunks(sigv4.UnsignedTrailer, big), config(sigv4.UnsignedTrailer, -1), sigv4.IncompleteBody},
		{"a size that is not hex", replace(unsigned, "64\r\n", "6g\r\n"), config(sigv4.UnsignedTrailer, 100), sigv4.IncompleteBody},
		{"a negative size", replace(unsigned, "64\r\n", "-64\r\n"), config(sigv4.UnsignedTrailer, 100), sigv4.IncompleteBody},
		{"no size", replace(unsigned, "64\r\n", "\r\n"), config(sigv4.UnsignedTrailer, 100), sigv4.IncompleteBody},
		{"a size beyond any number", replace(unsigned, "64\r\n", "ffffffffffffffff64\r\n"), config(sigv4.UnsignedTrailer, 100), sigv4.IncompleteBody},
		{"a size without CR", replace(unsigned, "64\r\n", "64\n"), config(sigv4.UnsignedTrailer, 100), sigv4.IncompleteBody},
		{"a line without end", bytes.Repeat([]byte("0"), 10000), config(sigv4.UnsignedTrailer, 100), sigv4.IncompleteBody},
		{"no line end after a chunk", replace(unsigned, "\r\n0\r\n", "xx0\r\n"), config(sigv4.UnsignedTrailer, 100), sigv4.IncompleteBody},
		{"a signature nobody checks", replace(unsigned, "64\r\n", "64;chunk-signature=00\r\n"), config(sigv4.UnsignedTrailer, 100), sigv4.IncompleteBody},
		{"a signed chunk without signature", unsigned, config(sigv4.Chunked, 100), sigv4.IncompleteBody},
		{"a signed chunk with another extension", replace(signed, "chunk-signature=", "chunk-extension="), config(sigv4.Chunked, 100), sigv4.IncompleteBody},
		{"a signature that is too short", replace(signed, string(signed[19:83]), string(signed[19:82])), config(sigv4.Chunked, 100), sigv4.IncompleteBody},
		{"a signature that is too long", replace(signed, "\r\n", "0\r\n"), config(sigv4.Chunked, 100), sigv4.IncompleteBody},
		{"a signed chunk header without CR", replace(signed, "\r\n", "\n"), config(sigv4.Chunked, 100), sigv4.IncompleteBody},
		{"a signed chunk header without line end", replace(signed, "\r\n", ""), config(sigv4.Chunked, 100), sigv4.IncompleteBody},
		{"a signature that is another", replace(signed, string(signed[19:83]), strings.Repeat("0", 64)), config(sigv4.Chunked, 100), sigv4.SignatureMismatch},
		{"another secret", chunks(sigv4.Chunked, big), otherSecret, sigv4.SignatureMismatch},
		{"chunks in another order", swapped(sigv4.Chunked), config(sigv4.Chunked, 18000), sigv4.SignatureMismatch},
		{"another trailer value", replace(chunks(sigv4.ChunkedTrailer, small), "AAAAAA", "BAAAAA"), config(sigv4.ChunkedTrailer, 100), sigv4.SignatureMismatch},
		{"no trailer signature", replace(chunks(sigv4.ChunkedTrailer, small), "x-amz-trailer-signature", crcTrailer+"c"), config(sigv4.ChunkedTrailer, 100), sigv4.MalformedTrailer},
		{"a trailer that was not announced", unsigned, otherTrailer, sigv4.MalformedTrailer},
		{"a trailer that is missing", unsigned, twoTrailers, sigv4.MalformedTrailer},
		{"a trailer twice", replace(unsigned, crcTrailer, crcTrailer+":AAAAAA==\r\n"+crcTrailer), config(sigv4.UnsignedTrailer, 100), sigv4.MalformedTrailer},
		{"a trailer without colon", replace(unsigned, "32:", "32"), config(sigv4.UnsignedTrailer, 100), sigv4.MalformedTrailer},
		{"a trailer where none can be", replace(chunks(sigv4.Chunked, small), "\r\n\r\n", "\r\n"+crcTrailer+":AAAAAA==\r\n\r\n"), config(sigv4.Chunked, 100), sigv4.MalformedTrailer},
		{"a trailer without end", append(bytes.TrimSuffix(unsigned, []byte("\r\n\r\n")), bytes.Repeat([]byte("A"), 10000)...), config(sigv4.UnsignedTrailer, 100), sigv4.MalformedTrailer},
		{"trailers without end", append(bytes.Clone(unsigned), bytes.Repeat([]byte("\r\n"), 10000)...), config(sigv4.UnsignedTrailer, 100), sigv4.MalformedTrailer},
		{"bytes after the end", append(bytes.Clone(unsigned), "more\r\n"...), config(sigv4.UnsignedTrailer, 100), sigv4.MalformedTrailer},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := sigv4.NewChunkReader(bytes.NewReader(tt.wire), tt.cfg)
			_, err := io.ReadAll(c)
			if reason(err) != tt.want {
				t.Errorf("got %v", err)
			}
			if _, again := c.Read(make([]byte, 1)); !errors.Is(again, err) {
				t.Errorf("then %v", again)
			}
		})
	}
}

// swapped returns two chunks with right signatures in the wrong order.
func swapped(mode sigv4.Mode) []byte {
	e := newEncoder(mode)
	e.chunk(pattern(9000))
	cut := e.out.Len()
	e.chunk(bytes.Repeat([]byte("b"), 9000))
	end := e.out.Len()
	e.finish()
	wire := e.out.Bytes()
	return slices.Concat(wire[cut:end], wire[:cut], wire[end:])
}

func TestTrailersOfMinioGoAreTaken(t *testing.T) {
	content := pattern(100)
	for name, tt := range map[string]struct {
		mode     sigv4.Mode
		from, to string
	}{
		"a bare line end and an empty line before the signature": {sigv4.ChunkedTrailer, "AAAAAA==\r\n", "AAAAAA==\n\r\n"},
		"two empty lines at the end":                             {sigv4.UnsignedTrailer, "AAAAAA==\r\n\r\n", "AAAAAA==\n\r\n\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			wire := strings.Replace(string(encode(tt.mode, content, 9000)), tt.from, tt.to, 1)
			got, err := io.ReadAll(sigv4.NewChunkReader(strings.NewReader(wire), config(tt.mode, 100)))
			if err != nil || !bytes.Equal(got, content) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
		})
	}
}

// stuck gives some bytes and then fails, or nothing for ever.
type stuck struct {
	r   io.Reader
	err error
}

func (s stuck) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if errors.Is(err, io.EOF) {
		return n, s.err
	}
	return n, err
}

func TestErrorsOfTheSourceComeThrough(t *testing.T) {
	broken := errors.New("connection reset")
	wire := encode(sigv4.Chunked, pattern(20000), 9000)
	for cut := 0; cut < len(wire); cut += 61 {
		for _, want := range []error{broken, io.ErrNoProgress} {
			s := stuck{bytes.NewReader(wire[:cut]), want}
			if errors.Is(want, io.ErrNoProgress) {
				s.err = nil
			}
			if _, err := io.ReadAll(sigv4.NewChunkReader(s, config(sigv4.Chunked, 20000))); !errors.Is(err, want) {
				t.Fatalf("cut at %d: %v, want %v", cut, err, want)
			}
		}
	}
}

func FuzzChunkReader(f *testing.F) {
	content := pattern(17000)
	for i, mode := range modes() {
		f.Add(byte(i), encode(mode, content, 9000), uint64(i))
		f.Add(byte(i), encode(mode, nil, 9000), uint64(i))
	}
	f.Fuzz(func(t *testing.T, m byte, wire []byte, seed uint64) {
		mode := modes()[int(m)%3]
		rng := rand.New(rand.NewPCG(seed, 0))
		read := func(size int, r io.Reader) ([]byte, error) {
			return io.ReadAll(sigv4.NewChunkReader(r, config(mode, size)))
		}
		for _, size := range []int{0, len(content)} {
			whole, err := read(size, bytes.NewReader(wire))
			cut, cutErr := read(size, &randomReader{wire, rng})
			if (err == nil) != (cutErr == nil) || err == nil && !bytes.Equal(whole, cut) {
				t.Errorf("read whole: %d, %v; in pieces: %d, %v", len(whole), err, len(cut), cutErr)
			}
			if err == nil && len(whole) != size {
				t.Errorf("%d bytes of %d without an error", len(whole), size)
			}
			if err == nil && mode != sigv4.UnsignedTrailer && !bytes.Equal(whole, content[:size]) {
				t.Error("forged content")
			}
		}
	})
}

// randomReader gives what it holds in pieces of random size.
type randomReader struct {
	left []byte
	rng  *rand.Rand
}

func (r *randomReader) Read(p []byte) (int, error) {
	if len(r.left) == 0 {
		return 0, io.EOF
	}
	n := copy(p, r.left[:min(len(r.left), 1+r.rng.IntN(400))])
	r.left = r.left[n:]
	return n, nil
}

func BenchmarkChunkReader(b *testing.B) {
	content := pattern(16 << 20)
	buf := make([]byte, 1<<20)
	for _, mode := range []sigv4.Mode{sigv4.UnsignedTrailer, sigv4.Chunked} {
		for _, chunk := range []int{64 << 10, 1 << 20} {
			wire := encode(mode, content, chunk)
			b.Run(fmt.Sprintf("%v/%d", mode, chunk), func(b *testing.B) {
				b.SetBytes(int64(len(content)))
				b.ReportAllocs()
				for b.Loop() {
					c := sigv4.NewChunkReader(bytes.NewReader(wire), config(mode, len(content)))
					var err error
					for err == nil {
						_, err = c.Read(buf)
					}
					if !errors.Is(err, io.EOF) {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
