package gateway

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/shoal-storage/shoal/internal/events"
	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/unpack"
)

// The headers of a PutObject whose body is an archive of objects. The first is S3's
// (https://docs.aws.amazon.com/snowball/latest/developer-guide/batching-small-files.html),
// the others are MinIO's, whose clients send such archives.
const (
	extractHeader       = "x-amz-meta-snowball-auto-extract"
	extractPrefix       = "x-amz-meta-minio-snowball-prefix"
	extractIgnoreDirs   = "x-amz-meta-minio-snowball-ignore-dirs"
	extractIgnoreErrors = "x-amz-meta-minio-snowball-ignore-errors"
)

// entryMeta begins the PAX records in which an entry brings headers of its own.
const entryMeta = "minio.metadata."

const (
	extractWorkers = 16        // entries that are stored at a time
	smallEntry     = 256 << 10 // bytes up to which an entry is read ahead, so that others can follow
)

func (r *request) extracts() bool {
	return strings.EqualFold(r.header(extractHeader), "true")
}

// extract serves the PutObject of an archive: each entry becomes an object as it comes.
// If the archive turns out to be broken, those that came before stay, and the answer
// is an error.
func (s *Server) extract(ctx context.Context, r *request, b *body, check object.Check) error {
	archive, err := unpack.NewReader(b)
	if err != nil {
		return archiveError(err)
	}
	w, _, err := s.wish(r, r.lookup, r.bucket)
	if err != nil {
		return errors.Join(err, archive.Close())
	}
	how, err := s.telling(r)
	if err != nil {
		return errors.Join(err, archive.Close())
	}
	x := &extraction{
		s: s, r: r, wish: w, how: how, check: check, prefix: r.header(extractPrefix), busy: map[string]bool{}, slots: make(chan struct{}, extractWorkers),
		noDirs: strings.EqualFold(r.header(extractIgnoreDirs), "true"), lenient: strings.EqualFold(r.header(extractIgnoreErrors), "true"),
	}
	err = x.run(ctx, tar.NewReader(archive))
	x.workers.Wait()
	if err = errors.Join(err, x.failed, archive.Close()); err != nil {
		return archiveError(err)
	}
	// What is behind the archive has to hold, too.
	if _, err := io.Copy(io.Discard, b); err != nil {
		return err
	}
	d := b.Digest()
	r.setETag(fmt.Sprintf("%x", d.MD5))
	return nil
}

// archiveError keeps what the gateway, the Store or the connection found wrong;
// everything else is the archive's.
func archiveError(err error) error {
	if _, ok := errors.AsType[*s3Error](err); ok || fromTransport(err) != nil || object.KindOf(err) != object.Internal {
		return err
	}
	return errInvalidRequest.with("The archive cannot be read.").because(err)
}

// extraction is the storing of an archive's entries.
type extraction struct {
	s       *Server
	r       *request // not for the workers
	how     telling
	check   object.Check // of every entry
	wish    *wish        // how every entry is to be encrypted
	prefix  string       // of every key
	noDirs  bool         // directories become no objects
	lenient bool         // what is wrong with one entry does not end it
	workers sync.WaitGroup
	slots   chan struct{} // one for each entry that is being stored

	mu     sync.Mutex
	busy   map[string]bool // keys that are being stored
	failed error           // the first failure of a worker
}

func (x *extraction) run(ctx context.Context, archive *tar.Reader) error {
	for {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("next entry: %w", err)
		}
		if err := x.entry(ctx, h, archive); err != nil && !x.forgives(err) {
			return err
		}
		if x.hasFailed() {
			return nil
		}
	}
}

// forgives reports whether the client wants the other entries all the same. What is
// wrong with the archive itself ends it in any case.
func (x *extraction) forgives(err error) bool {
	_, ours := errors.AsType[*s3Error](err)
	return x.lenient && ours && fromTransport(err) == nil
}

func (x *extraction) hasFailed() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.failed != nil
}

// entry stores one entry: a small one beside others, a large one at once.
func (x *extraction) entry(ctx context.Context, h *tar.Header, archive io.Reader) error {
	key, ok := x.key(h)
	if !ok {
		return nil
	}
	ref := object.Ref{Bucket: x.r.bucket, Key: key}
	meta, err := x.admit(ref, h)
	if err != nil {
		return err
	}
	if h.Size > smallEntry {
		x.workers.Wait()
		return x.store(ctx, ref, meta, archive, h.Size)
	}
	small := make([]byte, h.Size)
	if _, err := io.ReadFull(archive, small); err != nil {
		return fmt.Errorf("read entry: %w", err)
	}
	x.claim(key)
	x.slots <- struct{}{}
	x.workers.Go(func() {
		err := x.store(ctx, ref, meta, bytes.NewReader(small), h.Size)
		<-x.slots
		x.release(key, err)
	})
	return nil
}

