package arbiter_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shoal-storage/shoal/erasure"
	"github.com/shoal-storage/shoal/erasure/arbiter"
	"github.com/shoal-storage/shoal/erasure/drive"
	"github.com/shoal-storage/shoal/erasure/format"
	"github.com/shoal-storage/shoal/erasure/register"
)

// kept is a link to a drive that the Ledger is on.
type kept struct {
	format.Absent
	*link
	mu sync.Mutex
	id format.Identity
}

func (k *kept) Commit(ctx context.Context, c register.Change) error {
	_, err := over(k.link, func(d *drive.Drive) (struct{}, error) { return struct{}{}, d.Commit(context.WithoutCancel(ctx), c) })
	return err
}

func (k *kept) Promise(ctx context.Context, t register.Token, q register.Query) (register.View, error) {
	return over(k.link, func(d *drive.Drive) (register.View, error) { return d.Promise(context.WithoutCancel(ctx), t, q) })
}

func (k *kept) Read(ctx context.Context, q register.Query) (register.View, error) {
	return over(k.link, func(d *drive.Drive) (register.View, error) { return d.Read(context.WithoutCancel(ctx), q) })
}

func (k *kept) Scan(ctx context.Context, q register.ScanQuery) (register.ScanPage, error) {
	return over(k.link, func(d *drive.Drive) (register.ScanPage, error) { return d.Scan(context.WithoutCancel(ctx), q) })
}

func (k *kept) Decide(ctx context.Context, all []register.Decision) error {
	_, err := over(k.link, func(d *drive.Drive) (struct{}, error) { return struct{}{}, d.Decide(context.WithoutCancel(ctx), all) })
	return err
}

// note has the drive know a Roster, or if it is nil tells what it knows.
func (k *kept) note(r *format.Roster) (format.Identity, error) {
	if r != nil && k.w.chance(45) {
		return format.Identity{}, errLost
	}
	return over(k.link, func(*drive.Drive) (format.Identity, error) {
		k.mu.Lock()
		defer k.mu.Unlock()
		if r != nil {
			told := k.id.Known().Merge(*r)
			k.id.Roster = &told
		}
		return k.id, nil
	})
}

// rules are those that keep what is left out from being needed. Tests switch one off.
type rules struct {
	checks bool // a start names all that is needed
	tells  bool // what will be needed the drives know before
	most   bool // a majority of each set does
	every  bool // settings are kept in every set
}

// fleet is a deployment of three sets, of which starts name some, and what must be so of it.
type fleet struct {
	*world
	rules
	drives [][]*kept

	known  sync.Mutex
	acked  map[string]uint32 // settings, and the generations that they were acknowledged in
	placed settled           // the last table that was
	wrong  error             // a start that could begin without what held something
}

// settled is what the settings say: values that were set, and which sets hold something.
type settled struct {
	Values []string
	Epoch  uint64
	Used   []int
}

const fleetSets, fleetDrives = 3, 3

func newFleet(t *testing.T, seed uint64, r rules) *fleet {
	f := &fleet{world: &world{r: rand.New(rand.NewPCG(seed, 7))}, rules: r, acked: make(map[string]uint32)}
	for number := range fleetSets {
		var set []*kept
		for range fleetDrives {
			l := &link{w: f.world, d: newDrive(t, false)}
			set, f.links = append(set, &kept{link: l, id: format.Identity{Number: number, Of: 1 + number}}), append(f.links, l)
		}
		for i, k := range set { // the first set was formed first, and the others are spare
			k.id.Drive, k.id.Roster = fmt.Sprint(number, ".", i), &format.Roster{Needed: map[int]string{0: ""}}
			for j := range fleetDrives {
				k.id.Set = append(k.id.Set, fmt.Sprint(number, ".", j))
			}
		}
		f.drives = append(f.drives, set)
	}
	return f
}

// ask asks the drives of some sets what they know, or tells them.
func (f *fleet) ask(sets []int, r *format.Roster) (drives []format.Identity) {
	for _, number := range sets {
		for _, k := range f.drives[number] {
			if id, err := k.note(r); err == nil {
				drives = append(drives, id)
			}
		}
	}
	return drives
}

// agree has drives know a Roster.
func (f *fleet) agree(named []int, r format.Roster) bool {
	drives := f.ask(named, &r)
	return !f.most || format.Agreed(r, drives, slices.Collect(maps.Keys(r.Needed)))
}

func needed(epoch uint64, sets []int) format.Roster {
	r := format.Roster{Epoch: epoch, Needed: make(map[int]string)}
	for _, n := range sets {
		r.Needed[n] = ""
	}
	return r
}

