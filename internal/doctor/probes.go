package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shoal-storage/shoal/internal/vfs"
)

func canWrite(_ context.Context, e *Examination) ([]Finding, error) {
	if err := e.write("write", "x"); err != nil {
		return []Finding{e.notWritable(err)}, nil
	}
	st, err := e.dir.Stat("write")
	if err != nil {
		return nil, err
	}
	f := Finding{Check: "write", Severity: OK, Found: fmt.Sprintf("files belong to uid %d, gid %d", st.UID, st.GID)}
	if own := os.Getuid(); own >= 0 && int(st.UID) != own {
		f.Severity, f.Found = Info, fmt.Sprintf("uid %d writes, and files belong to uid %d", own, st.UID)
		f.Effect = "The server maps users (squash): permissions are those of that user, and files cannot be given to others (--uid, --posix-enforce)."
		f.Cure = "Where they are to be given to others, " + e.mount.export("rw,sync,no_subtree_check,no_root_squash")
	}
	return []Finding{f}, nil
}

// Bounds of free space, in parts of the whole.
const (
	scarce   = 0.10
	lastRest = 0.03
)

// fewFiles is how many files are too few, whatever part of the whole they are.
const fewFiles = 1000

func space(_ context.Context, e *Examination) ([]Finding, error) {
	u, err := e.Root.Usage()
	if err != nil {
		return nil, err
	}
	bytes := Finding{Check: "space", Severity: OK, Found: fmt.Sprintf("%s of %s are free", amount(u.Free), amount(u.Total))}
	if u.Total == 0 {
		bytes.Severity, bytes.Found = Info, "the file system does not tell how much is free"
		return []Finding{bytes}, nil
	}
	found := []Finding{bytes.rest(u.Free, u.Total)}
	if u.Inodes > 0 {
		nodes := Finding{Check: "files", Severity: OK, Found: fmt.Sprintf("%d of %d can still be made", u.FreeNodes, u.Inodes)}
		if u.FreeNodes < fewFiles {
			nodes = nodes.rest(0, 1)
		}
		found = append(found, nodes.rest(u.FreeNodes, u.Inodes))
	}
	return found, nil
}

// rest judges how much of something is left.
func (f Finding) rest(free, total uint64) Finding {
	switch left := float64(free) / float64(total); {
	case left < lastRest:
		f.Severity, f.Effect, f.Cure = Bad, "Uploads will soon fail with 507.", "Make room."
	case left < scarce:
		f.Severity, f.Effect, f.Cure = Warn, "Uploads will fail with 507 before long.", "Make room."
	}
	return f
}

// amount is a number of bytes as people read it.
func amount(bytes uint64) string {
	if bytes < 1<<30 {
		return fmt.Sprintf("%.1f MiB", float64(bytes)/(1<<20))
	}
	return fmt.Sprintf("%.1f GiB", float64(bytes)/(1<<30))
}

// contenders is how many try the same thing at once.
const contenders = 8

// race has several try the same thing and returns in how many rounds not exactly
// one of them succeeded.
func race(ctx context.Context, rounds int, try func(round, contender int) error) (wrong int) {
	for round := range rounds {
		if ctx.Err() != nil {
			break
		}
		var group sync.WaitGroup
		var winners atomic.Int32
		for c := range contenders {
			group.Go(func() {
				if try(round, c) == nil {
					winners.Add(1)
				}
			})
		}
		group.Wait()
		if winners.Load() != 1 {
			wrong++
		}
	}
	return wrong
}

// exclusiveCreate has several make the same directory, as fleets do with generations, and
// the same file with O_EXCL, as other programs do.
func exclusiveCreate(ctx context.Context, e *Examination) ([]Finding, error) {
	const check = "exclusive create"
	ways := "mkdir"
	wrong := race(ctx, e.Rounds, func(round, _ int) error { return e.dir.Mkdir(fmt.Sprintf("race-%d", round), 0o700) })
	if wrong > 0 {
		return []Finding{{
			Check: check, Severity: Bad, Found: fmt.Sprintf("mkdir had not exactly one winner in %d of %d rounds", wrong, e.Rounds),
			Effect: "Two fleets could believe to be the one.", Cure: "Serve this tree with one gateway only, or move it to NFS or a local disk.",
		}}, nil
	}
	if e.Exclusive != nil {
		ways += ", O_EXCL"
		wrong = race(ctx, e.Rounds, func(round, _ int) error { return e.Exclusive(fmt.Sprintf("%s/exclusive-%d", e.name, round)) })
	}
	if wrong > 0 {
		return []Finding{{
			Check: check, Severity: Warn, Found: fmt.Sprintf("open with O_EXCL had not exactly one winner in %d of %d rounds", wrong, e.Rounds),
			Effect: "Shoal does not rest on it, other programs on the share do.", Cure: "Use NFS version 3 or later, or a local disk.",
		}}, nil
	}
	return []Finding{{Check: check, Severity: OK, Found: fmt.Sprintf("%s: one winner in each of %d rounds", ways, e.Rounds)}}, nil
}

