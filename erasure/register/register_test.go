package register_test

import (
	"bytes"
	"errors"
	"reflect"
	"slices"
	"testing"

	"github.com/shoal-storage/shoal/erasure/register"
	"github.com/shoal-storage/shoal/internal/lock"
)

func at(n int) register.Token {
	return register.Token{Lease: lock.Token{Generation: 1, Epoch: 2, Sequence: uint64(n)}}
}

// state is a state of a register of a set of four drives that needs k shards.
func state(n, k int, decided bool, before ...register.Past) *register.Entry {
	p := register.Past{Decided: decided, Shard: true, Record: register.Record{
		Version: register.Null, Kind: register.Object, Made: at(n), Changed: at(n), Quorum: register.WriteQuorum(4, k), Need: k, Data: []register.DataID{{byte(n)}},
	}}
	return &register.Entry{Past: p, Before: before}
}

func TestADriveTakesNothingOlderThanItHasPromisedOrTaken(t *testing.T) {
	h, err := register.Head{}.Promise(at(5))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.Promise(at(4)); !errors.Is(err, register.ErrStale) {
		t.Errorf("an older promise: %v", err)
	}
	if _, _, _, err := h.Commit(nil, state(4, 1, false).Record, true, false); !errors.Is(err, register.ErrStale) {
		t.Errorf("a change older than a promise: %v", err)
	}
	h, e, _, err := h.Commit(nil, state(5, 1, false).Record, true, false)
	if err != nil || e.Changed != at(5) {
		t.Fatalf("the change that was promised: %+v, %v", e, err)
	}
	if _, _, done, err := h.Commit(&e, state(5, 1, false).Record, true, false); !done || err != nil {
		t.Errorf("the same again: %v, %v", done, err)
	}
	if _, _, _, err := h.Commit(&e, state(3, 1, false).Record, true, false); !errors.Is(err, register.ErrStale) {
		t.Errorf("an older change: %v", err)
	}
	other := state(4, 1, false).Record
	other.Version = "other"
	if _, _, _, err := h.Commit(nil, other, true, false); !errors.Is(err, register.ErrStale) {
		t.Errorf("an older change of another version: %v", err)
	}
}

func TestWhatWasReplacedIsKeptUntilTheNewStateIsDecided(t *testing.T) {
	h := register.Head{}
	var e register.Entry
	for n := 1; n <= 3; n++ {
		cur := &e
		if n == 1 {
			cur = nil
		}
		var err error
		if h, e, _, err = h.Commit(cur, state(n, 1, false).Record, true, false); err != nil {
			t.Fatal(err)
		}
	}
	if len(e.Before) != 2 || e.Before[0].Changed != at(2) || e.Before[1].Changed != at(1) {
		t.Fatalf("before it are %+v", e.Before)
	}
	if _, _, changed := e.Decide(at(2)); changed {
		t.Error("a state was decided that it has no more")
	}
	e, freed, changed := e.Decide(at(3))
	if !changed || len(e.Before) != 0 || len(freed) != 2 {
		t.Errorf("decided: %+v, freed %v", e, freed)
	}
	_, e, _, err := h.Commit(&e, state(4, 1, false).Record, true, false)
	if err != nil || len(e.Before) != 1 || !e.Before[0].Decided {
		t.Errorf("before the next are %+v, %v", e.Before, err)
	}
}

func TestADriveHasNotTheShardsOfAnyStateWhoseContentItHasLost(t *testing.T) {
	lost, other := register.DataID{1}, register.DataID{2}
	past := func(data ...register.DataID) register.Past {
		return register.Past{Record: register.Record{Data: data}, Shard: true}
	}
	e := register.Entry{Past: past(other, lost), Before: []register.Past{past(other), past(lost)}}
	e.Lose(lost)
	if e.Shard || !e.Before[0].Shard || e.Before[1].Shard {
		t.Errorf("%+v", e)
	}
}

func TestStatesThatAreNotDecidedAreBoundedAndCanBeSettled(t *testing.T) {
	var h register.Head
	var cur *register.Entry
	n := 1
	for ; ; n++ {
		next, e, _, err := h.Commit(cur, state(n, 1, false).Record, true, false)
		if errors.Is(err, register.ErrCrowded) {
			break
		}
		if err != nil || n > 5000 {
			t.Fatalf("state %d: %v", n, err)
		}
		h, cur = next, &e
	}
	_, e, _, err := h.Commit(cur, state(n, 1, false).Record, true, true)
	if err != nil {
		t.Fatalf("a state that settles them: %v", err)
	}
	if got, err := register.DecodeEntry(e.Append(nil)); err != nil || len(got.Before) != len(e.Before) {
		t.Errorf("%d states before it come back as %d, %v", len(e.Before), len(got.Before), err)
	}
	if settled, _, _ := e.Decide(e.Changed); len(settled.Before) != 0 {
		t.Errorf("once it is decided there are %d before it", len(settled.Before))
	}
}

