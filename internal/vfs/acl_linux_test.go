package vfs

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// posixACL builds a list of entries {tag, permissions, user or group}.
func posixACL(entries ...[3]uint32) []byte {
	list := binary.LittleEndian.AppendUint32(nil, 2)
	for _, e := range entries {
		list = binary.LittleEndian.AppendUint16(list, uint16(e[0]))
		list = binary.LittleEndian.AppendUint16(list, uint16(e[1]))
		list = binary.LittleEndian.AppendUint32(list, e[2])
	}
	return list
}

// TestAFileInheritsAsIfItHadBeenMadeThere compares a file that was moved into a
// directory with one that was made in it.
func TestAFileInheritsAsIfItHadBeenMadeThere(t *testing.T) {
	const nobody = ^uint32(0)
	for name, list := range map[string][]byte{
		"three entries": posixACL([3]uint32{1, 7, nobody}, [3]uint32{4, 5, nobody}, [3]uint32{0x20, 0, nobody}),
		"a named user": posixACL([3]uint32{1, 7, nobody}, [3]uint32{2, 7, 1234}, [3]uint32{4, 5, nobody}, [3]uint32{0x10, 7, nobody},
			[3]uint32{0x20, 4, nobody}),
	} {
		t.Run(name, func(t *testing.T) {
			path := t.TempDir()
			target := filepath.Join(path, "target")
			must(t, os.Mkdir(target, 0o755))
			err := unix.Setxattr(target, defaultACL, list, 0)
			if errors.Is(err, unix.ENOTSUP) {
				t.Skip("the file system of the temporary directory has no access control lists")
			}
			must(t, err)
			root, err := OpenRoot(path)
			must(t, err)
			defer root.Close()
			dir, err := root.OpenDir("target")
			must(t, err)
			defer dir.Close()
			acl, err := InheritedACL(dir)
			must(t, err)
			for _, perm := range []fs.FileMode{0o664, 0o600, 0o777} {
				name := fmt.Sprintf("%o", perm)
				native, err := dir.Create(name, perm)
				must(t, err)
				must(t, native.Close())
				moved, err := root.Create(name, perm)
				must(t, err)
				must(t, errors.Join(acl.Inherit(moved, perm), moved.Close()))
				if got, want := aclAndMode(t, filepath.Join(path, name)), aclAndMode(t, filepath.Join(target, name)); got != want {
					t.Errorf("%o: %s, and made there %s", perm, got, want)
				}
			}
		})
	}
}

func aclAndMode(t *testing.T, path string) string {
	t.Helper()
	st, err := os.Stat(path)
	must(t, err)
	buf := make([]byte, 1<<10)
	n, err := unix.Getxattr(path, accessACL, buf)
	if errors.Is(err, unix.ENODATA) {
		n = 0
	} else {
		must(t, err)
	}
	return fmt.Sprintf("%v %x", st.Mode(), buf[:n])
}

func TestADirectoryWithoutAListHasNothingToInherit(t *testing.T) {
	root, err := OpenRoot(t.TempDir())
	must(t, err)
	defer root.Close()
	if acl, err := InheritedACL(root); err != nil || !acl.IsZero() {
		t.Errorf("%+v, %v", acl, err)
	}
	if acl, err := InheritedACL(NewMemory().Root()); err != nil || !acl.IsZero() {
		t.Errorf("%+v, %v", acl, err)
	}
}

func TestOfAListOfNFSv4FilesGetWhatIsForThem(t *testing.T) {
	const all = ace4Read | ace4Write | ace4Execute
	list := encode4([]ace4{
		{0, 0, all, "OWNER@"},                      // the directory's own
		{0, ace4FileInherit | 0x8, all, "OWNER@"},  // of files, and not of this directory
		{0, 0x1 | 0x2 | 0x40, all, "group@domain"}, // of all below, a group
		{1, 0x1, ace4Write, "EVERYONE@"},           // a denial
		{0, 0x2, all, "EVERYONE@"},                 // of directories
	})
	want := []ace4{
		{0, 0, ace4Read | ace4Write, "OWNER@"}, {0, 0x40, ace4Read, "group@domain"}, {1, 0, ace4Write, "EVERYONE@"},
	}
	if got := masked4(inherited(list), 0o640); !bytes.Equal(got, encode4(want)) {
		t.Errorf("%+v, want %+v", parse4(got), want)
	}
	if got := inherited(encode4([]ace4{{0, 0, all, "OWNER@"}})); got != nil {
		t.Errorf("nothing to inherit: %x", got)
	}
}

func FuzzListsOfNFSv4(f *testing.F) {
	f.Add(encode4([]ace4{{0, 1, 7, "OWNER@"}, {0, 1, 7, "x"}}))
	f.Fuzz(func(t *testing.T, list []byte) {
		for _, e := range parse4(inherited(list)) {
			if e.flags&ace4Inherits != 0 {
				t.Errorf("%+v is inherited further", e)
			}
		}
		_ = masked4(list, 0o664)
	})
}
