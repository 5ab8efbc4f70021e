package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/shoal-storage/shoal/erasure"
	"github.com/shoal-storage/shoal/erasure/format"
	"github.com/shoal-storage/shoal/gateway"
	"github.com/shoal-storage/shoal/internal/lock"
)

// maxDrives is how many drives a line can name.
const maxDrives = 16

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
	if !closed || !dots || err1 != nil || err2 != nil || from < 0 || to < from || to-from >= maxDrives {
		return nil, usage(path+" is not a range of drives", fmt.Sprintf("write one such as /mnt/d{1...4}, of at most %d", maxDrives))
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

// openDrives opens drives over which contents are spread.
func (f *serverFlags) openDrives(ctx context.Context, paths []string, log *slog.Logger) (_ *backend, err error) {
	parity := erasure.DefaultParity(len(paths))
	if f.parity != "" {
		if parity, err = parseParity(f.parity, len(paths)); err != nil {
			return nil, err
		}
	}
	set, err := format.Open(ctx, paths, log)
	if err != nil {
		return nil, drivesFailure(err)
	}
	b := &backend{what: fmt.Sprintf("%d drives, EC:%d", len(paths), parity), ends: []func() error{set.Close}}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.close())
		}
	}()
	local := lock.NewLocal(set.Boot)
	b.locker, b.ends = local, append(b.ends, func() error { local.Close(); return nil })
	store, err := erasure.New(context.WithoutCancel(ctx), erasure.Config{Drives: set.Drives, Parity: parity, Locker: local, Logger: log, Now: time.Now})
	if err != nil {
		return nil, failed("cannot open the drives", err, "")
	}
	b.store, b.ends = store, append(b.ends, store.Close)
	kept, err := store.Settings(ctx)
	if err != nil {
		return nil, failed("cannot read the settings on the drives", err, "see that a majority of the drives can be read")
	}
	b.records, b.sessions, b.journal = driveRecords{kept}, soleSession(set.Boot), store.Journal(set.Boot)
	if set.Formed {
		log.Info("formed a set of drives", "drives", len(paths), "parity", parity, "deployment", set.Deployment)
	}
	b.parity, b.drives = parity, func() []gateway.Drive { return shownDrives(set) }
	log.Info(standing(set.Online-set.Blank(), len(paths), parity))
	b.ends = append(b.ends, keepWhole(ctx, store, kept, set, log))
	return b, nil
}

func shownDrives(set *format.Set) (all []gateway.Drive) {
	for _, d := range set.States() {
		all = append(all, gateway.Drive{Path: d.Path, ID: d.Drive, Online: d.Online, Healing: d.Blank})
	}
	return all
}

// How often the drives are looked at for what some of them lack.
const (
	wholeSoon  = 5 * time.Second // after the start
	wholeLook  = time.Minute     // whether a drive has missed something
	wholeEvery = 24 * time.Hour  // in any case
	scrubEvery = 30 * 24 * time.Hour
	scrubRate  = 8 << 20 // bytes a second, of all drives together
)

// lastScrub is the setting that says when all shards were read, as seconds since 1970.
const lastScrub = "scrub/last"

// scrubIsDue reports whether the shards were not read for long. A new set is scrubbed when
// it is as old as that.
func scrubIsDue(kept *erasure.Settings) bool {
	value, _, err := kept.Get(lastScrub)
	seconds, parsed := strconv.ParseInt(string(value), 10, 64)
	return err == nil && (parsed != nil || time.Since(time.Unix(seconds, 0)) > scrubEvery)
}

// scrub reads all shards, unless none of the set was read before: then it only notes that
// the time for it begins now.
func scrub(ctx context.Context, store *erasure.Store, kept *erasure.Settings, log *slog.Logger) {
	_, revision, err := kept.Get(lastScrub)
	if err == nil && revision != 0 {
		var h erasure.Healed
		h, err = store.Scrub(ctx, scrubRate, nil)
		log.Info("all shards were read", "names", h.Names, "damaged", h.Damaged, "failed", h.Failed, "error", err)
	}
	if err == nil {
		err = kept.Set(ctx, lastScrub, strconv.AppendInt(nil, time.Now().Unix(), 10), revision)
	}
	if err != nil && ctx.Err() == nil {
		log.Error("the shards could not be read through, and will be later", "error", err)
	}
}

// keepWhole brings drives what they lack, until the returned function is called.
func keepWhole(ctx context.Context, store *erasure.Store, kept *erasure.Settings, set *format.Set, log *slog.Logger) (end func() error) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var running sync.WaitGroup
	running.Go(func() {
		last := time.Time{}
		for lock.Pause(ctx, wholeSoon); ctx.Err() == nil; lock.Pause(ctx, wholeLook) {
			if store.Behind() || set.Blank() > 0 || time.Since(last) > wholeEvery {
				last = time.Now()
				heal(ctx, store, set, log)
			}
		}
	})
	running.Go(func() { // it takes long, and healing must not wait for it
		for lock.Pause(ctx, wholeLook); ctx.Err() == nil; lock.Pause(ctx, wholeLook) {
			if scrubIsDue(kept) {
				scrub(ctx, store, kept, log)
			}
		}
	})
	return func() error {
		cancel()
		running.Wait()
		return nil
	}
}

// heal goes through the drives once.
func heal(ctx context.Context, store *erasure.Store, set *format.Set, log *slog.Logger) {
	tell := func(msg string, h erasure.Healed) {
		log.Info(msg, "names", h.Names, "records", h.Records, "shards", h.Shards, "bytes", h.Bytes, "failed", h.Failed)
	}
	h, err := store.Heal(ctx, func(h erasure.Healed) {
		if h.Records+h.Shards > 0 {
			tell("drives are being healed", h)
		}
	})
	if err != nil {
		if ctx.Err() == nil {
			log.Error("the drives could not be looked through, and will be later", "error", err)
		}
		return
	}
	if h.Records+h.Shards+h.Failed > 0 || set.Blank() > 0 {
		tell("drives were healed", h)
	}
	if h.Failed == 0 {
		if err := set.Healed(); err != nil {
			log.Error("a drive that was healed cannot take note of that", "error", err)
		}
	}
}

// standing says how a set stands, in the words that people know.
func standing(online, drives, parity int) string {
	offline := drives - online
	return fmt.Sprintf("Status: %d Online, %d Offline. We can withstand [%d] more drive failure(s).", online, offline, max(0, parity-offline))
}

// parseParity reads EC:n.
func parseParity(text string, drives int) (int, error) {
	digits, ok := strings.CutPrefix(strings.ToUpper(text), "EC:")
	n, err := strconv.Atoi(digits)
	if !ok || err != nil || n < 0 || n > drives/2 {
		return 0, usage("--parity "+text+" is not possible with "+strconv.Itoa(drives)+" drives", fmt.Sprintf("take EC:0 to EC:%d", drives/2))
	}
	return n, nil
}

// drivesFailure says what to do about drives that cannot be opened.
func drivesFailure(err error) error {
	remedy := ""
	switch {
	case errors.Is(err, format.ErrInUse):
		remedy = "stop the other process"
	case errors.Is(err, format.ErrNotEmpty):
		remedy = "name empty directories, each on a drive of its own"
	case errors.Is(err, format.ErrOther):
		remedy = "name the drives that were formed together, all of them and no others"
	case errors.Is(err, format.ErrIncomplete):
		remedy = "mount all drives, and start again"
	case errors.Is(err, format.ErrTooFew):
		remedy = "mount the other drives, and start again"
	}
	return failed("cannot open the drives", err, remedy)
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
