package directory

import (
	"crypto/cipher"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/shoal-storage/shoal/internal/iam"
)

// maxToken bounds the tokens that are looked at, in bytes. The longest that are made have
// a session policy and some claims.
const maxToken = 12 << 10

// claims are what a session token says, sealed: base64url(AES-256-GCM(JSON)). They do not
// change.
type claims struct {
	AccessKey string    `json:"k"`
	Secret    string    `json:"s"`
	Parent    string    `json:"p,omitempty"` // access key that it was made with; "": of Person
	Mark      string    `json:"m,omitempty"` // of who had that key then
	Person    *Person   `json:"o,omitempty"`
	Round     string    `json:"r,omitempty"` // of the user or person then
	Name      string    `json:"n,omitempty"`
	Issued    time.Time `json:"i"`
	Expires   time.Time `json:"e"`
	Policy    string    `json:"b,omitempty"` // text
	bound     *iam.Policy
}

// seal returns the token.
func (c *claims) seal(aead cipher.AEAD) (string, error) {
	text, err := json.Marshal(c)
	if err != nil {
		return "", fmt.Errorf("directory: encode session: %w", err)
	}
	token := base64.RawURLEncoding.EncodeToString(aead.Seal(nil, nil, text, nil))
	if len(token) > maxToken {
		return "", invalid("the session token would be longer than %d bytes", maxToken)
	}
	return token, nil
}

// openClaims returns what a token says, or ErrToken.
func openClaims(aead cipher.AEAD, token string) (*claims, error) {
	sealed, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil {
		return nil, ErrToken
	}
	text, err := aead.Open(nil, nil, sealed, nil)
	if err != nil {
		return nil, ErrToken
	}
	var c claims
	if err := json.Unmarshal(text, &c); err != nil {
		return nil, ErrToken
	}
	if c.Policy != "" {
		if c.bound, err = iam.ParseUserPolicy([]byte(c.Policy)); err != nil {
			return nil, ErrToken
		}
	}
	return &c, nil
}

// maxTokens is how many tokens are kept as they were opened; when there are more, all are
// forgotten, which costs each a decryption.
const maxTokens = 4096

// tokens remembers what tokens say, by their hash. Only such as could be opened are in
// it, so that nobody without credentials can fill it. Its zero value is ready.
type tokens struct {
	mu sync.RWMutex
	m  map[[sha256.Size]byte]*claims
}

// get returns what a token says, nil if that is not known.
func (t *tokens) get(sum [sha256.Size]byte) *claims {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.m[sum]
}

func (t *tokens) put(sum [sha256.Size]byte, c *claims) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.m == nil || len(t.m) >= maxTokens {
		t.m = make(map[[sha256.Size]byte]*claims)
	}
	t.m[sum] = c
}
