package healing

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shoal-storage/shoal/erasure"
	"github.com/shoal-storage/shoal/erasure/drive"
	"github.com/shoal-storage/shoal/erasure/placement"
	"github.com/shoal-storage/shoal/erasure/register"
	"github.com/shoal-storage/shoal/internal/lock"
	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/object/objecttest"
	"github.com/shoal-storage/shoal/internal/upkeep"
)

// records are settings on drives as Records.
type records struct{ *erasure.Settings }

func (r records) Set(ctx context.Context, name string, value []byte, revision uint64) error {
	err := r.Settings.Set(ctx, name, value, revision)
	if errors.Is(err, erasure.ErrChanged) {
		return ErrChanged
	}
	return err //nolint:wrapcheck // it says what it is
}

// newDrives returns four drives in memory.
func newDrives(t *testing.T) (drives []erasure.Drive) {
	t.Helper()
	for range 4 {
		d := drive.New(drive.NewMemory(), drive.NewMemoryFiles(), nil)
		if err := d.StartLog(); err != nil {
			t.Fatal(err)
		}
		drives = append(drives, d)
	}
	return drives
}

// openStore returns a Store of some sets.
func openStore(t *testing.T, locker lock.Locker, cfg erasure.Config) *erasure.Store {
	t.Helper()
	cfg.Locker, cfg.Logger, cfg.Now = locker, slog.New(slog.DiscardHandler), time.Now
	store, err := erasure.New(context.WithoutCancel(t.Context()), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	return store
}

// openKeeper returns what keeps four drives in memory, which hold "bucket/key".
func openKeeper(t *testing.T, alone bool) *Keeper {
	t.Helper()
	locker, log := lock.NewLocal(1), slog.New(slog.DiscardHandler)
	t.Cleanup(func() { locker.Close() })
	store := openStore(t, locker, erasure.Config{Sets: []erasure.SetConfig{{Drives: newDrives(t), Parity: 2}}})
	kept, err := store.Settings(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := store.CreateBucket(t.Context(), object.Bucket{Name: "bucket"}); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Put(t.Context(), object.Ref{Bucket: "bucket", Key: "key"}, object.PutInput{Body: objecttest.NewBody([]byte("hello"), object.CRC64NVME)}); err != nil {
		t.Fatal(err)
	}
	return New(Config{
		Store: store, Records: records{kept}, Alone: alone, Name: "here", Locker: locker, Logger: log,
		Standing: func() Standing { return Standing{} }, Healed: func(context.Context, []string) error { return nil },
	})
}

// absent is a drive that can be away.
type absent struct {
	erasure.Drive
	away atomic.Bool
	read func() // nil: nothing is done before a shard is read
}

var errAway = errors.New("the drive is away")

func (a *absent) Read(ctx context.Context, q register.Query) (register.View, error) {
	if a.away.Load() {
		return register.View{}, errAway
	}
	return a.Drive.Read(ctx, q) //nolint:wrapcheck // as it is
}

func (a *absent) Scan(ctx context.Context, q register.ScanQuery) (register.ScanPage, error) {
	if a.away.Load() {
		return register.ScanPage{}, errAway
	}
	return a.Drive.Scan(ctx, q) //nolint:wrapcheck // as it is
}

func (a *absent) ReadShard(ctx context.Context, id register.DataID, offset int64, p []byte) (int, error) {
	if a.read != nil {
		a.read()
	}
	return a.Drive.ReadShard(ctx, id, offset, p) //nolint:wrapcheck // as it is
}

// TestAScrubGoesOnWhereThatOfAProcessThatEndedWas: of a large set one takes weeks, and no process runs for ever.
func TestAScrubGoesOnWhereThatOfAProcessThatEndedWas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const objects, pause = 1500, 900 * time.Millisecond
		k := openKeeper(t, true)
		slow := &absent{Drive: newDrives(t)[0]}
		k.Store = openStore(t, k.Locker, erasure.Config{Sets: []erasure.SetConfig{{Drives: []erasure.Drive{slow}}}})
		if err := k.Store.CreateBucket(t.Context(), object.Bucket{Name: "bucket"}); err != nil {
			t.Fatal(err)
		}
		for i := range objects {
			ref := object.Ref{Bucket: "bucket", Key: fmt.Sprint(i)}
			if _, err := k.Store.Put(t.Context(), ref, object.PutInput{Body: objecttest.NewBody(make([]byte, 20_000), object.CRC64NVME)}); err != nil {
				t.Fatal(err)
			}
		}
		setting := func(name string) string {
			value, _, err := k.Records.Get(name)
			if err != nil {
				t.Fatal(err)
			}
			return string(value)
		}
		if err := k.scrub(t.Context()); err != nil || setting(lastScrub) == "" {
			t.Fatalf("that there is to be one in a month is not noted: %v", err)
		}
		begun := setting(lastScrub)

		ctx, kill := context.WithCancel(t.Context())
		reads := 0
		slow.read = func() {
			time.Sleep(pause)
			if reads++; reads == objects/2 {
				kill()
			}
		}
		if err := k.scrub(ctx); err == nil || setting(lastScrub) != begun {
			t.Errorf("one that was not through is over: %v", err)
		}
		slow.away.Store(true)
		if err := k.scrub(t.Context()); err == nil || setting(scrubAt) == "" {
			t.Errorf("one that could read nothing is over, or has begun anew: %v", err)
		}
		slow.away.Store(false)
		if err := k.scrub(t.Context()); err != nil || setting(scrubAt) != "" || setting(lastScrub) == begun {
			t.Errorf("it is not over: %v", err)
		}
		if reads < objects || reads > objects+int((scrubTold+passTold)/pause) { // of which some were read since it was noted how far it was
			t.Errorf("%d times a shard was read, of %d", reads, objects)
		}
		if p := k.expect(t, upkeep.Scrub, ""); p.Names < objects || p.Names > objects+10 { // and what the server keeps, each time
			t.Errorf("%d names are said to be looked at", p.Names)
		}
	})
}

