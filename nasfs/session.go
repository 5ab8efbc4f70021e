package nasfs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"github.com/shoal-storage/shoal/internal/lock"
	"github.com/shoal-storage/shoal/internal/uuid"
	"github.com/shoal-storage/shoal/internal/vfs"
)

// generationDigits is how many digits of a generation a session's ID begins
// with, and what a directory of sessions is named by.
const generationDigits = 8

// splitSession returns the directory, below sessionsDir, that the directory of
// a session lies in, and its name there.
func splitSession(id string) (generation, name string, err error) {
	generation, name, ok := strings.Cut(id, "-")
	if !ok || !isGeneration(generation) || name == "" {
		return "", "", fmt.Errorf("session %q does not begin with its generation", id)
	}
	return generation, name, nil
}

// sessionPath returns the path of a file of the session from the root.
func (s *Store) sessionPath(name string) (string, error) {
	generation, rest, err := splitSession(s.locker.Session().ID())
	return strings.Join([]string{sessionsDir, generation, rest, name}, "/"), err
}

// isGeneration reports whether a name below sessionsDir is that of a
// generation.
func isGeneration(name string) bool {
	return len(name) == generationDigits && strings.Trim(name, hexDigits) == ""
}

// beginSession raises the generation, ends all earlier sessions, and makes the
// directory of the one that this process is.
func (s *Store) beginSession(f *format) error {
	if f.Deployment == "" {
		f.Version, f.Deployment = formatVersion, uuid.New()
	}
	fleet, err := s.fleetGeneration()
	if err != nil {
		return fmt.Errorf("look for generations of a fleet: %w", err)
	}
	// The tokens of a fleet were counted from the generation in f on.
	f.Generation += fleet + 1
	s.local = lock.NewLocal(f.Generation)
	s.locker = s.local
	generation, name, err := splitSession(s.locker.Session().ID())
	if err != nil {
		return err
	}
	sessions, err := s.root.OpenDir(sessionsDir)
	if err != nil {
		return fmt.Errorf("open sessions: %w", err)
	}
	defer closeDir(sessions)
	if err := fenceAll(sessions); err != nil {
		return err
	}
	for _, path := range []string{generation, generation + "/" + name} {
		if err := sessions.Mkdir(path, systemMode); err != nil {
			return fmt.Errorf("make session: %w", err)
		}
	}
	if s.session, err = sessions.OpenDir(generation + "/" + name); err != nil {
		return fmt.Errorf("open session: %w", err)
	}
	return s.syncDir(sessions)
}

// fleetGeneration returns the greatest generation that a fleet has had on the
// tree, or 0.
func (s *Store) fleetGeneration() (uint32, error) {
	entries, err := readDir(s.root, fleetGenerationsDir)
	if isAbsent(err) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	greatest := uint64(0)
	for _, e := range entries {
		if n, err := strconv.ParseUint(e.Name, 16, 32); err == nil && isGeneration(e.Name) {
			greatest = max(greatest, n)
		}
	}
	return uint32(greatest), nil //nolint:gosec // 32 bits
}

// fenceAll ends the sessions of dead processes, of whichever generation.
func fenceAll(sessions vfs.Dir) error {
	entries, err := sessions.ReadDir()
	if err != nil {
		return fmt.Errorf("read sessions: %w", err)
	}
	for _, e := range entries {
		if !isGeneration(e.Name) {
			err = fence(sessions, e.Name)
		} else {
			err = fenceGeneration(sessions, e.Name)
		}
		if err != nil {
			return fmt.Errorf("fence session %s: %w", e.Name, err)
		}
	}
	return nil
}

// fenceGeneration ends the sessions of one generation.
func fenceGeneration(sessions vfs.Dir, name string) error {
	dir, err := sessions.OpenDir(name)
	if isAbsent(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer closeDir(dir)
	entries, err := dir.ReadDir()
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := fence(dir, e.Name); err != nil {
			return fmt.Errorf("%s: %w", e.Name, err)
		}
	}
	return removeTree(sessions, name, nil)
}

