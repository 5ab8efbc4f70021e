package gateway

import (
	"encoding/base64"
	"encoding/json"
	"maps"
	"strconv"
	"strings"

	"github.com/shoal-storage/shoal/internal/sse"
)

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
		if w, err = s.defaultWish(rule); err == nil {
			err = w.chooseBucketKey(get)
		}
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
	id, _ := get(keyIDHeader)
	w, err := s.underMasterKey(seal, id)
	if err != nil {
		return nil, err
	}
	return w, w.chooseBucketKey(get)
}

// chooseBucketKey reads whether there is to be a bucket key, which counts over the bucket's default, for SSE-KMS alone
// (https://docs.aws.amazon.com/AmazonS3/latest/userguide/configuring-bucket-key-object.html).
func (w *wish) chooseBucketKey(get lookup) error {
	flag, there := get(bucketKeyHeader)
	if !there {
		return nil
	}
	on, err := strconv.ParseBool(flag)
	if err != nil {
		return errInvalidArgument.detailed("ArgumentName", bucketKeyHeader).detailed("ArgumentValue", flag)
	}
	if w != nil && w.seal.Mode == sse.Named {
		w.seal.BucketKey = on
	}
	return nil
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
