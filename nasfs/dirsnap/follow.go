package dirsnap

import (
	"errors"
	"io/fs"
	"strings"
	"time"

	"github.com/shoal-storage/shoal/internal/vfs"
	"github.com/shoal-storage/shoal/nasfs/keypath"
)

// Changes tells which components of a directory have, or may have, been changed
// since a mark, by all who can be asked; "" is no mark. It is known only if the
// list is complete. next is the mark to ask from the next time: it is good for
// what is read after the call. If it is "", nothing that is read can be followed.
type Changes func(since string) (changed []string, next string, known bool)

// Bounds of what is looked at one by one instead of reading the directory, in
// which a server tells of many names at a time.
const (
	fewChanges  = 16
	changeShare = 64 // of so many entries one
)

// Bounds of what a followed directory is kept as beside its snapshot: all of it is
// gone through each time.
const (
	fewPatches = 256
	patchShare = 16 // of so many entries one
)

// readShare bounds what reading a followed directory anew takes of all time, for
// the sake of strangers: one part of so many.
const readShare = 8

// followed returns the image of d if it is one that can be followed.
func (c *Cache) followed(d *directory) image {
	c.mu.Lock()
	defer c.mu.Unlock()
	if d.base == nil || d.base.long || d.base.Len() < c.cfg.Large {
		return image{}
	}
	return d.image
}

// follow makes an image current by what has changed since. If that cannot be
// done it returns the mark that a reading which begins now is good for.
func (c *Cache) follow(last image, dir vfs.Dir, changes Changes) (now image, mark string, ok bool) {
	changed, mark, known := changes(last.mark)
	switch {
	case !known || last.mark == "" || mark == "":
		return image{}, mark, false
	case len(changed) > max(fewChanges, last.base.Len()/changeShare):
		return image{}, mark, false
	case time.Since(last.began) >= max(c.cfg.Reread, readShare*last.took):
		return image{}, mark, false
	}
	now = last
	now.mark = mark
	var err error
	if now.stamp, err = statDir(dir); err != nil || !last.explains(now.stamp, len(changed)) {
		return image{}, mark, false
	}
	var log []change
	for _, component := range changed {
		found, err := c.look(dir, component)
		if err != nil {
			return image{}, mark, false
		}
		log = append(log, found[:]...)
	}
	now.overlay = overlaid(last.overlay, log)
	return now, mark, true
}

// explains reports whether the directory is the same one, and so many changes
// are what may have given it another stamp: without any a stranger did. What is
// changed between the question and the stamp the next question finds.
func (last image) explains(now stamp, changes int) bool {
	return now.dev == last.stamp.dev && now.ino == last.stamp.ino && (changes > 0 || now == last.stamp)
}

// errLong says that a component is not a name in the directory itself.
var errLong = errors.New("a long name")

// look returns what a component is now: as a file, and as a directory.
func (c *Cache) look(dir vfs.Dir, component string) ([2]change, error) {
	file := change{Entry{Key: component}, true}
	below := change{Entry{Key: component + "/"}, true}
	for _, slot := range []keypath.Slot{keypath.Plain, keypath.Alias} {
		name := c.cfg.Codec.Slot(component, slot)
		if strings.Contains(name, "/") {
			return [2]change{}, errLong
		}
		st, err := dir.Stat(name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return [2]change{}, err
		case st.Mode.IsDir() && slot == keypath.Plain:
			below.removed = false
		case st.Mode.IsRegular():
			file = change{Entry{Key: component, Slot: slot}, false}
			return [2]change{file, below}, nil
		}
	}
	return [2]change{file, below}, nil
}
