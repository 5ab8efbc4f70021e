package mount

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/shoal-storage/shoal/internal/vfs"
)

// What a generation keeps in its directory.
const (
	liveDir    = "live" // the directory whose one entry is the last renewal
	bootFile   = "boot.json"
	closedFile = "closed" // the generation was ended cleanly
	// The root of sessions is made as stagedRoot in foundDir, and moved to its place. Who looks at
	// the generation sees foundDir alone: a client of SMB must not meet a directory
	// again that it remembers under another name (forget).
	foundDir   = "founding"
	stagedRoot = "sessions"
)

// readTries bounds how often something is read again that was removed while it
// was read.
const readTries = 16

// Generation is what the mount says of a generation.
type Generation struct {
	Number   uint32 // 0: there is none yet
	Pulse    string // changes with every renewal; "": there was none yet
	Closed   bool   // it was ended cleanly
	Claimant string // the node that claimed it; "" if that is not known, as until it has ended all earlier ones
}

// boot is the content of boot.json.
type boot struct {
	Claimant string    `json:"claimant"`
	Claimed  time.Time `json:"claimed"` // by the claimant's clock; for people
}

// Newest returns the newest generation.
func (m *Mount) Newest(ctx context.Context) (Generation, error) {
	g, err := vfs.Call(ctx, m.calls, m.newest, nil)
	if err != nil {
		return Generation{}, fmt.Errorf("look for the newest generation: %w", err)
	}
	return g, nil
}

func (m *Mount) newest() (g Generation, err error) {
	err = within(m.system, gensDir, func(gens vfs.Dir) (err error) {
		if g, err = look(gens, vfs.Dir.ReadDir); err == nil && (g.Pulse != "" || g.Closed) {
			return nil
		}
		// What is not there may only not be seen here, and nobody must claim over
		// a generation for that.
		for range readTries {
			if g, err = look(gens, settled); !gone(err) {
				break
			}
		}
		return err
	})
	return g, err
}

// look returns the newest generation by what list says that is in directories.
func look(gens vfs.Dir, list func(dir vfs.Dir) ([]vfs.Entry, error)) (Generation, error) {
	entries, err := list(gens)
	g := Generation{Number: latest(entries)}
	if err != nil || g.Number == 0 {
		return g, err
	}
	err = within(gens, hex32(g.Number), func(dir vfs.Dir) error {
		entries, err := list(dir)
		if err != nil {
			return err
		}
		g.Closed = named(entries, closedFile)
		if named(entries, bootFile) {
			if g.Claimant, err = readClaimant(dir); err != nil {
				return err
			}
		}
		if !named(entries, liveDir) {
			return nil
		}
		return within(dir, liveDir, func(live vfs.Dir) error {
			entries, err := list(live)
			if last := lastRenewal(entries); last > 0 {
				g.Pulse = renewalName(last)
			}
			return err
		})
	})
	return g, err
}

// latest returns the greatest number that one of entries names, or 0.
func latest(entries []vfs.Entry) uint32 {
	greatest := uint32(0)
	for _, e := range entries {
		if n, ok := parseHex(e.Name, 8); ok {
			greatest = max(greatest, uint32(n)) //nolint:gosec // eight digits
		}
	}
	return greatest
}

// readClaimant returns who claimed the generation of a directory, "" if its
// record is damaged: it decides nothing, and must not stand in the way.
func readClaimant(dir vfs.Dir) (string, error) {
	b, _, err := readFile(dir, bootFile, maxSmallFile)
	if err != nil {
		return "", err
	}
	var content boot
	if json.Unmarshal(b, &content) != nil {
		return "", nil
	}
	return content.Claimant, nil
}

// lastRenewal returns the number of the last of the renewals that entries name,
// 0 for none.
func lastRenewal(entries []vfs.Entry) uint64 {
	last := uint64(0)
	for _, e := range entries {
		if n, ok := parseHex(e.Name, 16); ok {
			last = max(last, n)
		}
	}
	return last
}

func renewalName(n uint64) string { return fmt.Sprintf("%016x", n) }

