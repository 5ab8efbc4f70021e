package gateway

import (
	"context"
	"errors"

	"github.com/shoal-storage/shoal/internal/object"
)

// complete completes an upload. The checksums of an encrypted one the Store cannot
// read: they are held against what the client states here. A part that is replaced
// meanwhile has another ETag, which the Store looks at.
func (s *Server) complete(ctx context.Context, ref object.UploadRef, in object.CompleteInput, customer *customerKey) (object.Info, *encryption, error) {
	up, err := s.Store.StatUpload(ctx, ref)
	if err != nil && !errors.Is(err, object.NoSuchUpload) { // it may have been completed before
		return object.Info{}, nil, err
	}
	if up.Meta.Seal != "" {
		if err := s.assemble(ctx, &up, &in, customer); err != nil {
			return object.Info{}, nil, err
		}
	}
	info, err := s.Store.CompleteUpload(ctx, ref, in)
	if err != nil {
		return object.Info{}, nil, err
	}
	if info.Meta.Seal == "" {
		return info, nil, nil
	}
	e, err := s.keyIfGiven(ctx, info.Meta.Seal, customer)
	if err != nil {
		return object.Info{}, nil, err
	}
	return e.reveal(info), e, nil
}

// assemble finds the checksum of an encrypted object that is to be made of parts, and
// puts it in the place of those that the client stated. Without the customer's key
// there can be one only if nobody asked for it: then there is none.
func (s *Server) assemble(ctx context.Context, up *object.Upload, in *object.CompleteInput, customer *customerKey) error {
	e, err := s.keyIfGiven(ctx, up.Meta.Seal, customer)
	if err != nil {
		return err
	}
	if !e.known {
		if !up.Implied || !in.Checksum.IsZero() {
			return errPartKey
		}
		return nil
	}
	parts, _, err := s.Store.ListParts(ctx, up.UploadRef, 0, object.MaxPartNumber)
	if err != nil {
		return err
	}
	for i := range parts {
		parts[i] = e.revealPart(parts[i], up.Algorithm)
	}
	plain := *up
	plain.Meta.Seal = ""
	a, err := object.Assemble(plain, parts, *in)
	if err != nil {
		return err
	}
	in.Checksum = e.conceal(a.Checksum)
	return nil
}
