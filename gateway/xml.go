package gateway

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	xmlDeclaration = `<?xml version="1.0" encoding="UTF-8"?>` + "\n"
	xmlNamespace   = "http://s3.amazonaws.com/doc/2006-03-01/"
	timeFormat     = "2006-01-02T15:04:05.000Z" // S3's form of ISO 8601
	maxYear        = 9999                       // the last that it and the dates of headers can tell
)

// xmlWriter appends an XML document to a buffer. A page of a listing is a
// thousand entries; reflection would cost more than finding them did.
type xmlWriter struct {
	buf []byte
}

// newXML begins a document with a root element in S3's namespace.
func newXML(root string) *xmlWriter {
	return beginXML(root + ` xmlns="` + xmlNamespace + `"`)
}

// newBareXML begins a document with a root element in no namespace, as S3 answers forms.
func newBareXML(root string) *xmlWriter {
	return beginXML(root)
}

func beginXML(tag string) *xmlWriter {
	w := &xmlWriter{buf: make([]byte, 0, 1024)}
	w.buf = append(w.buf, xmlDeclaration...)
	w.open(tag)
	return w
}

func (w *xmlWriter) open(name string) {
	w.buf = append(append(append(w.buf, '<'), name...), '>')
}

func (w *xmlWriter) close(name string) {
	w.buf = append(append(append(w.buf, '<', '/'), name...), '>')
}

// text writes an element that holds value.
func (w *xmlWriter) text(name, value string) {
	w.open(name)
	w.buf = appendEscaped(w.buf, value)
	w.close(name)
}

// optional writes an element unless value is empty.
func (w *xmlWriter) optional(name, value string) {
	if value != "" {
		w.text(name, value)
	}
}

// message writes a Message element. S3 leaves the quotes in it as they are.
func (w *xmlWriter) message(value string) {
	w.open("Message")
	for i, part := range strings.Split(value, `"`) {
		if i > 0 {
			w.buf = append(w.buf, '"')
		}
		w.buf = appendEscaped(w.buf, part)
	}
	w.close("Message")
}

func (w *xmlWriter) integer(name string, value int64) {
	w.open(name)
	w.buf = strconv.AppendInt(w.buf, value, 10)
	w.close(name)
}

func (w *xmlWriter) boolean(name string, value bool) {
	w.open(name)
	w.buf = strconv.AppendBool(w.buf, value)
	w.close(name)
}

func (w *xmlWriter) time(name string, value time.Time) {
	w.open(name)
	w.buf = value.UTC().AppendFormat(w.buf, timeFormat)
	w.close(name)
}

// etag writes an ETag element with its quotes.
func (w *xmlWriter) etag(value string) {
	w.open("ETag")
	w.buf = append(w.buf, "&quot;"...)
	w.buf = appendEscaped(w.buf, value)
	w.buf = append(w.buf, "&quot;"...)
	w.close("ETag")
}

// end closes the root element and returns the document.
func (w *xmlWriter) end(root string) []byte {
	w.close(root)
	return w.buf
}

// appendEscaped appends character data. Control characters, which XML 1.0
// cannot hold, become character references as S3 writes them; bytes that are
// not UTF-8 become U+FFFD (clients that meet either ask for encoding-type=url).
func appendEscaped(buf []byte, s string) []byte {
	last := 0
	for i := 0; i < len(s); {
		c := s[i]
		size := 1
		var esc string
		switch {
		case c == '&':
			esc = "&amp;"
		case c == '<':
			esc = "&lt;"
		case c == '>':
			esc = "&gt;"
		case c == '"':
			esc = "&quot;"
		case c < 0x20:
			esc = "&#x" + strconv.FormatUint(uint64(c), 16) + ";"
		case c >= utf8.RuneSelf:
			var r rune
			if r, size = utf8.DecodeRuneInString(s[i:]); r == utf8.RuneError && size == 1 {
				esc = "\uFFFD"
			}
		}
		if esc != "" {
			buf = append(append(buf, s[last:i]...), esc...)
			last = i + size
		}
		i += size
	}
	return append(buf, s[last:]...)
}

// readXML parses a request document into v, which has a field for each element that may be in it. The body's own error, such as a
// wrong digest, goes before a syntax error that it may have caused.
func readXML(body io.Reader, limit int64, v any) error {
	content, err := io.ReadAll(io.LimitReader(body, limit+1))
	if err != nil {
		return err
	}
	if int64(len(content)) > limit {
		return errMalformedXML.with("The XML that you provided is larger than this request may have.")
	}
	return parseRequest(content, v)
}

// parseRequest is readXML for a document that was read.
func parseRequest(content []byte, v any) error {
	tokens := xml.NewDecoder(bytes.NewReader(content))
	return parse(xml.NewTokenDecoder(&schema{tokens: tokens, root: elementOf(reflect.TypeOf(v))}), v)
}

// parseXML parses one complete document that was kept into v. One of before may have elements that
// would be refused now.
func parseXML(content []byte, v any) error {
	return parse(xml.NewDecoder(bytes.NewReader(content)), v)
}

func parse(d *xml.Decoder, v any) error {
	if err := d.Decode(v); err != nil {
		return errMalformedXML.because(err)
	}
	for {
		switch token, err := d.Token(); token := token.(type) {
		case nil:
			if !errors.Is(err, io.EOF) {
				return errMalformedXML.because(err)
			}
			return nil
		case xml.Comment, xml.ProcInst:
		case xml.CharData:
			if len(bytes.TrimSpace(token)) > 0 {
				return errMalformedXML
			}
		default:
			return errMalformedXML // a second root
		}
	}
}
