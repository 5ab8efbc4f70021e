package format

import (
	"errors"
	"io/fs"
	"log/slog"
	"testing"

	"github.com/shoal-storage/shoal/internal/vfs"
)

// sized is a directory on a disk that says that it has so much.
type sized struct {
	vfs.Dir
	all, left uint64
}

func (d *sized) Usage() (vfs.Usage, error) { return vfs.Usage{Total: d.all, Free: d.left}, nil }

func TestTheBallastIsGivenBackWhereADiskIsFullAndMadeAnewWhenThereIsRoom(t *testing.T) {
	root, err := vfs.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close() //nolint:errcheck // it was only read
	dir := &sized{Dir: root, all: 1 << 20, left: 1 << 20}
	const size = 1 << 16
	b := &ballast{dir: dir, log: slog.New(slog.DiscardHandler)}
	for _, step := range []struct {
		of   string
		left uint64
		is   int64 // its size; 0: it is not there
	}{
		{"a disk with room", 1 << 20, size},
		{"one that fills", size, size},
		{"a full one", size/2 - 1, 0},
		{"a full one again", 0, 0},
		{"one that has just room for it", 4*size - 1, 0},
		{"one that has room again", 4 * size, size},
	} {
		dir.left = step.left
		if err := lighten(dir); err != nil { // as every drive that is to be opened
			t.Fatalf("%s: %v", step.of, err)
		}
		b.loaded = false
		if left, all, err := b.room(); left != step.left || all != dir.all || err != nil {
			t.Errorf("%s has %d of %d, %v", step.of, left, all, err)
		}
		st, err := root.Stat(ballastName)
		if err != nil && !errors.Is(err, fs.ErrNotExist) || st.Size != step.is || b.loaded != (step.is != 0) {
			t.Errorf("the ballast of %s has %d bytes (%v), %v; it is to have %d", step.of, st.Size, err, b.loaded, step.is)
		}
	}
}