// fence ends the session of a dead process: it empties its directory and
// removes it. From then on no rename of its that is still under way, in the
// client or in the server, can succeed: one of its sides is gone.
func fence(dir vfs.Dir, name string) error {
	if err := flat(dir, name); err != nil {
		return err
	}
	return removeTree(dir, name, nil)
}

// flat returns an error if a session holds a directory. None is ever left
// there, but where somebody replaced a file by a directory just as that file
// was being deleted, and then the process died: it is theirs and must not go.
func flat(parent vfs.Dir, name string) error {
	entries, err := readDir(parent, name)
	if isAbsent(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if i := slices.IndexFunc(entries, func(e vfs.Entry) bool { return e.Type.IsDir() }); i >= 0 {
		return fmt.Errorf("%s in its directory below %s is a directory that was caught in a deletion: move it out by hand", entries[i].Name, sessionsDir)
	}
	return nil
}

// endSession removes the session's directory and frees the tree.
func (s *Store) endSession() error {
	err := s.removeSession()
	closeDir(s.session)
	err = errors.Join(err, s.claim.Close(), s.close())
	return fail("close", "", err)
}

// removeSession removes the session's directory, and that of its generation,
// which has no other.
func (s *Store) removeSession() error {
	generation, _, err := splitSession(s.locker.Session().ID())
	if err != nil {
		return err
	}
	sessions, err := s.root.OpenDir(sessionsDir)
	if err != nil {
		return err
	}
	defer closeDir(sessions)
	return removeTree(sessions, generation, nil)
}

// close closes what openTree and begin have opened.
func (t *tree) close() error {
	t.closeOwn()
	var err error
	if t.root != t.bare {
		err = t.root.Close()
	}
	if t.cfg.Root == nil {
		err = errors.Join(err, t.bare.Close())
	}
	return err
}

// bound grants the leases of one session only. What is staged in a session's
// directory is never committed under a lease of another session: that would
// stay valid when the directory is gone, and the other way round.
type bound struct {
	lock.Locker
	session lock.Session
}

// Session implements lock.Locker.
func (b bound) Session() lock.Session { return b.session }

// Acquire implements lock.Locker.
func (b bound) Acquire(ctx context.Context, mode lock.Mode, names ...string) (lock.Lease, error) {
	if isOver(b.session) {
		return nil, lock.ErrLost // without a wait for the next session
	}
	l, err := b.Locker.Acquire(ctx, mode, names...)
	if err != nil {
		return nil, err
	}
	if l.Session().ID() != b.session.ID() {
		l.Release()
		return nil, lock.ErrLost
	}
	return l, nil
}

func isOver(s lock.Session) bool {
	select {
	case <-s.Done():
		return true
	default:
		return false
	}
}

// openSession opens the directory of a fleet's session. It was made before the
// session began, and is never made again: that it is gone is the fence.
func (t *tree) openSession(id string) (vfs.Dir, error) {
	generation, name, err := splitSession(id)
	if err != nil {
		return nil, err
	}
	dir, err := t.bare.OpenDir(sessionsDir + "/" + generation + "/" + name)
	if err != nil {
		return nil, fmt.Errorf("open session %s: %w", id, err)
	}
	return dir, nil
}

// agreeFormat returns the tree's record. Of all gateways that would make it one
// wins, and all go by what that one has written. The generation in it stays as
// the last process that served the tree alone has left it.
func (s *Store) agreeFormat(ctx context.Context) (format, error) {
	f, err := readFormat(s.root)
	if err != nil || f.Deployment != "" {
		return f, err
	}
	f.Version, f.Deployment = formatVersion, uuid.New()
	if err := s.chooseMetadata(&f); err != nil {
		return f, err
	}
	b, err := json.Marshal(f)
	if err != nil {
		return f, fmt.Errorf("encode format: %w", err)
	}
	// The lease is for file systems without links.
	l, err := s.locker.Acquire(ctx, lock.Exclusive, formatLock)
	if err != nil {
		return f, err
	}
	defer l.Release()
	if err := s.proposeFormat(b); err != nil {
		return f, fmt.Errorf("write format: %w", err)
	}
	return readFormat(s.root)
}

// formatLock names the lock of the format file: of a kind and bucket that no
// other lock has.
const formatLock = "t/format"

// proposeFormat publishes a format file unless there is one.
func (s *Store) proposeFormat(content []byte) error {
	dir, err := s.root.OpenDir(systemDir)
	if err != nil {
		return err
	}
	defer closeDir(dir)
	own, err := s.writeTemp("s", content)
	if err != nil {
		return err
	}
	err = s.ofSession(s.session.Link(own.temp, dir, formatName))
	if noLinks(err) {
		if _, there := dir.Stat(formatName); isAbsent(there) {
			return s.publishTemp(own, dir, formatName)
		}
		err = nil
	}
	s.removeTemp(own.temp)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return s.syncDir(dir)
}

// shareBeliefs is what recover is where others serve the tree too: nothing of
// what is there, or not, is known.
func (s *Store) shareBeliefs() {
	for i := range s.haveMeta {
		s.haveMeta[i].Store(true)
		s.haveTags[i].Store(true)
	}
}

// ofSession returns the error of a call that had one side in the session's
// directory: errFenced if it failed because the directory is gone. Nothing of
// it may be tried again then.
func (s *Store) ofSession(err error) error {
	if err == nil || !s.fleet {
		return err
	}
	if errors.Is(err, fs.ErrClosed) || isGone(err) && s.fenced() {
		return fmt.Errorf("%w (%v)", errFenced, err) //nolint:errorlint // not to be taken for a name that is not there
	}
	return err
}

// fenced reports whether the session's directory is gone.
func (s *Store) fenced() bool { return s.sessionGone(s.locker.Session().ID()) }

// sessionGone reports whether a session's directory is.
func (t *tree) sessionGone(id string) bool {
	generation, name, err := splitSession(id)
	if err != nil {
		return true
	}
	dir, err := t.root.OpenDir(sessionsDir + "/" + generation)
	if err != nil {
		return isGone(err)
	}
	defer closeDir(dir)
	if _, err = dir.Stat("."); err == nil { // else a client may know the name from before
		_, err = dir.Stat(name)
	}
	return isGone(err)
}

// statTemp describes a file of the session.
func (s *Store) statTemp(name string) (vfs.Stat, error) {
	st, err := vfs.StatNow(s.session, name)
	return st, s.ofSession(err)
}

// dropTemp removes a file of the session. When that has ended, it is for whoever
// fences it to do.
func (s *Store) dropTemp(name string) error {
	if s.fleet && isOver(s.locker.Session()) {
		return nil
	}
	err := s.ofSession(removeFile(s.session, name, nil))
	if errors.Is(err, errFenced) {
		return nil
	}
	return err
}

// A client of a file server that has lost an answer asks again, and a server that was
// restarted carries the call out once more. What is answered then is that the name is
// taken, or that there is nothing to be moved, though all has been done.

// linkIn links a file into the session, under a temporary name. Names are given once:
// who finds it taken has made the link himself.
func (s *Store) linkIn(dir vfs.Dir, leaf, temp string) error {
	return ownName(s.ofSession(dir.Link(leaf, s.session, temp)))
}

// mkdirIn is linkIn for a directory.
func (s *Store) mkdirIn(temp string, perm fs.FileMode) error {
	return ownName(s.ofSession(s.session.Mkdir(temp, perm)))
}

// ownName returns the error of a call that made a name which nobody else has ever had.
func ownName(err error) error {
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

// moveOut moves what lies in the session to its place.
func (s *Store) moveOut(temp string, own vfs.Stat, dir vfs.Dir, leaf string) error {
	err := s.ofSession(s.session.Rename(temp, dir, leaf))
	if !errors.Is(err, fs.ErrNotExist) || s.askFor(dir) != nil {
		return err
	}
	// The inode may be another file's once the session is over.
	if there, lost := dir.Stat(leaf); lost == nil && there.Ino == own.Ino && (!s.fleet || !s.fenced()) {
		return nil
	}
	return err
}
