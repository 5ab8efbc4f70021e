package gateway

import (
	"context"
	"encoding/xml"
	"slices"

	"github.com/shoal-storage/shoal/internal/sse"
)

// encryptionDocument is the document of a bucket that says how objects are
// encrypted whose makers leave it open.
const encryptionDocument = "encryption"

// encryptionConfiguration is the body of Get- and PutBucketEncryption
// (https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketEncryption.html).
type encryptionConfiguration struct {
	XMLName xml.Name         `xml:"ServerSideEncryptionConfiguration"`
	Space   string           `xml:"xmlns,attr,omitempty"`
	Rules   []encryptionRule `xml:"Rule"`
}

// encryptionRule is what it says. A nil one says nothing.
type encryptionRule struct {
	Default   *encryptionDefault `xml:"ApplyServerSideEncryptionByDefault,omitempty"`
	Blocked   *blockedEncryption `xml:"BlockedEncryptionTypes,omitempty"`
	BucketKey bool               `xml:"BucketKeyEnabled"`
}

type encryptionDefault struct {
	KeyID     string `xml:"KMSMasterKeyID,omitempty"`
	Algorithm string `xml:"SSEAlgorithm"`
}

type blockedEncryption struct {
	Types []string `xml:"EncryptionType"`
}

// blocksCustomers reports whether objects may not be encrypted with keys of
// customers.
func (e *encryptionRule) blocksCustomers() bool {
	return e != nil && e.Blocked != nil && slices.Contains(e.Blocked.Types, string(sse.Customer))
}

// bucketKey reports whether the rule asks for bucket keys.
func (e *encryptionRule) bucketKey() bool { return e != nil && e.BucketKey }

// validate refuses what S3 does, and what would not be done.
func (c *encryptionConfiguration) validate(keys sse.MasterKeys) error {
	if len(c.Rules) != 1 {
		return errMalformedXML
	}
	rule := &c.Rules[0]
	if rule.Blocked != nil {
		for _, kind := range rule.Blocked.Types {
			if kind != "NONE" && kind != string(sse.Customer) {
				return errMalformedXML
			}
		}
	}
	if rule.Default == nil {
		if rule.Blocked == nil {
			return errMalformedXML
		}
		return nil
	}
	switch rule.Default.Algorithm {
	case managedName:
		if rule.Default.KeyID != "" {
			return errInvalidArgument.with("a KMSMasterKeyID is not applicable if the default sse algorithm is not aws:kms or aws:kms:dsse").
				detailed("ArgumentName", "ApplyServerSideEncryptionByDefault")
		}
	case namedName:
	case "aws:kms:dsse":
		return errNotImplemented.with("Dual-layer server-side encryption is not supported.")
	default:
		return errMalformedXML
	}
	if keys == nil {
		return errKMSNotConfigured
	}
	return nil
}

// putBucketEncryption serves PutBucketEncryption.
func (s *Server) putBucketEncryption(ctx context.Context, r *request) error {
	var in encryptionConfiguration
	if err := s.readDocument(ctx, r, &in); err != nil {
		return err
	}
	if err := in.validate(s.MasterKeys); err != nil {
		return err
	}
	in.XMLName, in.Space = xml.Name{Local: "ServerSideEncryptionConfiguration"}, xmlNamespace
	text, err := encodeDocument(&in)
	if err != nil {
		return err
	}
	return s.setDocument(ctx, r, encryptionDocument, text, nil)
}

// getBucketEncryption serves GetBucketEncryption.
func (s *Server) getBucketEncryption(ctx context.Context, r *request) error {
	b, err := s.Store.StatBucket(ctx, r.bucket)
	if err != nil {
		return err
	}
	text, there := b.Documents[encryptionDocument]
	switch {
	case !there && !s.EncryptAll:
		return errNoEncryption.detailed("BucketName", r.bucket)
	case !there:
		text, err = encodeDocument(&encryptionConfiguration{
			XMLName: xml.Name{Local: "ServerSideEncryptionConfiguration"}, Space: xmlNamespace,
			Rules: []encryptionRule{{Default: &encryptionDefault{Algorithm: managedName}}},
		})
	}
	if err == nil {
		r.answerXML([]byte(text))
	}
	return err
}

// encryptionRule returns what a bucket says of encryption, nil if nothing.
func (s *Server) encryptionRule(r *request, bucket string) (*encryptionRule, error) {
	documents, err := s.documents(r, bucket)
	text, there := documents[encryptionDocument]
	if err != nil || !there {
		return nil, err
	}
	return parsed(&s.parsed, encryptionDocument, text, func(string) (*encryptionRule, error) {
		var c encryptionConfiguration
		if err := parseXML([]byte(text), &c); err != nil {
			return nil, err
		}
		if len(c.Rules) != 1 {
			return nil, errMalformedXML
		}
		return &c.Rules[0], nil
	})
}

// defaultWish is how objects are encrypted whose makers leave it open.
func (s *Server) defaultWish(rule *encryptionRule) (*wish, error) {
	switch {
	case (rule == nil || rule.Default == nil) && !s.EncryptAll:
		return nil, nil
	case rule != nil && rule.Default != nil && rule.Default.Algorithm == namedName:
		return s.underMasterKey(sse.Seal{Mode: sse.Named, BucketKey: rule.BucketKey}, rule.Default.KeyID)
	}
	return s.underMasterKey(sse.Seal{Mode: sse.Managed}, "")
}