// TestAScrubThatOthersHaveEndedIsNotGoneOnWith: a node from before it was noted how far one is leaves the note.
func TestAScrubThatOthersHaveEndedIsNotGoneOnWith(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const objects, pause = 1500, 900 * time.Millisecond
		k := openKeeper(t, true)
		slow := &absent{Drive: newDrives(t)[0]}
		k.Store = openStore(t, k.Locker, erasure.Config{Sets: []erasure.SetConfig{{Drives: []erasure.Drive{slow}}}})
		if err := k.Store.CreateBucket(t.Context(), object.Bucket{Name: "bucket"}); err != nil {
			t.Fatal(err)
		}
		for i := range objects {
			ref := object.Ref{Bucket: "bucket", Key: fmt.Sprint(i)}
			if _, err := k.Store.Put(t.Context(), ref, object.PutInput{Body: objecttest.NewBody(make([]byte, 20_000), object.CRC64NVME)}); err != nil {
				t.Fatal(err)
			}
		}
		if err := k.scrub(t.Context()); err != nil {
			t.Fatal(err)
		}
		ctx, kill := context.WithCancel(t.Context())
		reads := 0
		slow.read = func() {
			time.Sleep(pause)
			if reads++; reads == objects-10 {
				kill()
			}
		}
		if err := k.scrub(ctx); err == nil {
			t.Error("one that was not through is over")
		}
		// Another node reads all shards, and knows of lastScrub only.
		_, revision, err := k.Records.Get(lastScrub)
		if err != nil {
			t.Fatal(err)
		}
		if err := k.Records.Set(t.Context(), lastScrub, strconv.AppendInt(nil, time.Now().Unix(), 10), revision); err != nil {
			t.Fatal(err)
		}
		time.Sleep(scrubEvery + time.Hour)
		reads, slow.read = 0, func() { reads++ }
		if err := k.scrub(t.Context()); err != nil || reads < objects {
			t.Errorf("the next one reads %d shards of %d: %v", reads, objects, err)
		}
	})
}

// TestANewDriveIsWholeWhateverOtherSetsLack: a pass that leaves out a set has seen all of the others.
func TestANewDriveIsWholeWhateverOtherSetsLack(t *testing.T) {
	for name, c := range map[string]struct {
		away  []int // by their places: there are three sets of four drives, of which the first one has what belongs to no key
		whole bool
	}{
		"all are there":                           {nil, true},
		"another set is away":                     {[]int{8, 9, 10, 11}, true},
		"a drive of another set is away":          {[]int{8}, true},
		"it is away itself":                       {[]int{5}, false},
		"too few drives of its set are there":     {[]int{4, 6, 7}, false},
		"it is not known which buckets are there": {[]int{0, 1, 2, 3}, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := openKeeper(t, true)
				var sets []erasure.SetConfig
				var all []*absent
				for range 3 {
					set := erasure.SetConfig{Parity: 2}
					for _, d := range newDrives(t) {
						all = append(all, &absent{Drive: d})
						set.Drives = append(set.Drives, all[len(all)-1])
					}
					sets = append(sets, set)
				}
				k.Store = openStore(t, k.Locker, erasure.Config{Sets: sets, Table: placement.New([]int{4, 4, 4})})
				k.Standing = func() Standing { return Standing{Blank: map[int]string{5: "new"}} }
				var healed []string
				k.Healed = func(_ context.Context, drives []string) error {
					healed = append(healed, drives...)
					return nil
				}
				for _, i := range c.away {
					all[i].away.Store(true)
				}
				if whole := k.heal(t.Context()); whole != (len(c.away) == 0) {
					t.Errorf("that all drives have all is said to be %t", whole)
				}
				if is := slices.Equal(healed, []string{"new"}); is != c.whole {
					t.Errorf("%q are said to be whole", healed)
				}
			})
		})
	}
}

