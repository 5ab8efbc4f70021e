// Package mount is what the nodes of a fleet keep on the file system that they
// share: who they are, which generation of them is the one, the directories
// that their sessions stage and commit from, and the durable copy of what the
// fleet agreed on. It decides by what the server of the file system does once
// for all clients - an exclusive mkdir, a link, a removed directory - and never
// by a clock, a lock, or what a client may have cached.
package mount

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strconv"
	"strings"
	"sync"

	"github.com/shoal-storage/shoal/internal/uuid"
	"github.com/shoal-storage/shoal/internal/vfs"
)

// The layout, beneath systemDir but for systemDir itself.
const (
	systemDir   = ".shoal.sys"
	fleetDir    = "fleet"
	membersDir  = fleetDir + "/members"
	gensDir     = fleetDir + "/gen"
	settingsDir = fleetDir + "/settings"
	sessionsDir = "sessions"
	lostDir     = "lost+found"
	awayDir     = "away"
	putAwayName = "session" // of a session's directory in a place of awayDir

	clusterFile = "cluster.json"
	secretFile  = "secret"
)

const (
	dirMode  = fs.FileMode(0o700)
	fileMode = fs.FileMode(0o600)
)

// slots bounds how many calls are inside the file system at a time.
const slots = 16

// formatVersion is the version of the layout.
const formatVersion = 1

// maxSmallFile bounds cluster.json, the secret and boot.json, in bytes.
const maxSmallFile = 4 << 10

// minSecret is the shortest secret that is accepted, in bytes.
const minSecret = 16

// Errors that callers tell apart.
var (
	// ErrTaken is returned where another node has claimed the number, or a
	// later one.
	ErrTaken = errors.New("the generation was claimed by another node")
	// ErrOver is returned where the generation, or the session in it, has ended.
	ErrOver = errors.New("the generation or session is over")
)

// Mount is the fleet's part of a file system. Create one with Open.
//
// All methods may be called concurrently. When ctx ends first they return
// vfs.ErrHung at once; a call that is inside the file system then goes on, but
// begins nothing further. Unless a method says more, an error of one that
// changes something leaves open whether it did.
type Mount struct {
	log     *slog.Logger
	calls   *vfs.Limit
	system  vfs.Dir
	byPath  bool // the server goes by paths alone, not by what a client has open
	cluster string

	mu   sync.Mutex
	bad  map[string]string // member files that were complained about, and why
	last begun             // the session that this process began last, if byPath
}

// begun is a session's directory, and the root that it was made in.
type begun struct {
	root vfs.Dir
	dir  string
}

func (b begun) close() {
	if b.root != nil {
		closeDir(b.root)
	}
}

// There reports whether a fleet has served the tree at some time. It makes nothing.
func There(root vfs.Dir) (bool, error) {
	_, err := vfs.StatNow(root, systemDir+"/"+gensDir)
	if gone(err) {
		return false, nil
	}
	return err == nil, err
}

// Open makes the fleet's directories where they are missing, and gives the
// cluster its identity if it has none. root stays the caller's to close.
func Open(ctx context.Context, root vfs.Dir, log *slog.Logger) (*Mount, error) {
	m := &Mount{log: log, calls: vfs.NewLimit(slots), bad: make(map[string]string)}
	open := func() (vfs.Dir, error) { return layOut(root) }
	var err error
	if m.system, err = vfs.Call(ctx, m.calls, open, closeDir); err != nil {
		return nil, fmt.Errorf("open fleet directories: %w", err)
	}
	usage, err := vfs.Call(ctx, m.calls, root.Usage, nil)
	if err != nil {
		closeDir(m.system)
		return nil, fmt.Errorf("look at the file system: %w", err)
	}
	m.byPath = usage.Type == "smb"
	m.cluster, err = vfs.Call(ctx, m.calls, m.identify, nil)
	if err != nil {
		closeDir(m.system)
		return nil, fmt.Errorf("identify cluster: %w", err)
	}
	return m, nil
}

// Close frees what Open opened. Calls that are under way fail.
func (m *Mount) Close() error {
	m.mu.Lock()
	m.last.close()
	m.last = begun{}
	m.mu.Unlock()
	if err := m.system.Close(); err != nil {
		return fmt.Errorf("close fleet directories: %w", err)
	}
	return nil
}

// do runs fn, which makes file system calls, unless ctx ends before.
func (m *Mount) do(ctx context.Context, fn func() error) error {
	_, err := vfs.Call(ctx, m.calls, func() (struct{}, error) { return struct{}{}, fn() }, nil)
	return err
}