// atomicReplace replaces a file again and again, while others read it, and while
// it is open.
func atomicReplace(ctx context.Context, e *Examination) ([]Finding, error) {
	const check = "atomic replace"
	if err := e.write("target", "0"); err != nil {
		return nil, err
	}
	held, err := e.dir.Open("target")
	if err != nil {
		return nil, err
	}
	defer held.Close() //nolint:errcheck // it was only read
	stop := make(chan struct{})
	var missing atomic.Int64
	var group sync.WaitGroup
	group.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				if _, err := e.read("target"); errors.Is(err, fs.ErrNotExist) {
					missing.Add(1)
				}
			}
		}
	})
	for round := range e.Rounds {
		if ctx.Err() != nil {
			break
		}
		if err = e.write("source", fmt.Sprint(round)); err == nil {
			err = e.dir.Rename("source", e.dir, "target")
		}
		if err != nil {
			break
		}
	}
	close(stop)
	group.Wait()
	switch {
	case err != nil:
		return []Finding{{
			Check: check, Severity: Bad, Found: fmt.Sprintf("a file that is open cannot be replaced: %v", err), Effect: "A PUT of an object that is being read fails, and may lose it.",
			Cure: "Let no other program keep files open through this mount; or use NFS: " + e.mount.line(),
		}}, nil
	case missing.Load() > 0:
		return []Finding{{
			Check: check, Severity: Warn, Found: fmt.Sprintf("while it was replaced the file was missing %d times", missing.Load()),
			Effect: "Users of the share can miss a file for a moment; Shoal looks again before it answers 404.",
			Cure:   "Where it is NFS, mount it a second time and read through that (--read-mount): mount -t nfs -o " + nfsOptions + ",nosharecache " + e.mount.Source + " " + e.mount.Point + "-read",
		}}, nil
	}
	return []Finding{{Check: check, Severity: OK, Found: fmt.Sprintf("replaced %d times while it was read", e.Rounds)}}, nil
}

func hardLinks(ctx context.Context, e *Examination) ([]Finding, error) {
	const check = "hard links"
	for c := range contenders {
		if err := e.write(fmt.Sprint("link-source-", c), "x"); err != nil {
			return nil, err
		}
	}
	if err := e.dir.Link("link-source-0", e.dir, "linked"); err != nil {
		return []Finding{{
			Check: check, Severity: Info, Found: "there are none: " + err.Error(),
			Effect: "An object that somebody makes by other means at the very moment of a conditional PUT can be overwritten.",
		}}, nil
	}
	wrong := race(ctx, e.Rounds, func(round, c int) error {
		return e.dir.Link(fmt.Sprint("link-source-", c), e.dir, fmt.Sprint("link-", round))
	})
	if wrong > 0 {
		return []Finding{{
			Check: check, Severity: Bad, Found: fmt.Sprintf("link had not exactly one winner in %d of %d rounds", wrong, e.Rounds),
			Effect: "If-None-Match is not safe against those who make files by other means.", Cure: "Move the tree to NFS or a local disk.",
		}}, nil
	}
	return []Finding{{Check: check, Severity: OK, Found: fmt.Sprintf("one winner in each of %d rounds", e.Rounds)}}, nil
}

// recordSize is the greatest record that Shoal puts into an attribute, in bytes.
const recordSize = 2 << 10

// sizes are those that are tried for an attribute, in bytes.
func sizes() []int { return []int{64 << 10, 32 << 10, 16 << 10, 8000, 4000, recordSize, 1 << 10, 256} }

