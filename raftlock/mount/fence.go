package mount

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/shoal-storage/shoal/internal/vfs"
)

// fencePause is how long a fence waits before it tries again what did not get
// on, and idlePasses how often it finds nothing to do in a directory that is not
// empty before it waits.
const (
	fencePause = 10 * time.Millisecond
	idlePasses = 16
	fenceWidth = 8 // files that are unlinked at a time
)

// Begin makes the directory of a session in a generation. It returns ErrOver if
// the generation's root of sessions is gone, and fs.ErrExist if there is one of
// the name: a session never goes on in a directory that it did not make.
func (m *Mount) Begin(ctx context.Context, number uint32, dir string) error {
	if err := checkName(dir); err != nil {
		return fmt.Errorf("begin session: %w", err)
	}
	err := m.do(ctx, func() error {
		err := m.begin(number, dir)
		if err == nil && m.byPath {
			m.forgetLast()
			m.remember(number, dir)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("begin session %s of generation %d: %w", dir, number, err)
	}
	return nil
}

func (m *Mount) begin(number uint32, dir string) error {
	path := sessionsDir + "/" + hex32(number) + "/" + dir
	err := m.system.Mkdir(path, dirMode)
	if !gone(err) {
		return err
	}
	var here bool
	err = within(m.system, sessionsDir, func(sessions vfs.Dir) (err error) {
		here, err = present(sessions, hex32(number))
		return err
	})
	switch {
	case err != nil:
		return err
	case !here:
		return ErrOver
	}
	if err = m.system.Mkdir(path, dirMode); gone(err) {
		return fmt.Errorf("%w: %w", ErrOver, err)
	}
	return err
}

// remember keeps the root of a session that has begun for forgetLast.
func (m *Mount) remember(number uint32, dir string) {
	root, err := m.system.OpenDir(sessionsDir + "/" + hex32(number))
	if err != nil {
		return // the generation is over
	}
	m.mu.Lock()
	last := m.last
	m.last = begun{root, dir}
	m.mu.Unlock()
	last.close()
}

// forgetLast is forget for the session that this process began last. It has had that open,
// so the client remembers it also where it has noticed that the root is gone, by whose path it
// could not be asked any more.
func (m *Mount) forgetLast() {
	m.mu.Lock()
	last := m.last
	m.mu.Unlock()
	if last.root == nil {
		return
	}
	if err := m.forget(last.root, last.dir); err != nil && !errors.Is(err, fs.ErrClosed) {
		m.log.Warn("it cannot be found out if the last session is gone", "session", last.dir, "error", err)
	}
}

// Prove returns nil if a session had not been fenced at some time between call
// and return, and ErrOver if it has been. Nothing that a client has cached can
// stand in for the server's answer. Of a client of SMB that makes up inode numbers nothing
// can be believed: then it is an error as well (vfs.NumbersHold).
func (m *Mount) Prove(ctx context.Context, number uint32, dir string) error {
	err := checkName(dir)
	if err == nil {
		err = m.do(ctx, func() error {
			if err := over(within(m.system, sessionsDir+"/"+hex32(number)+"/"+dir, touch)); err != nil {
				return err
			}
			return vfs.NumbersHold(m.system)
		})
	}
	if err != nil {
		return fmt.Errorf("prove that session %s of generation %d is not over: %w", dir, number, err)
	}
	return nil
}

// Fence ends a session: it empties its directory and removes it. When it
// returns nil, no rename or link that has one side in the directory can happen
// any more, whatever a process has open and whatever is still on its way. On SMB it
// cannot be removed while files in it are open, and is put away. It
// can be called again, by any node and by several at once, and goes on until
// ctx ends while the session makes new files.
//
// A directory in it is not the session's but somebody's who put it where a file
// was, just as that file was deleted; it is moved to lost+found.
func (m *Mount) Fence(ctx context.Context, number uint32, dir string) error {
	if err := checkName(dir); err != nil {
		return fmt.Errorf("fence session: %w", err)
	}
	err := m.do(ctx, func() error {
		return within(m.system, sessionsDir, func(sessions vfs.Dir) error {
			if err := m.fence(ctx, sessions, hex32(number), dir); err != nil {
				return err
			}
			m.tidy(ctx)
			return nil
		})
	})
	if err != nil {
		return fmt.Errorf("fence session %s of generation %d: %w", dir, number, err)
	}
	return nil
}

func (m *Mount) fence(ctx context.Context, sessions vfs.Dir, number, dir string) error {
	here, err := present(sessions, number)
	if err != nil || !here {
		return err
	}
	for attempt := 0; ; attempt++ {
		err = within(sessions, number, func(root vfs.Dir) error {
			return kill(ctx, root, dir, func() error { return m.end(ctx, root, number, dir) })
		})
		if !gone(err) {
			return err
		}
		// The root went meanwhile, and all sessions in it before; or what others end just then has
		// gone, and a client of SMB learns of it while it looks.
		here, lookErr := present(sessions, number)
		if lookErr != nil || !here {
			return lookErr
		}
		if attempt == rootAttempts {
			return fmt.Errorf("root of sessions %s cannot be opened: %v", number, err) //nolint:errorlint // it is there
		}
		if err := pause(ctx); err != nil {
			return err
		}
	}
}

// rootAttempts is how often a root of sessions is opened that is there, and is not when it is opened.
const rootAttempts = 10

// disposer takes one entry that is no regular file out of a directory that is to
// be removed. It may leave it there, to be called for it again.
type disposer func(ctx context.Context, dir vfs.Dir, e vfs.Entry) error

// kill has a directory removed, over and over until the server says that there is
// none of the name.
func kill(ctx context.Context, parent vfs.Dir, name string, remove func() error) error {
	for {
		if err := remove(); err != nil {
			return err
		}
		here, err := present(parent, name)
		if err != nil || !here {
			return err
		}
		if err := pause(ctx); err != nil {
			return err
		}
	}
}

// end empties the directory of a session and removes it. What cannot be removed as
// somebody has it open it puts away, where that ends a session as well.
func (m *Mount) end(ctx context.Context, root vfs.Dir, number, session string) error {
	place := number + "." + session + "." + random(8)
	for {
		patience := 0
		if m.byPath {
			patience = idlePasses
		}
		err := m.drain(ctx, root, session, m.rescuer(session), patience)
		if !errors.Is(err, errKept) {
			return err
		}
		if away, err := m.putAway(root, session, place); away || err != nil {
			return err
		}
		if err := pause(ctx); err != nil {
			return err
		}
	}
}

// putAway gives the directory of a session another name, by which nobody knows it. An SMB
// server is asked by paths from its share, whatever a client has open, so from then on nothing
// can be renamed or linked out of the directory or into it. It refuses where this very client has
// a file in the directory open: to its processes the directory would be the same one.
//
// It lies in a directory of its own, place, whose name says which session's it is: who looks at what was
// put away forgets it under its old name before he sees it there.
func (m *Mount) putAway(root vfs.Dir, session, place string) (away bool, err error) {
	for _, path := range []string{awayDir, awayDir + "/" + place} {
		if err := makeDir(m.system, path); err != nil {
			return false, err
		}
	}
	err = within(m.system, awayDir+"/"+place, func(to vfs.Dir) error { return root.Rename(session, to, putAwayName) })
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EBUSY) {
		return false, nil // what is empty is tidied as well
	}
	if err = ignoreGone(err); err == nil {
		m.log.Info("a session whose files are still open was put away", "session", session)
	}
	return err == nil, err
}

// tidy removes what was put away, as far as it is not open any more. What it cannot remove
// is in nobody's way.
func (m *Mount) tidy(ctx context.Context) {
	if !m.byPath {
		return
	}
	m.forgetLast()
	err := within(m.system, awayDir, func(away vfs.Dir) error {
		entries, err := away.ReadDir()
		for _, e := range entries {
			err = errors.Join(err, m.tidyPlace(ctx, away, e.Name))
		}
		return err
	})
	if err != nil && !gone(err) && !errors.Is(err, errKept) {
		m.log.Warn("sessions that were put away could not be removed", "error", err)
	}
}

// tidyPlace removes what putAway made.
func (m *Mount) tidyPlace(ctx context.Context, away vfs.Dir, place string) error {
	number, session := ownerOf(place)
	err := within(m.system, sessionsDir+"/"+number, func(root vfs.Dir) error { return m.forget(root, session) })
	if err = ignoreGone(err); err != nil {
		return err
	}
	err = within(away, place, func(dir vfs.Dir) error { return m.drain(ctx, dir, putAwayName, m.rescuer(session), 1) })
	if err = ignoreGone(err); err != nil {
		return err
	}
	return ignoreGone(away.Rmdir(place))
}

// ownerOf returns the generation and the name of the session that the name of a directory
// in awayDir says.
func ownerOf(place string) (number, session string) {
	number, rest, _ := strings.Cut(place, ".")
	if i := strings.LastIndexByte(rest, '.'); i >= 0 {
		rest = rest[:i]
	}
	return number, rest
}

// forget has this client drop what it remembers of a name that the server has no more, and
// of all below. A client of SMB that meets a directory again while it remembers it under another
// name makes up inode numbers from then on (vfs.NumbersHold). The first question tells
// it that the name is gone, and at the second it drops it. No other client has to be asked.
func (m *Mount) forget(dir vfs.Dir, name string) error {
	if !m.byPath {
		return nil
	}
	for range 2 {
		if _, err := vfs.StatNow(dir, name); err != nil && !gone(err) {
			return err
		}
	}
	return nil
}

// errKept is returned for a directory that does not become empty.
var errKept = errors.New("files in it are open")

// drain empties a directory and removes it, until that is done or somebody else
// has done so, or, if patience is not 0, so many passes were in vain. After each pass it
// tries to remove the directory at once, since others may go on making files in it.
func (m *Mount) drain(ctx context.Context, parent vfs.Dir, name string, dispose disposer, patience int) error {
	dir, err := parent.OpenDir(name)
	switch {
	case gone(err):
		_ = m.forget(parent, name) // all that matters is that it is gone
		return nil
	case errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.ELOOP):
		return unlink(ctx, parent, name)
	case err != nil:
		return err
	}
	defer closeDir(dir)
	idle := 0
	for pass := 1; ; pass++ {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if idle > 0 { // there is something that this client does not see
			if err := stir(dir); err != nil {
				return err
			}
		}
		found, err := empty(ctx, dir, dispose)
		if err != nil {
			return err
		}
		switch err := parent.Rmdir(name); {
		case err == nil:
			return nil
		case gone(err):
			_ = m.forget(parent, name) // as above
			return nil
		case !errors.Is(err, syscall.ENOTEMPTY) && !errors.Is(err, fs.ErrExist):
			return err
		}
		if pass == patience {
			return errKept
		}
		if idle++; found > 0 {
			idle = 0
		}
		if idle >= idlePasses {
			if err := pause(ctx); err != nil {
				return err
			}
		}
	}
}