// layOut makes the directories and returns that of the system. They are never
// removed again, so that no name in them is looked up before it can be there.
func layOut(root vfs.Dir) (vfs.Dir, error) {
	if err := makeDir(root, systemDir); err != nil {
		return nil, err
	}
	system, err := root.OpenDir(systemDir)
	if err != nil {
		return nil, err
	}
	for _, path := range []string{fleetDir, membersDir, gensDir, settingsDir, sessionsDir} {
		if err := makeDir(system, path); err != nil {
			closeDir(system)
			return nil, err
		}
	}
	err = within(system, fleetDir, syncDir)
	for _, dir := range []vfs.Dir{system, root} {
		if err == nil {
			err = syncDir(dir)
		}
	}
	if err != nil {
		closeDir(system)
		return nil, err
	}
	return system, nil
}

func makeDir(dir vfs.Dir, path string) error {
	if err := dir.Mkdir(path, dirMode); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// Cluster returns the UUID of the cluster: that of everybody on this file
// system, and of nobody else.
func (m *Mount) Cluster() string { return m.cluster }

// identity is the content of cluster.json.
type identity struct {
	Version int    `json:"version"`
	Cluster string `json:"cluster"`
}

func (m *Mount) identify() (string, error) {
	fresh, err := json.Marshal(identity{Version: formatVersion, Cluster: uuid.New()})
	if err != nil {
		return "", err
	}
	var b []byte
	err = within(m.system, fleetDir, func(fleet vfs.Dir) (err error) {
		b, _, err = readOrMake(fleet, clusterFile, fresh)
		return err
	})
	if err != nil {
		return "", err
	}
	var id identity
	switch err := json.Unmarshal(b, &id); {
	case err != nil:
		return "", fmt.Errorf("read %s: %w", clusterFile, err)
	case id.Version != formatVersion:
		return "", fmt.Errorf("%s is of version %d, this program knows %d", clusterFile, id.Version, formatVersion)
	case id.Cluster == "":
		return "", fmt.Errorf("%s names no cluster", clusterFile)
	}
	return id.Cluster, nil
}

// Secret returns what the nodes of the cluster prove to one another that they
// know: what an administrator put there, or else 32 random bytes in hex.
func (m *Mount) Secret(ctx context.Context) ([]byte, error) {
	secret, err := vfs.Call(ctx, m.calls, m.secret, nil)
	if err != nil {
		return nil, fmt.Errorf("read secret: %w", err)
	}
	return secret, nil
}

func (m *Mount) secret() ([]byte, error) {
	fresh := []byte(random(32) + "\n")
	var b []byte
	var st vfs.Stat
	err := within(m.system, fleetDir, func(fleet vfs.Dir) (err error) {
		b, st, err = readOrMake(fleet, secretFile, fresh)
		return err
	})
	if err != nil {
		return nil, err
	}
	secret := []byte(strings.TrimSpace(string(b)))
	if len(secret) < minSecret {
		return nil, fmt.Errorf("it has %d bytes, and at least %d are needed", len(secret), minSecret)
	}
	if st.Mode.Perm()&0o077 != 0 {
		m.log.Warn("the secret of the cluster can be read by others", "file", systemDir+"/"+fleetDir+"/"+secretFile, "mode", st.Mode.Perm())
	}
	return secret, nil
}

// readOrMake returns a file of dir, which it makes with the content fresh if
// there is none. Of all that make it at the same time one wins, and all return
// what that one wrote.
func readOrMake(dir vfs.Dir, name string, fresh []byte) ([]byte, vfs.Stat, error) {
	b, st, err := readFile(dir, name, maxSmallFile)
	if !errors.Is(err, fs.ErrNotExist) {
		return b, st, err
	}
	temp := "new-" + random(8)
	if _, err := writeFile(dir, temp, fresh); err != nil {
		return nil, vfs.Stat{}, err
	}
	err = dir.Link(temp, dir, name)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		_ = dir.Remove(temp) // the error of the link is the answer
		return nil, vfs.Stat{}, err
	}
	if err := dir.Remove(temp); err != nil {
		return nil, vfs.Stat{}, err
	}
	// Also for one that lost: it must not go by what may not survive.
	if err := syncDir(dir); err != nil {
		return nil, vfs.Stat{}, err
	}
	return readFile(dir, name, maxSmallFile)
}

// hex32 is the name of what belongs to a generation.
func hex32(number uint32) string { return fmt.Sprintf("%08x", number) }

// parseHex is the inverse of %0<digits>x, and of nothing else.
func parseHex(name string, digits int) (uint64, bool) {
	if len(name) != digits || name != strings.ToLower(name) {
		return 0, false
	}
	n, err := strconv.ParseUint(name, 16, digits*4)
	return n, err == nil
}

// random returns the hex digits of n random bytes.
func random(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // crypto/rand never fails
	return hex.EncodeToString(b)
}