// process is a start of the deployment that names some sets.
type process struct {
	*fleet
	named      []int
	name       string
	arbiter    *arbiter.Arbiter
	ledger     *erasure.Ledger
	generation uint32
	index      uint64
	state      settled
}

// allowed reports whether what drives know lets some sets be named, and which of these are needed.
func (f *fleet) allowed(named []int) (r format.Roster, ok bool) {
	before := f.holds()
	heard, among := make(map[int]int), make(map[int]bool)
	for _, id := range f.ask(named, nil) {
		r = r.Merge(id.Known())
		heard[id.Number]++
	}
	for _, number := range named {
		among[number] = true
		if heard[number] < register.Majority(fleetDrives) {
			return r, false
		}
	}
	if _, _, missing := r.Missing(among); missing && f.checks {
		return r, false
	}
	f.known.Lock()
	defer f.known.Unlock()
	for _, number := range before.Used {
		if before.Epoch == f.placed.Epoch && !among[number] && f.wrong == nil {
			f.wrong = fmt.Errorf("a start names %v, and by table %d the sets %v hold something", named, before.Epoch, before.Used)
		}
	}
	return r, true
}

// holds returns the last table that was acknowledged.
func (f *fleet) holds() settled {
	f.known.Lock()
	defer f.known.Unlock()
	return f.placed
}

// begin starts a process, if it may: it founds a generation, and goes on with its settings.
func (f *fleet) begin(ctx context.Context, t *testing.T, name string, named []int) *process {
	r, ok := f.allowed(named)
	if !ok {
		return nil
	}
	p := &process{fleet: f, named: named, name: name}
	var orders [][]arbiter.Drive
	var cfg erasure.Config
	for _, number := range named {
		set := erasure.SetConfig{Number: number, Fresh: !r.Needs(number)}
		var of []arbiter.Drive
		for _, k := range f.drives[number] {
			set.Drives, of = append(set.Drives, k), append(of, k)
		}
		cfg.Sets, orders = append(cfg.Sets, set), append(orders, of)
	}
	cfg.Logger, cfg.Now = slog.New(slog.DiscardHandler), time.Now
	if !f.every {
		cfg.Sets = cfg.Sets[:1]
	}
	var err error
	if p.ledger, err = erasure.NewLedger(ctx, cfg); err != nil {
		t.Fatal(err)
	}
	p.arbiter = arbiter.New(orders, p.ledger)
	if !p.found(ctx) {
		return nil
	}
	return p
}

// found founds a generation, and reports whether it may act.
func (p *process) found(ctx context.Context) bool {
	g, err := p.arbiter.Newest(ctx)
	if err != nil || p.arbiter.Claim(ctx, g.Number+1, p.name) != nil {
		return false
	}
	p.generation = g.Number + 1
	saved, err := p.ledger.Load(ctx)
	if err != nil {
		return false
	}
	p.state = settled{Used: []int{0}}
	for _, content := range append([][]byte{saved.All}, saved.Changes...) {
		if len(content) > 0 && json.Unmarshal(content, &p.state) != nil {
			return false
		}
	}
	if p.ledger.SaveAll(ctx, p.generation, "s", 0, p.encode()) != nil {
		return false
	}
	for _, number := range p.state.Used {
		if !slices.Contains(p.named, number) {
			return false
		}
	}
	return true
}

func (p *process) encode() []byte {
	b, _ := json.Marshal(p.state) //nolint:errchkjson // strings and numbers
	return b
}

// save makes what p has durable, and takes note of what was acknowledged.
func (p *process) save(ctx context.Context, next settled, value string) bool {
	before := p.state
	p.state, p.index = next, p.index+1
	if p.ledger.SaveChange(ctx, p.generation, "s", p.index, p.encode()) != nil {
		p.state = before
		return false
	}
	p.known.Lock()
	defer p.known.Unlock()
	if value != "" {
		p.acked[value] = p.generation
	}
	if p.placed.Epoch < next.Epoch {
		p.placed = next
	}
	return true
}

// move has other sets hold everything, as placing does.
func (p *process) move(ctx context.Context, to []int) bool {
	next := p.state
	next.Epoch, next.Used = p.state.Epoch+1, slices.Compact(slices.Sorted(slices.Values(append(slices.Clone(to), p.state.Used...))))
	if p.tells && !p.agree(p.named, needed(next.Epoch, next.Used)) || !p.save(ctx, next, "") {
		return false
	}
	next.Epoch, next.Used = next.Epoch+1, to
	if !p.save(ctx, next, "") {
		return false
	}
	p.agree(p.named, needed(next.Epoch, to))
	return true
}

