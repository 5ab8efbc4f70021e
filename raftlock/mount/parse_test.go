package mount

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"
)

func FuzzSettingsFile(f *testing.F) {
	l := label{stamp{3, 7}, change}
	f.Add(l.name(), seal(l, []byte("content")))
	f.Add(label{stamp{1 << 31, 1 << 63}, whole}.name(), []byte{})
	f.Add("00000001-0000000000000001.one", seal(l, nil))
	f.Fuzz(func(t *testing.T, name string, b []byte) {
		l, ok := parseLabel(name)
		if !ok {
			return
		}
		if l.name() != name {
			t.Errorf("%q is read as %q", name, l.name())
		}
		content, err := unseal(l, b)
		if err == nil && !bytes.Equal(seal(l, content), b) {
			t.Errorf("%q is read as %q", b, content)
		}
		if again, err := unseal(l, seal(l, b)); err != nil || !bytes.Equal(again, b) {
			t.Errorf("%q comes back as %q, %v", b, again, err)
		}
	})
}

func FuzzMemberFile(f *testing.F) {
	good, err := json.Marshal(Member{Node: "a", Addresses: []string{"h:1"}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add("a", good)
	f.Add("a", []byte(`{"node":"a","pid":-1,"refreshed":"0000-01-01T00:00:00Z"}`))
	f.Fuzz(func(t *testing.T, node string, content []byte) {
		b, err := parseMember(node, content)
		if err != nil {
			return
		}
		if b.Node != node || b.check() != nil {
			t.Errorf("accepted %+v", b)
		}
		again, err := json.Marshal(b)
		if err != nil {
			t.Fatal(err)
		}
		if c, err := parseMember(node, again); err != nil || !reflect.DeepEqual(b.Addresses, c.Addresses) || !b.Refreshed.Equal(c.Refreshed) {
			t.Errorf("%+v comes back as %+v, %v", b, c, err)
		}
	})
}
