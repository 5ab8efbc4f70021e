package gateway

import (
	"context"
	"encoding/xml"
	"errors"

	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/sse"
)

// objectEncryption is the body of UpdateObjectEncryption.
type objectEncryption struct {
	XMLName xml.Name `xml:"ObjectEncryption"`
	Named   *struct {
		KeyID     string `xml:"KMSKeyArn"`
		BucketKey bool   `xml:"BucketKeyEnabled"`
	} `xml:"SSE-KMS"`
	Rewrap *struct{} // of ours: as it is, under the master key as it is now
}

// updateObjectEncryption serves UpdateObjectEncryption: the object's key is wrapped anew,
// and the content stays as it is
// (https://docs.aws.amazon.com/AmazonS3/latest/API/API_UpdateObjectEncryption.html).
func (s *Server) updateObjectEncryption(ctx context.Context, r *request) error {
	ref, err := r.version()
	if err != nil {
		return err
	}
	b, err := s.openBody(r, bodyOptions{plain: true, limit: maxDocument})
	if err != nil {
		return err
	}
	var in objectEncryption
	if err := readXML(b, maxDocument, &in); err != nil {
		return err
	}
	if (in.Named == nil) == (in.Rewrap == nil) || in.Named != nil && in.Named.KeyID == "" {
		return errMalformedXML
	}
	info, err := s.Store.Stat(ctx, ref)
	if err != nil {
		return err
	}
	seal, err := s.rewrap(ctx, &info, &in)
	if err != nil {
		return err
	}
	before := info.Meta.Seal
	info, err = s.Store.Update(ctx, ref, func(m *object.Meta) error {
		if m.Seal != before {
			return errConflict
		}
		m.Seal = seal
		return nil
	})
	if err != nil {
		return err
	}
	r.setVersion(info.Version)
	return nil
}

// rewrap returns the seal that an object is to have.
func (s *Server) rewrap(ctx context.Context, info *object.Info, in *objectEncryption) (string, error) {
	e, err := s.decrypt(ctx, info.Meta.Seal, nil)
	switch {
	case errors.Is(err, errNeedsKey):
		return "", errInvalidRequest.with("The encryption of objects that are encrypted with keys of customers (SSE-C) cannot be updated.")
	case err != nil:
		return "", err
	case e == nil:
		return "", errInvalidRequest.with("The encryption of objects that are not encrypted cannot be updated.")
	}
	to := &wish{seal: e.seal}
	if in.Named != nil {
		to, err = s.underMasterKey(sse.Seal{Mode: sse.Named, BucketKey: in.Named.BucketKey}, in.Named.KeyID)
	} else if e.seal.Mode == sse.Managed {
		to, err = s.underMasterKey(e.seal, "")
	}
	if err != nil {
		return "", err
	}
	keys := s.MasterKeys
	if to.seal.BucketKey {
		keys = sse.NewBucketKeys(bucketKeyLife, s.Now).Over(keys) // a new one: the one in use is from before
	}
	if err := to.seal.Wrap(ctx, keys, e.key); err != nil {
		return "", fromKeys(err, &to.seal)
	}
	return to.seal.Encode(), nil
}
