package nasfs

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/uuid"
	"github.com/shoal-storage/shoal/internal/vfs"
	"github.com/shoal-storage/shoal/nasfs/dirsnap"
	"github.com/shoal-storage/shoal/nasfs/keypath"
)

// What lies at the root of a tree beside the buckets.
const (
	systemDir   = keypath.SystemName
	systemMode  = fs.FileMode(0o700)
	formatName  = "format"
	formatFile  = systemDir + "/" + formatName
	sessionsDir = systemDir + "/sessions"
	trashDir    = systemDir + "/trash"
	uploadsDir  = systemDir + "/uploads"
	bucketsDir  = systemDir + "/buckets"
	versionsDir = systemDir + "/versions"
	journalDir  = systemDir + "/events"

	fleetGenerationsDir = systemDir + "/fleet/gen" // of package raftlock
	claimFile           = "claim"
)

// formatVersion is the version of the layout.
const formatVersion = 1

// maxSmallFile bounds the format file and the records of buckets, in bytes.
const maxSmallFile = 1 << 20

// Open returns these for a tree that it must not serve.
var (
	ErrInUse      = errors.New("another process serves it")
	ErrOtherTree  = errors.New("the mount for reading does not show the tree")
	ErrSameMount  = errors.New("the mount for reading is the one for changes")
	ErrStaleReads = errors.New("the mount for reading goes on showing what was replaced")
	ErrFoldsCase  = errors.New("it takes names for one that differ in upper and lower case only")
	ErrMinIODrive = errors.New("it is a drive of MinIO, whose objects are not plain files")
	ErrMinIOFiles = errors.New("MinIO serves it as files, with their metadata in .minio.sys")
)

// haveBins says which of 256 directories may hold files.
type haveBins = [256]atomic.Bool

// format is the tree's own record.
type format struct {
	Version    int    `json:"version"`
	Deployment string `json:"deployment_id"`
	Generation uint32 `json:"generation"`      // raised by each Open; of the tokens of its locks
	Metadata   string `json:"metadata"`        // "xattr" or "sidecar"
	Names      string `json:"names,omitempty"` // namesSMB, or "" for what other file systems take
}

// namesSMB says that names are held to what SMB servers and Windows take as it is.
const namesSMB = "smb"

// Identity returns the deployment ID of the tree below root, or "" if no Store
// was ever opened on it. It serves to notice that a path is not mounted.
func Identity(root vfs.Dir) (string, error) {
	f, err := readFormat(root)
	return f.Deployment, err
}

func readFormat(root vfs.Dir) (format, error) {
	var f format
	b, err := readFile(root, formatFile, maxSmallFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return f, nil
	case err != nil:
		return f, fmt.Errorf("read format: %w", err)
	}
	if err := json.Unmarshal(b, &f); err != nil {
		return f, fmt.Errorf("read format: %w", err)
	}
	if f.Version != formatVersion || f.Deployment == "" {
		return format{}, fmt.Errorf("the tree has the format version %d, this program knows %d: use the program that made it, or a newer one", f.Version, formatVersion)
	}
	return f, nil
}

// Open makes the tree ready and returns its Store. It refuses a tree that
// another process serves (ErrInUse), that MinIO has formatted (ErrMinIODrive,
// ErrMinIOFiles), that ReadRoot is no other mount of (ErrOtherTree, ErrSameMount, ErrStaleReads), on which two keys would be
// one file (ErrFoldsCase), or that was made with other metadata than cfg wants. What a process that died left half done is removed before Open returns.
func Open(cfg Config) (*Store, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("configure: %w", err)
	}
	t, err := openTree(cfg, vfs.OpenRoot)
	if err != nil {
		return nil, err
	}
	s := &Store{tree: t}
	if err := s.open(); err != nil {
		s.abandonOpen()
		return nil, object.E("open", cfg.Path, kindOf(err), err)
	}
	return s, nil
}

// openTree opens the root of a tree, by open if the caller has not.
func openTree(cfg Config, open func(path string) (vfs.Dir, error)) (*tree, error) {
	if cfg.LockNow == nil {
		cfg.LockNow = cfg.Now
	}
	t := &tree{cfg: cfg, log: cfg.Logger, root: cfg.Root, strict: cfg.Durability == Strict, started: time.Now()}
	if t.log == nil {
		t.log = slog.Default()
	}
	if t.root == nil {
		var err error
		if t.root, err = open(cfg.Path); err != nil {
			return nil, object.E("open", cfg.Path, kindOf(err), err)
		}
	}
	t.bare = t.root
	if t.reads = cfg.ReadRoot; t.reads == nil {
		t.reads = t.root
	}
	return t, nil
}

