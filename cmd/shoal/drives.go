package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/shoal-storage/shoal/erasure"
	"github.com/shoal-storage/shoal/erasure/format"
	"github.com/shoal-storage/shoal/erasure/healing"
	"github.com/shoal-storage/shoal/erasure/placement"
	"github.com/shoal-storage/shoal/erasure/rebalance"
	"github.com/shoal-storage/shoal/gateway/admin"
	"github.com/shoal-storage/shoal/internal/accept"
	"github.com/shoal-storage/shoal/internal/lock"
	"github.com/shoal-storage/shoal/internal/upkeep"
)

// expand writes out the ellipses in a path: /mnt/d{1...4} is four paths. Numbers keep the
// zeros that the first one begins with.
func expand(path string) ([]string, error) {
	before, rest, found := strings.Cut(path, "{")
	if !found {
		return []string{path}, nil
	}
	inner, after, closed := strings.Cut(rest, "}")
	first, last, dots := strings.Cut(inner, "...")
	from, err1 := strconv.Atoi(first)
	to, err2 := strconv.Atoi(last)
	if !closed || !dots || err1 != nil || err2 != nil || from < 0 || to < from || to-from >= erasure.MaxDrives {
		return nil, usage(path+" is not a range of drives", fmt.Sprintf("write one such as /mnt/d{1...4}, of at most %d", erasure.MaxDrives))
	}
	var all []string
	for n := from; n <= to; n++ {
		tails, err := expand(after)
		if err != nil {
			return nil, err
		}
		for _, tail := range tails {
			all = append(all, fmt.Sprintf("%s%0*d%s", before, len(first), n, tail))
		}
	}
	return all, nil
}

// checkNoDrive refuses a directory that is a drive of a set.
func checkNoDrive(path string) error {
	if _, err := os.Stat(filepath.Join(path, ".shoal.sys", "identity")); err == nil {
		return unsafe(path+" is one of several drives of a set", "name all of them: shoal server /mnt/d{1...4}")
	}
	return nil
}

// How many files are open for a drive of which nothing is asked, and beside all drives.
const (
	filesOfDrive = 300
	filesBeside  = 64
)

// filesOf returns how many files a process keeps open for drives.
func filesOf(drives int) int { return drives*filesOfDrive + filesBeside }

// checkFiles refuses so many drives of this machine where the process may not have the files that
// they take: those that are opened last would be taken for lost.
func checkFiles(drives int) error {
	if have, need := accept.Files(), filesOf(drives); have < need {
		return unsafe(fmt.Sprintf("%d drives take %d open files, and this process may have %d", drives, need, have),
			"raise the limit: ulimit -n, LimitNOFILE= of systemd, --ulimit nofile= of Docker")
	}
	return nil
}

// openDrives opens drives over which contents are spread.
func (f *serverFlags) openDrives(ctx context.Context, l layout[string], log *slog.Logger) (_ *backend, err error) {
	if err := checkFiles(l.drives()); err != nil {
		return nil, err
	}
	opened, err := format.OpenAll(ctx, l.each(), log)
	if err != nil {
		return nil, drivesFailure(err)
	}
	sets := localSets{l, opened}
	b := &backend{what: l.what(), id: opened[0].Deployment, files: filesOf(l.drives()), ends: []func() error{sets.close, sets.lookAfter(ctx)}}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.close())
		}
	}()
	boot := sets.boot()
	local := lock.NewLocal(boot)
	b.locker, b.ends = local, append(b.ends, func() error { local.Close(); return nil })
	configs := l.configs(func(i int) []erasure.Drive { return opened[i].Drives })
	var numbers []int
	for i := range configs {
		numbers = append(numbers, opened[i].Number)
		configs[i].Number, configs[i].Fresh, configs[i].Away = opened[i].Number, opened[i].Fresh, opened[i].Away
	}
	placed := l.placed(numbers)
	base := rebalance.BaseTable(placed, slices.MinFunc(opened, func(a, b *format.Set) int { return a.Of - b.Of }).Of)
	store, err := erasure.New(context.WithoutCancel(ctx), erasure.Config{
		Sets: configs, Table: base, Seed: placement.Seed(opened[0].Deployment),
		Locker: local, Logger: log, Now: time.Now,
	})
	if err != nil {
		return nil, failed("cannot open the drives", err, "")
	}
	b.store, b.ends = store, append(b.ends, store.Close)
	kept, err := store.Settings(ctx)
	if err != nil {
		return nil, failed("cannot read the settings on the drives", err, "see that a majority of the drives can be read")
	}
	b.records, b.sessions = driveRecords{kept}, soleSession(boot)
	b.journal = store.Journal(soleSession(boot))
	sets.tellFormed(log)
	b.parities, b.drives, b.activity = l.parities, sets.shown, sets.activity
	b.classes = func(f *serverFlags) (func(), error) { return l.change(f, store) }
	b.healRate = store.SetHealRate
	b.paths = func() []string { return onlineOf(sets.shown(), "") }
	log.Info(l.status(sets.offline()))
	placer := rebalance.New(rebalance.Config{
		Store: store, Records: b.records, Locker: local, Logger: log, Base: base, Sets: placed, Names: l.names(),
		Rooms: func() map[int]upkeep.Room { return roomsOf(sets.shown()) },
		Agree: func(_ context.Context, r format.Roster) error { return format.Agree(opened, r) },
		Knows: func(r format.Roster) bool { return format.Knows(opened, r) },
	})
	if err := placer.Begin(ctx); err != nil {
		return nil, placingFailure(err)
	}
	keeper := healing.New(healing.Config{
		Store: store, Records: b.records, Alone: true, Locker: local, Logger: log,
		Standing: func() healing.Standing { return sets.standing(store) }, Healed: sets.healed,
	})
	b.pools, b.healer, b.counts = placer, keeper, store.Counts
	b.ends = append(b.ends, keeper.Start(ctx), placer.Start(ctx))
	return b, nil
}

