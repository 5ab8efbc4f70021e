package admin

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
func (a *API) listMasterKeys(ctx context.Context, c *Call) error {
	if a.MasterKeys == nil {
		return errNoKeys
	}
	names, err := a.MasterKeys.Names(ctx)
	switch {
	case errors.Is(err, sse.ErrDenied):
		return errKeysDenied.with("The key management service does not let the server list keys.").because(err)
	case err != nil:
		return errUnavailable.because(err)
	}
	slices.Sort(names)
	found := []masterKeyInfo{}
	for _, name := range names {
		fits, err := path.Match(c.Query.Get("pattern"), name)
		if err != nil {
			return errInvalid.because(err)
		}
		if fits || c.Query.Get("pattern") == "" {
			found = append(found, masterKeyInfo{name})
		}
	}
	return c.answerJSON(found)
}

// masterKeyStatus is what can be done with a master key, as MinIO's tools read it.
type masterKeyStatus struct {
	KeyID    string `json:"key-id"`
	CannotDo string `json:"encryption-error,omitempty"`
	CannotUn string `json:"decryption-error,omitempty"`
}

// masterKeyStatus serves kms/v1/key/status: it tries.
func (a *API) masterKeyStatus(ctx context.Context, c *Call) error {
	if a.MasterKeys == nil {
		return errNoKeys
	}
	name := c.Query.Get("key-id")
	if name == "" {
		name = a.MasterKeys.Default()
	}
	if !sse.ValidKeyName(name) {
		return errNoMasterKey.with("Invalid keyId '" + name + "'")
	}
	status := masterKeyStatus{KeyID: name}
	key := sse.NewKey()
	wrapped, err := a.MasterKeys.Wrap(ctx, name, key, nil)
	if errors.Is(err, sse.ErrNoMasterKey) {
		return errNoMasterKey.with("Key 'arn:aws:kms:" + name + "' does not exist").because(err)
	}
	if err != nil {
		status.CannotDo = err.Error()
		return c.answerJSON(status)
	}
	if back, err := a.MasterKeys.Unwrap(ctx, name, wrapped, nil); err != nil {
		status.CannotUn = err.Error()
	} else if back != key {
		status.CannotUn = "the key came back as another"
	}
	return c.answerJSON(status)
}

// createMasterKey serves kms/v1/key/create.
func (a *API) createMasterKey(ctx context.Context, c *Call) error {
	if a.MasterKeys == nil {
		return errNoKeys
	}
	name := c.Query.Get("key-id")
	if !sse.ValidKeyName(name) {
		return errInvalid.with("The name of a master key has letters, digits and ._- only.")
	}
	err := a.MasterKeys.Create(ctx, name)
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		return errNotImplemented.with("Master keys of the environment are made before the start: see docs/encryption.md.")
	case errors.Is(err, sse.ErrDenied):
		return errKeysDenied.with("The key management service does not let the server make the key '" + name + "'.").because(err)
	case err != nil:
		return errUnavailable.because(err)
	}
	return nil
}