// abandonOpen closes what an Open that failed has opened.
func (s *Store) abandonOpen() {
	if s.session != nil {
		closeDir(s.session)
	}
	s.closeOwn()
	if s.claim != nil {
		closeFile(s.claim)
	}
	if s.root != s.bare {
		closeDir(s.root)
	}
	if s.cfg.Root == nil {
		closeDir(s.bare)
	}
}

func (s *Store) open() error {
	if err := s.begin(); err != nil {
		return err
	}
	if err := s.takeClaim(); err != nil {
		return err
	}
	f, err := readFormat(s.root)
	if err != nil {
		return err
	}
	known := f.Deployment != ""
	if err := s.beginSession(&f); err != nil {
		return err
	}
	files := s.proveFiles(s.cfg.Files)
	if known && isFull(files) {
		files = nil // whoever makes files is told
	}
	if err := errors.Join(s.proveReads(), files, s.proveNames()); err != nil {
		return err
	}
	if err := s.chooseMetadata(&f); err != nil {
		return err
	}
	s.useNames(f)
	b, err := json.Marshal(f)
	if err != nil {
		return fmt.Errorf("encode format: %w", err)
	}
	s.unraised.Store(&b)
	if err := s.raise(); err != nil {
		if !known || !isFull(err) {
			return err
		}
		s.log.Warn("the storage is full: what is there is served, and can be deleted", "error", err)
	}
	s.deployment = f.Deployment
	if err := s.recover(); err != nil {
		return err
	}
	s.startReaper()
	s.health.start(s.tree, s.probe)
	return nil
}

// raise writes the generation that Open has raised, if storage that was full has not taken it yet. Until then no
// token of it may be kept: the next process would have the same.
func (s *Store) raise() error {
	if s.unraised.Load() == nil {
		return nil
	}
	s.raising.Lock()
	defer s.raising.Unlock()
	content := s.unraised.Load()
	if content == nil {
		return nil
	}
	if err := s.publishFile(systemDir, formatName, *content); err != nil {
		return fmt.Errorf("write format: %w", err)
	}
	s.unraised.Store(nil)
	return nil
}

// begin finds out what the file system is, and makes what is needed before any
// session.
func (s *Store) begin() error {
	if err := refuseMinIO(s.root); err != nil {
		return err
	}
	usage, err := s.root.Usage()
	if err != nil {
		return fmt.Errorf("look at the file system: %w", err)
	}
	s.localDisk = usage.LocalDisk
	// An NFS client that has a file open moves it out of the way before it renames
	// another one to its name, instead of letting the server do both in one step.
	s.gaps = s.fleet && usage.Type == "nfs"
	s.stateless = s.fleet && vfs.SeesByTime(s.reads)
	s.smb = usage.Type == "smb"
	s.codec = keypath.Codec{NameMax: min(max(usage.NameMax, 64), keypath.DefaultNameMax)}
	s.prepare()
	if err := s.layOut(); err != nil {
		return err
	}
	return s.openOwn()
}

// openOwn opens the directories of the system that are looked at again and again.
func (t *tree) openOwn() (err error) {
	for _, d := range []struct {
		root vfs.Dir
		path string
		dir  *vfs.Dir
	}{
		{t.root, trashDir, &t.trash},
		{t.root, metaDir, &t.stamps.meta},
		{t.root, stateDir, &t.stamps.state},
		{t.reads, metaDir, &t.readStamps.meta},
		{t.reads, stateDir, &t.readStamps.state},
	} {
		if *d.dir, err = d.root.OpenDir(d.path); isAbsent(err) && d.root != t.root {
			return ErrOtherTree
		}
		if err != nil {
			return fmt.Errorf("open %s: %w", d.path, err)
		}
	}
	return nil
}

// closeOwn closes those of them that are open.
func (t *tree) closeOwn() {
	for _, d := range []vfs.Dir{t.trash, t.stamps.meta, t.stamps.state, t.readStamps.meta, t.readStamps.state} {
		if d != nil {
			closeDir(d)
		}
	}
}

// proveReads proves that what is read comes from the tree that is changed: a file
// that was just made is there too, and so is the next one when it is replaced while
// it is read.
func (s *Store) proveReads() error {
	if s.cfg.ReadRoot == nil {
		return nil
	}
	first, err := s.writeTemp("probe", []byte(uuid.New()))
	if err != nil {
		return err
	}
	defer s.removeTemp(first.temp)
	path, err := s.sessionPath(first.temp)
	if err != nil {
		return err
	}
	f, err := s.reads.Open(path)
	if isAbsent(err) {
		return ErrOtherTree
	}
	if err != nil {
		return fmt.Errorf("open through the mount for reading: %w", err)
	}
	defer closeFile(f)
	switch there, err := f.Stat(); {
	case err != nil:
		return fmt.Errorf("look through the mount for reading: %w", err)
	case !s.localDisk && there.Dev == first.stat.Dev:
		return ErrSameMount
	}
	second := []byte(uuid.New())
	own, err := s.writeTemp("probe", second)
	if err == nil {
		err = s.publishTemp(own, s.session, first.temp)
	}
	if err != nil {
		return err
	}
	there, err := readFile(s.reads, path, maxSmallFile)
	if err == nil && !bytes.Equal(there, second) {
		return ErrStaleReads
	}
	return err
}