// TestAnswersAreJudgedByTheTable goes through the cases of the design, for four drives of
// which two have the content (quorum 3) unless it says otherwise.
func TestAnswersAreJudgedByTheTable(t *testing.T) {
	none, silent := register.Answer{Given: true}, register.Answer{}
	has := func(e *register.Entry) register.Answer { return register.Answer{Given: true, Entry: e} }
	old, oldPast := state(1, 2, true), state(1, 2, true).Past
	young := state(2, 2, false, oldPast)
	bare := func() *register.Entry { e := state(2, 2, false, oldPast); e.Shard = false; return e }()
	for name, tt := range map[string]struct {
		answers []register.Answer
		all     bool
		want    register.Verdict
		record  int
	}{
		"nobody answers":                        {[]register.Answer{silent, silent, silent, silent}, true, register.AskMore, 0},
		"one answers":                           {[]register.Answer{has(old), silent, silent, silent}, true, register.AskMore, 0},
		"two have nothing":                      {[]register.Answer{none, none, silent, silent}, false, register.Absent, 0},
		"one of two knows that it is decided":   {[]register.Answer{has(old), none, silent, silent}, false, register.Committed, 1},
		"three hold it":                         {[]register.Answer{has(young), has(young), has(young), silent}, false, register.Committed, 2},
		"two hold it, and more could":           {[]register.Answer{has(young), has(young), silent, silent}, false, register.AskMore, 0},
		"two hold it, and two do not answer":    {[]register.Answer{has(young), has(young), silent, silent}, true, register.Forward, 2},
		"two hold it, and two do not":           {[]register.Answer{has(young), has(young), has(old), has(old)}, true, register.Forward, 2},
		"one holds it, and three do not":        {[]register.Answer{has(young), has(old), has(old), has(old)}, true, register.Back, 1},
		"one holds it, and two do not answer":   {[]register.Answer{has(young), has(old), silent, silent}, true, register.Unreadable, 2},
		"one holds it, and nothing was before":  {[]register.Answer{has(state(2, 2, false)), none, none, none}, true, register.Back, 0},
		"two hold it, one without the shard":    {[]register.Answer{has(young), has(bare), has(old), has(old)}, true, register.Back, 1},
		"what was before was never decided":     {[]register.Answer{has(state(2, 2, false, state(1, 2, false).Past)), has(state(1, 2, false)), has(state(1, 2, false)), none}, true, register.Back, 1},
		"a newer state of which one has":        {[]register.Answer{has(young), has(old), has(old), silent}, true, register.Back, 1},
		"a state that needs one shard, and one": {[]register.Answer{has(state(2, 1, false)), none, none, none}, true, register.Forward, 2},
	} {
		j := register.Judge(tt.answers, tt.all)
		if j.Verdict != tt.want || tt.record != 0 && j.Record.Changed != at(tt.record) || tt.record == 0 && j.Verdict == register.Back && j.Record.Kind != 0 {
			t.Errorf("%s: verdict %d on %+v, want %d on %d", name, j.Verdict, j.Record.Changed, tt.want, tt.record)
		}
	}
}