// Claim makes node the founder of a generation, whose number is one more than
// that of the newest, and ends all earlier ones: when it returns nil, none of
// them can be renewed, no session be begun in them, and nothing that was begun
// in one be committed.
//
// It returns ErrTaken if the number, or a later one, is claimed already, also
// where it was this node and the answer was lost. After any error the number is
// spent: what is left of it is never renewed, and the next one is claimed.
func (m *Mount) Claim(ctx context.Context, number uint32, node string) error {
	err := checkName(node)
	if err == nil && number == 0 {
		err = errors.New("generations are numbered from 1")
	}
	if err == nil {
		err = m.do(ctx, func() error {
			return within(m.system, gensDir, func(gens vfs.Dir) error { return m.claim(ctx, gens, number, node) })
		})
	}
	if err != nil {
		return fmt.Errorf("claim generation %d: %w", number, err)
	}
	return nil
}

func (m *Mount) claim(ctx context.Context, gens vfs.Dir, number uint32, node string) error {
	own, err := take(gens, number)
	if err != nil {
		return err
	}
	defer closeDir(own)
	if err := m.overthrow(ctx, gens, number); err != nil {
		return err
	}
	if err := m.found(ctx, own, number, node); gone(err) {
		return fmt.Errorf("%w: %w", ErrTaken, err) // a later claim has ended this one
	} else if err != nil {
		return err
	}
	return nil
}

// take makes the directory of a generation and returns a handle of that very
// directory. All further steps of the claim go through it: once a later claim
// has removed the directory they fail, however late they come.
func take(gens vfs.Dir, number uint32) (vfs.Dir, error) {
	name := hex32(number)
	err := gens.Mkdir(name, dirMode)
	if errors.Is(err, fs.ErrExist) {
		return nil, ErrTaken
	}
	if err != nil {
		return nil, err
	}
	own, err := gens.OpenDir(name)
	if gone(err) {
		return nil, fmt.Errorf("%w: %w", ErrTaken, err)
	}
	if err != nil {
		return nil, err
	}
	if err := verify(gens, number); err != nil {
		closeDir(own)
		return nil, err
	}
	return own, nil
}

// verify makes the claimed number durable, before earlier ones go, and makes
// sure that it is the greatest. A number can be free because its generation was
// over and removed. That happens only when there is a greater one, which a look
// after the mkdir finds. If there is none then the number was not free for that
// reason, and whoever claims a greater one later finds this one to end.
func verify(gens vfs.Dir, number uint32) error {
	if err := syncDir(gens); err != nil {
		return err
	}
	entries, err := settled(gens)
	if err != nil {
		return err
	}
	if latest(entries) != number {
		_ = gens.Rmdir(hex32(number)) // else the next claim does it
		return ErrTaken
	}
	return nil
}

// overthrow ends the generations before number. A generation's directory goes
// first, and with it the live directory: from then on nobody renews it, and a
// claimant of it that was held up cannot make its root of sessions any more. So
// the roots that are there then are all that there will ever be.
func (m *Mount) overthrow(ctx context.Context, gens vfs.Dir, number uint32) error {
	err := m.killBefore(ctx, gens, number, func(string) disposer { return m.disposeGeneration })
	if err != nil {
		return fmt.Errorf("end earlier generations: %w", err)
	}
	err = within(m.system, sessionsDir, func(sessions vfs.Dir) error {
		return m.killBefore(ctx, sessions, number, m.disposeSessions)
	})
	if err != nil {
		return fmt.Errorf("fence earlier generations: %w", err)
	}
	m.tidy(ctx)
	return nil
}

// disposeGeneration is the disposer for the directory of a generation. The root
// of sessions is empty as long as it is here, and must not be emptied: once it
// was moved to its place, what is in it is not for this to remove.
func (m *Mount) disposeGeneration(ctx context.Context, dir vfs.Dir, e vfs.Entry) error {
	switch e.Name {
	case stagedRoot:
		return ignoreGone(dir.Rmdir(stagedRoot))
	case foundDir:
		return m.drain(ctx, dir, foundDir, m.disposeGeneration, 0)
	}
	return m.disposeTree(ctx, dir, e)
}

// killBefore removes the directories in dir that belong to generations before
// number. dispose returns the disposer for that of a generation.
func (m *Mount) killBefore(ctx context.Context, dir vfs.Dir, number uint32, dispose func(name string) disposer) error {
	entries, err := settled(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		n, ok := parseHex(e.Name, 8)
		if !ok || n >= uint64(number) {
			continue
		}
		if err := kill(ctx, dir, e.Name, func() error { return m.drain(ctx, dir, e.Name, dispose(e.Name), 0) }); err != nil {
			return err
		}
	}
	return nil
}