// classes are how many drives of a set may be lost: without losing objects, and without losing
// those of REDUCED_REDUNDANCY.
type classes struct{ parity, reduced int }

// classesOf returns what flags say of a set of so many drives.
func (f *serverFlags) classesOf(drives int) (c classes, err error) {
	c = classes{erasure.DefaultParity(drives), erasure.DefaultReduced}
	if f.parity != "" {
		if c.parity, err = parseParity("--parity", f.parity, drives); err != nil {
			return c, err
		}
	}
	if f.reducedParity != "" {
		c.reduced, err = parseParity("--reduced-parity", f.reducedParity, drives)
	}
	c.reduced = min(c.parity, c.reduced)
	return c, err
}

// parseParity reads EC:n.
func parseParity(flag, text string, drives int) (int, error) {
	digits, ok := strings.CutPrefix(strings.ToUpper(text), "EC:")
	n, err := strconv.Atoi(digits)
	if !ok || err != nil || n < 0 || n > drives/2 {
		return 0, usage(flag+" "+text+" is not possible with "+strconv.Itoa(drives)+" drives", fmt.Sprintf("take EC:0 to EC:%d", drives/2))
	}
	return n, nil
}

// drivesFailure says what to do about drives that cannot be opened. Those that are not there, or are
// not what they should be, are refused as a directory is of which that is so.
func drivesFailure(err error) error {
	refused := &failure{code: exitUnsafe, what: "cannot open the drives", cause: err}
	switch {
	case errors.Is(err, format.ErrInUse):
		refused.remedy = "stop the other process"
	case errors.Is(err, format.ErrNotEmpty):
		refused.remedy = "name empty directories, each on a drive of its own"
	case errors.Is(err, format.ErrMissing):
		refused.remedy = "name them again, and have their pool drained before it is left out"
	case errors.Is(err, format.ErrOther):
		refused.remedy = "name the drives that were formed together, all of them and no others"
	case errors.Is(err, format.ErrIncomplete):
		refused.remedy = "mount all drives, and start again"
	case errors.Is(err, format.ErrTooFew):
		refused.remedy = "mount the other drives, and start again"
	default:
		refused.code = exitFailed
	}
	return refused
}

// placingFailure says what to do where it is not known which drives have which objects.
func placingFailure(err error) error {
	return &failure{code: exitUnsafe, what: "cannot open the drives", cause: err, remedy: "name all drives that were named before"}
}

// roomsOf returns how much room the drives of each pool have that are there.
func roomsOf(drives []admin.Drive) map[int]upkeep.Room {
	rooms := make(map[int]upkeep.Room)
	for _, d := range drives {
		if r := rooms[d.Pool]; d.Online {
			rooms[d.Pool] = upkeep.Room{Free: r.Free + d.Room.Free, Total: r.Total + d.Room.Total}
		}
	}
	return rooms
}

// driveRecords are the settings on drives as records.
type driveRecords struct{ *erasure.Settings }

// Set implements records.
func (r driveRecords) Set(ctx context.Context, name string, value []byte, revision uint64) error {
	err := r.Settings.Set(ctx, name, value, revision)
	if errors.Is(err, erasure.ErrChanged) {
		return errChanged
	}
	return err
}

// soleSession is that of a server that serves alone: the number of its run.
type soleSession uint32

// Current implements quota.Sessions.
func (r soleSession) Current() string { return fmt.Sprintf("%08x", uint32(r)) }

// Live implements quota.Sessions.
func (r soleSession) Live(id string) bool { return id == r.Current() }
