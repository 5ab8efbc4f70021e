package gateway

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"

	"github.com/shoal-storage/shoal/internal/iam"
	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/sse"
)

// The headers of server-side encryption
// (https://docs.aws.amazon.com/AmazonS3/latest/userguide/serv-side-encryption.html).
const (
	encryptionHeader = "x-amz-server-side-encryption"
	keyIDHeader      = encryptionHeader + "-aws-kms-key-id"
	contextHeader    = encryptionHeader + "-context"
	bucketKeyHeader  = encryptionHeader + "-bucket-key-enabled"
	customerHeaders  = encryptionHeader + "-customer-"
	sourceHeaders    = "x-amz-copy-source-server-side-encryption-customer-"
)

// The values of encryptionHeader.
const (
	managedName = "AES256"
	namedName   = "aws:kms"
)

// keyIDPrefix is what the names of master keys begin with in answers; in requests
// they may.
const keyIDPrefix = "arn:aws:kms:"

// maxContext is the most bytes that an encryption context can have, as JSON.
const maxContext = 8 << 10

// lookup finds a header, or a field of a form, by its name in lower case.
type lookup func(name string) (value string, there bool)

// lookup finds a header of the request.
func (r *request) lookup(name string) (string, bool) {
	if !r.encryption && strings.HasPrefix(name, encryptionHeader) {
		return "", false
	}
	return r.header(name), r.hasHeader(name)
}

// encryption is how an object, or what is to become one, is encrypted. A nil
// encryption: not at all.
type encryption struct {
	seal   sse.Seal
	key    sse.Key
	known  bool   // key is
	digest string // of the customer's key
}

// encrypt makes a key for a new object.
func (s *Server) encrypt(ctx context.Context, w *wish) (*encryption, error) {
	if w == nil {
		return nil, nil
	}
	e := &encryption{seal: w.seal, key: sse.NewKey(), known: true}
	if w.customer != nil {
		e.seal.WrapUnder(w.customer.key, e.key)
		e.digest = w.customer.digest
		return e, nil
	}
	if err := e.seal.Wrap(ctx, s.keysOf(&e.seal), e.key); err != nil {
		return nil, fromKeys(err, &e.seal)
	}
	return e, nil
}

// keysOf returns the master keys, with bucket keys between if the seal says so.
func (s *Server) keysOf(seal *sse.Seal) sse.MasterKeys {
	if seal.BucketKey {
		return s.between.Over(s.MasterKeys)
	}
	return s.MasterKeys
}

// decrypt finds the key of what has a seal. customer is the key that the client
// sent, if any.
func (s *Server) decrypt(ctx context.Context, seal string, customer *customerKey) (*encryption, error) {
	e, err := s.sealed(seal, customer)
	if err != nil || e == nil || e.known {
		return e, err
	}
	if s.MasterKeys == nil {
		return nil, errKMSNotConfigured
	}
	if e.key, err = e.seal.Unwrap(ctx, s.keysOf(&e.seal)); err != nil {
		return nil, fromKeys(err, &e.seal)
	}
	e.known = true
	return e, nil
}

// sealed reads a seal, and finds the key if the client has to bring it.
func (s *Server) sealed(seal string, customer *customerKey) (*encryption, error) {
	if seal == "" && customer == nil {
		return nil, nil
	}
	var e encryption
	var err error
	if seal != "" {
		if e.seal, err = sse.ParseSeal(seal); err != nil {
			return nil, err
		}
	}
	switch {
	case e.seal.Mode != sse.Customer && customer != nil:
		return nil, errNeedsNoKey
	case e.seal.Mode != sse.Customer:
		return &e, nil
	case customer == nil:
		return nil, errNeedsKey
	}
	if e.key, err = e.seal.UnwrapUnder(customer.key); err != nil {
		return nil, errWrongKey.because(err)
	}
	e.known, e.digest = true, customer.digest
	return &e, nil
}

// fromKeys is what the client is told of master keys that failed.
func fromKeys(err error, seal *sse.Seal) error {
	switch {
	case errors.Is(err, sse.ErrNoMasterKey):
		return errNoMasterKey.with("Key '" + keyIDPrefix + seal.MasterKey + "' does not exist").because(err)
	case errors.Is(err, sse.ErrDenied):
		return errAccessDenied.with("The key management service denies the use of the key '" + keyIDPrefix + seal.MasterKey + "'.").because(err)
	case errors.Is(err, sse.ErrWrongKey):
		return errInternal.because(err)
	}
	return errUnavailable.because(err)
}

// text returns what the Store is to keep.
func (e *encryption) text() string {
	if e == nil {
		return ""
	}
	return e.seal.Encode()
}

// body returns the body of an object encrypted.
func (e *encryption) body(b object.Body) object.Body {
	if e == nil {
		return b
	}
	return sse.Encrypt(b, e.key, "", e.seal.Mode == sse.Managed)
}

// putEncrypted puts an object, encrypted as it is wished.
func (s *Server) putEncrypted(ctx context.Context, ref object.Ref, in object.PutInput, w *wish) (object.Info, *encryption, error) {
	e, err := s.encrypt(ctx, w)
	if err != nil {
		return object.Info{}, nil, err
	}
	in.Body, in.Meta.Seal = e.body(in.Body), e.text()
	info, err := s.Store.Put(ctx, ref, in)
	return e.reveal(info), e, err
}