// attributes looks how large an attribute can be.
func attributes(_ context.Context, e *Examination) ([]Finding, error) {
	const check = "extended attributes"
	var err error
	for i, size := range sizes() {
		// Of an attribute that is too large ext4 says that there is no space.
		if err = e.attribute(size); err != nil {
			continue
		}
		f := Finding{Check: check, Severity: OK, Found: fmt.Sprintf("of %d bytes and more, of which records take up to %d", size, recordSize)}
		if size < recordSize {
			f = Finding{Check: check, Severity: Info, Found: fmt.Sprintf("end between %d and %d bytes", size, sizes()[i-1]), Effect: "Metadata that is larger goes into files of its own, which costs a few more calls for each object."}
		}
		return []Finding{f}, nil
	}
	f := Finding{
		Check: check, Severity: Info, Found: "there are none: " + err.Error(), Effect: "Metadata goes into files of its own, which costs a few more calls for each object.",
		Cure: "Local file systems such as ext4 and XFS have them, and NFS from version 4.2 on.",
	}
	if slices.Contains(nfs(), e.mount.Type) {
		f.Cure = e.mount.line()
	}
	return []Finding{f}, nil
}

// attribute gives a file an attribute of so many bytes.
func (e *Examination) attribute(size int) error {
	f, err := e.dir.Create("attributes", 0o600)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // nothing was written
	value := []byte(strings.Repeat("x", size))
	if err := f.Setxattr("user.shoal.doctor", value); err != nil {
		return err
	}
	got, err := f.Getxattr("user.shoal.doctor")
	if err == nil && !slices.Equal(got, value) {
		err = errors.New("what was set is not what is there")
	}
	return err
}

// Bounds of how far the server's clock may be off.
const (
	skewWarn = time.Second
	skewBad  = 5 * time.Second
)

func clock(_ context.Context, e *Examination) ([]Finding, error) {
	before := time.Now()
	if err := e.write("clock", "x"); err != nil {
		return nil, err
	}
	after := time.Now()
	st, err := e.dir.Stat("clock")
	if err != nil {
		return nil, err
	}
	skew := max(before.Sub(st.Mtime), st.Mtime.Sub(after), 0)
	f := Finding{Check: "clock", Severity: OK, Found: "as that of the file system, within " + since(max(skew, after.Sub(before)))}
	if skew >= skewWarn {
		f = Finding{
			Check: "clock", Severity: Warn, Found: "off by " + since(skew) + " from that of the file system",
			Effect: "Times of objects are wrong, and signatures of clients are refused when it is 15 minutes.", Cure: "Run chrony or systemd-timesyncd on both.",
		}
		if skew >= skewBad {
			f.Severity = Bad
		}
	}
	return []Finding{f}, nil
}

// Bounds of the time that a commit takes.
const (
	slowCommit     = 50 * time.Millisecond
	verySlowCommit = 500 * time.Millisecond
	tooQuick       = 200 * time.Microsecond // over a network, with an fsync
)

func latency(ctx context.Context, e *Examination) ([]Finding, error) {
	const check = "commit latency"
	content := strings.Repeat("x", 4<<10)
	var times, writes []time.Duration
	for round := range e.Rounds {
		if ctx.Err() != nil {
			break
		}
		begun := time.Now()
		if err := e.write("staged", content); err != nil {
			return nil, err
		}
		writes = append(writes, time.Since(begun))
		if err := e.dir.Rename("staged", e.dir, fmt.Sprint("object-", round)); err != nil {
			return nil, err
		}
		if err := e.dir.Sync(); err != nil && !errors.Is(err, vfs.ErrUnsupported) {
			return nil, err
		}
		times = append(times, time.Since(begun))
	}
	if len(times) == 0 {
		return nil, context.Cause(ctx)
	}
	slices.Sort(times)
	slices.Sort(writes)
	half, most := times[len(times)/2], times[len(times)*99/100]
	f := Finding{Check: check, Severity: OK, Found: fmt.Sprintf("4 KiB written with fsync: median %s; and in place: median %s, 99 of 100 within %s", since(writes[len(writes)/2]), since(half), since(most))}
	switch {
	case half > verySlowCommit:
		f.Severity, f.Effect, f.Cure = Bad, "Every PUT takes so long.", "Look at the server's disks and the network."
	case half > slowCommit:
		f.Severity, f.Effect, f.Cure = Warn, "Every PUT takes so long.", "Look at the server's disks and the network; an export with sync needs disks that are quick to make writes durable."
	case e.mount.network() && half < tooQuick:
		f.Severity, f.Effect = Warn, "That is quicker than a disk over a network: the server may acknowledge what it has not stored, and lose it in a power cut."
		f.Cure = "Where it is NFS, " + e.mount.export("rw,sync,no_subtree_check")
	}
	return []Finding{f}, nil
}
