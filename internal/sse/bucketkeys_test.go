package sse

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"
)

// counted is MasterKeys that count their calls.
type counted struct {
	MasterKeys
	wraps, unwraps int
	down           error
}

func (c *counted) Wrap(ctx context.Context, name string, key Key, context []byte) ([]byte, error) {
	if c.wraps++; c.down != nil {
		return nil, c.down
	}
	return c.MasterKeys.Wrap(ctx, name, key, context)
}

func (c *counted) Unwrap(ctx context.Context, name string, wrapped, context []byte) (Key, error) {
	if c.unwraps++; c.down != nil {
		return Key{}, c.down
	}
	return c.MasterKeys.Unwrap(ctx, name, wrapped, context)
}

// sparing returns master keys "a" and "b" with bucket keys between that live for a
// minute, and the time.
func sparing(t *testing.T) (keys MasterKeys, calls *counted, now *time.Time) {
	t.Helper()
	master, err := ParseLocal(local("a") + "," + local("b"))
	if err != nil {
		t.Fatal(err)
	}
	now = new(time.Time)
	calls = &counted{MasterKeys: master}
	return NewBucketKeys(time.Minute, func() time.Time { return *now }).Over(calls), calls, now
}

func TestABucketKeySavesCallsForAWhile(t *testing.T) {
	keys, calls, now := sparing(t)
	wrapped := map[Key][]byte{}
	wrap := func(name string) Key {
		t.Helper()
		key := NewKey()
		w, err := keys.Wrap(t.Context(), name, key, []byte("context"))
		if err != nil {
			t.Fatal(err)
		}
		wrapped[key] = w
		return key
	}
	for range 10 {
		wrap("a")
	}
	for range 3 {
		for key, w := range wrapped {
			if got, err := keys.Unwrap(t.Context(), "a", w, []byte("context")); err != nil || got != key {
				t.Fatalf("the key came back as another, %v", err)
			}
		}
	}
	if calls.wraps != 1 || calls.unwraps != 1 {
		t.Errorf("%d calls to wrap and %d to unwrap, want one of each", calls.wraps, calls.unwraps)
	}
	wrap("b")
	if calls.wraps != 2 {
		t.Errorf("another master key took %d calls", calls.wraps-1)
	}
	*now = now.Add(time.Minute)
	key := wrap("a")
	if _, err := keys.Unwrap(t.Context(), "a", wrapped[key], []byte("context")); err != nil || calls.wraps != 3 || calls.unwraps != 2 {
		t.Errorf("after its time: %d and %d calls, %v", calls.wraps, calls.unwraps, err)
	}
}

func TestWithABucketKeyOnlyTheSameKeyAndContextUnwrap(t *testing.T) {
	keys, _, _ := sparing(t)
	wrapped, err := keys.Wrap(t.Context(), "a", NewKey(), []byte("context"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := keys.Unwrap(t.Context(), "a", wrapped, []byte("context")); err != nil {
		t.Fatal(err)
	}
	_, context := keys.Unwrap(t.Context(), "a", wrapped, []byte("another"))
	_, name := keys.Unwrap(t.Context(), "b", wrapped, []byte("context"))
	_, short := keys.Unwrap(t.Context(), "a", wrapped[:WrappedSize], []byte("context"))
	for what, err := range map[string]error{"another context": context, "another master key": name, "half of it": short} {
		if !errors.Is(err, ErrWrongKey) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestWhoHasABucketKeyNeedsNoMasterKeyUntilItsTimeIsOver(t *testing.T) {
	keys, calls, now := sparing(t)
	wrapped, err := keys.Wrap(t.Context(), "a", NewKey(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := keys.Unwrap(t.Context(), "a", wrapped, nil); err != nil {
		t.Fatal(err)
	}
	calls.down = errors.New("down")
	_, wrap := keys.Wrap(t.Context(), "a", NewKey(), nil)
	_, unwrap := keys.Unwrap(t.Context(), "a", wrapped, nil)
	if err := errors.Join(wrap, unwrap); err != nil {
		t.Errorf("within its time: %v", err)
	}
	*now = now.Add(time.Hour)
	_, wrap = keys.Wrap(t.Context(), "a", NewKey(), nil)
	_, unwrap = keys.Unwrap(t.Context(), "a", wrapped, nil)
	if !errors.Is(wrap, calls.down) || !errors.Is(unwrap, calls.down) {
		t.Errorf("after it: %v, %v", wrap, unwrap)
	}
}

func TestNotMoreThanSomeBucketKeysAreRemembered(t *testing.T) {
	b := NewBucketKeys(time.Minute, func() time.Time { return time.Time{} })
	for i := range 3 * maxBucketKeys {
		b.put(b.reading, fmt.Sprint(i), bucketKey{})
	}
	if len(b.reading) != maxBucketKeys {
		t.Errorf("%d are", len(b.reading))
	}
}