// empty takes out of dir what is in it now, and returns how much that was.
func empty(ctx context.Context, dir vfs.Dir, dispose disposer) (int, error) {
	entries, err := dir.ReadDir()
	if err != nil {
		return 0, ignoreGone(err)
	}
	var files []string
	for _, e := range entries {
		if e.Type.IsRegular() {
			files = append(files, e.Name)
		}
	}
	if err := unlinkAll(ctx, dir, files); err != nil {
		return 0, err
	}
	for _, e := range entries {
		switch {
		case e.Type.IsRegular():
			continue
		case strings.HasPrefix(e.Name, lookPrefix):
			err = ignoreGone(dir.Rmdir(e.Name)) // of a stir that was cut off
		default:
			err = dispose(ctx, dir, e)
		}
		if err != nil {
			return 0, err
		}
	}
	return len(entries), nil
}

// unlinkAll unlinks several at a time: over a network each takes a round trip,
// and where others go on making files it must be faster than they are.
func unlinkAll(ctx context.Context, dir vfs.Dir, names []string) error {
	errs := make([]error, min(len(names), fenceWidth))
	var next atomic.Int64
	var group sync.WaitGroup
	for worker := range errs {
		group.Go(func() {
			for errs[worker] == nil && ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= len(names) {
					return
				}
				errs[worker] = unlink(ctx, dir, names[i])
			}
		})
	}
	group.Wait()
	return errors.Join(errs...)
}

