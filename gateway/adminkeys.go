package gateway

import (
	"context"
	"errors"
	"path"
	"slices"

	"github.com/shoal-storage/shoal/internal/sse"
)

// masterKeyInfo is a master key in a list, as MinIO's tools read it.
type masterKeyInfo struct {
	Name string `json:"name"`
}

// listMasterKeys serves kms/v1/key/list.
func (s *Server) listMasterKeys(ctx context.Context, r *request) error {
	if s.MasterKeys == nil {
		return errKMSNotConfigured
	}
	names, err := s.MasterKeys.Names(ctx)
	if err != nil {
		return errUnavailable.because(err)
	}
	slices.Sort(names)
	found := []masterKeyInfo{}
	for _, name := range names {
		fits, err := path.Match(r.query.get("pattern"), name)
		if err != nil {
			return errAdminInvalid.because(err)
		}
		if fits || r.query.get("pattern") == "" {
			found = append(found, masterKeyInfo{name})
		}
	}
	return r.answerJSON(found)
}

// masterKeyStatus is what can be done with a master key, as MinIO's tools read it.
type masterKeyStatus struct {
	KeyID    string `json:"key-id"`
	CannotDo string `json:"encryption-error,omitempty"`
	CannotUn string `json:"decryption-error,omitempty"`
}

// masterKeyStatus serves kms/v1/key/status: it tries.
func (s *Server) masterKeyStatus(ctx context.Context, r *request) error {
	if s.MasterKeys == nil {
		return errKMSNotConfigured
	}
	name := r.query.get("key-id")
	if name == "" {
		name = s.MasterKeys.Default()
	}
	if !sse.ValidKeyName(name) {
		return errNoMasterKey.with("Invalid keyId '" + name + "'")
	}
	status := masterKeyStatus{KeyID: name}
	key := sse.NewKey()
	wrapped, err := s.MasterKeys.Wrap(ctx, name, key, nil)
	if errors.Is(err, sse.ErrNoMasterKey) {
		return fromKeys(err, &sse.Seal{MasterKey: name})
	}
	if err != nil {
		status.CannotDo = err.Error()
		return r.answerJSON(status)
	}
	if back, err := s.MasterKeys.Unwrap(ctx, name, wrapped, nil); err != nil {
		status.CannotUn = err.Error()
	} else if back != key {
		status.CannotUn = "the key came back as another"
	}
	return r.answerJSON(status)
}

// createMasterKey serves kms/v1/key/create.
func (s *Server) createMasterKey(ctx context.Context, r *request) error {
	if s.MasterKeys == nil {
		return errKMSNotConfigured
	}
	name := r.query.get("key-id")
	if !sse.ValidKeyName(name) {
		return errAdminInvalid.with("The name of a master key has letters, digits and ._- only.")
	}
	err := s.MasterKeys.Create(ctx, name)
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		return errNotImplemented.with("Master keys of the environment are made before the start: see docs/encryption.md.")
	case err != nil:
		return errUnavailable.because(err)
	}
	return nil
}
