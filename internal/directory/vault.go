package directory

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"

	"github.com/shoal-storage/shoal/internal/sealing"
)

// keyRecord holds the key of all other records, sealed under the credentials of the
// root user, which are kept nowhere.
const keyRecord = "iam/seal"

const keySize = 32

// errNoKey says that no record has been made yet.
var errNoKey = errors.New("directory: there is no key")

// aeads are what seals the two kinds of things that are, each under a key of its own.
type aeads struct {
	records  cipher.AEAD
	sessions cipher.AEAD
}

// vault seals records: each with AES-256-GCM under a random nonce, bound to its name.
type vault struct {
	records  Records
	sealer   *sealing.Sealer
	password string

	mu     sync.RWMutex
	aeads  *aeads // nil: not known yet; they never change
	failed uint64 // revision of the key that did not open
}

// key returns what opens the records, or errNoKey. A key that did not open is not
// tried again: that takes long, and any stranger could ask for it.
func (v *vault) key() (*aeads, error) {
	v.mu.RLock()
	known := v.aeads
	v.mu.RUnlock()
	if known != nil {
		return known, nil
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.aeads != nil {
		return v.aeads, nil
	}
	sealed, revision, err := v.records.Get(keyRecord)
	switch {
	case err != nil:
		return nil, fmt.Errorf("read the key of the users: %w", err)
	case revision == 0:
		return nil, errNoKey
	case revision == v.failed:
		return nil, ErrCredentials
	}
	key, err := v.sealer.Open(v.password, sealed)
	if err == nil {
		known, err = newAEADs(key)
	}
	if err != nil {
		v.failed = revision
		return nil, errors.Join(ErrCredentials, err)
	}
	v.aeads = known
	return known, nil
}

// newAEADs returns what seals under a key: records under itself, and sessions under one
// that is derived from it, so that neither can be taken for the other.
func newAEADs(key []byte) (*aeads, error) {
	derived, err := hkdf.Key(sha256.New, key, nil, "shoal session tokens", keySize)
	if err != nil {
		return nil, fmt.Errorf("directory: derive the key of sessions: %w", err)
	}
	var a aeads
	if a.records, err = newAEAD(key); err != nil {
		return nil, err
	}
	a.sessions, err = newAEAD(derived)
	return &a, err
}

func newAEAD(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("directory: make cipher: %w", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("directory: make cipher: %w", err)
	}
	return aead, nil
}

// reseal seals the key under the password, which is now under a former one. Gateways
// that know the key do not ask for it again. If another one has resealed it meanwhile,
// that is as good.
func (v *vault) reseal(ctx context.Context, former string) error {
	sealed, revision, err := v.records.Get(keyRecord)
	if err != nil {
		return fmt.Errorf("read the key of the users: %w", err)
	}
	key, err := v.sealer.Open(former, sealed)
	if err != nil {
		return errors.Join(ErrCredentials, err)
	}
	if sealed, err = v.sealer.Seal(v.password, key); err != nil {
		return fmt.Errorf("seal the key of the users: %w", err)
	}
	if err := v.records.Set(ctx, keyRecord, sealed, revision); err != nil && !errors.Is(err, ErrChanged) {
		return fmt.Errorf("keep the key of the users: %w", err)
	}
	_, err = v.key()
	return err
}

// ensureKey returns the key, and makes it if there is none. Of several gateways that
// do, one makes it.
func (v *vault) ensureKey(ctx context.Context) (*aeads, error) {
	known, err := v.key()
	if !errors.Is(err, errNoKey) {
		return known, err
	}
	key := make([]byte, keySize)
	rand.Read(key) //nolint:errcheck // it never fails, as crypto/rand promises
	sealed, err := v.sealer.Seal(v.password, key)
	if err != nil {
		return nil, fmt.Errorf("seal the key of the users: %w", err)
	}
	if err := v.records.Set(ctx, keyRecord, sealed, 0); err != nil && !errors.Is(err, ErrChanged) {
		return nil, fmt.Errorf("keep the key of the users: %w", err)
	}
	return v.key()
}

func (v *vault) seal(ctx context.Context, name string, content []byte) ([]byte, error) {
	known, err := v.ensureKey(ctx)
	if err != nil {
		return nil, err
	}
	return known.records.Seal(nil, nil, content, []byte(name)), nil
}

func (v *vault) open(name string, sealed []byte) ([]byte, error) {
	known, err := v.key()
	if err != nil {
		return nil, err
	}
	content, err := known.records.Open(nil, nil, sealed, []byte(name))
	if err != nil {
		return nil, errDamaged
	}
	return content, nil
}
