// Package limits keeps users and buckets within rates of requests and bytes. It has no
// clock and waits for nothing: it says what is too much, and how much too early.
package limits

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// Document is the name of a bucket's document that has its rates.
const Document = "limits"

// Rates are what somebody may do a second, at all gateways together; 0 is without limit.
type Rates struct {
	Requests int64 `json:"requests,omitempty"`
	Up       int64 `json:"up,omitempty"`   // bytes that requests bring
	Down     int64 `json:"down,omitempty"` // bytes that answers take along
}

// minBytes is the least rate of bytes: below it an answer without content takes seconds.
const minBytes = 1 << 10

// ErrInvalid says that rates are not possible.
var ErrInvalid = errors.New("limits: not valid")

// IsZero reports whether nothing is limited.
func (r Rates) IsZero() bool { return r == Rates{} }

// Validate refuses rates that nobody could work with.
func (r Rates) Validate() error {
	switch {
	case r.Requests < 0 || r.Up < 0 || r.Down < 0:
		return fmt.Errorf("%w: a rate cannot be negative", ErrInvalid)
	case r.Up > 0 && r.Up < minBytes, r.Down > 0 && r.Down < minBytes:
		return fmt.Errorf("%w: a rate of bytes must be at least %d a second", ErrInvalid, minBytes)
	}
	return nil
}

// Parse reads rates as String writes them; "" is none.
func Parse(text string) (r Rates, err error) {
	if text == "" {
		return r, nil
	}
	decoder := json.NewDecoder(bytes.NewReader([]byte(text)))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&r); err != nil {
		return Rates{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if err := r.Validate(); err != nil {
		return Rates{}, err
	}
	return r, nil
}

// String returns the rates as they are kept: JSON, or "" if nothing is limited.
func (r Rates) String() string {
	if r.IsZero() {
		return ""
	}
	text, err := json.Marshal(r)
	if err != nil {
		return "" // numbers can be encoded
	}
	return string(text)
}
