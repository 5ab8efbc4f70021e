//go:build unix && !linux

package vfs

import (
	"io/fs"
	"os"
	"syscall"
)

const nonBlock = syscall.O_NONBLOCK

// fromFileInfo keeps what package os tells on every system, with the numbers
// that tell files apart. The change time has another name on each system; the
// time of modification stands in for it.
func fromFileInfo(fi fs.FileInfo) Stat {
	s := Stat{Nlink: 1, Size: fi.Size(), Mode: fi.Mode(), Mtime: fi.ModTime(), Ctime: fi.ModTime()}
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		s.Dev, s.Ino, s.Nlink = uint64(st.Dev), uint64(st.Ino), uint64(st.Nlink) //nolint:gosec,unconvert // widths differ between systems
		s.UID, s.GID = st.Uid, st.Gid
	}
	return s
}

func syncDir(f *os.File) error { return f.Sync() }