func (k *Keeper) ask(t *testing.T, p upkeep.Pass, instead bool) {
	t.Helper()
	p.Kind, p.Told = upkeep.Asked, time.Now()
	if err := k.Ask(t.Context(), p, instead); err != nil {
		t.Fatal(err)
	}
}

// expect returns the last pass of a kind, whose token it expects.
func (k *Keeper) expect(t *testing.T, kind upkeep.PassKind, token string) upkeep.Pass {
	t.Helper()
	p, err := k.last(kind)
	if err != nil || token != "" && p.Token != token {
		t.Fatalf("the last one is %+v, %v", p, err)
	}
	return p
}

func TestARateThatIsChangedDuringAPassIsToldWithWhereItWas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := openKeeper(t, false)
		_, err := k.pass(t.Context(), upkeep.Pass{Kind: upkeep.Scrub}, func(ctx context.Context, seen func(erasure.Healed)) (erasure.Healed, error) {
			time.Sleep(time.Hour)
			seen(erasure.Healed{Names: 7, Bytes: 100})
			if p := k.expect(t, upkeep.Scrub, ""); p.Limit != 0 || p.Since != nil {
				t.Errorf("before, it is %+v", p)
			}
			k.Store.SetHealRate(20 << 20)
			time.Sleep(2 * passTold)
			if p := k.expect(t, upkeep.Scrub, ""); p.Limit != 20<<20 || p.Since == nil || p.Since.Names != 7 || p.Since.Bytes != 100 || time.Since(p.Since.Time) > 2*passTold {
				t.Errorf("it is %+v", p)
			}
			return erasure.Healed{}, nil
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}

func TestALongPassIsToldToTheLogMoreSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := openKeeper(t, true)
		var out bytes.Buffer
		k.Logger = slog.New(slog.NewTextHandler(&out, nil))
		log := k.underWay("drives are being healed")
		lines := func() int { return strings.Count(out.String(), "drives are being healed") }
		if log(new(erasure.Healed)); lines() != 0 {
			t.Error("that nothing is done yet is told")
		}
		for range 24 * 720 { // a day, in which it hears of itself every 5 s
			time.Sleep(5 * time.Second)
			log(&erasure.Healed{Shards: 1})
		}
		if n := lines(); n < 24*60 || n > 25*60 {
			t.Errorf("it is told %d times in a day", n)
		}
	})
}

func TestAPassThatIsAskedForIsMade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := openKeeper(t, false)
		end := k.Start(t.Context())
		k.ask(t, upkeep.Pass{Token: "t", Bucket: "bucket", Deep: true}, false)
		time.Sleep(wholeAgain)
		if p := k.expect(t, upkeep.Asked, "t"); p.Names != 1 || p.Ended.IsZero() || p.Error != "" || p.Gateway != "here" || p.Begun.Before(p.Asked) {
			t.Errorf("it is %+v", p)
		}
		k.ask(t, upkeep.Pass{Token: "u", Bucket: "none"}, false)
		time.Sleep(wholeAgain)
		if p := k.expect(t, upkeep.Asked, "u"); p.Error == "" || !p.Over(time.Now()) {
			t.Errorf("of no bucket it is %+v", p)
		}
		if err := end(); err != nil {
			t.Error(err)
		}
		if p := k.expect(t, upkeep.Everything, ""); p.Names < 3 || p.Ended.IsZero() {
			t.Errorf("over everything it is %+v", p)
		}
	})
}

