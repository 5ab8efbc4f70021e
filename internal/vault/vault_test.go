package vault

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/shoal-storage/shoal/internal/sse"
)

// transit is a Vault that does what its documentation says of the calls used here:
// keys have versions, of which the newest encrypts.
type transit struct {
	mu     sync.Mutex
	keys   map[string][]cipher.AEAD
	tokens map[string]bool // that are valid
	logins int             // of roles
	denied map[string]bool // keys, to every token
	mute   bool            // a token may not ask about itself
	calls  []string
	down   int // status that every call is answered with, if not 0
}

// lookup is where a token asks about itself.
const lookup = "/v1/auth/token/lookup-self"

func newKey() cipher.AEAD {
	key := make([]byte, 32)
	_, _ = rand.Read(key)
	block, _ := aes.NewCipher(key)
	gcm, _ := cipher.NewGCM(block)
	return gcm
}

func serve(t *testing.T) (*transit, *httptest.Server) {
	t.Helper()
	v := &transit{keys: map[string][]cipher.AEAD{"first": {newKey()}, "second": {newKey()}}, tokens: map[string]bool{"good": true}}
	s := httptest.NewServer(v)
	t.Cleanup(s.Close)
	return v, s
}

func (v *transit) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	v.mu.Lock()
	defer v.mu.Unlock()
	refuse := func(status int, message string) {
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(map[string][]string{"errors": {message}})
	}
	v.calls = append(v.calls, r.URL.Path)
	var in map[string]string
	if r.Method == http.MethodPost {
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
			refuse(http.StatusBadRequest, "failed to parse JSON input")
			return
		}
	}
	if v.down != 0 {
		refuse(v.down, "Vault is sealed")
		return
	}
	if r.URL.Path == "/v1/auth/approle/login" {
		if in["role_id"] != "role" || in["secret_id"] != "secret" {
			refuse(http.StatusBadRequest, "invalid role or secret ID")
			return
		}
		v.logins++
		token := fmt.Sprint("token ", v.logins)
		v.tokens[token] = true
		_ = json.NewEncoder(w).Encode(map[string]any{"auth": map[string]any{"client_token": token, "lease_duration": 60}})
		return
	}
	if !v.tokens[r.Header.Get("X-Vault-Token")] {
		refuse(http.StatusForbidden, "permission denied")
		return
	}
	if r.URL.Path == lookup && !v.mute {
		_ = json.NewEncoder(w).Encode(map[string]any{"data": map[string]any{"ttl": 60}})
		return
	}
	action, name, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/v1/mount/"), "/")
	switch {
	case v.denied[name] || strings.HasPrefix(r.URL.Path, "/v1/auth/"):
		refuse(http.StatusForbidden, "1 error occurred:\n\t* permission denied\n\n")
		return
	case r.Method == http.MethodGet && action == "keys" && r.URL.Query().Get("list") == "true":
		_ = json.NewEncoder(w).Encode(map[string]any{"data": map[string]any{"keys": slices.Sorted(maps.Keys(v.keys))}})
		return
	case r.Method == http.MethodPost && action == "keys":
		if v.keys[name] == nil {
			v.keys[name] = []cipher.AEAD{newKey()}
		}
		w.WriteHeader(http.StatusNoContent)
		return
	}
	key := v.keys[name]
	if key == nil {
		refuse(http.StatusBadRequest, "encryption key not found")
		return
	}
	answer := map[string]string{}
	switch action {
	case "encrypt":
		plain, err := base64.StdEncoding.DecodeString(in["plaintext"])
		if err != nil {
			refuse(http.StatusBadRequest, "failed to base64-decode plaintext")
			return
		}
		nonce := make([]byte, 12)
		_, _ = rand.Read(nonce)
		answer["ciphertext"] = fmt.Sprintf("vault:v%d:%s", len(key), base64.StdEncoding.EncodeToString(key[len(key)-1].Seal(nonce, nonce, plain, nil)))
	case "decrypt":
		var version int
		var text string
		if _, err := fmt.Sscanf(in["ciphertext"], "vault:v%d:%s", &version, &text); err != nil || version < 1 || version > len(key) {
			refuse(http.StatusBadRequest, "invalid ciphertext: no prefix")
			return
		}
		sealed, err := base64.StdEncoding.DecodeString(text)
		if err != nil || len(sealed) < 12 {
			refuse(http.StatusBadRequest, "invalid ciphertext: could not decode base64")
			return
		}
		plain, err := key[version-1].Open(nil, sealed[:12], sealed[12:], nil)
		if err != nil {
			refuse(http.StatusBadRequest, "cipher: message authentication failed")
			return
		}
		answer["plaintext"] = base64.StdEncoding.EncodeToString(plain)
	default:
		refuse(http.StatusNotFound, "no handler for route")
		return
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"data": answer})
}