// claim waits until no other entry of the key is being stored, so that the last one in
// the archive is the one that stays.
func (x *extraction) claim(key string) {
	x.mu.Lock()
	busy := x.busy[key]
	x.busy[key] = true
	x.mu.Unlock()
	if busy {
		x.workers.Wait()
		x.mu.Lock()
		x.busy[key] = true
		x.mu.Unlock()
	}
}

func (x *extraction) release(key string, err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.busy, key)
	if err != nil && x.failed == nil && !x.forgives(toS3(err)) {
		x.failed = err
	}
}

// key returns the key of an entry; what is neither file nor directory has none.
func (x *extraction) key(h *tar.Header) (string, bool) {
	name := strings.TrimPrefix(strings.TrimPrefix(h.Name, "./"), "/")
	switch h.Typeflag {
	case tar.TypeReg:
	case tar.TypeDir:
		if x.noDirs {
			return "", false
		}
		name = strings.TrimSuffix(name, "/") + "/"
	default:
		return "", false
	}
	if name == "" || name == "/" {
		return "", false
	}
	return x.prefix + name, true
}

// admit decides on an entry and returns the metadata that it brings.
func (x *extraction) admit(ref object.Ref, h *tar.Header) (object.Meta, error) {
	meta := object.Meta{StorageClass: x.r.header("x-amz-storage-class")}
	switch {
	case len(ref.Key) > object.MaxKeyLen:
		return meta, errKeyTooLong
	case h.Size > object.MaxPartSize:
		return meta, errEntityTooLarge
	}
	if err := readEntryMeta(&meta, h.PAXRecords); err != nil {
		return meta, err
	}
	x.r.form = map[string]string{"x-amz-tagging": tagHeader(meta.Tags)} // the header is the archive's
	if err := x.s.allow(x.r, "s3:PutObject", ref); err != nil {
		return meta, err
	}
	if err := checkMeta(&meta); err != nil {
		return meta, err
	}
	return meta, x.s.protect(x.r, ref, x.r.header, &meta)
}

// readEntryMeta reads the headers that an entry brings.
func readEntryMeta(m *object.Meta, records map[string]string) error {
	size := 0
	for name, value := range records {
		name, ok := strings.CutPrefix(name, entryMeta)
		if !ok {
			continue
		}
		name = strings.ToLower(name)
		switch name {
		case "content-type":
			m.ContentType = value
		case "content-encoding":
			m.ContentEncoding = value
		case "content-disposition":
			m.ContentDisposition = value
		case "content-language":
			m.ContentLanguage = value
		case "cache-control":
			m.CacheControl = value
		case "expires":
			m.Expires = value
		case "x-amz-tagging":
			tags, err := parseTagHeader(value)
			if err != nil {
				return err
			}
			m.Tags = tags
		}
		if user, ok := strings.CutPrefix(name, metaPrefix); ok {
			if err := checkUserMeta(user, value); err != nil {
				return err
			}
			if m.User == nil {
				m.User = make(map[string]string)
			}
			m.User[user] = value
			size += len(user) + len(value)
		}
	}
	if size > maxUserMeta {
		return errMetadataTooLarge
	}
	return nil
}

// checkUserMeta refuses user metadata that can be no header of an answer. A record of an archive may have any
// name and value.
func checkUserMeta(user, value string) error {
	if !isToken(user) {
		return errInvalidArgument.with("The name of a header can have only the characters of a token.").detailed("ArgumentName", metaPrefix+user)
	}
	return checkHeaderText(metaPrefix+user, value)
}

func (x *extraction) store(ctx context.Context, ref object.Ref, meta object.Meta, source io.Reader, size int64) error {
	c := newContent(source, size, object.CRC64NVME)
	c.progress = x.r.progress
	info, _, err := x.s.putEncrypted(ctx, ref, object.PutInput{Body: c, Meta: meta, Check: x.check, Files: x.r.files()}, x.wish)
	if err == nil {
		err = x.s.tell(ctx, x.how, eventOf(events.CreatedPut, &info))
	}
	return err
}