// found gives a generation what it lives by: its root of sessions, which comes
// out of the generation's directory by a rename so that it cannot come when
// that is gone, its record, and the directory in which it is renewed.
func (m *Mount) found(ctx context.Context, own vfs.Dir, number uint32, node string) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err := own.Mkdir(foundDir, dirMode); err != nil {
		return err
	}
	if err := within(own, foundDir, func(staged vfs.Dir) error { return m.foundRoot(staged, number) }); err != nil {
		return err
	}
	content, err := json.Marshal(boot{Claimant: node, Claimed: time.Now().UTC()})
	if err != nil {
		return err
	}
	const temp = "boot.tmp"
	st, err := writeFile(own, temp, content)
	if err == nil {
		err = publish(own, temp, st, own, bootFile)
	}
	if err == nil {
		err = own.Mkdir(liveDir, dirMode)
	}
	if err == nil {
		err = syncDir(own)
	}
	return err
}

// foundRoot makes the root of a generation's sessions.
func (m *Mount) foundRoot(staged vfs.Dir, number uint32) error {
	if err := staged.Mkdir(stagedRoot, dirMode); err != nil {
		return err
	}
	return within(m.system, sessionsDir, func(sessions vfs.Dir) error {
		if err := staged.Rename(stagedRoot, sessions, hex32(number)); err != nil {
			return err
		}
		return syncDir(sessions)
	})
}

// Renew shows that a generation is alive. It returns ErrOver if the generation
// was ended; what it says holds at some time between call and return.
func (m *Mount) Renew(ctx context.Context, number uint32) error {
	if err := m.do(ctx, func() error { return m.renew(ctx, number) }); err != nil {
		return fmt.Errorf("renew generation %d: %w", number, err)
	}
	return nil
}

func (m *Mount) renew(ctx context.Context, number uint32) error {
	path := gensDir + "/" + hex32(number) + "/" + liveDir
	err := within(m.system, path, func(live vfs.Dir) error { return beat(ctx, live) })
	if !gone(err) {
		return err
	}
	// That it is not there may have been cached before it was made.
	alive, err := m.alive(number)
	switch {
	case err != nil:
		return err
	case !alive:
		return ErrOver
	}
	err = within(m.system, path, func(live vfs.Dir) error { return beat(ctx, live) })
	if gone(err) {
		return fmt.Errorf("%w: %w", ErrOver, err)
	}
	return err
}

// beat makes the next renewal and removes the earlier ones.
func beat(ctx context.Context, live vfs.Dir) error {
	entries, err := live.ReadDir()
	if err != nil {
		return err
	}
	for last := lastRenewal(entries); ; {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		last++
		err := live.Mkdir(renewalName(last), dirMode)
		if err == nil {
			break
		}
		if !errors.Is(err, fs.ErrExist) {
			return err
		}
		// A leader that was deposed, or this call's own lost answer.
		entries = append(entries, vfs.Entry{Name: renewalName(last)})
	}
	for _, e := range entries {
		_ = live.Rmdir(e.Name) // else the next renewal does it
	}
	return nil
}

// alive reports whether a generation has a live directory, as the server sees
// it.
func (m *Mount) alive(number uint32) (bool, error) {
	var here bool
	err := within(m.system, gensDir, func(gens vfs.Dir) (err error) {
		if here, err = present(gens, hex32(number)); err != nil || !here {
			return err
		}
		err = within(gens, hex32(number), func(own vfs.Dir) (err error) {
			here, err = present(own, liveDir)
			return err
		})
		if gone(err) {
			here, err = false, nil
		}
		return err
	})
	return here, err
}

// End ends a generation cleanly, so that the next one is claimed without a wait.
// The last node calls it when its session is over. It returns ErrOver if the
// generation was ended before.
func (m *Mount) End(ctx context.Context, number uint32) error {
	err := m.do(ctx, func() error {
		return within(m.system, gensDir+"/"+hex32(number), func(own vfs.Dir) error { return m.closeGeneration(ctx, own) })
	})
	if gone(err) {
		err = fmt.Errorf("%w: %w", ErrOver, err)
	}
	if err != nil {
		return fmt.Errorf("end generation %d: %w", number, err)
	}
	return nil
}

func (m *Mount) closeGeneration(ctx context.Context, own vfs.Dir) error {
	if _, err := writeFile(own, closedFile, nil); err != nil {
		return err
	}
	if err := syncDir(own); err != nil {
		return err
	}
	return kill(ctx, own, liveDir, func() error { return m.drain(ctx, own, liveDir, m.disposeTree, 0) })
}