// prepare makes what lives in memory only.
func (t *tree) prepare() {
	t.versioned.name, t.configured.name, t.stamped.name, t.aliased.name = factVersioned, factConfigured, factStamped, factAliased
	detach := t.cfg.Detach == DetachAlways || t.cfg.Detach == DetachAuto && !t.localDisk
	t.calls, t.data = newLimit(t.cfg.Slots, detach), newLimit(t.cfg.DataSlots, detach)
	t.streams = make(chan struct{}, t.cfg.DataSlots)
	t.etags = newETagCache(t.cfg.CacheEntries)
}

// useNames has names be as the tree was made.
func (t *tree) useNames(f format) {
	t.codec.SMB = f.Names == namesSMB
	snaps := dirsnap.Config{Codec: t.codec, MaxBytes: t.cfg.SnapshotBytes, Shared: t.fleet}
	t.snaps = dirsnap.NewCache(snaps)
	snaps.AliasDirs, snaps.Large = true, 100 // nobody else changes them
	t.histories, t.segments = dirsnap.NewCache(snaps), segmentSize
}

// refuseMinIO refuses a directory that MinIO has formatted.
func refuseMinIO(root vfs.Dir) error {
	b, err := readFile(root, ".minio.sys/format.json", maxSmallFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("look for MinIO's format: %w", err)
	}
	var f struct{ Format string }
	if json.Unmarshal(b, &f) == nil && f.Format == "fs" {
		return ErrMinIOFiles
	}
	return ErrMinIODrive
}

// layOut makes the directories of the system.
func (s *Store) layOut() error {
	for _, path := range []string{systemDir, sessionsDir, trashDir, uploadsDir, bucketsDir, versionsDir, metaDir, stateDir} {
		if err := s.root.Mkdir(path, systemMode); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("make %s: %w", path, err)
		}
	}
	for _, path := range []string{systemDir, "."} {
		dir, err := s.root.OpenDir(path)
		if err != nil {
			return fmt.Errorf("open %s: %w", path, err)
		}
		err = s.syncDir(dir)
		closeDir(dir)
		if err != nil {
			return fmt.Errorf("sync %s: %w", path, err)
		}
	}
	return nil
}

// takeClaim locks the tree for this process, where there are locks.
func (s *Store) takeClaim() error {
	dir, err := s.root.OpenDir(systemDir)
	if err != nil {
		return fmt.Errorf("open %s: %w", systemDir, err)
	}
	defer closeDir(dir)
	if s.claim, err = dir.Create(claimFile, 0o600); err != nil {
		return fmt.Errorf("open the claim: %w", err)
	}
	f, ok := s.claim.(vfs.Flocker)
	if !ok {
		return nil
	}
	switch err := f.Flock(); {
	case errors.Is(err, vfs.ErrLocked):
		return ErrInUse
	case errors.Is(err, vfs.ErrUnsupported):
		s.log.Warn("the file system has no locks: make sure that no other gateway serves this tree", "error", err)
	case err != nil:
		return fmt.Errorf("lock the claim: %w", err)
	}
	return nil
}

// proveNames proves that the file system tells upper from lower case: where it does not,
// an object would be overwritten by another one.
func (s *Store) proveNames() error {
	own, err := s.writeTemp("case", nil)
	switch {
	case isFull(err):
		_, err = s.root.Stat(systemDir + "/" + strings.ToUpper(formatName)) // that of a tree that is there tells, too
	case err != nil:
		return err
	default:
		defer s.removeTemp(own.temp)
		_, err = s.statTemp(strings.ToUpper(own.temp))
	}
	switch {
	case err == nil && !s.cfg.FoldedCase:
		return ErrFoldsCase
	case err == nil:
		s.log.Warn("keys that differ in upper and lower case only are one object here")
	case !isAbsent(err):
		return fmt.Errorf("look whether upper and lower case are told apart: %w", err)
	}
	return nil
}

