package protocol

import (
	"bytes"
	"errors"
	"reflect"
	"testing"

	"github.com/shoal-storage/shoal/internal/lock"
)

func commands() []Command {
	return []Command{
		Tick{},
		OpenSession{Node: "node", Nonce: "nonce", Address: "10.0.0.1:9002", Dir: "dir", Feature: 3},
		ExpireSession{Session: 7},
		EndSession{Session: 1 << 40, Own: true},
		MoveSlots{To: 9, Slots: []SlotSeen{{Slot: 4095, Seen: 1}, {Slot: 0, Seen: 77}}},
		StartCaching{Session: 10},
		UseFeature{Feature: 2},
		SetSetting{Name: "user/ann", Value: []byte{0, 1, 2}, Compare: true, Expect: 12},
		SetSetting{Name: "user/ann", Value: []byte{}, Delete: true},
		RestoreSettings{Base: 9, Settings: []SettingChange{{Revision: 8, Name: "user/ann", Value: []byte{7}}, {Revision: 9, Name: "user/bob", Value: []byte{}, Delete: true}}},
	}
}

func messages() []Message {
	items := []Item{{Name: "bucket", Mode: lock.Shared}, {Name: "a\x00b", Mode: lock.Exclusive}}
	return []Message{
		Acquire{Slot: 4095, Request: 1, Items: items, Waited: 5, Try: true, Cache: true},
		Answer{Slot: 1, Request: 2, Verdict: Granted, Epoch: 3, Sequence: 4},
		Release{Slot: 1, Request: 2},
		Refuse{Slot: 1, Request: 2, Epoch: 3, Sequence: 4},
		Assert{Epoch: 9, Slots: []Slot{1, 2, 4000}},
		Holds{Epoch: 9, Held: map[Slot][]Held{3: {{ID: ReqID{1, 2}, Items: items, Epoch: 8, Sequence: 1, Cache: true}}}},
		AssertFrom{Epoch: 9, Slots: []Slot{1, 2, 4000}, From: Place{2, 7}},
		HoldsPart{Epoch: 9, From: Place{2, 7}, Next: Place{4000, 1}, More: true, Held: map[Slot][]Held{3: {{ID: ReqID{1, 2}, Items: items, Epoch: 8, Sequence: 1, Cache: true}}}},
		Inquire{Inquiry: 7, Prefixes: []string{"o/b/", "b/b"}, Since: []Mark{{Slot: 4095, Epoch: 9, Number: 3}, {Slot: 1}}},
		Changes{Inquiry: 7, Known: true, Marks: []Mark{{Slot: 4095, Epoch: 9, Number: 5}}, Names: []string{"o/b/k"}},
		Answer{Slot: 1, Request: 2, Verdict: Recalled, Epoch: 3, Sequence: 4},
		Resync{Last: 9, Slots: []Listing{{Slot: 1, Epoch: 2, Requests: []uint64{5, 6}}}},
	}
}

func TestCommandsAndMessagesComeBackAsTheyWere(t *testing.T) {
	for _, c := range commands() {
		if got, err := ParseCommand(Encode(c)); err != nil || !reflect.DeepEqual(got, c) {
			t.Errorf("%#v came back as %#v, %v", c, got, err)
		}
	}
	for _, m := range messages() {
		if got, err := ParseMessage(AppendMessage(nil, m)); err != nil || !reflect.DeepEqual(got, m) {
			t.Errorf("%#v came back as %#v, %v", m, got, err)
		}
	}
}

// A node that left out an entry of a later version would come to another State
// than the others.
func TestEntriesOfLaterVersionsAreNotLeftOut(t *testing.T) {
	if _, err := ParseCommand([]byte{200, 1, 2}); !errors.Is(err, ErrUnknown) {
		t.Errorf("command: %v", err)
	}
	if _, err := ParseMessage([]byte{200, 1, 2}); !errors.Is(err, ErrUnknown) {
		t.Errorf("message: %v", err)
	}
	if _, err := ParseSnapshot(append([]byte{9}, make([]byte, 20)...)); !errors.Is(err, ErrUnknown) {
		t.Errorf("snapshot: %v", err)
	}
}

func TestSnapshotComesBackAsItWas(t *testing.T) {
	s := NewState()
	for i, c := range commands() {
		s.Apply(uint64(10+i), c)
	}
	s.Apply(30, SetSetting{Name: "user/ann", Value: []byte("x")})
	b := s.AppendSnapshot(nil)
	back, err := ParseSnapshot(b)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(back.AppendSnapshot(nil), b) {
		t.Error("it came back as another")
	}
	b[len(b)/2] ^= 1
	if _, err := ParseSnapshot(b); err == nil {
		t.Error("a damaged one is taken")
	}
}

func FuzzCommand(f *testing.F) {
	for _, c := range commands() {
		f.Add(Encode(c))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := ParseCommand(b)
		if err != nil {
			return
		}
		again, err := ParseCommand(Encode(c))
		if err != nil || !bytes.Equal(Encode(again), Encode(c)) {
			t.Errorf("%#v came back as %#v, %v", c, again, err)
		}
		NewState().Apply(1, c)
	})
}

func FuzzMessage(f *testing.F) {
	for _, m := range messages() {
		f.Add(AppendMessage(nil, m))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := ParseMessage(b)
		if err != nil {
			return
		}
		if _, err := ParseMessage(AppendMessage(nil, m)); err != nil {
			t.Errorf("%#v cannot be parsed again: %v", m, err)
		}
		state := NewState()
		state.Apply(1, OpenSession{Nonce: "a"})
		state.Apply(2, OpenSession{Nonce: "b", Feature: FeatureParts})
		member := NewMember(1, state, 0)
		member.Lease().Confirm(0)
		slot := SlotOf("b", "k", DefaultSpread)
		member.Acquire(slot, []Item{{Name: "k", Mode: lock.Exclusive}}, false, 0)
		member.Inquire([]Mark{{Slot: slot}}, []string{"k"}, 0)
		member.Receive(Envelope{From: 2, To: 1, Message: m}, 0)
		member.Receive(Envelope{From: 2, To: 1, Message: Holds{Epoch: 1}}, 0)
		member.Receive(Envelope{From: 2, To: 1, Message: m}, 0)
	})
}

func FuzzSnapshot(f *testing.F) {
	f.Add(NewState().AppendSnapshot(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := ParseSnapshot(b)
		if err == nil && s == nil {
			t.Error("neither a state nor an error")
		}
	})
}
