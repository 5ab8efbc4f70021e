package vfs

import (
	"fmt"
	"io/fs"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// statAt describes name at fd by one statx(2), which unlike fstatat(2) tells
// whether it is the root of another mount (EXDEV). Linux before 4.11 and old
// seccomp filters have no statx.
func statAt(fd int, name string, flags int) (Stat, error) {
	var sx unix.Statx_t
	err := lookAgain(func() error { return unix.Statx(fd, name, flags, unix.STATX_BASIC_STATS, &sx) })
	switch err {
	case nil:
		if name != "" && sx.Attributes&sx.Attributes_mask&unix.STATX_ATTR_MOUNT_ROOT != 0 {
			return Stat{}, unix.EXDEV
		}
		return fromStatx(&sx), nil
	case unix.ENOSYS, unix.EPERM: //nolint:errorlint // a bare errno
		var st unix.Stat_t
		if name == "" {
			err = retryErr(func() error { return unix.Fstat(fd, &st) })
		} else {
			err = retryErr(func() error { return unix.Fstatat(fd, name, &st, unix.AT_SYMLINK_NOFOLLOW) })
		}
		if err != nil {
			return Stat{}, err
		}
		return fromStat(&st), nil
	}
	return Stat{}, err
}

// How often, and after which pauses, a file is looked at whose client says EBADFD.
const (
	lookTries = 100
	lookPause = time.Millisecond
)

// lookAgain is retryErr for a look at a file. A client of GlusterFS asks by any descriptor
// that somebody has of the file, and says EBADFD of one that its server does not know, yet
// or any more, as just after it was closed.
func lookAgain(look func() error) error {
	for try := 1; ; try++ {
		if err := retryErr(look); err != unix.EBADFD || try == lookTries { //nolint:errorlint // a bare errno
			return err
		}
		time.Sleep(lookPause)
	}
}

// statKnown describes what fd is by what a client of a file server believes to
// know: inode, mode and owner are right, the times may be older.
func statKnown(fd int) (Stat, error) {
	var sx unix.Statx_t
	const mask = unix.STATX_TYPE | unix.STATX_MODE | unix.STATX_INO | unix.STATX_UID | unix.STATX_GID
	err := lookAgain(func() error { return unix.Statx(fd, "", unix.AT_EMPTY_PATH, mask, &sx) })
	if err == unix.ENOSYS || err == unix.EPERM { //nolint:errorlint // a bare errno
		return statAt(fd, "", unix.AT_EMPTY_PATH)
	}
	return fromStatx(&sx), err
}

func fromStatx(sx *unix.Statx_t) Stat {
	return Stat{
		Dev: unix.Mkdev(sx.Dev_major, sx.Dev_minor), Ino: sx.Ino, Nlink: uint64(sx.Nlink),
		Size: int64(sx.Size), Mode: fileMode(uint32(sx.Mode)), UID: sx.Uid, GID: sx.Gid, //nolint:gosec // the kernel's sizes fit in loff_t
		Mtime: time.Unix(sx.Mtime.Sec, int64(sx.Mtime.Nsec)), Ctime: time.Unix(sx.Ctime.Sec, int64(sx.Ctime.Nsec)),
	}
}

func fromStat(st *unix.Stat_t) Stat {
	return Stat{
		Dev: uint64(st.Dev), Ino: st.Ino, Nlink: uint64(st.Nlink), //nolint:unconvert // widths differ between architectures
		Size: st.Size, Mode: fileMode(st.Mode), UID: st.Uid, GID: st.Gid,
		Mtime: time.Unix(st.Mtim.Unix()), Ctime: time.Unix(st.Ctim.Unix()),
	}
}

// modeBits is the opposite of fileMode, for what chmod(2) sets.
func modeBits(mode fs.FileMode) uint32 {
	bits := uint32(mode.Perm())
	if mode&fs.ModeSetgid != 0 {
		bits |= unix.S_ISGID
	}
	if mode&fs.ModeSticky != 0 {
		bits |= unix.S_ISVTX
	}
	return bits
}

// fileMode translates st_mode.
func fileMode(mode uint32) fs.FileMode {
	m := fs.FileMode(mode & 0o777)
	if mode&unix.S_ISUID != 0 {
		m |= fs.ModeSetuid
	}
	if mode&unix.S_ISGID != 0 {
		m |= fs.ModeSetgid
	}
	if mode&unix.S_ISVTX != 0 {
		m |= fs.ModeSticky
	}
	return m | typeBits(uint8(mode&unix.S_IFMT>>12)) //nolint:gosec // four bits
}

// typeBits translates the type of a file as struct dirent64 has it, which is
// the upper four bits of st_mode.
func typeBits(t uint8) fs.FileMode {
	switch t {
	case unix.DT_REG:
		return 0
	case unix.DT_DIR:
		return fs.ModeDir
	case unix.DT_LNK:
		return fs.ModeSymlink
	case unix.DT_FIFO:
		return fs.ModeNamedPipe
	case unix.DT_SOCK:
		return fs.ModeSocket
	case unix.DT_CHR:
		return fs.ModeDevice | fs.ModeCharDevice
	case unix.DT_BLK:
		return fs.ModeDevice
	}
	return fs.ModeIrregular
}

// appendDirents appends the entries of one answer of getdents64(2). The names
// are parts of buf, which costs one allocation for many names.
func appendDirents(entries []Entry, buf string) ([]Entry, error) {
	const (
		lengthAt = int(unsafe.Offsetof(unix.Dirent{}.Reclen))
		typeAt   = int(unsafe.Offsetof(unix.Dirent{}.Type))
		nameAt   = int(unsafe.Offsetof(unix.Dirent{}.Name))
	)
	for len(buf) > 0 {
		if len(buf) < nameAt {
			return nil, fmt.Errorf("directory entry of %d bytes", len(buf))
		}
		n := nativeUint16(buf[lengthAt], buf[lengthAt+1])
		if n <= nameAt || n > len(buf) {
			return nil, fmt.Errorf("directory entry of %d bytes, of %d", n, len(buf))
		}
		name, _, _ := strings.Cut(buf[nameAt:n], "\x00")
		if name != "." && name != ".." {
			entries = append(entries, Entry{Name: name, Type: typeBits(buf[typeAt])})
		}
		buf = buf[n:]
	}
	return entries, nil
}

// nativeUint16 joins two bytes in the byte order of the machine.
func nativeUint16(a, b byte) int {
	pair := [2]byte{a, b}
	return int(*(*uint16)(unsafe.Pointer(&pair))) //nolint:gosec // two bytes are a uint16
}

// Magic numbers of file systems that x/sys does not name.
const (
	magicCIFS = 0xff534d42
	magicSMB2 = 0xfe534d42
	magicZFS  = 0x2fc12fc1
	magicNTFS = 0x7366746e
)

func usage(st *unix.Statfs_t) Usage {
	block := uint64(st.Frsize) //nolint:gosec // never negative
	if block == 0 {
		block = uint64(st.Bsize) //nolint:gosec // never negative
	}
	u := Usage{Total: st.Blocks * block, Free: st.Bavail * block, Inodes: st.Files, FreeNodes: st.Ffree, NameMax: int(st.Namelen)}
	u.Type, u.LocalDisk = fileSystem(uint32(st.Type)) //nolint:gosec // magic numbers have 32 bits
	return u
}

func fileSystem(magic uint32) (name string, local bool) {
	switch magic {
	case unix.EXT4_SUPER_MAGIC:
		return "ext4", true
	case unix.XFS_SUPER_MAGIC:
		return "xfs", true
	case unix.BTRFS_SUPER_MAGIC:
		return "btrfs", true
	case magicZFS:
		return "zfs", true
	case unix.F2FS_SUPER_MAGIC:
		return "f2fs", true
	case unix.TMPFS_MAGIC:
		return "tmpfs", true
	case unix.OVERLAYFS_SUPER_MAGIC:
		return "overlay", true
	case unix.MSDOS_SUPER_MAGIC:
		return "vfat", true
	case unix.EXFAT_SUPER_MAGIC:
		return "exfat", true
	case magicNTFS:
		return "ntfs", true
	case unix.NFS_SUPER_MAGIC:
		return "nfs", false
	case magicCIFS, unix.SMB2_SUPER_MAGIC, unix.SMB_SUPER_MAGIC:
		return "smb", false
	case unix.FUSE_SUPER_MAGIC:
		return "fuse", false
	case unix.CEPH_SUPER_MAGIC:
		return "ceph", false
	case unix.V9FS_MAGIC:
		return "9p", false
	}
	return fmt.Sprintf("%#x", magic), false
}