// rescuer returns the disposer for the directory of a session.
func (m *Mount) rescuer(session string) disposer {
	return func(ctx context.Context, dir vfs.Dir, e vfs.Entry) error {
		err := unlink(ctx, dir, e.Name)
		if errors.Is(err, syscall.EISDIR) || errors.Is(err, syscall.EPERM) {
			if st, lost := dir.Stat(e.Name); lost == nil && st.Mode.IsDir() {
				return m.rescue(dir, e.Name, session)
			}
		}
		return err
	}
}

// rescue moves a directory out of a session to lost+found. On SMB one that is empty is removed:
// it can be on the way of another one, and who has it open at this very client could move
// that one into it wherever it is.
func (m *Mount) rescue(dir vfs.Dir, name, session string) error {
	if m.byPath {
		switch err := dir.Rmdir(name); {
		case err == nil:
			return nil
		case gone(err):
			return m.forget(dir, name) // it may be somewhere else in the tree now
		}
	}
	if err := makeDir(m.system, lostDir); err != nil {
		return err
	}
	return within(m.system, lostDir, func(lost vfs.Dir) error {
		to := session + "." + name
		if m.byPath {
			to += "." + random(8) // nobody else who rescues it looks at its new name, and may know the old one
		} else if _, err := lost.Stat(to); !errors.Is(err, fs.ErrNotExist) {
			to = session + "." + random(8) // rename(2) would put it in place of an empty directory
		}
		if err := dir.Rename(name, lost, to); err != nil {
			return ignoreGone(err)
		}
		m.log.Warn("a directory was caught in a deletion and is kept", "session", session, "name", name, "directory", systemDir+"/"+lostDir+"/"+to)
		return syncDir(lost)
	})
}

