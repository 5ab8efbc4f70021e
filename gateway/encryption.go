package gateway

import (
	"context"
	"crypto/md5" //nolint:gosec // S3 defines the digest of a customer's key by MD5.
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"strconv"
	"strings"

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

// customerKey is the key that a client sends along to encrypt or decrypt with.
type customerKey struct {
	key    sse.Key
	digest string // base64 of its MD5
}

// customerKey reads the headers with a prefix that bring a key, nil if there are
// none. Who writes must send all of them, and a key of the right size; who reads
// with one of another size has the wrong key.
func (s *Server) customerKey(r *request, get lookup, prefix string, writes bool) (*customerKey, error) {
	algorithm, named := get(prefix + "algorithm")
	encoded, given := get(prefix + "key")
	digest, digested := get(prefix + "key-md5")
	if !named && !given && !digested {
		return nil, nil
	}
	switch {
	case !r.ctx.IsTLS() && !s.InsecureCustomerKeys:
		return nil, errInvalidRequest.with(customersRequest + "be made over a secure connection.")
	case algorithm == "":
		return nil, errInvalidEncryption.with(customersRequest + "provide a valid encryption algorithm.")
	case algorithm != managedName:
		return nil, errEncryptionAlgorithm.detailed("ArgumentName", encryptionHeader).detailed("ArgumentValue", algorithm)
	case encoded == "":
		return nil, errInvalidEncryption.with(customersRequest + "provide an appropriate secret key.")
	case digest == "" && (digested || writes):
		return nil, errInvalidEncryption.with(customersRequest + "provide the client calculated MD5 of the secret key.")
	}
	raw, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return nil, errInvalidEncryption.with("The secret key was invalid for the specified algorithm.")
	}
	sum := md5.Sum(raw) //nolint:gosec // as above
	c := &customerKey{digest: base64.StdEncoding.EncodeToString(sum[:])}
	switch {
	case digest != "" && digest != c.digest:
		return nil, errInvalidEncryption.with("The calculated MD5 hash of the key did not match the hash that was provided.")
	case len(raw) == sse.KeySize:
		c.key = sse.Key(raw)
	case writes:
		return nil, errInvalidEncryption.with("The secret key was invalid for the specified algorithm.")
	default:
		c.key = sse.NewKey() // which fits nothing
	}
	return c, nil
}

// customersRequest is how S3's messages on the keys of customers begin.
const customersRequest = "Requests specifying Server Side Encryption with Customer provided keys must "

// readingKey returns the key that a request brings for what it reads.
func (s *Server) readingKey(r *request) (*customerKey, error) {
	if !r.encryption {
		return nil, nil // the most of all requests
	}
	return s.customerKey(r, r.lookup, customerHeaders, false)
}

// wish is how a new object is to be encrypted. A nil wish: not at all.
type wish struct {
	seal     sse.Seal     // without a key
	customer *customerKey // of Mode Customer
}

// wish reads how the request wants a new object to be encrypted. What it leaves
// open the bucket says. stated is set if the request said anything.
func (s *Server) wish(r *request, get lookup, bucket string) (w *wish, stated bool, err error) {
	customer, err := s.customerKey(r, get, customerHeaders, true)
	if err != nil {
		return nil, true, err
	}
	method, named := get(encryptionHeader)
	rule, err := s.encryptionRule(r, bucket)
	switch {
	case err != nil:
		return nil, true, err
	case customer != nil && named:
		return nil, true, errInvalidEncryption.
			with("Server Side Encryption with Customer provided key is incompatible with the encryption method specified").valued(method)
	case customer != nil && rule.blocksCustomers():
		return nil, true, errCustomersBlocked
	case customer != nil:
		return &wish{seal: sse.Seal{Mode: sse.Customer}, customer: customer}, true, nil
	case !named:
		if err := onlyWithKMS(get); err != nil {
			return nil, true, err
		}
		w, err = s.defaultWish(rule)
		return w, false, err
	}
	w, err = s.managedWish(get, method, rule)
	return w, true, err
}

// refuseWish refuses a wish before the body comes.
func (s *Server) refuseWish(r *request) error {
	if !r.encryption {
		return nil
	}
	switch r.op.name {
	case "PutObject", "CopyObject", "CreateMultipartUpload":
		_, _, err := s.wish(r, r.lookup, r.bucket)
		return err
	}
	return nil
}

// onlyWithKMS refuses headers that say more about SSE-KMS where that is not asked
// for.
func onlyWithKMS(get lookup) error {
	for _, name := range []string{keyIDHeader, contextHeader} {
		if _, there := get(name); there {
			return errInvalidArgument.with("Server Side Encryption with AWS KMS managed key requires HTTP header x-amz-server-side-encryption : aws:kms").
				detailed("ArgumentName", encryptionHeader)
		}
	}
	return nil
}

