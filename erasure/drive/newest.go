package drive

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"slices"

	"github.com/shoal-storage/shoal/erasure/register"
	"github.com/shoal-storage/shoal/erasure/shard"
)

// What is read of the newest shards of a drive that was not closed in order, at most: more than a
// disk has in memory, and what a slow one reads in seconds.
const (
	recheckedSegments = 64 << 20 // bytes of segments
	recheckedFiles    = 16       // files,
	recheckedOfFile   = 4 << 20  // bytes of each, at its end
)

// recheck reads the newest shards, where the drive was not closed in order: its process or the
// machine has ended, or the drive has failed. A disk that lied about what is durable, or whose file
// system did as it failed, may have lost what was written last though it was told to be there. From then on
// the drive is one that was not closed in order. It is called before anything else is.
func (d *Drive) recheck(log *slog.Logger) error {
	_, open, err := d.kv.Get([]byte{openKey})
	if err == nil && open {
		err = d.readNewest(log)
	}
	if err != nil {
		return err
	}
	var b Batch
	b.Set([]byte{openKey}, nil)
	return d.kv.Apply(&b, true)
}

// closedInOrder takes note that everything is durable. Where that fails the store has, and says so.
func (d *Drive) closedInOrder() {
	var b Batch
	b.Remove([]byte{openKey})
	_ = d.kv.Apply(&b, true) //nolint:errcheck // then the newest shards are read at the next start
}

// noteNewest has a Batch note that the shard of a content is among the newest that are files.
// The caller holds notes.
func (d *Drive) noteNewest(b *Batch, id register.DataID) {
	b.Set([]byte{fileKey, d.newest}, id[:])
	d.newest = (d.newest + 1) % recheckedFiles
}

func (d *Drive) readNewest(log *slog.Logger) error {
	all, err := d.newestShards()
	if err != nil {
		return err
	}
	damaged, unreadable := 0, 0
	for _, id := range all {
		note, found, err := d.kv.Get(dataName(id))
		if err != nil {
			return err
		}
		where, known := located(note)
		if !found || known {
			continue
		}
		switch err := d.whole(id, where); {
		case err == nil:
		case lost(err):
			damaged++
			if err := d.distrust(id, where); err != nil {
				return err
			}
		default: // whoever wants it finds that, too
			unreadable++
		}
	}
	tell := log.Info
	if damaged+unreadable > 0 {
		tell = log.Warn
	}
	tell("the drive was not closed in order: its newest shards were read", "shards", len(all), "lost", damaged, "unreadable", unreadable)
	return nil
}

// newestShards returns contents of which the newest shards are that are not in the store.
func (d *Drive) newestShards() (all []register.DataID, err error) {
	it, err := d.kv.Scan([]byte{fileKey}, []byte{fileKey + 1})
	if err != nil {
		return nil, err
	}
	for it.Next() {
		if len(it.Value()) == len(register.DataID{}) {
			all = append(all, register.DataID(it.Value()))
		}
	}
	if err := it.Close(); err != nil {
		return nil, err
	}
	entries, err := d.segments.newest(recheckedSegments)
	for i := range entries {
		all = append(all, entries[i].id)
	}
	return all, err
}

// newest returns the entries in use that were written last: so many bytes of them, or a little more. Numbers are not
// used again, so of a drive that has long been written to few lead to a segment: what is between those is stepped over.
func (s *segments) newest(limit int64) (all []indexed, err error) {
	const widest = 1 << 30
	for high, span := s.last, uint32(1); high > 0 && limit > 0; {
		low := high - min(span, high)
		if span > 1 {
			is, err := s.indexes(low+1, high)
			if err != nil {
				return nil, err
			}
			if is {
				span /= 2
				continue
			}
			high, span = low, min(2*span, widest)
			continue
		}
		entries, err := s.entries(high, 2*segmentSize)
		if err != nil {
			return nil, err
		}
		if high = low; len(entries) == 0 {
			span = 2
		}
		for _, e := range slices.Backward(entries) {
			if limit <= 0 {
				return all, nil
			}
			all = append(all, e)
			limit -= e.size()
		}
	}
	return all, nil
}

// indexes reports whether the store knows a segment with one of some numbers.
func (s *segments) indexes(from, to uint32) (is bool, err error) {
	it, err := s.kv.Scan(segmentName(from), after(segmentName(to)))
	if err != nil {
		return false, err
	}
	is = it.Next()
	return is, it.Close()
}

// lost reports whether an error says that a shard is not there or not whole, and not that it cannot
// be read.
func lost(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, errEntry) || errors.Is(err, shard.ErrDamaged)
}

// whole reads a shard, of a file its end, and returns an error if it is not what was written.
func (d *Drive) whole(id register.DataID, note []byte) error {
	if at, ok := parsePlace(note); ok && d.segments != nil {
		return d.segments.whole(id, at)
	}
	length := fileLength(note)
	if length == 0 {
		return nil
	}
	from := max(0, length-recheckedOfFile) / shard.UnitSize * shard.UnitSize
	b := make([]byte, length-from)
	switch n, err := d.readFile(id, from, b); {
	case err != nil:
		return err
	case n < len(b):
		return fmt.Errorf("shard of %d bytes: %w", length, io.ErrUnexpectedEOF)
	}
	return shard.Whole(shard.ID(id), from/shard.UnitSize, b)
}

func (s *segments) whole(id register.DataID, p place) error {
	b := make([]byte, headerSize+int64(p.length))
	if err := s.readAt(p.segment, b, int64(p.offset)); err != nil {
		return err
	}
	if is, length, err := parseHeader(b); err != nil || is != id || length != p.length {
		return errEntry
	}
	return shard.Whole(shard.ID(id), 0, b[headerSize:])
}

// distrust has the drive not vouch any more for the shard of a content, though what is there of it is
// read: it is noted to be damaged, and the registers that refer to it are pending and have no shard.
func (d *Drive) distrust(id register.DataID, where []byte) error {
	var b Batch
	b.Set(dataName(id), append([]byte{isDamaged}, where...))
	prefix := append([]byte{refKey}, id[:]...)
	it, err := d.kv.Scan(prefix, after(prefix))
	if err != nil {
		return err
	}
	for it.Next() && err == nil {
		err = d.withdraw(&b, it.Key()[len(prefix):], id)
	}
	if err := errors.Join(err, it.Close()); err != nil {
		return err
	}
	return d.kv.Apply(&b, false)
}

// withdraw has a Batch say that the drive does not have the shard of a content to which a register
// refers.
func (d *Drive) withdraw(b *Batch, ref []byte, id register.DataID) (err error) {
	_, version, err := register.DecodeKey(ref)
	if err != nil {
		return err
	}
	key := ref[:len(ref)-len(version)]
	name := append([]byte{entryKey}, key...)
	it, err := d.kv.Scan(name, after(name))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for it.Next() {
		e, err := register.DecodeEntry(it.Value())
		if err != nil {
			return err
		}
		if e.Version != string(version) {
			continue
		}
		e.Lose(id)
		b.Set(entryName(key, e.Made), e.Append(nil))
		b.Set(pendingName(key, e.Made), nil)
		return nil
	}
	return nil
}