func TestDrivesThatHaveComeAreNotTakenForWholeBeforeAPassHasSeenThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, joined := openKeeper(t, true), atomic.Int64{}
		k.Standing = func() Standing { return Standing{Joined: int(joined.Load())} }
		due := func() bool { return k.Due(t.Context()) }
		end := k.Start(t.Context())
		if time.Sleep(wholeAgain); due() {
			t.Error("a pass is due of a new set")
		}
		joined.Add(1)
		if !due() {
			t.Error("nobody has looked for what the drive has missed, and none is to")
		}
		if time.Sleep(2 * wholeLook); k.due() {
			t.Errorf("a pass is still due: the last one was %+v", k.expect(t, upkeep.Missed, ""))
		}
		if err := end(); err != nil {
			t.Error(err)
		}
		time.Sleep(2 * noticed)
		end = k.Start(t.Context()) // what it missed while nobody was there is not known
		if time.Sleep(2 * watchEvery); !k.due() {
			t.Error("no pass is due after a start")
		}
		if time.Sleep(2 * dueFor); k.due() {
			t.Error("a pass is due for ever")
		}
		if err := end(); err != nil {
			t.Error(err)
		}
	})
}

// TestWhatIsMissedIsLackingUntilAPassHasBegunLater has a drive that is there miss something when a
// pass has just ended, and while one is under way.
func TestWhatIsMissedIsLackingUntilAPassHasBegunLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, missed := openKeeper(t, true), atomic.Int64{}
		k.Standing = func() Standing { return Standing{Missed: missed.Load()} }
		due := func() bool { return k.Due(t.Context()) }
		end := k.Start(t.Context())
		time.Sleep(wholeAgain)
		pass := func(begun, ended time.Time) {
			p := upkeep.Pass{Kind: upkeep.Missed, Token: begun.String(), Begun: begun, Told: ended, Ended: ended}
			if err := k.tell(t.Context(), p); err != nil {
				t.Error(err)
			}
		}
		pass(time.Now().Add(-time.Second), time.Now())
		missed.Add(1)
		if !due() {
			t.Error("a pass that has ended is said to have seen it")
		}
		time.Sleep(watchEvery / 2)
		if pass(time.Now().Add(-watchEvery), time.Now()); !due() {
			t.Error("a pass that began before is said to have seen it")
		}
		if time.Sleep(missedAgain + 2*wholeLook); due() {
			t.Errorf("a pass is still due: the last one was %+v", k.expect(t, upkeep.Missed, ""))
		}
		if err := end(); err != nil {
			t.Error(err)
		}
	})
}

func TestOfPassesThatAreAskedForOneIsMade(t *testing.T) {
	k := openKeeper(t, false)
	k.ask(t, upkeep.Pass{Token: "first"}, false)
	if err := k.Ask(t.Context(), upkeep.Pass{Kind: upkeep.Asked, Token: "second", Told: time.Now()}, false); !errors.Is(err, upkeep.ErrHealing) {
		t.Errorf("while another one is not over: %v", err)
	}
	k.ask(t, upkeep.Pass{Token: "third"}, true)
	if err := k.tell(t.Context(), upkeep.Pass{Kind: upkeep.Asked, Token: "first"}); !errors.Is(err, errPassEnded) {
		t.Errorf("the first goes on: %v", err)
	}
	if err := k.End(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := k.tell(t.Context(), upkeep.Pass{Kind: upkeep.Asked, Token: "third"}); !errors.Is(err, errPassEnded) {
		t.Errorf("the third goes on: %v", err)
	}
	if _, wanted := k.asked(); wanted {
		t.Error("it would be made once more")
	}
	k.ask(t, upkeep.Pass{Token: "fourth"}, false)
}

func TestAPassTellsHowFarItIsAndEndsWhenItIsNotWanted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := openKeeper(t, false)
		k.ask(t, upkeep.Pass{Token: "t"}, false)
		p, _ := k.asked()
		_, err := k.pass(t.Context(), p, func(ctx context.Context, seen func(erasure.Healed)) (erasure.Healed, error) {
			seen(erasure.Healed{Names: 7, Left: []erasure.Left{{Bucket: "bucket", Name: "key", Reason: "full"}}})
			time.Sleep(passTold + time.Second)
			other := New(k.Config)
			if p, err := other.last(upkeep.Asked); err != nil || p.Names != 7 || len(p.Left) != 1 || p.Left[0].Reason != "full" {
				t.Errorf("another gateway sees %+v, %v", p, err)
			}
			if err := other.End(ctx); err != nil {
				t.Error(err)
			}
			select {
			case <-ctx.Done():
			case <-time.After(time.Hour):
				t.Error("it goes on for an hour")
			}
			return erasure.Healed{}, context.Cause(ctx)
		})
		if !errors.Is(err, errPassEnded) {
			t.Errorf("it ended with %v", err)
		}
		if p := k.expect(t, upkeep.Asked, "t"); p.Names != 7 || p.Error == "" {
			t.Errorf("afterwards it is %+v", p)
		}
	})
}

