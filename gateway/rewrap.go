package gateway

import (
	"context"
	"encoding/xml"
	"errors"
	"strconv"

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

// The headers of answers to Rewrap.
const (
	// masterKeyHeader names the master key that the object's key is under.
	masterKeyHeader = "x-shoal-master-key"
	// wrappedAnewHeader is "true" if that is another one than before, or may be a newer
	// version of it, and otherwise "false".
	wrappedAnewHeader = "x-shoal-wrapped-anew"
)

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
	seal, anew, err := s.rewrap(ctx, &info, &in)
	if err != nil {
		return err
	}
	before, after := info.Meta.Seal, seal.Encode()
	info, err = s.Store.Update(ctx, ref, func(m *object.Meta) error {
		if m.Seal != before {
			return errConflict
		}
		m.Seal = after
		return nil
	})
	if err != nil {
		return err
	}
	r.setVersion(info.Version)
	if in.Rewrap != nil {
		r.set(masterKeyHeader, seal.MasterKey)
		r.set(wrappedAnewHeader, strconv.FormatBool(anew))
	}
	return nil
}

// rewrap returns the seal that an object is to have, and whether that is of another
// master key, or may be of a newer version of it.
func (s *Server) rewrap(ctx context.Context, info *object.Info, in *objectEncryption) (seal sse.Seal, anew bool, err error) {
	e, err := s.decrypt(ctx, info.Meta.Seal, nil)
	switch {
	case errors.Is(err, errNeedsKey):
		return seal, false, errInvalidRequest.with("The encryption of objects that are encrypted with keys of customers (SSE-C) cannot be updated.")
	case err != nil:
		return seal, false, err
	case e == nil:
		return seal, false, errInvalidRequest.with("The encryption of objects that are not encrypted cannot be updated.")
	}
	to := &wish{seal: e.seal}
	if in.Named != nil {
		to, err = s.underMasterKey(sse.Seal{Mode: sse.Named, BucketKey: in.Named.BucketKey}, in.Named.KeyID)
	} else if e.seal.Mode == sse.Managed {
		to, err = s.underMasterKey(e.seal, "")
	}
	if err != nil {
		return seal, false, err
	}
	keys := s.MasterKeys
	if to.seal.BucketKey {
		keys = sse.NewBucketKeys(bucketKeyLife, s.Now).Over(keys) // a new one: the one in use is from before
	}
	if err := to.seal.Wrap(ctx, keys, e.key); err != nil {
		return seal, false, fromKeys(err, &to.seal)
	}
	return to.seal, to.seal.MasterKey != e.seal.MasterKey || s.MasterKeys.HasVersions(to.seal.MasterKey), nil
}
