package gateway

import (
	"crypto/md5" //nolint:gosec // S3 defines the digest of a customer's key by MD5.
	"encoding/base64"

	"github.com/shoal-storage/shoal/internal/sse"
)

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
