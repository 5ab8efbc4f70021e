package drive

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/shoal-storage/shoal/erasure/register"
)

// Scan returns what the drive holds of several keys. A common prefix comes if there is at
// least one name with something else than tombstones behind it, as far as this drive knows.
func (d *Drive) Scan(ctx context.Context, q register.ScanQuery) (page register.ScanPage, err error) {
	if err := d.enter(nil); err != nil {
		return page, err
	}
	defer d.leave(nil)
	space := register.Key{Space: q.Space, Bucket: q.Bucket}
	prefix := register.Key{Space: q.Space, Bucket: q.Bucket, Name: q.Prefix}.AppendPrefix([]byte{entryKey})
	it, err := d.kv.Scan(prefix, after(prefix))
	if err != nil {
		return page, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	s := &scan{q: q, it: it, space: space}
	if err := s.run(ctx); err != nil {
		return register.ScanPage{}, err
	}
	if err := d.durable(s.bounds()); err != nil {
		return register.ScanPage{}, err
	}
	return s.page, nil
}

// bounds returns from where on and up to what keys were looked at.
func (s *scan) bounds() (from, to []byte) {
	from, to = s.key(max(s.q.From, s.q.Prefix))[1:], s.past(s.q.Prefix)[1:]
	if n := len(s.page.Items); s.page.More && n > 0 {
		to = s.past(s.page.Items[n-1].Name)[1:]
	}
	return from, to
}

// scan is one Scan that is under way.
type scan struct {
	q     register.ScanQuery
	it    Iterator
	space register.Key
	page  register.ScanPage
	count int
}

// key returns the encoded form of a name in this scan.
func (s *scan) key(name string) []byte {
	k := s.space
	k.Name = name
	return k.Append([]byte{entryKey})
}

// past returns what is behind all names that begin so.
func (s *scan) past(prefix string) []byte {
	k := s.space
	k.Name = prefix
	return after(k.AppendPrefix([]byte{entryKey}))
}

func (s *scan) run(ctx context.Context) error {
	there := s.start()
	for there {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		if s.count >= s.q.Limit {
			s.page.More = true
			return nil
		}
		k, _, err := register.DecodeKey(s.it.Key()[1:])
		if err != nil {
			return err
		}
		if common := s.common(k.Name); common != "" {
			there, err = s.commonPrefix(common)
		} else {
			there, err = s.name(k.Name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// start goes to the first entry that may come.
func (s *scan) start() bool {
	if s.q.From == "" {
		return s.it.Next()
	}
	from := s.key(s.q.From)
	if !s.q.Below.IsZero() {
		from = entryName(s.key(s.q.From)[1:], s.q.Below)
		from = append(from, 0)
	}
	return s.it.Seek(from)
}

// common returns the common prefix that a name is part of, or "".
func (s *scan) common(name string) string {
	if s.q.Delimiter == "" {
		return ""
	}
	rest := name[len(s.q.Prefix):]
	i := strings.Index(rest, s.q.Delimiter)
	if i < 0 {
		return ""
	}
	return name[:len(s.q.Prefix)+i+len(s.q.Delimiter)]
}

// commonPrefix looks for something alive below a common prefix, and goes behind it.
func (s *scan) commonPrefix(common string) (bool, error) {
	end := s.past(common)
	there := true
	for there && string(s.it.Key()) < string(end) {
		k, _, err := register.DecodeKey(s.it.Key()[1:])
		if err != nil {
			return false, err
		}
		e, err := register.DecodeEntry(s.it.Value())
		switch {
		case err != nil:
			return false, fmt.Errorf("below %q: %w", common, err)
		case e.Kind == register.Object, s.q.Versions && e.Kind == register.Marker:
			s.page.Items = append(s.page.Items, register.ScanItem{Name: common, First: k.Name, View: register.View{Entries: []register.Entry{e}}})
			s.count++
			return s.it.Seek(end), nil
		case e.Kind == register.Marker:
			there = s.it.Seek(after(s.key(k.Name)))
		default:
			there = s.it.Next()
		}
	}
	return there, nil
}

// name collects the registers of one name, and goes to the next one.
func (s *scan) name(name string) (bool, error) {
	start := s.key(name)
	item := register.ScanItem{Name: name}
	there := true
	for ; there && strings.HasPrefix(string(s.it.Key()), string(start)); there = s.it.Next() {
		if !s.q.Versions && live(item.Entries) || s.count >= s.q.Limit && len(item.Entries) > 0 {
			item.More = true
			break
		}
		e, err := register.DecodeEntry(s.it.Value())
		if err != nil {
			return false, fmt.Errorf("register of %q: %w", name, err)
		}
		item.Entries = append(item.Entries, e)
		s.count++
	}
	s.page.Items = append(s.page.Items, item)
	if item.More {
		if s.q.Versions {
			s.page.More = true
			return false, nil
		}
		return s.it.Seek(after(start)), nil
	}
	return there, nil
}
