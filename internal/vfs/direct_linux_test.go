package vfs_test

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/shoal-storage/shoal/internal/vfs"
)

// piece returns n bytes that can be written directly, since so many are a span of their own.
func piece(n int, with byte) []byte {
	return bytes.Repeat([]byte{with}, max(n, 64<<10))[:n]
}

func TestWhatIsWrittenDirectlyFollowsWhatWasWrittenBefore(t *testing.T) {
	root, err := vfs.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	f, err := root.Create("f", 0o600)
	if err != nil {
		t.Fatal(err)
	}
	var want []byte
	add := func(write func(parts ...[]byte) (int64, error), parts ...[]byte) {
		t.Helper()
		n, err := write(parts...)
		all := bytes.Join(parts, nil)
		if want = append(want, all...); err != nil || n != int64(len(all)) {
			t.Fatalf("%d bytes of %d were written: %v", n, len(all), err)
		}
	}
	either := func(parts ...[]byte) (int64, error) { return vfs.Append(f, parts...) }
	plainly := func(parts ...[]byte) (int64, error) {
		n, err := f.Write(parts[0])
		return int64(n), err
	}
	add(either, piece(128<<10, 1), piece(8<<10, 2))
	add(either, piece(100, 3))
	add(either, piece(4<<10, 4)) // the file ends in the middle of a block
	add(plainly, piece(vfs.DirectAlign-100, 5))
	many := make([][]byte, 100)
	for i := range many {
		many[i] = piece(4<<10, byte(i))
	}
	add(either, many...)
	add(plainly, piece(8<<10, 6))
	add(either, piece(64<<10, 7)[1:])
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	r, err := root.Open("f")
	if err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(want)+1)
	if n, err := r.ReadAt(got, 0); !errors.Is(err, io.EOF) || !bytes.Equal(got[:n], want) {
		t.Errorf("%d bytes of %d came back, or others: %v", n, len(want), err)
	}
	if err := errors.Join(r.Close(), f.Close(), root.Close()); err != nil {
		t.Error(err)
	}
}

func TestWhatIsNotAlignedIsNotWrittenDirectly(t *testing.T) {
	root, err := vfs.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	f, err := root.Create("f", 0o600)
	if err != nil {
		t.Fatal(err)
	}
	d, ok := f.(vfs.DirectWriter)
	if !ok {
		t.Skip("files are not written directly here")
	}
	for name, parts := range map[string][][]byte{
		"memory":  {piece(64<<10, 1)[512 : 512+vfs.DirectAlign]},
		"length":  {piece(vfs.DirectAlign, 1), piece(512, 1)},
		"nothing": {nil},
	} {
		if n, err := d.WriteDirect(parts); n != 0 || !errors.Is(err, vfs.ErrUnsupported) {
			t.Errorf("%s: %d bytes, %v", name, n, err)
		}
	}
	if s, err := f.Stat(); err != nil || s.Size != 0 {
		t.Errorf("the file has %d bytes, %v", s.Size, err)
	}
	if err := errors.Join(f.Close(), root.Close()); err != nil {
		t.Error(err)
	}
}