// managedWish reads a wish for encryption under a master key.
func (s *Server) managedWish(get lookup, method string, rule *encryptionRule) (*wish, error) {
	switch method {
	case managedName:
		if err := onlyWithKMS(get); err != nil {
			return nil, err
		}
		return s.underMasterKey(sse.Seal{Mode: sse.Managed}, "")
	case namedName:
	case "aws:kms:dsse":
		return nil, errNotImplemented.with("Dual-layer server-side encryption is not supported.")
	default:
		return nil, errInvalidEncryption.with("The encryption method specified is not supported").valued(method)
	}
	encoded, _ := get(contextHeader)
	bound, err := parseContext(encoded)
	if err != nil {
		return nil, err
	}
	seal := sse.Seal{Mode: sse.Named, Context: bound, BucketKey: rule.bucketKey()}
	if flag, there := get(bucketKeyHeader); there {
		if seal.BucketKey, err = strconv.ParseBool(flag); err != nil {
			return nil, errInvalidArgument.detailed("ArgumentName", bucketKeyHeader).detailed("ArgumentValue", flag)
		}
	}
	id, _ := get(keyIDHeader)
	return s.underMasterKey(seal, id)
}

// underMasterKey completes a wish with the name of a master key, which may be left
// out.
func (s *Server) underMasterKey(seal sse.Seal, id string) (*wish, error) {
	if s.MasterKeys == nil {
		return nil, errKMSNotConfigured
	}
	seal.MasterKey = keyName(id)
	if id == "" {
		seal.MasterKey = s.MasterKeys.Default()
	}
	if !sse.ValidKeyName(seal.MasterKey) {
		return nil, errNoMasterKey.with("Invalid keyId '" + id + "'")
	}
	return &wish{seal: seal}, nil
}

// keyName returns the name of the master key that an ID means: it may be an Amazon
// Resource Name.
func keyName(id string) string {
	if !strings.HasPrefix(id, keyIDPrefix) {
		return id
	}
	return id[max(strings.LastIndexByte(id, '/'), strings.LastIndexByte(id, ':'))+1:]
}

// parseContext reads an encryption context.
func parseContext(encoded string) (map[string]string, error) {
	if encoded == "" {
		return nil, nil
	}
	var bound map[string]string
	raw, err := base64.StdEncoding.DecodeString(encoded)
	if err == nil && len(raw) <= maxContext {
		err = json.Unmarshal(raw, &bound)
	}
	if err != nil || len(raw) > maxContext {
		return nil, errInvalidArgument.with("The header 'x-amz-server-side-encryption-context' shall be Base64-encoded UTF-8 string holding JSON which represents a string-string map").
			detailed("ArgumentName", contextHeader)
	}
	return bound, nil
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
	if err := e.seal.Wrap(ctx, s.MasterKeys, e.key); err != nil {
		return nil, fromKeys(err, &e.seal)
	}
	return e, nil
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
	if e.key, err = e.seal.Unwrap(ctx, s.MasterKeys); err != nil {
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
		return nil, errInvalidRequest.with("The encryption parameters are not applicable to this object.")
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

// openDecrypted opens an object; customer is the key that the client sent, if any.
func (s *Server) openDecrypted(ctx context.Context, ref object.Ref, customer *customerKey) (object.Handle, *encryption, error) {
	h, err := s.Store.Open(ctx, ref)
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

// reveal returns what a Store says of the object with its checksums, as far as they
// can be known.
func (e *encryption) reveal(info object.Info) object.Info {
	switch {
	case e == nil:
		return info
	case e.known:
		return sse.Reveal(info, e.key)
	}
	info.Checksum, info.Parts = object.Checksum{}, append([]object.PartInfo(nil), info.Parts...)
	for i := range info.Parts {
		info.Parts[i].Checksum = ""
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

// fits reports whether what is encrypted so is encrypted as it is wished, by the
// customer's key that it was read with.
func (w *wish) fits(e *encryption, readWith *customerKey) bool {
	if w == nil || e == nil {
		return w == nil && e == nil
	}
	if w.seal.Mode == sse.Customer {
		return e.seal.Mode == sse.Customer && readWith != nil && w.customer.key == readWith.key
	}
	return w.seal.Mode == e.seal.Mode && w.seal.MasterKey == e.seal.MasterKey && w.seal.BucketKey == e.seal.BucketKey &&
		maps.Equal(w.seal.Context, e.seal.Context)
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
	case errors.Is(err, errNeedsKey), err != nil && customer != nil:
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