// openDecrypted opens an object for somebody; customer is the key that the client sent,
// if any.
func (s *Server) openDecrypted(ctx context.Context, who iam.Identity, ref object.Ref, customer *customerKey) (object.Handle, *encryption, error) {
	h, err := s.openPermitted(ctx, who, ref)
	if err != nil {
		return nil, nil, err
	}
	e, err := s.decrypt(ctx, h.Info().Meta.Seal, customer)
	if err != nil {
		return nil, nil, errors.Join(err, h.Close())
	}
	return e.open(h), e, nil
}

// partBody does so for a part of an upload.
func (e *encryption) partBody(b object.Body) object.Body {
	if e == nil {
		return b
	}
	return sse.Encrypt(b, e.key, sse.NewSalt(), e.seal.Mode == sse.Managed)
}

// open returns h decrypted.
func (e *encryption) open(h object.Handle) object.Handle {
	if e == nil {
		return h
	}
	return sse.Decrypt(h, e.key)
}

// reveal returns what a Store says of the object with its checksum, if that can be
// known. Those of its parts stay hidden.
func (e *encryption) reveal(info object.Info) object.Info {
	switch {
	case e == nil:
	case e.known:
		info = sse.Reveal(info, e.key)
	default:
		info.Checksum = object.Checksum{}
	}
	return info
}

// revealPart does so for a part of an upload.
func (e *encryption) revealPart(part object.Part, a object.Algorithm) object.Part {
	switch {
	case e == nil:
	case e.known:
		part = sse.RevealPart(part, a, e.key)
	default:
		part.Checksum = ""
	}
	return part
}

// partChecksum returns the checksum of a part of an object whose own is known.
func (e *encryption) partChecksum(part *object.PartInfo, whole object.Checksum) object.Checksum {
	value := part.Checksum
	if e != nil {
		value = sse.PartChecksum(part, whole.Algorithm, e.key)
	}
	if value == "" {
		return object.Checksum{}
	}
	return object.Checksum{Algorithm: whole.Algorithm, Value: value, Type: whole.Type}
}

// conceal returns the checksum of an object as it is kept.
func (e *encryption) conceal(sum object.Checksum) object.Checksum { return sse.Conceal(sum, e.key) }

// headers returns those that tell how an object is encrypted.
func (e *encryption) headers() []detail {
	if e == nil {
		return nil
	}
	switch e.seal.Mode {
	case sse.Managed:
		return []detail{{encryptionHeader, managedName}}
	case sse.Named:
		h := []detail{{encryptionHeader, namedName}, {keyIDHeader, keyIDPrefix + e.seal.MasterKey}}
		if e.seal.BucketKey {
			h = append(h, detail{bucketKeyHeader, "true"})
		}
		return h
	case sse.Customer:
		return []detail{{customerHeaders + "algorithm", managedName}, {customerHeaders + "key-MD5", e.digest}}
	}
	return nil
}

// madeHeaders returns those of an answer to who has made an object or an upload:
// they tell the context too.
func (e *encryption) madeHeaders() []detail {
	h := e.headers()
	if e != nil && len(e.seal.Context) > 0 {
		b, err := json.Marshal(e.seal.Context)
		if err != nil {
			panic(err) // strings alone
		}
		h = append(h, detail{contextHeader, base64.StdEncoding.EncodeToString(b)})
	}
	return h
}

// setAll sets headers of the answer.
func (r *request) setAll(headers []detail) {
	for _, h := range headers {
		r.set(h.name, h.value)
	}
}

// keeping is the wish for a copy that nothing is said about: what a master key
// protects stays so.
func (e *encryption) keeping() *wish {
	if e == nil || e.seal.Mode == sse.Customer {
		return nil
	}
	return &wish{seal: sse.Seal{Mode: e.seal.Mode, MasterKey: e.seal.MasterKey, BucketKey: e.seal.BucketKey}}
}

// partKey finds the key of an upload, for a part of it.
func (s *Server) partKey(ctx context.Context, r *request, up *object.Upload) (*encryption, error) {
	customer, err := s.readingKey(r)
	if err != nil {
		return nil, err
	}
	e, err := s.decrypt(ctx, up.Meta.Seal, customer)
	switch {
	case errors.Is(err, sse.ErrWrongKey) && customer != nil:
		return nil, errInvalidRequest.with("The provided encryption parameters did not match the ones used originally.").because(err)
	case errors.Is(err, errNeedsNoKey):
		return nil, errInvalidRequest.with("The multipart upload was not begun with a key of the customer (SSE-C), so its parts take none.")
	case errors.Is(err, errNeedsKey):
		return nil, errPartKey
	}
	return e, err
}

// keyIfGiven finds the key of what has a seal, but for a customer's that was not
// sent.
func (s *Server) keyIfGiven(ctx context.Context, seal string, customer *customerKey) (*encryption, error) {
	e, err := s.decrypt(ctx, seal, customer)
	if errors.Is(err, errNeedsKey) {
		return &encryption{seal: sse.Seal{Mode: sse.Customer}}, nil
	}
	return e, err
}

// examine tells how an object is encrypted whose content is not read: without the
// key, unless its checksum is wanted or the client has to have it.
func (s *Server) examine(ctx context.Context, r *request, info object.Info, checksum bool) (*encryption, object.Info, error) {
	customer, err := s.readingKey(r)
	if err != nil {
		return nil, info, err
	}
	find := func() (*encryption, error) { return s.sealed(info.Meta.Seal, customer) }
	if checksum {
		find = func() (*encryption, error) { return s.decrypt(ctx, info.Meta.Seal, customer) }
	}
	e, err := find()
	if err != nil {
		return nil, info, err
	}
	return e, e.reveal(info), nil
}
