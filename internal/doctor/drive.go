package doctor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unsafe"

	"github.com/shoal-storage/shoal/internal/vfs"
)

// driveLooks are the checks of a drive that change nothing.
func driveLooks() []check {
	return []check{
		{"identity", func(_ context.Context, e *Examination) ([]Finding, error) { return e.Drive, nil }},
		{"mount", driveMount},
		{"space", space},
	}
}

// driveTrials are those that need a directory to work in: of a drive nothing is asked but that
// what was written is there.
func driveTrials() []check {
	return []check{{"write", canWrite}, {"direct writes", directWrites}, {"fsync", durableWrites}}
}

// driveMount judges the mount of a drive.
func driveMount(_ context.Context, e *Examination) ([]Finding, error) {
	m := e.mount
	var found []Finding
	add := func(f Finding) { f.Check = "mount"; found = append(found, f) }
	if m.Type == "" {
		return []Finding{{Check: "mount", Severity: Info, Found: "this system does not tell how it is mounted"}}, nil
	}
	if has("ro")(m) {
		add(Finding{Severity: Bad, Found: "it is mounted read-only", Effect: "Nothing can be written.", Cure: m.remount("rw")})
	}
	if m.network() {
		add(Finding{
			Severity: Warn, Found: m.Type + " from " + m.Source + ", over a network", Effect: "The drive is as quick as its server, hangs with it, and all drives on one server are lost together.",
			Cure: "Use a local disk; to serve a share name its directory alone: shoal server PATH.",
		})
	}
	for _, r := range otherRules(m) {
		if !m.network() && slices.Contains(r.types, m.Type) && r.holds(m) {
			add(r.result)
		}
	}
	if found == nil {
		add(Finding{Severity: OK, Found: m.Type + " from " + m.Source})
	}
	return found, nil
}

// directWrites tries whether contents can be written past the page cache.
func directWrites(_ context.Context, e *Examination) ([]Finding, error) {
	const check = "direct writes"
	f, err := e.dir.Create("direct", 0o600)
	if err != nil {
		return nil, err
	}
	err = errors.ErrUnsupported
	if d, ok := f.(vfs.DirectWriter); ok {
		_, err = d.WriteDirect([][]byte{aligned(vfs.DirectAlign)})
	}
	if closed := f.Close(); closed != nil {
		return nil, closed
	}
	switch {
	case err == nil:
		return []Finding{{Check: check, Severity: OK, Found: "contents are written past the page cache"}}, nil
	case errors.Is(err, vfs.ErrUnsupported), errors.Is(err, errors.ErrUnsupported):
		return []Finding{{Check: check, Severity: Info, Found: "the file system takes none", Effect: "Contents go by the page cache: that takes twice the CPU."}}, nil
	}
	return nil, err
}

// aligned returns so many bytes of memory that can be written directly.
func aligned(n int) []byte {
	b := make([]byte, n+vfs.DirectAlign)
	if rest := int(uintptr(unsafe.Pointer(unsafe.SliceData(b))) % vfs.DirectAlign); rest > 0 { //nolint:gosec // looked at, not followed
		b = b[vfs.DirectAlign-rest:]
	}
	return b[:n]
}

// durableWrites measures how long it takes until something is durable.
func durableWrites(ctx context.Context, e *Examination) ([]Finding, error) {
	content := strings.Repeat("x", 4<<10)
	var times []time.Duration
	for range e.Rounds {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		begun := time.Now()
		if err := e.write("durable", content); err != nil {
			return nil, err
		}
		times = append(times, time.Since(begun))
	}
	slices.Sort(times)
	half, most := times[len(times)/2], times[len(times)*99/100]
	f := Finding{Check: "fsync", Severity: OK, Found: fmt.Sprintf("4 KiB made durable: median %s, 99 of 100 within %s", since(half), since(most))}
	const cure = "Look at the disk (smartctl -a), and at what else uses it."
	switch {
	case half > verySlowCommit:
		f.Severity, f.Effect, f.Cure = Bad, "Every PUT takes so long.", cure
	case half > slowCommit:
		f.Severity, f.Effect, f.Cure = Warn, "Every PUT takes so long.", cure
	}
	return []Finding{f}, nil
}