// chooseMetadata settles where records are kept and what names are held to: as the tree
// was made, or for a new one as the file system allows.
func (s *Store) chooseMetadata(f *format) error {
	has := false
	if s.cfg.Metadata != Sidecar {
		var err error
		has, err = s.probeXattr()
		if f.Metadata != "" && isFull(err) {
			has, err = f.Metadata == Xattr.String(), nil
		}
		if err != nil {
			return fmt.Errorf("probe for extended attributes: %w", err)
		}
	}
	want := s.cfg.Metadata
	switch {
	case want == Xattr && !has:
		return errors.New("the file system has no user extended attributes: mount it with them, or use --metadata sidecar")
	case want == Auto && f.Metadata == Sidecar.String():
		want = Sidecar
	case want == Auto && has:
		want = Xattr
	case want == Auto:
		want = Sidecar
	}
	if f.Metadata == "" {
		f.Metadata = want.String()
		if s.smb {
			f.Names = namesSMB
		}
	}
	if f.Metadata != want.String() {
		return fmt.Errorf("the tree keeps its metadata by %s, and %s is what can be had now: mount it as it was, or change --metadata", f.Metadata, want)
	}
	s.sidecars = want == Sidecar
	return nil
}

func (s *Store) probeXattr() (has bool, err error) {
	name := s.tempName("probe")
	f, err := s.session.Create(name, 0o600)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, f.Close(), s.session.Remove(name)) }()
	value := "probe"
	if err := f.Setxattr(xattrName, []byte(value)); err != nil {
		if errors.Is(err, vfs.ErrUnsupported) || errors.Is(err, fs.ErrPermission) {
			return false, nil
		}
		return false, err
	}
	got, err := f.Getxattr(xattrName)
	if err != nil && !errors.Is(err, vfs.ErrNoXattr) && !errors.Is(err, vfs.ErrUnsupported) {
		return false, err
	}
	return string(got) == value, nil
}

// ownFile is a small file of ours in the session, on its way to its place.
type ownFile struct {
	temp string
	stat vfs.Stat
}

// writeTemp makes a small durable file in the session.
func (s *Store) writeTemp(kind string, content []byte) (ownFile, error) {
	f := ownFile{temp: s.tempName(kind)}
	var err error
	f.stat, err = s.writeFile(s.session, f.temp, content)
	return f, s.ofSession(err)
}

// publishFile makes a small file of ours, in place of one of the name, in one
// step and durable.
func (s *Store) publishFile(dirPath, name string, content []byte) error {
	f, err := s.writeTemp("s", content)
	if err != nil {
		return err
	}
	dir, err := s.root.OpenDir(dirPath)
	if err != nil {
		s.removeTemp(f.temp)
		return err
	}
	defer closeDir(dir)
	return s.publishTemp(f, dir, name)
}

// publishTemp moves a file of the session to its place, durably.
func (s *Store) publishTemp(f ownFile, dir vfs.Dir, name string) error {
	if err := s.moveOut(f.temp, f.stat, dir, name); err != nil {
		return s.notPublished(f, dir, name, err)
	}
	if err := s.syncDir(dir); err != nil {
		return unknown{err}
	}
	return nil
}

func (s *Store) notPublished(f ownFile, dir vfs.Dir, name string, cause error) error {
	if _, gone := s.statTemp(f.temp); isAbsent(gone) {
		return unknown{cause} // it may be there: an answer can be lost
	}
	if errors.Is(cause, errFenced) {
		// The fence has removed it, or it is there; if its inode is, that may
		// be another file's by now.
		if there, err := dir.Stat(name); err == nil && there.Ino == f.stat.Ino {
			return unknown{cause}
		}
		return cause
	}
	s.removeTemp(f.temp)
	return cause
}

// removeTemp removes a file of the session, later if it cannot be done now.
func (s *Store) removeTemp(name string) {
	s.nowOrLater("temporary file", func() error { return s.dropTemp(name) })
}

// nowOrLater cleans up, and again in the background if that fails.
func (s *Store) nowOrLater(what string, do func() error) {
	if do() != nil {
		s.reaper.add(what, do)
	}
}

// recover brings to memory what the tree holds, and to an end what was cut off.
func (s *Store) recover() error {
	if err := s.loadFacts(); err != nil {
		return err
	}
	for path, have := range map[string]*haveBins{metaDir: &s.haveMeta, stateDir: &s.haveTags} {
		if err := s.loadBins(path, have); err != nil {
			return fmt.Errorf("read %s: %w", path, err)
		}
	}
	if err := s.recoverBuckets(); err != nil {
		return fmt.Errorf("bring deletions of buckets to an end: %w", err)
	}
	if err := s.loadUploads(); err != nil {
		return fmt.Errorf("read uploads: %w", err)
	}
	return nil
}

func (s *Store) loadBins(path string, have *haveBins) error {
	entries, err := readDir(s.root, path)
	if err != nil {
		return err
	}
	for _, e := range entries {
		high, low := -1, -1
		if len(e.Name) == 2 {
			high, low = strings.IndexByte(hexDigits, e.Name[0]), strings.IndexByte(hexDigits, e.Name[1])
		}
		if high >= 0 && low >= 0 {
			s.have(have, uint8(high<<4|low)) //nolint:gosec // two digits
		}
	}
	return nil
}
