// Package format knows the drives of a node: which deployment, set and slot each is of, and
// how they are formed into a set. A drive's identity decides its slot, not its path.
package format

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/shoal-storage/shoal/erasure"
	"github.com/shoal-storage/shoal/erasure/drive"
	"github.com/shoal-storage/shoal/erasure/register"
	"github.com/shoal-storage/shoal/internal/uuid"
	"github.com/shoal-storage/shoal/internal/vfs"
)

// What a drive has: everything is in one directory.
const (
	systemDir    = ".shoal.sys"
	identityName = "identity"
	lockName     = "lock"
	storeName    = "kv"
)

// identityVersion is the version of the identity and of what is beside it.
const identityVersion = 1

// Identity says what a drive is.
type Identity struct {
	Version    int      `json:"version"`
	Deployment string   `json:"deployment"`
	Drive      string   `json:"drive"`
	Set        []string `json:"set"`               // the drives of its set, in the order of their slots
	Boot       uint32   `json:"boot"`              // raised with every start of the deployment, on all its drives
	OnRoot     bool     `json:"on_root,omitempty"` // it was formed on the device of the root directory
	Blank      bool     `json:"blank,omitempty"`   // it stands for another one, and has not all of that yet
}

// The errors of Open.
var (
	// ErrInUse says that another process has a drive.
	ErrInUse = errors.New("another process serves it")
	// ErrNotEmpty says that what is to become a drive holds something.
	ErrNotEmpty = errors.New("it is not empty")
	// ErrOther says that drives do not belong together.
	ErrOther = errors.New("the drives are not those of one set")
	// ErrTooFew says that too few drives of a set are there.
	ErrTooFew = errors.New("too few drives are there")
	// ErrIncomplete says that a set cannot be formed without all of its drives.
	ErrIncomplete = errors.New("a set is formed of all its drives, and some are not there")
)

// Set is the drives of a set, opened.
type Set struct {
	Drives     []erasure.Drive // by slot
	Deployment string
	Boot       uint32 // later than that of any start before
	Online     int
	Formed     bool // it was formed just now
	places     []*place
	blank      []*replacement
}

// Close gives the drives back, so that another process may have them. They are the Store's
// to close, before.
func (s *Set) Close() error {
	var errs []error
	for _, p := range s.places {
		errs = append(errs, p.close())
	}
	return errors.Join(errs...)
}

// Healed takes note that drives which stand for others have all that those had: from now
// on they vouch for what they lack.
func (s *Set) Healed() error {
	var errs []error
	for _, r := range s.blank {
		if r.whole.Load() {
			continue
		}
		r.place.id.Blank = false
		if err := r.place.save(); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", r.place.path, err))
			continue
		}
		r.whole.Store(true)
	}
	return errors.Join(errs...)
}

// State is how a drive of the set stands.
type State struct {
	Path   string // where it is, or should be
	Drive  string // its ID; empty if that is not known
	Online bool
	Blank  bool // it stands for another one, and does not have all of that yet
}

// States returns how the drives stand, as they were named.
func (s *Set) States() []State {
	var all []State
	for _, p := range s.places {
		st := State{Path: p.path, Online: p.opened}
		if p.id != nil {
			st.Drive = p.id.Drive
		}
		st.Blank = slices.ContainsFunc(s.blank, func(r *replacement) bool { return r.place == p && !r.whole.Load() })
		all = append(all, st)
	}
	return all
}

// Blank returns how many drives stand for others and do not have all yet.
func (s *Set) Blank() (n int) {
	for _, r := range s.blank {
		if !r.whole.Load() {
			n++
		}
	}
	return n
}

// replacement is a drive that stands for another one. Until it has all that that one had,
// it takes what it is given, and does not vouch for what it lacks.
type replacement struct {
	*drive.Drive
	place *place
	whole atomic.Bool
}

// Inner returns the drive as it is.
func (r *replacement) Inner() erasure.Drive { return r.Drive }

// Promise implements erasure.Drive.
func (r *replacement) Promise(ctx context.Context, t register.Token, q register.Query) (register.View, error) {
	v, err := r.Drive.Promise(ctx, t, q)
	return v, r.vouch(err)
}

// Read implements erasure.Drive.
func (r *replacement) Read(ctx context.Context, q register.Query) (register.View, error) {
	v, err := r.Drive.Read(ctx, q)
	return v, r.vouch(err)
}

// Scan implements erasure.Drive.
func (r *replacement) Scan(ctx context.Context, q register.ScanQuery) (register.ScanPage, error) {
	page, err := r.Drive.Scan(ctx, q)
	return page, r.vouch(err)
}

