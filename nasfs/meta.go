package nasfs

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"syscall"

	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/vfs"
)

// xattrName is the user attribute that holds an object's record.
const xattrName = "user.shoal"

// maxXattr is the largest record kept in an attribute, in bytes: ext4 has
// about one block for all attributes of a file.
const maxXattr = 2 << 10

// The directories, below the system directory, of files named by stamps.
const (
	metaDir  = systemDir + "/meta"
	stateDir = systemDir + "/state"
)

// stampDirs are these directories, open.
type stampDirs struct{ meta, state vfs.Dir }

const hexDigits = "0123456789abcdef"

// binName returns the name of the directory, in one of them, that files of stamps
// lie in.
func binName(bin uint8) string { return string([]byte{hexDigits[bin>>4], hexDigits[bin&15]}) }

func binPath(dir string, bin uint8) string { return dir + "/" + binName(bin) }

// askFor has a client of a file server ask what is in a directory that was opened
// a while ago.
func (t *tree) askFor(dir vfs.Dir) error {
	if t.localDisk {
		return nil
	}
	_, err := dir.Stat(".")
	return err
}

// saveRecord keeps the record of a staged file. The stamp in it must be the
// file's last.
func (s *Store) saveRecord(f vfs.File, r *record) error {
	if s.sidecars {
		return s.saveSidecar(r)
	}
	b := r.encode()
	if len(b) <= maxXattr {
		err := f.Setxattr(xattrName, b)
		if err == nil || !isXattrFull(err) {
			return err
		}
		// Where content is written late it may be the disk that is full.
		if err := f.Sync(); err != nil {
			return err
		}
	}
	if err := s.saveSidecar(r); err != nil {
		return err
	}
	flag := record{stamp: r.stamp, spilled: true, meta: object.Meta{Seal: r.meta.Seal}} // the seal is for earlier programs
	return f.Setxattr(xattrName, flag.encode())
}

// isXattrFull reports whether an attribute was refused for its size. ext4
// answers ENOSPC when its block for attributes is full (setxattr(2)).
func isXattrFull(err error) bool {
	return isFull(err) || errors.Is(err, syscall.E2BIG) || errors.Is(err, syscall.ERANGE)
}

// saveSidecar writes a record under its stamp. Nobody looks there before the
// file of that stamp is published, so it is written in place.
func (s *Store) saveSidecar(r *record) error {
	if s.fleet && !s.holds(&s.stamped) {
		return errUnstamped
	}
	bin := r.stamp.bin()
	dir, err := s.openBin(metaDir, bin)
	if err != nil {
		return err
	}
	defer closeDir(dir)
	if _, err := s.writeFile(dir, r.stamp.name(), r.encode()); err != nil {
		return err
	}
	s.have(&s.haveMeta, bin)
	return s.syncDir(dir)
}

// have notes that there are files in one of the 256 directories.
func (s *Store) have(bins *haveBins, bin uint8) {
	bins[bin].Store(true)
	s.stamped.known.Store(true)
}

// openBin opens one of the 256 directories, and makes it if it is missing.
func (s *Store) openBin(parent string, bin uint8) (vfs.Dir, error) {
	path := binPath(parent, bin)
	if !s.unsettled(path) {
		dir, err := s.root.OpenDir(path)
		if err == nil {
			if err = s.awaitMade(path); err != nil {
				closeDir(dir)
				return nil, err
			}
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return dir, err
		}
	}
	if err := s.makeOwnDir(path); err != nil {
		return nil, err
	}
	return s.root.OpenDir(path)
}

// makeOwnDir makes a directory of ours, if it is not there, and makes it
// durable. One for which that failed stays fresh: it is there, but must not be
// used before this has been done again.
func (s *Store) makeOwnDir(path string) error {
	s.fresh.begin(path)
	defer s.fresh.end(path)
	return s.make(path, func() error {
		err := s.root.Mkdir(path, systemMode)
		if err == nil || errors.Is(err, fs.ErrExist) {
			err = s.settleDir(path)
		}
		if err != nil {
			if _, lost := s.root.Stat(path); !isAbsent(lost) { // the directory is there, or may be
				s.fresh.fail(path)
			}
		}
		return err
	})
}

