//go:build !unix

package vfs

import (
	"io/fs"
	"os"
)

const nonBlock = 0

// fromFileInfo keeps what package os tells on every system. There is no inode
// number in it.
func fromFileInfo(fi fs.FileInfo) Stat {
	return Stat{Nlink: 1, Size: fi.Size(), Mode: fi.Mode(), Mtime: fi.ModTime(), Ctime: fi.ModTime()}
}

// syncDir does nothing: a directory cannot be synced here.
func syncDir(*os.File) error { return nil }
