package nasfs

import (
	"iter"

	"github.com/shoal-storage/shoal/internal/vfs"
	"github.com/shoal-storage/shoal/nasfs/dirsnap"
)

// A history that has grown goes on in segments: directories below segmentsName in
// its own, each named by the oldest version that it is for. A version is in the
// first segment whose name is not before its own, or, as the oldest are and those
// of a short history, in the directory of the history itself. There null versions
// are too, wherever they belong in the order: nobody who looks for one knows when
// it was made.
const segmentsName = "segments"

// When a segment is begun: by a version that finds the newest part full. Only some
// look, because counting is reading.
const (
	segmentSize  = 500 // versions in a part that is full
	segmentLooks = 32  // of so many versions one looks
)

// part is one directory of a history: its own, a segment, or that of the segments.
type part struct {
	path string
	dir  vfs.Dir       // nil if it is not there
	view *dirsnap.View // of when it was looked at first
}

func (p *part) close() {
	if p.dir != nil {
		closeDir(p.dir)
		p.dir = nil
	}
}

// openPart opens a part of a history below above, if it is there.
func openPart(above vfs.Dir, name, path string) (part, error) {
	dir, err := above.OpenDir(name)
	if isAbsent(err) {
		dir, err = nil, nil
	}
	return part{path: path, dir: dir}, err
}

// look returns the names in a part, or nil if it is not there.
func (s *Store) look(p *part) (_ *dirsnap.View, err error) {
	if p.view == nil && p.dir != nil {
		p.view, err = s.histories.Look(p.path, p.dir)
	}
	if isAbsent(err) {
		return nil, nil // it was empty, and was removed since it was opened
	}
	return p.view, err
}

// pasts returns the versions in a part whose names are not less than name, or with
// after set are greater, newest first.
func pasts(view *dirsnap.View, name string, after bool) iter.Seq[past] {
	return func(yield func(past) bool) {
		if view == nil {
			return
		}
		for e := range view.From(name, after) {
			if p, ok := parsePast(e.Key); ok && !yield(p) {
				return
			}
		}
	}
}

// segments returns the names of the segments for the versions from name on, newest
// first.
func segments(index *dirsnap.View, name string) iter.Seq[string] {
	return func(yield func(string) bool) {
		if index == nil {
			return
		}
		for e := range index.From(name, false) {
			if _, ok := parseVersion(e.Component()); ok && e.IsDir() && !yield(e.Component()) {
				return
			}
		}
	}
}

// first returns the first of a sequence, or "".
func first(names iter.Seq[string]) string {
	for name := range names {
		return name
	}
	return ""
}

// kept is a version in a history.
type kept struct {
	past
	segment string // that it is in; "" if in none
}

// part opens a segment, or with "" returns the directory of the history itself. It
// stays open until the next one is asked for.
func (h *history) part(segment string) (*part, error) {
	if segment == "" {
		return &h.own, nil
	}
	path := h.segmentPath(segment)
	if h.segment.path == path && h.segment.dir != nil {
		return &h.segment, nil
	}
	h.segment.close()
	var err error
	h.segment, err = openPart(h.s.root, path, path)
	return &h.segment, err
}

// dirOf returns the directory of a version, as part does; errAgain if it is not there
// any more: it was empty, and what it was for may be in the next one by now.
func (h *history) dirOf(k kept) (vfs.Dir, error) {
	in, err := h.part(k.segment)
	if err == nil && in.dir == nil {
		err = errAgain
	}
	return in.dir, err
}

// segmentPath returns the path of a segment, or of the history itself.
func (h *history) segmentPath(segment string) string {
	if segment == "" {
		return h.own.path
	}
	return h.index.path + "/" + segment
}

