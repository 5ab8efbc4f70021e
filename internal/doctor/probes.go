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
		return []Finding{notWritable(err)}, nil
	}
	st, err := e.dir.Stat("write")
	if err != nil {
		return nil, err
	}
	f := Finding{Check: "write", Severity: OK, Found: fmt.Sprintf("files belong to uid %d, gid %d", st.UID, st.GID)}
	if own := os.Getuid(); own >= 0 && int(st.UID) != own {
		f.Severity, f.Found = Info, fmt.Sprintf("uid %d writes, and files belong to uid %d", own, st.UID)
		f.Effect = "The server maps users (squash): permissions are those of that user."
	}
	return []Finding{f}, nil
}

// Bounds of free space, in parts of the whole.
const (
	scarce   = 0.10
	lastRest = 0.03
)

func space(_ context.Context, e *Examination) ([]Finding, error) {
	u, err := e.Root.Usage()
	if err != nil {
		return nil, err
	}
	f := Finding{Check: "space", Severity: OK, Found: fmt.Sprintf("%.1f GiB of %.1f GiB are free", gib(u.Free), gib(u.Total))}
	switch free := float64(u.Free) / float64(max(u.Total, 1)); {
	case u.Total == 0:
		f.Severity, f.Found = Info, "the file system does not tell how much is free"
	case free < lastRest:
		f.Severity, f.Effect, f.Cure = Bad, "Uploads will soon fail with 507.", "Make room."
	case free < scarce:
		f.Severity, f.Effect, f.Cure = Warn, "Uploads will fail with 507 before long.", "Make room."
	}
	return []Finding{f}, nil
}

func gib(bytes uint64) float64 { return float64(bytes) / (1 << 30) }

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

func exclusiveCreate(ctx context.Context, e *Examination) ([]Finding, error) {
	wrong := race(ctx, e.Rounds, func(round, _ int) error { return e.dir.Mkdir(fmt.Sprintf("race-%d", round), 0o700) })
	if wrong > 0 {
		return []Finding{{
			Check: "exclusive create", Severity: Bad, Found: fmt.Sprintf("mkdir had not exactly one winner in %d of %d rounds", wrong, e.Rounds),
			Effect: "Two fleets could believe to be the one.", Cure: "Serve this tree with one gateway only, or move it to NFS or a local disk.",
		}}, nil
	}
	return []Finding{{Check: "exclusive create", Severity: OK, Found: fmt.Sprintf("one winner in each of %d rounds", e.Rounds)}}, nil
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
			Cure: "On SMB, use NFS to the same server instead.",
		}}, nil
	case missing.Load() > 0:
		return []Finding{{
			Check: check, Severity: Warn, Found: fmt.Sprintf("while it was replaced the file was missing %d times", missing.Load()),
			Effect: "Readers can get a false 404 for a moment; Shoal looks again before it answers one.", Cure: "Mount the export a second time with nosharecache, where it is NFS.",
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

func attributes(_ context.Context, e *Examination) ([]Finding, error) {
	const check = "extended attributes"
	f, err := e.dir.Create("attributes", 0o600)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // nothing was written
	value := []byte(strings.Repeat("x", recordSize))
	err = f.Setxattr("user.shoal.doctor", value)
	if err == nil {
		var got []byte
		if got, err = f.Getxattr("user.shoal.doctor"); err == nil && !slices.Equal(got, value) {
			err = errors.New("what was set is not what is there")
		}
	}
	if err != nil {
		return []Finding{{
			Check: check, Severity: Info, Found: "there are none: " + err.Error(), Effect: "Metadata goes into files of its own, which costs a few more calls for each object.",
			Cure: "NFS has them from version 4.2 on, ext4 and XFS always.",
		}}, nil
	}
	return []Finding{{Check: check, Severity: OK, Found: fmt.Sprintf("a record of %d bytes fits", recordSize)}}, nil
}

func names(_ context.Context, e *Examination) ([]Finding, error) {
	const check = "names"
	var found []Finding
	for what, name := range map[string]string{
		"255 bytes": strings.Repeat("n", 255), "non-UTF-8 bytes": "n\xff\xfe", "any characters": `n:*?"<>|\`, "a space or dot at the end": "n. ", "a name that Windows reserves": "nul.txt",
	} {
		if err := e.write(name, what); err != nil {
			found = append(found, Finding{
				Check: check, Severity: Warn, Found: "names with " + what + " are refused: " + err.Error(), Effect: "Keys with such names are answered with an error.",
				Cure: "On SMB, mount with iocharset=utf8,mapposix.",
			})
			continue
		}
		if got, err := e.read(name); err != nil || got != what {
			found = append(found, Finding{Check: check, Severity: Bad, Found: "a name with " + what + " became another one", Effect: "Two keys can become one file.", Cure: "On SMB, mount with iocharset=utf8,mapposix."})
		}
	}
	if err := e.write("Case", "upper"); err != nil {
		return nil, err
	}
	if _, err := e.dir.Stat("case"); err == nil {
		found = append(found, Finding{
			Check: check, Severity: Bad, Found: "Case and case are one name", Effect: "Two keys become one file: an object can be overwritten by another one.",
			Cure: "Use a file system that tells them apart (on SMB: case sensitive = yes on the server).",
		})
	}
	if found == nil {
		found = []Finding{{Check: check, Severity: OK, Found: "any name of 255 bytes, upper and lower case apart"}}
	}
	slices.SortFunc(found, func(a, b Finding) int { return strings.Compare(a.Found, b.Found) })
	return found, nil
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
	var times []time.Duration
	for round := range e.Rounds {
		if ctx.Err() != nil {
			break
		}
		begun := time.Now()
		if err := e.write("staged", content); err != nil {
			return nil, err
		}
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
	half, most := times[len(times)/2], times[len(times)*99/100]
	f := Finding{Check: check, Severity: OK, Found: fmt.Sprintf("4 KiB durable and in place: median %s, 99 of 100 within %s", since(half), since(most))}
	switch {
	case half > verySlowCommit:
		f.Severity, f.Effect, f.Cure = Bad, "Every PUT takes so long.", "Look at the server's disks and the network."
	case half > slowCommit:
		f.Severity, f.Effect, f.Cure = Warn, "Every PUT takes so long.", "Look at the server's disks and the network; an export with sync needs a disk with a safe cache."
	case e.mount.network() && half < tooQuick:
		f.Severity, f.Effect = Warn, "That is quicker than a disk over a network: the server may acknowledge what it has not stored, and lose it in a power cut."
		f.Cure = "Export with sync, not async."
	}
	return []Finding{f}, nil
}