// What one has begun he takes back only where nobody can have read it: a drive that is silent may hold it.
func TestWhatWasBegunIsTakenBackWhereItWasNeverCommitted(t *testing.T) {
	none, silent := register.Answer{Given: true}, register.Answer{}
	has := func(e *register.Entry) register.Answer { return register.Answer{Given: true, Entry: e} }
	old, oldPast := state(1, 2, true), state(1, 2, true).Past
	young := state(2, 2, false, oldPast)
	newer := state(3, 2, false, oldPast)
	for name, tt := range map[string]struct {
		answers []register.Answer
		want    register.Verdict
		record  int
	}{
		"two hold it, and two do not":           {[]register.Answer{has(young), has(young), has(old), has(old)}, register.Back, 1},
		"two hold it, and nothing was before":   {[]register.Answer{has(state(2, 2, false)), has(state(2, 2, false)), none, none}, register.Back, 0},
		"two hold it, and one does not answer":  {[]register.Answer{has(young), has(young), has(old), silent}, register.Back, 1},
		"three hold it":                         {[]register.Answer{has(young), has(young), has(young), has(old)}, register.Committed, 2},
		"one of two knows that it is decided":   {[]register.Answer{has(state(2, 2, true)), has(young), has(old), has(old)}, register.Committed, 2},
		"somebody else has begun something new": {[]register.Answer{has(newer), has(newer), has(young), has(young)}, register.Forward, 3},
	} {
		j := register.Undo(tt.answers, at(2), true)
		if j.Verdict != tt.want || tt.record != 0 && j.Record.Changed != at(tt.record) || tt.record == 0 && j.Record.Kind != 0 {
			t.Errorf("%s: verdict %d on %+v, want %d on %d", name, j.Verdict, j.Record.Changed, tt.want, tt.record)
		}
	}
}

func TestAnyReadQuorumMeetsAnyQuorumThatCommits(t *testing.T) {
	for n := 1; n <= 16; n++ {
		for k := 1; k <= n; k++ {
			if register.ReadQuorum(n)+register.WriteQuorum(n, k) <= n {
				t.Errorf("%d drives, %d shards: a read of %d can miss a commit of %d", n, k, register.ReadQuorum(n), register.WriteQuorum(n, k))
			}
		}
	}
}

func TestKeysSortAsTheirNamesDo(t *testing.T) {
	names := []string{"", "\x00", "\x00\x00", "\x00\x01", "\x00a", "\x01", "a", "a\x00", "a\x00\xff", "a/", "a/b", "ab", "b", "\xff", "\xff\x00"}
	var encoded [][]byte
	for _, n := range names {
		k := register.Key{Space: register.Objects, Bucket: 1 << 40, Name: n}
		b := k.Append(nil)
		got, rest, err := register.DecodeKey(append(slices.Clone(b), "rest"...))
		if err != nil || got != k || string(rest) != "rest" {
			t.Errorf("%q comes back as %+v, %q, %v", n, got, rest, err)
		}
		encoded = append(encoded, b)
	}
	if !slices.IsSortedFunc(encoded, bytes.Compare) {
		t.Error("they do not sort as their names")
	}
}

func TestAMarkBehindAnEntrySaysThatItIsDecided(t *testing.T) {
	// Whatever its checksum ends with, and so also with the byte of the mark.
	for n := range 1000 {
		e := state(n+1, 2, false, state(n, 2, true).Past)
		b := e.Append(nil)
		if got, err := register.DecodeEntry(b); err != nil || !reflect.DeepEqual(got, *e) {
			t.Fatalf("without it: %+v, %v", got, err)
		}
		want, _, _ := e.Decide(e.Changed)
		if got, err := register.DecodeEntry(append(b, register.DecidedMark)); err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("with it: %+v, %v", got, err)
		}
		if got, err := register.DecodeEntry(append(b, register.DecidedMark, 0)); err == nil {
			t.Fatalf("with something else: %+v", got)
		}
	}
}

func FuzzDecodeEntry(f *testing.F) {
	e := state(3, 2, false, state(2, 2, true).Past, state(1, 1, false).Past)
	e.Value = []byte("value")
	f.Add(e.Append(nil))
	f.Add(append(e.Append(nil), register.DecidedMark))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := register.DecodeEntry(b)
		if err != nil {
			return
		}
		again, err := register.DecodeEntry(e.Append(nil))
		if err != nil || !reflect.DeepEqual(e, again) {
			t.Errorf("%+v comes back as %+v, %v", e, again, err)
		}
	})
}

func FuzzDecodeKey(f *testing.F) {
	f.Add(register.Key{Space: register.Objects, Bucket: 9, Name: "a\x00b"}.Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		k, rest, err := register.DecodeKey(b)
		if err == nil && !bytes.Equal(append(k.Append(nil), rest...), b) {
			t.Errorf("%x is read as %+v", b, k)
		}
	})
}

func TestADamagedEntryIsNoticed(t *testing.T) {
	b := state(3, 2, false, state(2, 2, true).Past).Append(nil)
	for i := range b {
		for bit := range 8 {
			b[i] ^= 1 << bit
			if e, err := register.DecodeEntry(b); err == nil {
				t.Fatalf("bit %d of byte %d: read as %+v", bit, i, e)
			}
			b[i] ^= 1 << bit
		}
	}
}
