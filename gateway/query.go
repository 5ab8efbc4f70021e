package gateway

import (
	"strings"
)

// maxQueryKeys bounds the parameters of one request; S3 knows no request with
// half as many.
const maxQueryKeys = 64

// query is the decoded query string: its parameters in order.
type query []struct{ name, value string }

// parseQuery decodes a query string. In it, as in forms, '+' is a space.
func parseQuery(raw string) (query, error) {
	if raw == "" {
		return nil, nil
	}
	q := make(query, 0, 1+strings.Count(raw, "&"))
	for item := range strings.SplitSeq(raw, "&") {
		if item == "" {
			continue
		}
		if len(q) == maxQueryKeys {
			return nil, errInvalidURI.with("The request has too many query parameters.")
		}
		name, value, _ := strings.Cut(item, "=")
		name, ok1 := unescape(name, true)
		value, ok2 := unescape(value, true)
		if !ok1 || !ok2 {
			return nil, errInvalidURI
		}
		q = append(q, struct{ name, value string }{name, value})
	}
	return q, nil
}

// has reports whether the parameter is there, with or without a value.
func (q query) has(name string) bool {
	for i := range q {
		if q[i].name == name {
			return true
		}
	}
	return false
}

// get returns the parameter's first value, or "".
func (q query) get(name string) string {
	for i := range q {
		if q[i].name == name {
			return q[i].value
		}
	}
	return ""
}

// unescape decodes %XX once, and '+' too if plus is set; ok is false for a
// broken escape.
func unescape(s string, plus bool) (decoded string, ok bool) {
	if !strings.ContainsRune(s, '%') && (!plus || !strings.ContainsRune(s, '+')) {
		return s, true
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '%':
			if i+2 >= len(s) {
				return "", false
			}
			hi, lo := fromHex(s[i+1]), fromHex(s[i+2])
			if hi > 15 || lo > 15 {
				return "", false
			}
			out = append(out, hi<<4|lo)
			i += 2
		case c == '+' && plus:
			out = append(out, ' ')
		default:
			out = append(out, c)
		}
	}
	return string(out), true
}

func fromHex(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10
	}
	return 0xff
}

// escapeURL encodes s as S3 does for encoding-type=url: letters, digits and
// "-_.*/" stay, a space becomes '+', everything else %XX.
func escapeURL(s string) string {
	const hex = "0123456789ABCDEF"
	out := make([]byte, 0, len(s)+8)
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9',
			c == '-', c == '_', c == '.', c == '*', c == '/':
			out = append(out, c)
		case c == ' ':
			out = append(out, '+')
		default:
			out = append(out, '%', hex[c>>4], hex[c&15])
		}
	}
	return string(out)
}
