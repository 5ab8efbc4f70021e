package sse

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
)

// Mode says whose key an object's key is wrapped under.
type Mode string

// The modes, as S3 names them.
const (
	Customer Mode = "SSE-C"   // the client's, which comes with each request and is not kept
	Managed  Mode = "SSE-S3"  // a master key, of which the client knows nothing
	Named    Mode = "SSE-KMS" // a master key that the client may choose
)

// Seal is what is kept beside encrypted content, so that whoever has the key it was
// wrapped under can read it.
type Seal struct {
	Version   int               `json:"version"` // of the format of the content; 1
	Mode      Mode              `json:"mode"`
	MasterKey string            `json:"masterKey,omitempty"` // name
	Wrapped   []byte            `json:"wrapped"`             // the object's key
	Context   map[string]string `json:"context,omitempty"`   // that the client bound the key to
	BucketKey bool              `json:"bucketKey,omitempty"` // there is a bucket key between
}

// MasterKeys wraps keys under master keys, which it does not give out. It may be
// used concurrently. Errors are ErrNoMasterKey, ErrWrongKey, ErrDenied, or say why the
// keys are out of reach.
type MasterKeys interface {
	// Default returns the name of the master key that is used where none is named.
	Default() string
	// Names returns the names of the master keys.
	Names(ctx context.Context) ([]string, error)
	// Create makes a master key, unless there is one of the name; it fails with
	// errors.ErrUnsupported where keys come from elsewhere.
	Create(ctx context.Context, name string) error
	// Wrap returns a key encrypted under a master key.
	Wrap(ctx context.Context, name string, key Key, context []byte) ([]byte, error)
	// Unwrap is the inverse of Wrap.
	Unwrap(ctx context.Context, name string, wrapped, context []byte) (Key, error)
	// HasVersions reports whether a master key can have newer versions under its name,
	// so that what is wrapped under it again may be under another one.
	HasVersions(name string) bool
}

// ErrNoMasterKey is returned where there is no master key of a name.
var ErrNoMasterKey = errors.New("no such master key")

// ErrDenied is returned where the service that has the master keys denies what is asked
// of one, and will deny it again.
var ErrDenied = errors.New("the key management service denies it")

// formatVersion is the Version of seals that are made.
const formatVersion = 1

// ParseSeal reads what Encode has written.
func ParseSeal(text string) (Seal, error) {
	var s Seal
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		return s, fmt.Errorf("read a seal: %w", err)
	}
	switch {
	case s.Version != formatVersion:
		return s, fmt.Errorf("read a seal: it is of version %d, and %d is known", s.Version, formatVersion)
	case s.Mode != Customer && s.Mode != Managed && s.Mode != Named:
		return s, fmt.Errorf("read a seal: its mode is %q", s.Mode)
	}
	return s, nil
}

// Encode returns the seal as text. It tells no secret.
func (s *Seal) Encode() string {
	s.Version = formatVersion
	b, err := json.Marshal(s)
	if err != nil {
		panic(err) // strings and bytes alone
	}
	return string(b)
}

// bound is what the wrapping of the object's key is bound to: the same key in
// another mode or context cannot be unwrapped. The object's name is not in it, so
// that files can be renamed and copied as they are.
func (s *Seal) bound() []byte {
	b, err := json.Marshal(struct {
		Mode    Mode              `json:"mode"`
		Context map[string]string `json:"context,omitempty"`
	}{s.Mode, s.Context})
	if err != nil {
		panic(err) // strings alone; the keys of a map come sorted
	}
	return b
}

// WrapUnder wraps the object's key under the customer's.
func (s *Seal) WrapUnder(customer, key Key) { s.Wrapped = customer.Wrap(key, s.bound()) }

// UnwrapUnder returns the object's key, or ErrWrongKey.
func (s *Seal) UnwrapUnder(customer Key) (Key, error) { return customer.Unwrap(s.Wrapped, s.bound()) }

// Wrap wraps the object's key under the master key that the seal names.
func (s *Seal) Wrap(ctx context.Context, keys MasterKeys, key Key) (err error) {
	s.Wrapped, err = keys.Wrap(ctx, s.MasterKey, key, s.bound())
	if err != nil {
		return fmt.Errorf("wrap under master key %q: %w", s.MasterKey, err)
	}
	return nil
}

// Unwrap returns the object's key.
func (s *Seal) Unwrap(ctx context.Context, keys MasterKeys) (Key, error) {
	key, err := keys.Unwrap(ctx, s.MasterKey, s.Wrapped, s.bound())
	if err != nil {
		return Key{}, fmt.Errorf("unwrap under master key %q: %w", s.MasterKey, err)
	}
	return key, nil
}