// run sets values, and has everything move now and then, until something fails.
func (p *process) run(ctx context.Context) {
	for n := range 12 {
		time.Sleep(p.span(300 * time.Millisecond))
		if p.chance(30) {
			if !p.move(ctx, []int{p.named[int(p.span(time.Duration(len(p.named))))]}) {
				return
			}
			continue
		}
		value := fmt.Sprint(p.name, ".", n)
		next := p.state
		next.Values = append(slices.Clone(next.Values), value)
		if !p.save(ctx, next, value) {
			return
		}
	}
}

// lacks returns a setting that was acknowledged in an earlier generation and that a process does not know.
func (p *process) lacks() (value string, ok bool) {
	p.known.Lock()
	defer p.known.Unlock()
	for value, generation := range p.acked {
		if generation < p.generation && !slices.Contains(p.state.Values, value) {
			return value, true
		}
	}
	return "", false
}

// turn has a drive of each set go away and come back until ctx ends.
func (f *fleet) turn(ctx context.Context) {
	for ctx.Err() == nil {
		time.Sleep(f.span(time.Second) + time.Millisecond)
		for i, l := range f.links {
			down := f.chance(10) && i%fleetDrives == 0
			l.mu.Lock()
			l.down = down
			l.mu.Unlock()
		}
	}
}

// leaveOut runs a schedule: starts that name some of the sets, at the same time too, while messages are
// lost and late, and drives away. It returns what was lost, or could have been.
func leaveOut(t *testing.T, seed uint64, r rules) (lost error) {
	f := newFleet(t, seed, r)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var mu sync.Mutex
	look := func(p *process) {
		mu.Lock()
		defer mu.Unlock()
		if value, ok := p.lacks(); ok {
			lost = errors.Join(lost, fmt.Errorf("generation %d of %v does not know %s", p.generation, p.named, value))
		}
	}
	var busy sync.WaitGroup
	for actor := range 2 {
		busy.Go(func() {
			for n := range 12 {
				time.Sleep(f.span(time.Second))
				named := []int{[]int{0, 1, 2}[f.span(3)]}
				for number := range fleetSets {
					if number != named[0] && f.chance(60) {
						named = append(named, number)
					}
				}
				if p := f.begin(ctx, t, fmt.Sprint(actor, ".", n), named); p != nil {
					look(p)
					p.run(ctx)
				}
			}
		})
	}
	var weather sync.WaitGroup
	weather.Go(func() { f.turn(ctx) })
	busy.Wait()
	cancel()
	weather.Wait()
	time.Sleep(time.Minute) // for what nobody waits for: it may be late, too
	f.late.Wait()
	f.mu.Lock()
	f.quiet = true
	f.mu.Unlock()
	for _, l := range f.links {
		l.down = false
	}
	lost = errors.Join(lost, f.wrong)
	var last *process
	for range 10 { // numbers may be spent
		if last == nil {
			last = f.begin(t.Context(), t, "last", []int{0, 1, 2})
		}
	}
	if last == nil {
		lost = errors.Join(lost, errors.New("nobody can go on with all sets"))
	} else {
		look(last)
	}
	time.Sleep(time.Minute) // calls that nobody waits for come to their end
	return lost
}

// TestNoSettingIsLostWhicheverSetsAreLeftOut has a deployment be started with some of its sets, again and
// again and by two at the same time, while what it holds goes from one set to another.
func TestNoSettingIsLostWhicheverSetsAreLeftOut(t *testing.T) {
	for seed := *firstSeed; seed < *firstSeed+*seeds/2; seed++ {
		synctest.Test(t, func(t *testing.T) {
			if lost := leaveOut(t, seed, rules{true, true, true, true}); lost != nil {
				t.Errorf("seed %d: %v", seed, lost)
			}
		})
	}
}

// TestEachRuleOfLeavingOutIsNeeded switches the rules off one by one, and looks that it is noticed.
func TestEachRuleOfLeavingOutIsNeeded(t *testing.T) {
	if testing.Short() {
		t.Skip("some rules are missed in one of a thousand schedules")
	}
	for name, r := range map[string]rules{
		"a start names what is needed":        {false, true, true, true},
		"drives know what will be needed":     {true, false, true, true},
		"a majority of each set knows it":     {true, true, false, true},
		"settings are kept in all named sets": {true, true, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(2000) {
				var lost error
				synctest.Test(t, func(t *testing.T) { lost = leaveOut(t, seed, r) })
				if lost != nil {
					t.Logf("seed %d: %v", seed, lost)
					return
				}
			}
			t.Error("nobody has noticed it")
		})
	}
}
