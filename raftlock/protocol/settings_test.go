package protocol

import "testing"

func TestRevisionsGrowOverGenerations(t *testing.T) {
	old := NewState()
	old.Apply(3, SetSetting{Name: "a", Value: []byte("1")})
	old.Apply(7, SetSetting{Name: "b", Value: []byte("2")})
	next := NewState()
	next.Apply(1, RestoreSettings{Base: 7, Settings: ChangesOf(old.Settings)})
	if got := next.Settings["b"]; got.Revision != 7 || string(got.Value) != "2" {
		t.Errorf("restored: %+v", got)
	}
	if r := next.Apply(2, SetSetting{Name: "a", Value: []byte("3"), Compare: true, Expect: 3}); r.Outcome != Done || r.Revision <= 7 {
		t.Errorf("set: %+v", r)
	}
	if r := next.Apply(3, SetSetting{Name: "a", Compare: true, Expect: 3}); r.Outcome != Mismatch {
		t.Errorf("a revision of the earlier generation still compares: %+v", r)
	}
}

func TestAnOlderChangeDoesNotUndoALaterOne(t *testing.T) {
	settings := map[string]Setting{}
	SettingChange{Revision: 5, Name: "a", Value: []byte("new")}.ApplyTo(settings)
	SettingChange{Revision: 4, Name: "a", Delete: true}.ApplyTo(settings)
	if string(settings["a"].Value) != "new" {
		t.Errorf("%+v", settings)
	}
}