// writeFile makes a durable file.
func (s *Store) writeFile(dir vfs.Dir, name string, content []byte) (st vfs.Stat, err error) {
	f, err := dir.Create(name, 0o600)
	if err == nil {
		_, err = f.Write(content)
		if err == nil && s.strict {
			err = f.Sync()
		}
		if err == nil {
			st, err = f.Stat()
		}
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		_ = dir.Remove(name) // best effort: what is wrong is told already
	}
	return st, err
}

// syncsDirs reports whether changed directories are synced: so that they survive a
// loss of power, or so that a fleet's other gateways see it (vfs.OpenShared).
func (t *tree) syncsDirs() bool { return t.strict || t.fleet && !t.localDisk }

func (s *Store) syncDir(dir vfs.Dir) error {
	if !s.syncsDirs() {
		return nil
	}
	return dir.Sync()
}

// readFile returns the content of a small file of ours.
func readFile(root vfs.Dir, path string, limit int64) ([]byte, error) {
	f, err := root.Open(path)
	if err != nil {
		return nil, err
	}
	defer closeFile(f)
	st, err := f.Stat()
	switch {
	case err != nil:
		return nil, err
	case !st.Mode.IsRegular() || st.Size > limit:
		return nil, fmt.Errorf("%s: %w", path, errRecord)
	}
	b := make([]byte, st.Size)
	n, err := f.ReadAt(b, 0)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return b[:n], err
}

// closeFile closes a file that was only read: there is nothing to lose.
func closeFile(f vfs.File) { _ = f.Close() }

// loadRecord returns the record of an open file, or nil if there is none for
// the content that it has: it was made, or changed, by somebody else. missing
// says that there should have been a sidecar: the file was removed meanwhile,
// or somebody removed the sidecar.
func (s *Store) loadRecord(f vfs.File, st stamp) (r *record, missing bool, err error) {
	if s.sidecars {
		r, err = s.loadSidecar(s.readStamps.meta, &s.haveMeta, st)
		return r, r == nil && err == nil, err
	}
	b, err := f.Getxattr(xattrName)
	switch {
	case errors.Is(err, vfs.ErrNoXattr), errors.Is(err, vfs.ErrUnsupported):
		return nil, false, nil
	case err != nil:
		return nil, false, err
	}
	r, err = decodeRecord(b)
	if err != nil || !r.describes(st) {
		return nil, false, nil //nolint:nilerror // a record that cannot be read counts as none
	}
	if !r.spilled {
		return r, false, nil
	}
	r, err = s.loadSidecar(s.readStamps.meta, &s.haveMeta, r.stamp)
	return r, r == nil && err == nil, err
}

// loadSidecar returns the record under a stamp, or nil if there is none. None is found
// either where inode numbers are not the server's any more.
func (s *Store) loadSidecar(dir vfs.Dir, have *haveBins, st stamp) (*record, error) {
	r, err := s.findSidecar(dir, have, st)
	if r == nil && err == nil {
		err = s.numbersHold()
	}
	return r, err
}

// loadState returns the record of changed metadata of an open file, or nil if there is none.
// That of a copy is what was changed of the copy, and before that of the original.
func (s *Store) loadState(o *opened) (*record, error) {
	state, err := s.loadSidecar(s.readStamps.state, &s.haveTags, o.stamp())
	if state == nil && err == nil && o.copied() {
		state, err = s.loadSidecar(s.readStamps.state, &s.haveTags, o.rec.stamp)
	}
	return state, err
}

func (s *Store) findSidecar(dir vfs.Dir, have *haveBins, st stamp) (*record, error) {
	if !have[st.bin()].Load() || !s.mayStamp() {
		return nil, nil
	}
	if err := s.askFor(dir); err != nil {
		return nil, err
	}
	b, err := readFile(dir, binName(st.bin())+"/"+st.name(), maxRecord)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, errRecord):
		return nil, nil
	case err != nil:
		return nil, err
	}
	r, err := decodeRecord(b)
	if err != nil || r.stamp != st {
		return nil, nil //nolint:nilerror // as in loadRecord
	}
	return r, nil
}

// forget removes what is kept under the stamp of a file that is not an object
// any more. Where that can be chosen it is called before the file itself goes:
// then no later file can have the stamp yet. st has to be of vfs.StatNow.
func (s *Store) forget(st vfs.Stat) error {
	if st.Nlink > 1 {
		return nil // somebody linked the file: it lives on under another name
	}
	stamp := stampOf(st)
	return errors.Join(s.removeStamp(s.stamps.meta, &s.haveMeta, stamp), s.removeStamp(s.stamps.state, &s.haveTags, stamp))
}