// client returns a client of the server.
func client(t *testing.T, s *httptest.Server, login Login) *Client {
	t.Helper()
	c, err := New(Config{Address: s.URL + "/", Mount: "/mount/", Key: "first", Login: login, HTTP: s.Client(), Timeout: 20 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// token logs in with a token.
func token(text string) Login { return Token(func() (string, error) { return text, nil }) }

func TestAKeyIsUnwrappedByTheMasterKeyItWasWrappedUnder(t *testing.T) {
	v, s := serve(t)
	c := client(t, s, token("good"))
	key := sse.NewKey()
	wrapped, err := c.Wrap(t.Context(), c.Default(), key, []byte("context"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.Unwrap(t.Context(), "first", wrapped, []byte("context"))
	if err != nil || got != key {
		t.Fatalf("got %x, %v", got, err)
	}
	_, other := c.Unwrap(t.Context(), "second", wrapped, []byte("context"))
	_, elsewhere := c.Unwrap(t.Context(), "first", wrapped, []byte("another"))
	_, short := c.Unwrap(t.Context(), "first", wrapped[:sse.WrappedSize], []byte("context"))
	_, cut := c.Unwrap(t.Context(), "first", wrapped[:len(wrapped)-5], []byte("context"))
	for what, err := range map[string]error{"another key": other, "another context": elsewhere, "without Vault's part": short, "cut off": cut} {
		if !errors.Is(err, sse.ErrWrongKey) {
			t.Errorf("%s: %v", what, err)
		}
	}
	v.mu.Lock()
	v.keys["first"] = append(v.keys["first"], newKey()) // rotated
	v.mu.Unlock()
	if !c.HasVersions("first") {
		t.Error("a key that was rotated has no versions")
	}
	if got, err = c.Unwrap(t.Context(), "first", wrapped, []byte("context")); err != nil || got != key {
		t.Errorf("after the master key was rotated: %v", err)
	}
	if err := c.Check(t.Context(), "second"); err != nil {
		t.Errorf("check: %v", err)
	}
}

func TestMasterKeysAreListedAndMade(t *testing.T) {
	_, s := serve(t)
	c := client(t, s, token("good"))
	names, err := c.Names(t.Context())
	if err != nil || !slices.Equal(names, []string{"first", "second"}) {
		t.Errorf("listed %q, %v", names, err)
	}
	for range 2 {
		if err := c.Create(t.Context(), "third"); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Check(t.Context(), "third"); err != nil {
		t.Errorf("what was made cannot be used: %v", err)
	}
}

func TestAMasterKeyThatIsNotThereIsNamedSo(t *testing.T) {
	_, s := serve(t)
	c := client(t, s, token("good"))
	_, err := c.Wrap(t.Context(), "third", sse.NewKey(), nil)
	_, unwrap := c.Unwrap(t.Context(), "third", make([]byte, 100), nil)
	if !errors.Is(err, sse.ErrNoMasterKey) || !errors.Is(unwrap, sse.ErrNoMasterKey) {
		t.Errorf("wrap: %v; unwrap: %v", err, unwrap)
	}
}

func TestAVaultThatIsNotThereIsAnErrorOfItsOwn(t *testing.T) {
	v, s := serve(t)
	c := client(t, s, token("good"))
	v.down = http.StatusServiceUnavailable
	_, sealed := c.Wrap(t.Context(), "first", sse.NewKey(), nil)
	s.Close()
	_, gone := c.Wrap(t.Context(), "first", sse.NewKey(), nil)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, canceled := c.Wrap(ended, "first", sse.NewKey(), nil)
	for what, err := range map[string]error{"sealed": sealed, "gone": gone, "canceled": canceled} {
		if err == nil || errors.Is(err, sse.ErrWrongKey) || errors.Is(err, sse.ErrNoMasterKey) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestARoleLogsInOnceAndAgainWhenItsTokenHasEnded(t *testing.T) {
	v, s := serve(t)
	c := client(t, s, AppRole("approle", "role", "secret"))
	for range 3 {
		if err := c.Check(t.Context(), "first"); err != nil {
			t.Fatal(err)
		}
	}
	v.mu.Lock()
	logins := v.logins
	clear(v.tokens)
	v.mu.Unlock()
	if logins != 1 {
		t.Errorf("it logged in %d times", logins)
	}
	if err := c.Check(t.Context(), "first"); err != nil || v.logins != 2 {
		t.Errorf("after the token had ended: %v, %d logins", err, v.logins)
	}
	wrong := client(t, s, AppRole("approle", "role", "wrong"))
	err := wrong.Check(t.Context(), "first")
	if err == nil || strings.Contains(err.Error(), "wrong") {
		t.Errorf("with a wrong secret: %v", err)
	}
}

func TestATokenThatWasReplacedIsReadAgain(t *testing.T) {
	v, s := serve(t)
	now := "old"
	c := client(t, s, Token(func() (string, error) { return now, nil }))
	if err := c.Check(t.Context(), "first"); !errors.Is(err, errForbidden) || errors.Is(err, sse.ErrDenied) || !slices.Equal(v.calls, []string{"/v1/mount/encrypt/first", lookup}) {
		t.Errorf("an old token: %v after %d calls", err, len(v.calls))
	}
	now = "good"
	if err := c.Check(t.Context(), "first"); err != nil {
		t.Errorf("the new one: %v", err)
	}
	empty := client(t, s, token(""))
	if err := empty.Check(t.Context(), "first"); err == nil {
		t.Error("no token was taken")
	}
}

func TestWhatCannotBeAVaultIsRefused(t *testing.T) {
	for _, cfg := range []Config{
		{Address: "vault:8200", Mount: "transit", Key: "k"},
		{Address: "ftp://vault", Mount: "transit", Key: "k"},
		{Address: "https://", Mount: "transit", Key: "k"},
		{Address: "https://user:password@vault", Mount: "transit", Key: "k"},
		{Address: "https://vault", Mount: "", Key: "k"},
		{Address: "https://vault", Mount: "a/../sys", Key: "k"},
		{Address: "https://vault", Mount: "transit", Key: ""},
		{Address: "https://vault", Mount: "transit", Key: "a/b"},
	} {
		if _, err := New(cfg); err == nil {
			t.Errorf("%+v was taken", cfg)
		}
	}
}

// counted returns how often a path was called.
func (v *transit) counted(path string) int {
	v.mu.Lock()
	defer v.mu.Unlock()
	n := 0
	for _, called := range v.calls {
		if called == path {
			n++
		}
	}
	return n
}

// ofTime returns a client with a clock of its own, and how to put that forward.
func ofTime(t *testing.T, s *httptest.Server, login Login) (*Client, func(time.Duration)) {
	t.Helper()
	c, now := client(t, s, login), time.Now()
	c.now = func() time.Time { return now }
	return c, func(d time.Duration) { now = now.Add(d) }
}

func TestAKeyThatIsDeniedIsToldFromATokenThatHasEnded(t *testing.T) {
	for name, login := range map[string]Login{"a token": token("good"), "a role": AppRole("approle", "role", "secret")} {
		v, s := serve(t)
		v.denied = map[string]bool{"second": true, "new": true}
		c, pass := ofTime(t, s, login)
		for range 20 {
			_, wrap := c.Wrap(t.Context(), "second", sse.NewKey(), nil)
			_, unwrap := c.Unwrap(t.Context(), "second", make([]byte, 100), nil)
			for _, err := range []error{wrap, unwrap, c.Create(t.Context(), "new")} {
				if !errors.Is(err, sse.ErrDenied) || strings.Contains(err.Error(), "\n") {
					t.Fatalf("%s: a key that is denied: %q", name, err)
				}
			}
		}
		if n := v.counted(lookup); n != 1 {
			t.Errorf("%s: Vault was asked %d times whether it takes the token", name, n)
		}
		if err := c.Check(t.Context(), "first"); err != nil {
			t.Errorf("%s: another key: %v", name, err)
		}
		pass(judgePause)
		v.mu.Lock()
		clear(v.tokens)
		v.down = http.StatusForbidden
		v.mu.Unlock()
		if err := c.Check(t.Context(), "first"); err == nil || errors.Is(err, sse.ErrDenied) {
			t.Errorf("%s has ended: %v", name, err)
		}
	}
}

func TestKeysThatAreDeniedAreNotLoggedInForEachTime(t *testing.T) {
	v, s := serve(t)
	v.denied = map[string]bool{"second": true}
	c, pass := ofTime(t, s, AppRole("approle", "role", "secret"))
	denied := func(what string, logins int) {
		t.Helper()
		for range 20 {
			if err := c.Check(t.Context(), "second"); !errors.Is(err, sse.ErrDenied) {
				t.Fatalf("%s: %v", what, err)
			}
		}
		if v.logins != logins {
			t.Errorf("%s: there were %d logins, want %d", what, v.logins, logins)
		}
	}
	denied("at first", 1)
	pass(loginPause)
	denied("when what the role may do can be another", 2)
	v.mute = true
	pass(judgePause)
	denied("where a token may not ask about itself", 3)
	v.mute, c.cfg.Login = false, AppRole("approle", "role", "another secret")
	pass(loginPause)
	denied("where it cannot log in any more", 3)
}

// A client can name a key that is denied as often as it likes.
func TestWhoeverHasAGoodTokenWaitsForNobodyWhoAsksAboutIt(t *testing.T) {
	v, _ := serve(t)
	v.denied = map[string]bool{"second": true}
	asked, answer := make(chan struct{}), make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == lookup {
			close(asked)
			<-answer
		}
		v.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	c := client(t, s, token("good"))
	denied := make(chan error, 1)
	go func() { denied <- c.Check(t.Context(), "second") }()
	<-asked
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	good := make(chan error, 1)
	go func() { good <- c.Check(ctx, "first") }()
	select {
	case err := <-good:
		if err != nil {
			t.Error(err)
		}
	case <-ctx.Done():
		t.Error("another key waits for the answer")
	}
	close(answer)
	if err := <-denied; !errors.Is(err, sse.ErrDenied) {
		t.Error(err)
	}
}