func TestAPassKnowsWhatTheOneBeforeHasFound(t *testing.T) {
	k := openKeeper(t, false)
	made := func(names int64, failure error) {
		_, _ = k.pass(t.Context(), upkeep.Pass{Kind: upkeep.Everything}, func(context.Context, func(erasure.Healed)) (erasure.Healed, error) {
			return erasure.Healed{Names: names}, failure
		})
	}
	made(40, nil)
	first := k.expect(t, upkeep.Everything, "")
	made(5, errors.New("no"))
	made(41, nil)
	if p := k.expect(t, upkeep.Everything, ""); p.Expected != 40 || !p.Complete.Equal(first.Ended) || p.Names != 41 {
		t.Errorf("the third is %+v after %+v", p, first)
	}
	k.ask(t, upkeep.Pass{Token: "t"}, false)
	if p := k.expect(t, upkeep.Asked, "t"); p.Expected != 41 {
		t.Errorf("one that is asked for expects %d", p.Expected)
	}
}

// TestAfterAPassOverEverythingOnlyWhatWasMissedIsLookedAt has a keeper start anew: what was
// looked through an hour ago need not be again.
func TestAfterAPassOverEverythingOnlyWhatWasMissedIsLookedAt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := openKeeper(t, false)
		for _, kind := range []upkeep.PassKind{upkeep.Everything, upkeep.Missed} {
			begun := time.Now()
			end := k.Start(t.Context())
			time.Sleep(time.Hour)
			if err := end(); err != nil {
				t.Fatal(err)
			}
			for _, other := range []upkeep.PassKind{upkeep.Everything, upkeep.Missed} {
				p, err := k.last(other)
				if made := p.Begun.After(begun); err != nil || made != (kind == other) || p.Error != "" || kind == upkeep.Missed && p.Names > 1 && made {
					t.Errorf("%s was to be looked at, and of %s it is %+v, %v", kind, other, p, err)
				}
			}
		}
	})
}

func TestWhoIsAloneWritesLittle(t *testing.T) {
	k := openKeeper(t, true)
	now := time.Now()
	for _, tt := range []struct {
		pass    upkeep.Pass
		written bool
	}{
		{upkeep.Pass{Kind: upkeep.Everything, Told: now}, false},
		{upkeep.Pass{Kind: upkeep.Everything, Told: now, Ended: now}, true},
		{upkeep.Pass{Kind: upkeep.Everything, Told: now.Add(time.Minute), Ended: now}, false},
		{upkeep.Pass{Kind: upkeep.Everything, Told: now.Add(wholeTold), Ended: now}, true},
		{upkeep.Pass{Kind: upkeep.Scrub, Told: now}, false},
		{upkeep.Pass{Kind: upkeep.Scrub, Told: now.Add(time.Minute), Ended: now}, true},
	} {
		_, before, _ := k.Records.Get(passRecord(tt.pass.Kind))
		if err := k.tell(t.Context(), tt.pass); err != nil {
			t.Fatal(err)
		}
		if _, after, _ := k.Records.Get(passRecord(tt.pass.Kind)); after != before != tt.written {
			t.Errorf("%+v is written: %v", tt.pass, !tt.written)
		}
		if p, err := k.last(tt.pass.Kind); err != nil || !p.Told.Equal(tt.pass.Told) {
			t.Errorf("known is %+v, %v", p, err)
		}
	}
}

func TestALongPassIsToldOfMoreSeldom(t *testing.T) {
	now := time.Now()
	for _, tt := range []struct {
		begun, told time.Duration // ago
		want        bool
	}{
		{5 * time.Second, 5 * time.Second, true},
		{100 * time.Second, 4 * time.Second, false},
		{100 * time.Second, 5 * time.Second, true},
		{24 * time.Hour, 59 * time.Second, false},
		{24 * time.Hour, time.Minute, true},
	} {
		if got := untold(&upkeep.Pass{Begun: now.Add(-tt.begun), Told: now.Add(-tt.told)}, now); got != tt.want {
			t.Errorf("%v after its beginning, %v after it was told: %v", tt.begun, tt.told, got)
		}
	}
}