// mayKeep reports whether something may be kept under a stamp.
func (s *Store) mayKeep(st stamp) bool {
	return s.mayStamp() && (s.haveMeta[st.bin()].Load() || s.haveTags[st.bin()].Load())
}

// removeStamp removes the file of a stamp, if there is one.
func (s *Store) removeStamp(parent vfs.Dir, have *haveBins, st stamp) error {
	if !have[st.bin()].Load() || !s.mayStamp() {
		return nil
	}
	if err := s.askFor(parent); err != nil {
		return err
	}
	dir, err := parent.OpenDir(binName(st.bin()))
	if isAbsent(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer closeDir(dir)
	return removeFile(dir, st.name(), nil)
}

// info returns what S3 knows of a file: r is its record, or nil, and state the
// record of its changed metadata, or nil.
func (s *Store) info(ref object.Ref, st stamp, r, state *record) object.Info {
	info := object.Info{Bucket: ref.Bucket, Key: ref.Key, Size: st.size}
	if r == nil {
		info.Modified = unixTime(st.mtime)
		info.ETag = st.foreignETag(s.deployment)
		info.Meta.ContentType = typeByName(ref.Key)
	} else {
		info.Modified, info.ETag, info.Checksum = r.modified, r.etagOf(), r.checksum
		info.Parts, info.Meta = r.parts, r.meta
		info.Size, info.Overhead = st.size-r.overhead, r.overhead
	}
	if state != nil {
		info.Meta.Tags, info.Meta.Retention, info.Meta.LegalHold = state.meta.Tags, state.meta.Retention, state.meta.LegalHold
		info.Meta.Seal = cmp.Or(state.meta.Seal, info.Meta.Seal) // of changes from before there were seals
	}
	if s.mayVersion() {
		info.Version = s.shownVersion(ref.Bucket, r)
	}
	return info
}

// shownVersion returns the ID of a version, or nothing in a bucket without
// versioning.
func (s *Store) shownVersion(bucket string, r *record) string {
	id := versionID(r)
	if id == object.NullVersion {
		if mode, err := s.versioning(bucket); err != nil || mode == object.Unversioned {
			return "" // where the bucket cannot be asked, what comes next will fail
		}
	}
	return id
}

// typeByName guesses the type of foreign content by its name. The table is
// ours so that all gateways guess alike.
func typeByName(key string) string {
	dot := strings.LastIndexByte(key, '.')
	if dot < 0 || strings.IndexByte(key[dot:], '/') >= 0 {
		return "binary/octet-stream"
	}
	switch strings.ToLower(key[dot+1:]) {
	case "txt", "log", "conf", "ini":
		return "text/plain"
	case "html", "htm":
		return "text/html"
	case "css":
		return "text/css"
	case "csv":
		return "text/csv"
	case "md":
		return "text/markdown"
	case "js", "mjs":
		return "text/javascript"
	case "json":
		return "application/json"
	case "xml":
		return "application/xml"
	case "yaml", "yml":
		return "application/yaml"
	case "pdf":
		return "application/pdf"
	case "zip":
		return "application/zip"
	case "gz", "tgz":
		return "application/gzip"
	case "tar":
		return "application/x-tar"
	case "zst":
		return "application/zstd"
	case "wasm":
		return "application/wasm"
	case "jpg", "jpeg":
		return "image/jpeg"
	case "png":
		return "image/png"
	case "gif":
		return "image/gif"
	case "webp":
		return "image/webp"
	case "avif":
		return "image/avif"
	case "svg":
		return "image/svg+xml"
	case "ico":
		return "image/vnd.microsoft.icon"
	case "tif", "tiff":
		return "image/tiff"
	case "mp3":
		return "audio/mpeg"
	case "wav":
		return "audio/wav"
	case "flac":
		return "audio/flac"
	case "ogg":
		return "audio/ogg"
	case "mp4", "m4v":
		return "video/mp4"
	case "webm":
		return "video/webm"
	case "mkv":
		return "video/matroska"
	case "mov":
		return "video/quicktime"
	case "woff2":
		return "font/woff2"
	}
	return "binary/octet-stream"
}