func (r *replacement) vouch(err error) error {
	if err == nil && !r.whole.Load() {
		return register.ErrUnknown
	}
	return err
}

// place is a path that is to be a drive.
type place struct {
	path   string
	dir    vfs.Dir // its system directory; nil: it is not there
	lock   vfs.File
	id     *Identity // nil: it is blank
	onRoot bool      // it is on the device of the root directory
	opened bool      // as a drive
	err    error     // why it is not there
}

// Open opens the drives in some directories, and forms them into a set if all of them are
// blank. As long as a majority is there, others may be missing.
func Open(ctx context.Context, paths []string, log *slog.Logger) (_ *Set, err error) {
	places := make([]*place, len(paths))
	defer func() {
		if err != nil {
			for _, p := range places {
				err = errors.Join(err, p.close())
			}
		}
	}()
	for i, path := range paths {
		if places[i] = look(path); places[i].err != nil && !missing(places[i].err) {
			return nil, fmt.Errorf("%s: %w", path, places[i].err)
		}
	}
	formed, err := form(places)
	if err != nil {
		return nil, err
	}
	slots, err := arrange(places)
	if err != nil {
		return nil, err
	}
	replaced := replace(slots, places)
	s := &Set{Formed: formed, Deployment: deployment(places), places: places}
	if s.Boot, err = boot(slots); err != nil {
		return nil, err
	}
	for i, p := range slots {
		if p == nil {
			s.Drives = append(s.Drives, absent{})
			continue
		}
		d, err := p.open(log)
		if err != nil {
			log.Error("a drive cannot be opened", "path", p.path, "slot", i, "error", err)
			s.Drives = append(s.Drives, absent{})
			continue
		}
		s.Online++
		p.opened = true
		if p.id.Blank {
			r := &replacement{Drive: d, place: p}
			s.blank, s.Drives = append(s.blank, r), append(s.Drives, r)
			continue
		}
		s.Drives = append(s.Drives, d)
	}
	for _, p := range places {
		switch {
		case slices.Contains(replaced, p):
			log.Warn("a blank drive stands for one that is missing, and is given all that that one had", "path", p.path)
		case !slices.Contains(slots, p):
			log.Error("a drive is missing: nothing is stored on it", "path", p.path, "error", p.why())
		}
	}
	if s.Online-len(s.blank) < register.ReadQuorum(len(slots)) || s.Online < register.Majority(len(slots)) {
		return nil, fmt.Errorf("%w: %d of %d can be opened, %d are needed", ErrTooFew, s.Online, len(slots), register.Majority(len(slots)))
	}
	return s, ctx.Err()
}

// missing reports whether an error says that there is no drive, and not that it is used.
func missing(err error) bool { return !errors.Is(err, ErrInUse) }

var errBlank = errors.New("it is a blank directory of the root file system, where the drive was not: is it mounted?")

func (p *place) why() error {
	if p.err == nil {
		return errBlank
	}
	return p.err
}

func (p *place) close() error {
	if p == nil {
		return nil
	}
	var errs []error
	if p.lock != nil {
		errs = append(errs, p.lock.Close())
	}
	if p.dir != nil {
		errs = append(errs, p.dir.Close())
	}
	return errors.Join(errs...)
}

// look finds out what is at a path.
func look(path string) *place {
	p := &place{path: path}
	root, err := vfs.OpenRoot(path)
	if err != nil {
		p.err = err
		return p
	}
	defer func() { p.err = errors.Join(p.err, root.Close()) }()
	if p.onRoot, p.err = onRootDevice(root); p.err != nil {
		return p
	}
	if p.id, p.err = readIdentity(root); p.err != nil {
		return p
	}
	if p.id == nil {
		if p.err = empty(root); p.err != nil {
			return p
		}
	}
	if err := root.Mkdir(systemDir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		p.err = fmt.Errorf("make %s: %w", systemDir, err)
		return p
	}
	if p.dir, p.err = root.OpenDir(systemDir); p.err != nil {
		return p
	}
	p.err = errors.Join(root.Sync(), p.claim())
	return p
}

// onRootDevice reports whether a directory is on the device of the root directory, as it is
// where a drive is not mounted.
func onRootDevice(dir vfs.Dir) (bool, error) {
	root, err := vfs.OpenRoot("/")
	if err != nil {
		return false, err
	}
	defer func() { _ = root.Close() }() // it was only looked at
	at, err1 := root.Stat(".")
	here, err2 := dir.Stat(".")
	return at.Dev == here.Dev, errors.Join(err1, err2)
}