// disposeSessions returns the disposer for the root of a generation's sessions.
func (m *Mount) disposeSessions(number string) disposer {
	return func(ctx context.Context, root vfs.Dir, e vfs.Entry) error { return m.end(ctx, root, number, e.Name) }
}

// disposeTree is the disposer for a directory that holds nothing of anybody's.
func (m *Mount) disposeTree(ctx context.Context, dir vfs.Dir, e vfs.Entry) error {
	return m.drain(ctx, dir, e.Name, m.disposeTree, 0)
}

// unlink removes what is no directory, and may be gone already. What a process
// of this kernel holds open over NFS stays, under a name of the kernel's, until
// it is closed: that is left for a later pass.
func unlink(ctx context.Context, dir vfs.Dir, name string) error {
	err := dir.Remove(name)
	if errors.Is(err, syscall.EBUSY) {
		return pause(ctx)
	}
	return ignoreGone(err)
}

func ignoreGone(err error) error {
	if gone(err) {
		return nil
	}
	return err
}

func pause(ctx context.Context) error {
	timer := time.NewTimer(fencePause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// checkName returns an error for what cannot be the name of a session or node:
// 1 to 64 letters, digits, '-' and '.', the first no '.'.
func checkName(name string) error {
	ok := len(name) >= 1 && len(name) <= 64 && name[0] != '.'
	for _, c := range []byte(name) {
		ok = ok && (c == '-' || c == '.' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z')
	}
	if !ok {
		return fmt.Errorf("%q is no name: 1 to 64 letters, digits, '-' and '.'", name)
	}
	return nil
}