// inSegments returns the versions in segments as from does.
func (h *history) inSegments(name string, after bool) iter.Seq2[kept, error] {
	return func(yield func(kept, error) bool) {
		index, err := h.s.look(&h.index)
		for segment := range segments(index, name) {
			var view *dirsnap.View
			in, openErr := h.part(segment)
			if err = openErr; err == nil {
				view, err = h.s.look(in)
			}
			if err != nil {
				break
			}
			for p := range pasts(view, name, after) {
				if !yield(kept{p, segment}, nil) {
					return
				}
			}
		}
		if err != nil {
			yield(kept{}, err)
		}
	}
}

// place returns where a version that is to be added belongs, and makes that if it
// is missing.
func (h *history) place(p past) (kept, error) {
	k := kept{past: p}
	if p.null {
		return k, nil
	}
	index, err := h.s.look(&h.index)
	if err != nil {
		return k, err
	}
	k.segment = first(segments(index, p.id.String()))
	if k.segment == first(segments(index, "")) && h.s.looks(p) {
		full, err := h.isFull(k)
		if err != nil {
			return k, err
		}
		if full {
			k.segment = p.id.String()
			return k, h.s.makeSegment(h.segmentPath(k.segment))
		}
	}
	return k, h.settle(k)
}

// looks reports whether a version looks if the newest part is full.
func (s *Store) looks(p past) bool {
	return int(p.id[len(p.id)-1])%max(1, min(segmentLooks, s.segments/16)) == 0
}

// isFull reports whether the part that a version is to be added to is full, and the
// version newer than all in it.
func (h *history) isFull(k kept) (bool, error) {
	in, err := h.part(k.segment)
	if err != nil {
		return false, err
	}
	view, err := h.s.look(in)
	count := 0
	for p := range pasts(view, "", false) {
		if p.name() <= k.name() {
			return false, err
		}
		if count++; count == h.s.segments {
			return true, err
		}
	}
	return false, err
}

// makeSegment makes a segment, durably. In a fleet it is made in the session and
// renamed out of it: which part a version is in goes by the segments there are, and
// nothing could stop a late mkdir.
func (s *Store) makeSegment(path string) error {
	above := parentOf(path)
	if err := s.makeHistoryDir(above); err != nil {
		return err
	}
	if !s.fleet {
		return s.makeHistoryDir(path)
	}
	return s.make(path, func() error { return s.bringSegment(path) })
}

// bringSegment makes a segment in the session and renames it out of it.
func (s *Store) bringSegment(path string) error {
	m := s.stripe(path)
	m.Lock()
	defer m.Unlock()
	temp := s.tempName("b")
	if err := s.mkdirIn(temp, systemMode); err != nil {
		return err
	}
	dir, leaf, err := s.openParent(path)
	if err == nil {
		defer closeDir(dir)
		err = s.moveSegment(temp, dir, leaf)
	}
	if err != nil {
		s.nowOrLater("directory of a segment", func() error { return s.dropTempDir(temp) })
		return again(err)
	}
	s.noteHistoryDir(path, true)
	return s.syncDir(dir)
}

func (s *Store) moveSegment(temp string, dir vfs.Dir, leaf string) error {
	own, err := s.statTemp(temp)
	if err != nil {
		return err
	}
	return s.moveOut(temp, own, dir, leaf)
}

// settle makes the segment of a version durable, if somebody else has made it and
// may not have come to that.
func (h *history) settle(k kept) error {
	if k.segment == "" {
		return nil
	}
	above := []string{h.index.path, h.segmentPath(k.segment)}
	if err := h.s.awaitMade(above...); err != nil {
		return err
	}
	for _, path := range above {
		if !h.s.unsettled(path) {
			continue
		}
		if err := h.s.settleDir(path); err != nil {
			return again(err)
		}
	}
	return nil
}

// pruneSegment removes a segment that has become empty.
func (h *history) pruneSegment(segment string) {
	if segment != "" && h.s.rmdirHistory(h.segmentPath(segment)) {
		h.s.rmdirHistory(h.index.path)
	}
}
