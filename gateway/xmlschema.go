package gateway

import (
	"encoding/xml"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// element is what may be in an element of a document that is read into a Go value.
type element struct {
	children map[string]*element
	many     bool // it may be there more than once
	open     bool // whatever is in it is of no interest
}

// elementOf returns the element that is read into a value of a type, as encoding/xml does it.
// Types that are made of themselves there are none.
func elementOf(t reflect.Type) *element {
	e := &element{}
	for ; t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice && t.Elem().Kind() != reflect.Uint8; t = t.Elem() {
		e.many = e.many || t.Kind() == reflect.Slice
	}
	switch {
	case t.Kind() != reflect.Struct:
		return e
	case t.NumField() == 0: // only that it is there counts
		e.many, e.open = true, true
		return e
	}
	e.children = make(map[string]*element)
	for i := range t.NumField() {
		if f := t.Field(i); f.IsExported() && f.Type != reflect.TypeFor[xml.Name]() {
			e.add(f)
		}
	}
	return e
}

// add adds what is read into a field.
func (e *element) add(f reflect.StructField) {
	name, options, _ := strings.Cut(f.Tag.Get("xml"), ",")
	if name == "-" || slices.Contains(strings.Split(options, ","), "attr") {
		return
	}
	if name == "" {
		name = f.Name
	}
	e.children[name] = elementOf(f.Type)
}

// schema passes on the tokens of a document, and refuses what nobody reads: an element that is
// not known, and one that is there again where one is read. S3 validates documents; a rule whose
// filter is misspelled would be one for the whole bucket.
type schema struct {
	tokens *xml.Decoder
	root   *element
	within []place
}

// place is an element that is not at its end.
type place struct {
	*element
	seen []*element
}

// Token implements xml.TokenReader.
func (s *schema) Token() (xml.Token, error) {
	token, err := s.tokens.RawToken()
	switch t := token.(type) {
	case xml.StartElement:
		e, err := s.child(t.Name.Local)
		if err != nil {
			return nil, err
		}
		s.within = append(s.within, place{element: e})
	case xml.EndElement:
		if n := len(s.within); n > 0 {
			s.within = s.within[:n-1]
		}
	}
	return token, err
}

// child returns the element of a name in the one that the document is at.
func (s *schema) child(name string) (*element, error) {
	if len(s.within) == 0 {
		return s.root, nil
	}
	in := &s.within[len(s.within)-1]
	if in.open {
		return in.element, nil
	}
	e := in.children[name]
	switch {
	case e == nil:
		return nil, fmt.Errorf("element %s is not known there", name)
	case e.many:
	case slices.Contains(in.seen, e):
		return nil, fmt.Errorf("element %s is there twice", name)
	default:
		in.seen = append(in.seen, e)
	}
	return e, nil
}