// empty returns an error if a directory has anything but what file systems put there, and
// what a formation that did not come to its end may have.
func empty(root vfs.Dir) error {
	names, err := root.ReadDir()
	if err != nil {
		return err
	}
	for _, e := range names {
		if e.Name != "lost+found" && e.Name != systemDir {
			return fmt.Errorf("%w: there is %s", ErrNotEmpty, e.Name)
		}
	}
	return nil
}

// claim takes the drive for this process.
func (p *place) claim() error {
	f, err := p.dir.Create(lockName, 0o600)
	if err != nil {
		return fmt.Errorf("claim: %w", err)
	}
	p.lock = f
	l, ok := f.(vfs.Flocker)
	if !ok {
		return nil
	}
	switch err := l.Flock(); {
	case errors.Is(err, vfs.ErrLocked):
		return ErrInUse
	case errors.Is(err, vfs.ErrUnsupported):
		return nil
	default:
		return err
	}
}

// maxIdentity bounds an identity, in bytes.
const maxIdentity = 64 << 10

// errIdentity says that an identity is damaged, or of a later version.
var errIdentity = errors.New("the identity of the drive cannot be read")

func readIdentity(root vfs.Dir) (*Identity, error) {
	f, err := root.Open(systemDir + "/" + identityName)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	b := make([]byte, maxIdentity)
	n, err := f.ReadAt(b, 0)
	if closed := f.Close(); closed != nil || n == 0 {
		return nil, fmt.Errorf("%w: %w", errIdentity, errors.Join(err, closed))
	}
	return decodeIdentity(b[:n])
}

// encode returns the identity: a line of JSON, and one with the CRC-32C of the first.
func (id *Identity) encode() ([]byte, error) {
	b, err := json.Marshal(id)
	if err != nil {
		return nil, fmt.Errorf("encode identity: %w", err)
	}
	return fmt.Appendf(nil, "%s\n%08x\n", b, crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli))), nil
}

func decodeIdentity(b []byte) (*Identity, error) {
	line, rest, ok := strings.Cut(string(b), "\n")
	if !ok || strings.TrimSuffix(rest, "\n") != fmt.Sprintf("%08x", crc32.Checksum([]byte(line), crc32.MakeTable(crc32.Castagnoli))) {
		return nil, errIdentity
	}
	id := &Identity{}
	if err := json.Unmarshal([]byte(line), id); err != nil {
		return nil, fmt.Errorf("%w: %w", errIdentity, err)
	}
	if id.Version != identityVersion || id.Deployment == "" || !slices.Contains(id.Set, id.Drive) {
		return nil, fmt.Errorf("%w: it has version %d, this program knows %d", errIdentity, id.Version, identityVersion)
	}
	return id, nil
}

// save makes the identity durable, in the place of the one before.
func (p *place) save() error {
	b, err := p.id.encode()
	if err != nil {
		return err
	}
	const temporary = identityName + ".new"
	f, err := p.dir.Create(temporary, 0o600)
	if err != nil {
		return fmt.Errorf("write identity: %w", err)
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = p.dir.Rename(temporary, p.dir, identityName)
	}
	if err == nil {
		err = p.dir.Sync()
	}
	if err != nil {
		return fmt.Errorf("write identity: %w", err)
	}
	return nil
}

// form makes a set of places that are all blank, and reports whether it did.
func form(places []*place) (bool, error) {
	for _, p := range places {
		if p.id != nil {
			return false, nil
		}
	}
	for _, p := range places {
		if p.err != nil {
			return false, fmt.Errorf("%w: %s: %w", ErrIncomplete, p.path, p.err)
		}
	}
	set := make([]string, len(places))
	for i := range set {
		set[i] = uuid.New()
	}
	deployment := uuid.New()
	for i, p := range places {
		p.id = &Identity{Version: identityVersion, Deployment: deployment, Drive: set[i], Set: set, OnRoot: p.onRoot}
	}
	for _, p := range places {
		if err := p.save(); err != nil {
			return false, fmt.Errorf("%s: %w", p.path, err)
		}
	}
	return true, nil
}

func deployment(places []*place) string {
	for _, p := range places {
		if p.id != nil {
			return p.id.Deployment
		}
	}
	return ""
}

