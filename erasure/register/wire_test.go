package register_test

import (
	"reflect"
	"testing"

	"github.com/shoal-storage/shoal/erasure/register"
)

func TestWhatNodesSayComesBackAsItWas(t *testing.T) {
	key := register.Key{Space: register.Objects, Bucket: 7, Name: "a\x00b"}
	r := register.Record{Version: "v", Kind: register.Object, Made: at(1), Changed: at(2), Quorum: 3, Need: 2, Data: []register.DataID{{1}, {2}}, Value: []byte("value")}
	entry := register.Entry{Past: register.Past{Record: r, Decided: true, Shard: true}, Before: []register.Past{{Record: r}}}
	view := register.View{Entries: []register.Entry{entry, entry}, More: true}
	change := register.Change{Key: key, Record: r, Inline: []byte("shard"), Strict: true, Settles: true, Session: "s"}
	for _, change.Placed = range []uint64{0, 1 << 40} {
		if got, err := register.DecodeChange(change.Append(nil)); err != nil || !reflect.DeepEqual(got, change) {
			t.Errorf("%+v, %v", got, err)
		}
	}
	if k, got, by, err := register.DecodeRecord(register.AppendRecord(nil, key, r, at(5))); err != nil || k != key || !reflect.DeepEqual(got, r) || by != at(5) {
		t.Errorf("%+v, %v", got, err)
	}
	query := register.Query{Key: key, Version: "v", Made: at(3), Below: at(4), NotNull: true}
	if got, rest, err := register.DecodeQuery(append(query.Append(nil), "rest"...)); err != nil || got != query || string(rest) != "rest" {
		t.Errorf("%+v, %q, %v", got, rest, err)
	}
	if got, err := register.DecodeView(view.Append(nil)); err != nil || !reflect.DeepEqual(got, view) {
		t.Errorf("%+v, %v", got, err)
	}
	view.Inline = []byte("shard")
	if got, err := register.DecodeView(view.Append(nil)); err != nil || !reflect.DeepEqual(got, view) {
		t.Errorf("%+v, %v", got, err)
	}
	view.Inline = nil
	for _, query.Inline = range []bool{false, true} {
		if got, err := register.DecodeRead(query.AppendRead(nil)); err != nil || got != query {
			t.Errorf("%+v, %v", got, err)
		}
	}
	if _, _, err := register.DecodeQuery(query.AppendRead(nil)); err != nil {
		t.Errorf("who does not know that a shard can be asked for as well: %v", err)
	}
	decisions := []register.Decision{{Key: key, Version: "v", Made: at(1), Changed: at(2), Forget: true}, {Everywhere: true}, {}}
	if got, err := register.DecodeDecisions(register.AppendDecisions(nil, decisions)); err != nil || !reflect.DeepEqual(got, decisions) {
		t.Errorf("%+v, %v", got, err)
	}
	scan := register.ScanQuery{Space: register.Parts, Bucket: 1 << 63, Prefix: "p", Delimiter: "/", From: "f", Below: at(9), Versions: true, Limit: 1000}
	if got, err := register.DecodeScanQuery(scan.Append(nil)); err != nil || got != scan {
		t.Errorf("%+v, %v", got, err)
	}
	pending := register.PendingQuery{Space: register.Objects, From: key.Place(at(3)), Limit: 1000}
	for _, pending.Every = range []bool{false, true} {
		if got, err := register.DecodePendingQuery(pending.Append(nil)); err != nil || got != pending {
			t.Errorf("%+v, %v", got, err)
		}
	}
	page := register.ScanPage{Items: []register.ScanItem{{Name: "n/", First: "n/1", View: view}, {Name: "o"}}, More: true}
	if got, err := register.DecodeScanPage(page.Append(nil)); err != nil || !reflect.DeepEqual(got, page) {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := register.DecodeScanPage(page.AppendMost(nil, 1)); err != nil || len(got.Items) != 1 || !got.More {
		t.Errorf("a page with room for one: %+v, %v", got, err)
	}
}

// A program that knows no more than that a decision may be to forget reads its last byte as a bool.
func TestAnEarlierReleaseTakesADecisionForAPlainOne(t *testing.T) {
	for want, d := range map[byte]register.Decision{0: {}, 1: {Forget: true}, 2: {Everywhere: true}} {
		if b := register.AppendDecisions(nil, []register.Decision{d}); b[len(b)-1] != want {
			t.Errorf("%+v ends with %d", d, b[len(b)-1])
		}
	}
}

func FuzzWhatNodesSay(f *testing.F) {
	c := register.Change{Key: register.Key{Space: register.Objects, Name: "n"}, Record: register.Record{Version: "null", Value: []byte("v")}}
	f.Add(c.Append(nil))
	page := register.ScanPage{Items: []register.ScanItem{{Name: "o"}}}
	f.Add(page.Append(nil))
	f.Fuzz(func(_ *testing.T, b []byte) {
		_, _ = register.DecodeChange(b)
		_, _, _, _ = register.DecodeRecord(b)
		_, _, _ = register.DecodeQuery(b)
		_, _ = register.DecodeRead(b)
		_, _ = register.DecodeView(b)
		_, _ = register.DecodeDecisions(b)
		_, _ = register.DecodeScanQuery(b)
		_, _ = register.DecodeScanPage(b)
		_, _ = register.DecodePendingQuery(b)
	})
}
