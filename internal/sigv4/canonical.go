package sigv4

import (
	"bytes"
	"slices"
	"strings"
)

const signatureParameter = "X-Amz-Signature"

// reading is how a request is read where clients differ on how to sign it.
type reading struct {
	slashes bool // an escaped slash in the path counts as a slash
	inOrder bool // values of one parameter stay in the order in which they came
}

// appendCanonical appends the canonical request
// (https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html).
func appendCanonical(b []byte, r Request, a *Auth, as reading) []byte {
	b = append(b, r.Method...)
	b = append(b, '\n')
	b = appendPath(b, r.Path, as.slashes)
	b = append(b, '\n')
	b = appendQuery(b, r.Query, a.Presigned, as.inOrder)
	b = append(b, '\n')
	for _, name := range a.SignedHeaders {
		b = appendHeader(b, name, r.Header)
	}
	b = append(b, '\n')
	for i, name := range a.SignedHeaders {
		if i > 0 {
			b = append(b, ';')
		}
		b = append(b, name...)
	}
	b = append(b, '\n')
	return append(b, a.PayloadHash...)
}

// appendPath appends the path with every byte but the unreserved ones and the
// slash escaped once. Unlike other services of AWS, S3 neither folds "//" or
// "..", nor escapes twice.
func appendPath(b []byte, path string, slashes bool) []byte {
	if path == "" {
		return append(b, '/')
	}
	for i := 0; i < len(path); i++ {
		c := path[i]
		switch {
		case isUnreserved(c) || c == '/':
			b = append(b, c)
			continue
		case c == '%':
			if d, ok := unhex(path, i); ok {
				c, i = d, i+2
				if c == '/' && slashes {
					b = append(b, '/')
					continue
				}
			}
		}
		b = appendEscaped(b, c)
	}
	return b
}

// parameter is one of a query, as offsets into the buffer that holds it in
// canonical form: name from start, '=' at equals, value to end.
type parameter struct{ start, equals, end int }

// appendQuery appends the parameters in canonical form, sorted by name and then,
// unless they are to stay in order, by value. A presigned URL does not sign its own signature.
//
// '+' is a space, as it is to whoever reads the parameters afterwards: what was
// signed must be what is obeyed. So clients sign %20 for it.
func appendQuery(b []byte, query string, presigned, inOrder bool) []byte {
	if query == "" {
		return b
	}
	var few [24]parameter
	var room [1024]byte
	all, form := few[:0], room[:0]
	for query != "" {
		var item string
		item, query, _ = strings.Cut(query, "&")
		if item == "" {
			continue
		}
		name, value, _ := strings.Cut(item, "=")
		p := parameter{start: len(form)}
		form = appendComponent(form, name)
		p.equals = len(form)
		if presigned && string(form[p.start:]) == signatureParameter {
			form = form[:p.start]
			continue
		}
		form = append(form, '=')
		form = appendComponent(form, value)
		p.end = len(form)
		all = append(all, p)
	}
	slices.SortStableFunc(all, func(x, y parameter) int {
		if c := bytes.Compare(form[x.start:x.equals], form[y.start:y.equals]); c != 0 || inOrder {
			return c
		}
		return bytes.Compare(form[x.equals:x.end], form[y.equals:y.end])
	})
	for i, p := range all {
		if i > 0 {
			b = append(b, '&')
		}
		b = append(b, form[p.start:p.end]...)
	}
	return b
}

// appendComponent decodes a name or value of a query and escapes it again, so
// that every way to write it comes out the same.
func appendComponent(b []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case isUnreserved(c):
			b = append(b, c)
			continue
		case c == '+':
			c = ' '
		case c == '%':
			if d, ok := unhex(s, i); ok {
				c, i = d, i+2
			}
		}
		if isUnreserved(c) {
			b = append(b, c)
		} else {
			b = appendEscaped(b, c)
		}
	}
	return b
}

// appendHeader appends "name:value,value\n" with the space around values taken
// away and that within them folded, as the SDKs do.
func appendHeader(b []byte, name string, h Header) []byte {
	b = append(b, name...)
	b = append(b, ':')
	for i, value := range h.Values(name) {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendFolded(b, value)
	}
	return append(b, '\n')
}

func appendFolded(b []byte, value string) []byte {
	start, space := len(b), false
	for i := range len(value) {
		switch c := value[i]; c {
		case ' ', '\t', '\r', '\n', '\v', '\f':
			space = true
		default:
			if space && len(b) > start {
				b = append(b, ' ')
			}
			space = false
			b = append(b, c)
		}
	}
	return b
}

// isUnreserved reports whether c stands for itself (RFC 3986 section 2.3).
func isUnreserved(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
		c == '-' || c == '_' || c == '.' || c == '~'
}

// appendEscaped appends c as AWS's UriEncode would.
func appendEscaped(b []byte, c byte) []byte {
	const digits = "0123456789ABCDEF"
	if isUnreserved(c) {
		return append(b, c)
	}
	return append(b, '%', digits[c>>4], digits[c&15])
}

// decode takes the escapes out of s; a broken one stands for itself.
func decode(s string, plus bool) string {
	if !strings.Contains(s, "%") && (!plus || !strings.Contains(s, "+")) {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '%' {
			if d, ok := unhex(s, i); ok {
				c, i = d, i+2
			}
		} else if c == '+' && plus {
			c = ' '
		}
		b = append(b, c)
	}
	return string(b)
}

// unhex returns the byte that the escape at s[i] stands for.
func unhex(s string, i int) (byte, bool) {
	if i+2 >= len(s) {
		return 0, false
	}
	hi, ok1 := digit(s[i+1])
	lo, ok2 := digit(s[i+2])
	return hi<<4 | lo, ok1 && ok2
}

func digit(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}