// arrange returns the places by slot; nil where none is.
func arrange(places []*place) ([]*place, error) {
	var first *place
	var slots []*place
	for _, p := range places {
		if p.err != nil || p.id == nil {
			continue
		}
		if first == nil {
			first, slots = latest(places), make([]*place, len(p.id.Set))
			if len(slots) != len(places) {
				return nil, fmt.Errorf("%w: %s is of a set of %d, and %d are named", ErrOther, p.path, len(slots), len(places))
			}
		}
		slot := slices.Index(first.id.Set, p.id.Drive)
		if slot < 0 && p.id.Deployment == first.id.Deployment {
			p.err = errReplaced
			continue
		}
		switch {
		case p.id.Deployment != first.id.Deployment || slot < 0:
			return nil, fmt.Errorf("%w: %s is of another than %s", ErrOther, p.path, first.path)
		case slots[slot] != nil:
			return nil, fmt.Errorf("%w: %s and %s are the same", ErrOther, p.path, slots[slot].path)
		}
		slots[slot] = p
	}
	if slots == nil {
		return nil, ErrTooFew
	}
	return slots, nil
}

// errReplaced says that another drive has taken the place of one.
var errReplaced = errors.New("another drive has been put in its place meanwhile")

// latest returns a place whose identity is of the last start: it knows which drives the set
// is of.
func latest(places []*place) *place {
	var last *place
	for _, p := range places {
		if p.err == nil && p.id != nil && (last == nil || last.id.Boot < p.id.Boot) {
			last = p
		}
	}
	return last
}

// replace puts blank drives into free slots, and returns them. Their identities are saved
// with those of the others.
func replace(slots, places []*place) (replaced []*place) {
	set := slices.Clone(latest(places).id.Set)
	onRoot := latest(places).id.OnRoot
	for _, p := range places {
		free := slices.Index(slots, nil)
		if p.err != nil || p.id != nil || free < 0 || p.onRoot && !onRoot {
			continue
		}
		id := *latest(places).id
		id.Drive, id.Blank, id.OnRoot = uuid.New(), true, p.onRoot
		set[free], slots[free] = id.Drive, p
		p.id = &id
		replaced = append(replaced, p)
	}
	for _, p := range slots {
		if p != nil {
			p.id.Set = set
		}
	}
	return replaced
}

// boot raises the number of the start on every drive that is there. A majority has every
// one, so that a later start finds it.
func boot(slots []*place) (uint32, error) {
	var last uint32
	for _, p := range slots {
		if p != nil {
			last = max(last, p.id.Boot)
		}
	}
	saved := 0
	var errs []error
	for _, p := range slots {
		if p == nil {
			continue
		}
		p.id.Boot = last + 1
		if err := p.save(); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", p.path, err))
			continue
		}
		saved++
	}
	if saved < register.Majority(len(slots)) {
		return 0, fmt.Errorf("%w: %d of %d can be written to, %d are needed: %w", ErrTooFew, saved, len(slots), register.Majority(len(slots)), errors.Join(errs...))
	}
	return last + 1, nil
}

// open opens the drive at a place.
func (p *place) open(log *slog.Logger) (*drive.Drive, error) {
	files, err := drive.OpenFiles(p.dir)
	if err != nil {
		return nil, err
	}
	kv, err := drive.OpenPebble(filepath.Join(p.path, systemDir, storeName), log)
	if err != nil {
		return nil, errors.Join(err, files.Close())
	}
	return drive.New(kv, files, func() (left, all uint64, err error) {
		u, err := p.dir.Usage()
		return u.Free, u.Total, err
	}), nil
}

// absent is a drive that is not there.
type absent struct{}

func (absent) Commit(context.Context, register.Change) error { return register.ErrUnknown }

func (absent) Install(context.Context, register.Key, register.Record) (bool, error) {
	return false, register.ErrUnknown
}

func (absent) Promise(context.Context, register.Token, register.Query) (register.View, error) {
	return register.View{}, register.ErrUnknown
}

func (absent) Read(context.Context, register.Query) (register.View, error) {
	return register.View{}, register.ErrUnknown
}

func (absent) Decide(context.Context, []register.Decision) error { return register.ErrUnknown }

func (absent) Scan(context.Context, register.ScanQuery) (register.ScanPage, error) {
	return register.ScanPage{}, register.ErrUnknown
}

func (absent) Create(context.Context, register.DataID) (register.ShardWriter, error) {
	return nil, register.ErrUnknown
}

func (absent) ReadShard(context.Context, register.DataID, int64, int) ([]byte, error) {
	return nil, register.ErrUnknown
}

func (absent) Drop(context.Context, register.DataID) error { return register.ErrUnknown }
func (absent) Close() error                                { return nil }
