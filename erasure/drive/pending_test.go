package drive_test

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"testing"

	"github.com/shoal-storage/shoal/erasure/drive"
	"github.com/shoal-storage/shoal/erasure/register"
)

// pending returns the names of the keys of which a drive has registers pending, read a page of so
// many at a time.
func pending(t *testing.T, d *drive.Drive, space register.Space, limit int) []string {
	t.Helper()
	return listed(t, d, register.PendingQuery{Space: space, Limit: limit})
}

// listed returns the names of the keys of all that a drive lists.
func listed(t *testing.T, d *drive.Drive, q register.PendingQuery) (names []string) {
	t.Helper()
	for more := true; more; {
		page, err := d.Pending(t.Context(), q)
		must(t, err)
		for _, item := range page.Items {
			k, _, err := register.DecodeKey([]byte(item.Name))
			must(t, err)
			names = append(names, k.Name)
			q.From = item.Name + "\x00"
		}
		more = page.More
	}
	return names
}

func decision(name string, n int, everywhere bool) []register.Decision {
	return []register.Decision{{Key: key(name), Version: register.Null, Made: at(n), Changed: at(n), Everywhere: everywhere}}
}

func TestARegisterIsPendingUntilEveryDriveHasIt(t *testing.T) {
	for name, open := range stores(t) {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			d := drive.New(open(), drive.NewMemoryFiles(), nil)
			must(t, d.StartLog())
			want := func(when string, names ...string) {
				t.Helper()
				for _, limit := range []int{1, 100} {
					if got := pending(t, d, 0, limit); !slices.Equal(got, names) {
						t.Errorf("%s %q are pending, want %q", when, got, names)
					}
				}
			}
			want("at first")
			for i, name := range []string{"a", "b", "c"} {
				must(t, d.Commit(ctx, register.Change{Key: key(name), Record: object(i + 1)}))
			}
			must(t, d.Decide(ctx, decision("a", 1, false)))
			must(t, d.Decide(ctx, decision("b", 2, true)))
			must(t, d.Decide(ctx, decision("c", 9, true))) // it has another state
			want("when one is on all drives", "a", "c")
			must(t, d.Close())
			d = drive.New(open(), drive.NewMemoryFiles(), nil)
			must(t, d.StartLog())
			want("when it is opened again", "a", "c")
			must(t, d.Decide(ctx, decision("a", 1, true)))
			must(t, d.Commit(ctx, register.Change{Key: key("b"), Record: object(12)}))
			want("when a register has a new state", "b", "c")
			gone := object(13)
			gone.Kind = register.Tombstone
			must(t, d.Commit(ctx, register.Change{Key: key("c"), Record: gone}))
			must(t, d.Decide(ctx, decision("c", 13, true)))
			want("with a tombstone", "b", "c")
			forget := decision("c", 13, false)
			forget[0].Forget = true
			must(t, d.Decide(ctx, forget))
			want("when that is forgotten", "b")
			if got := pending(t, d, register.Uploads, 100); len(got) > 0 {
				t.Errorf("of uploads %q are pending", got)
			}
			must(t, d.Close())
		})
	}
}

func TestAStateWithoutItsShardsStaysPending(t *testing.T) {
	ctx := t.Context()
	d := drive.New(drive.NewMemory(), drive.NewMemoryFiles(), nil)
	must(t, d.StartLog())
	r := object(1)
	r.Data, r.Need = []register.DataID{{1}}, 1
	must(t, d.Commit(ctx, register.Change{Key: key("a"), Record: r}))
	must(t, d.Decide(ctx, decision("a", 1, true)))
	if got := pending(t, d, 0, 10); len(got) != 1 {
		t.Errorf("without its shard %q are pending", got)
	}
	w, err := d.Create(ctx, r.Data[0], 0)
	must(t, err)
	_, err = w.Write([]byte("shard"))
	must(t, err)
	must(t, w.Finish())
	_, err = d.Install(ctx, key("a"), r, r.Changed)
	must(t, err)
	must(t, d.Decide(ctx, decision("a", 1, true)))
	if got := pending(t, d, 0, 10); len(got) != 0 {
		t.Errorf("with it %q are pending", got)
	}
}

func TestADriveWithoutALogHasEverythingPending(t *testing.T) {
	const many = 2500 // more than it takes note of at once
	d := drive.New(drive.NewMemory(), drive.NewMemoryFiles(), nil)
	for i := range many {
		name := fmt.Sprintf("%04d", i)
		must(t, d.Commit(t.Context(), register.Change{Key: key(name), Record: object(i + 1)}))
		must(t, d.Decide(t.Context(), decision(name, i+1, true)))
	}
	known := func() bool {
		_, err := d.Pending(t.Context(), register.PendingQuery{Limit: 1})
		if !errors.Is(err, register.ErrNoLog) {
			must(t, err)
		}
		return err == nil
	}
	if known() {
		t.Error("without a log it tells what is pending")
	}
	for must(t, d.StartLog()); !known(); runtime.Gosched() { // it goes on in the background
	}
	if got := pending(t, d, 0, 1000); len(got) != many || !slices.IsSorted(got) {
		t.Errorf("%d registers are pending", len(got))
	}
	must(t, d.Close())
}

func TestWhoAsksForEveryRegisterGetsThoseThatAreNotPendingAsWell(t *testing.T) {
	for name, open := range stores(t) {
		t.Run(name, func(t *testing.T) {
			d := drive.New(open(), drive.NewMemoryFiles(), nil) // which has no log
			part := register.Key{Space: register.Parts, Name: "part"}
			for i, k := range []register.Key{key("a"), key("b"), part} {
				must(t, d.Commit(t.Context(), register.Change{Key: k, Record: object(i + 1)}))
			}
			must(t, d.Decide(t.Context(), decision("a", 1, true)))
			for space, want := range map[register.Space][]string{part.Space: {"part"}, key("a").Space: {"a", "b"}} {
				if got := listed(t, d, register.PendingQuery{Space: space, Every: true, Limit: 1}); !slices.Equal(got, want) {
					t.Errorf("of %c it has %q, want %q", space, got, want)
				}
			}
			must(t, d.Close())
		})
	}
}
