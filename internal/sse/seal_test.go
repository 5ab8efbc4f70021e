package sse

import (
	"context"
	"encoding/base64"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestAKeyIsUnwrappedByTheKeyAndContextItWasWrappedWith(t *testing.T) {
	master, key := NewKey(), NewKey()
	wrapped := master.Wrap(key, []byte("context"))
	got, err := master.Unwrap(wrapped, []byte("context"))
	if err != nil || got != key {
		t.Fatalf("got %x, %v", got, err)
	}
	if len(wrapped) != WrappedSize {
		t.Errorf("it has %d bytes, want %d", len(wrapped), WrappedSize)
	}
	if strings.Contains(string(wrapped), string(key[:4])) {
		t.Error("the key shows")
	}
	if string(master.Wrap(key, []byte("context"))) == string(wrapped) {
		t.Error("two wrappings of a key are the same")
	}
	_, err = NewKey().Unwrap(wrapped, []byte("context"))
	_, other := master.Unwrap(wrapped, []byte("another"))
	if !errors.Is(err, ErrWrongKey) || !errors.Is(other, ErrWrongKey) {
		t.Errorf("another key: %v; another context: %v", err, other)
	}
	for i := range wrapped {
		wrapped[i] ^= 1
		if _, err := master.Unwrap(wrapped, []byte("context")); !errors.Is(err, ErrWrongKey) {
			t.Errorf("with byte %d changed: %v", i, err)
		}
		wrapped[i] ^= 1
		if _, err := master.Unwrap(wrapped[:i], []byte("context")); !errors.Is(err, ErrWrongKey) {
			t.Errorf("the first %d bytes: %v", i, err)
		}
	}
}

func TestASealIsBoundToItsModeAndContext(t *testing.T) {
	keys, err := ParseLocal("one:" + base64.StdEncoding.EncodeToString(make([]byte, KeySize)))
	if err != nil {
		t.Fatal(err)
	}
	key := NewKey()
	seal := Seal{Mode: Named, MasterKey: "one", Context: map[string]string{"a": "1", "b": "2"}, BucketKey: true}
	if err := seal.Wrap(t.Context(), keys, key); err != nil {
		t.Fatal(err)
	}
	kept, err := ParseSeal(seal.Encode())
	if err != nil || !reflect.DeepEqual(kept, seal) {
		t.Fatalf("it came back as %+v, %v", kept, err)
	}
	if got, err := kept.Unwrap(t.Context(), keys); err != nil || got != key {
		t.Errorf("the key came back as %x, %v", got, err)
	}
	for name, change := range map[string]func(*Seal){
		"another mode":    func(s *Seal) { s.Mode = Managed },
		"another context": func(s *Seal) { s.Context = map[string]string{"a": "1"} },
		"no context":      func(s *Seal) { s.Context = nil },
		"another key":     func(s *Seal) { s.Wrapped = keys.keys["one"].Wrap(key, nil) },
	} {
		changed := kept
		change(&changed)
		if _, err := changed.Unwrap(t.Context(), keys); !errors.Is(err, ErrWrongKey) {
			t.Errorf("%s: %v", name, err)
		}
	}
	kept.MasterKey = "two"
	_, err = kept.Unwrap(t.Context(), keys)
	if lost := kept.Wrap(t.Context(), keys, key); !errors.Is(err, ErrNoMasterKey) || !errors.Is(lost, ErrNoMasterKey) {
		t.Errorf("a master key that is not there: %v, %v", err, lost)
	}
}

func TestASealUnderACustomersKeyNeedsThatKey(t *testing.T) {
	customer, key := NewKey(), NewKey()
	seal := Seal{Mode: Customer}
	seal.WrapUnder(customer, key)
	kept, err := ParseSeal(seal.Encode())
	if err != nil {
		t.Fatal(err)
	}
	got, err := kept.UnwrapUnder(customer)
	_, wrong := kept.UnwrapUnder(NewKey())
	if err != nil || got != key || !errors.Is(wrong, ErrWrongKey) {
		t.Errorf("the key: %v; another: %v", err, wrong)
	}
	if strings.Contains(seal.Encode(), base64.StdEncoding.EncodeToString(customer[:])) {
		t.Error("the customer's key is kept")
	}
}

func TestWhatIsNoSealIsRefused(t *testing.T) {
	for _, text := range []string{"", "{", `{"version":2,"mode":"SSE-C"}`, `{"version":1}`, `{"version":1,"mode":"other"}`, `[]`} {
		if s, err := ParseSeal(text); err == nil {
			t.Errorf("%q is %+v", text, s)
		}
	}
}

func TestMasterKeysAreRead(t *testing.T) {
	a, b := base64.StdEncoding.EncodeToString(make([]byte, KeySize)), base64.StdEncoding.EncodeToString([]byte(strings.Repeat("b", KeySize)))
	for _, text := range []string{"a:" + a, "a:" + a + ",b:" + b, "a:" + a + "\nb:" + b + "\n", " a:" + a + " , b:" + b} {
		keys, err := ParseLocal(text)
		if err != nil || keys.Default() != "a" || keys.keys["a"] != (Key{}) {
			t.Errorf("%q: %v", text, err)
		}
	}
	for _, text := range []string{
		"", " ", a, ":" + a, "a:", "a:" + a[1:], "a:" + a + ",a:" + b, "a b:" + a, ".:" + a, "a/b:" + a, "a:" + a + ",b", "a:" + base64.StdEncoding.EncodeToString(make([]byte, 16)),
		strings.Repeat("n", maxKeyName+1) + ":" + a,
	} {
		if _, err := ParseLocal(text); err == nil {
			t.Errorf("%q was taken", text)
		} else if strings.Contains(err.Error(), a[1:]) {
			t.Errorf("the error tells the key: %v", err)
		}
	}
}

func TestLocalKeysComeBeforeOthersButTheirDefaultDoesNot(t *testing.T) {
	one, err := ParseLocal("a:" + base64.StdEncoding.EncodeToString(make([]byte, KeySize)))
	if err != nil {
		t.Fatal(err)
	}
	other, err := ParseLocal("b:" + base64.StdEncoding.EncodeToString(make([]byte, KeySize)) + ",a:" + base64.StdEncoding.EncodeToString([]byte(strings.Repeat("a", KeySize))))
	if err != nil {
		t.Fatal(err)
	}
	joined, key := one.Before(other), NewKey()
	if joined.Default() != "b" {
		t.Errorf("the default is %s", joined.Default())
	}
	for name, where := range map[string]MasterKeys{"a": one, "b": other} {
		wrapped, err := joined.Wrap(t.Context(), name, key, nil)
		if err != nil {
			t.Fatal(err)
		}
		got, err := where.Unwrap(t.Context(), name, wrapped, nil)
		again, lost := joined.Unwrap(t.Context(), name, wrapped, nil)
		if err != nil || lost != nil || got != key || again != key {
			t.Errorf("%s: %v, %v", name, err, lost)
		}
	}
	if _, err := joined.Wrap(t.Context(), "c", key, nil); !errors.Is(err, ErrNoMasterKey) {
		t.Errorf("a name of neither: %v", err)
	}
	if joined := one.Before(rotated{other}); joined.HasVersions("a") || !joined.HasVersions("b") {
		t.Error("a local key has versions, or another has none")
	}
}

// rotated is MasterKeys that can have newer versions.
type rotated struct{ MasterKeys }

func (rotated) HasVersions(string) bool { return true }

func TestOneOfSeveralMasterKeysIsNamed(t *testing.T) {
	keys, err := ParseLocal("a:" + base64.StdEncoding.EncodeToString(make([]byte, KeySize)) + ",b:" + base64.StdEncoding.EncodeToString([]byte(strings.Repeat("b", KeySize))))
	if err != nil {
		t.Fatal(err)
	}
	key := NewKey()
	wrapped, err := keys.Wrap(context.Background(), "b", key, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := keys.Unwrap(t.Context(), "a", wrapped, nil); !errors.Is(err, ErrWrongKey) {
		t.Errorf("under the other: %v", err)
	}
	if got, err := keys.Unwrap(t.Context(), "b", wrapped, nil); err != nil || got != key {
		t.Errorf("under the one: %v", err)
	}
}

func TestTheNamesOfAllMasterKeysAreTold(t *testing.T) {
	one, err := ParseLocal(local("a") + "," + local("b"))
	if err != nil {
		t.Fatal(err)
	}
	other, err := ParseLocal(local("b") + "," + local("c"))
	if err != nil {
		t.Fatal(err)
	}
	for want, keys := range map[string]MasterKeys{"ab": one, "abc": one.Before(other)} {
		names, err := keys.Names(t.Context())
		if slices.Sort(names); err != nil || strings.Join(names, "") != want {
			t.Errorf("got %q, %v, want %s", names, err, want)
		}
		if err := keys.Create(t.Context(), "d"); !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("another key was made: %v", err)
		}
	}
}

// local is a local master key of a name.
func local(name string) string {
	return name + ":" + base64.StdEncoding.EncodeToString([]byte(strings.Repeat(name, KeySize)))
}

// FuzzSeal reads seals that somebody has made up.
func FuzzSeal(f *testing.F) {
	seal := Seal{Mode: Named, MasterKey: "a", Context: map[string]string{"a": "b"}}
	seal.Wrapped = Key{}.Wrap(Key{1}, nil)
	f.Add(seal.Encode())
	f.Add(`{"version":1,"mode":"SSE-C","wrapped":""}`)
	keys, err := ParseLocal(local("a"))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseSeal(text)
		if err != nil {
			return
		}
		if again, err := ParseSeal(s.Encode()); err != nil || again.Encode() != s.Encode() {
			t.Errorf("%q came back as %+v, %v", text, again, err)
		}
		if key, err := s.Unwrap(t.Context(), keys); err == nil {
			t.Errorf("%q opens %x", text, key)
		}
	})
}

// FuzzMasterKeys reads master keys of any text; an error tells nothing of it.
func FuzzMasterKeys(f *testing.F) {
	f.Add(local("a") + "," + local("b"))
	f.Add("a:b c:d")
	f.Fuzz(func(t *testing.T, text string) {
		keys, err := ParseLocal(text)
		if err == nil && !ValidKeyName(keys.Default()) {
			t.Errorf("%q has the default %q", text, keys.Default())
		}
	})
}
