package sigv4

// Mode says how the payload of a request is framed and signed.
type Mode uint8

// The modes, as x-amz-content-sha256 names them.
const (
	Unsigned        Mode = iota // UNSIGNED-PAYLOAD
	Signed                      // the SHA-256 of the payload in hex
	Chunked                     // STREAMING-AWS4-HMAC-SHA256-PAYLOAD
	ChunkedTrailer              // STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER
	UnsignedTrailer             // STREAMING-UNSIGNED-PAYLOAD-TRAILER
)

const (
	unsignedPayload = "UNSIGNED-PAYLOAD"
	streaming       = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
	streamTrailer   = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
	streamUnsigned  = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
	streamECDSA     = "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD"
	streamECDSATail = "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD-TRAILER"

	emptySHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
)

// String returns the value of x-amz-content-sha256, "" for Signed.
func (m Mode) String() string {
	switch m {
	case Unsigned:
		return unsignedPayload
	case Chunked:
		return streaming
	case ChunkedTrailer:
		return streamTrailer
	case UnsignedTrailer:
		return streamUnsigned
	case Signed:
	}
	return ""
}

// Framed reports whether the body is aws-chunked and must be read through a
// ChunkReader.
func (m Mode) Framed() bool { return m == Chunked || m == ChunkedTrailer || m == UnsignedTrailer }

// SignsChunks reports whether each chunk has a signature.
func (m Mode) SignsChunks() bool { return m == Chunked || m == ChunkedTrailer }

// Trailers reports whether trailers may follow the last chunk.
func (m Mode) Trailers() bool { return m == ChunkedTrailer || m == UnsignedTrailer }

// Payload is what x-amz-content-sha256 says.
type Payload struct {
	Mode   Mode
	SHA256 string // of Signed: 64 lower-case hex digits
}

// ParsePayload reads a value of x-amz-content-sha256; an empty one, which
// anonymous requests may have, means Unsigned. The errors are NotImplemented
// for ECDSA and InvalidContentSHA256.
func ParsePayload(value string) (Payload, error) {
	switch value {
	case "", unsignedPayload:
		return Payload{Mode: Unsigned}, nil
	case streaming:
		return Payload{Mode: Chunked}, nil
	case streamTrailer:
		return Payload{Mode: ChunkedTrailer}, nil
	case streamUnsigned:
		return Payload{Mode: UnsignedTrailer}, nil
	case streamECDSA, streamECDSATail:
		return Payload{}, refuse(NotImplemented, "ECDSA signatures (SigV4A) are not implemented.")
	}
	sum, ok := lowerHex64(value)
	if !ok {
		return Payload{}, refuse(InvalidContentSHA256, contentSHA256+" must be "+unsignedPayload+", "+
			streamUnsigned+", "+streaming+", "+streamTrailer+", "+streamECDSA+", "+streamECDSATail+" or a valid sha256 value.").about(contentSHA256, value)
	}
	return Payload{Mode: Signed, SHA256: sum}, nil
}

// lowerHex64 returns s in lower case if it is 64 hex digits.
func lowerHex64(s string) (string, bool) {
	if len(s) != 64 {
		return "", false
	}
	upper := false
	for i := range len(s) {
		switch c := s[i]; {
		case '0' <= c && c <= '9', 'a' <= c && c <= 'f':
		case 'A' <= c && c <= 'F':
			upper = true
		default:
			return "", false
		}
	}
	if !upper {
		return s, true
	}
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'F' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b), true
}
