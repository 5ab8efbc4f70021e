package vfs

import (
	"errors"
	"io"
	"io/fs"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// osFile is a bare descriptor: no os.File, whose making costs a fcntl(2) and
// an epoll_ctl(2) that a HEAD has no use for.
type osFile struct {
	tree    *tree
	fd      int // -1 once closed
	written int64
	sent    bool // sendfile has moved the descriptor's position
	name    string
	guarded *guarded // nil where files that are open can be replaced
	direct  direct
	unsure  bool // an SMB server may still change the time of its last change
}

func (f *osFile) fail(op string, err error) error { return pathError(op, f.name, err) }

// use begins a call on f, which release ends. It returns fs.ErrClosed after Close.
func (f *osFile) use() (release func(), err error) {
	if f.guarded != nil {
		return f.guarded.use(f)
	}
	if f.fd < 0 {
		return nil, fs.ErrClosed
	}
	return func() {}, nil
}

// ReadAt implements File.
func (f *osFile) ReadAt(p []byte, off int64) (int, error) {
	release, err := f.use()
	if err != nil {
		return 0, f.fail("read", err)
	}
	defer release()
	done := 0
	for done < len(p) {
		n, err := retry(func() (int, error) { return unix.Pread(f.fd, p[done:], off+int64(done)) })
		if err != nil {
			return done, f.fail("read", err)
		}
		if n == 0 {
			return done, io.EOF
		}
		done += n
	}
	return done, nil
}

// Write implements File.
func (f *osFile) Write(p []byte) (int, error) {
	release, err := f.use()
	if err != nil {
		return 0, f.fail("write", err)
	}
	defer release()
	if err := f.setBuffered(); err != nil {
		return 0, err
	}
	done := 0
	for done < len(p) {
		n, err := retry(func() (int, error) { return unix.Pwrite(f.fd, p[done:], f.written) })
		if err == nil && n == 0 {
			err = io.ErrShortWrite
		}
		if err != nil {
			return done, f.fail("write", err)
		}
		done += n
		f.written += int64(n)
	}
	f.unsure = f.tree.smb
	return done, nil
}

// Send implements File.
func (f *osFile) Send(w io.Writer, off, n int64) (int64, error) {
	if off < 0 || n < 0 {
		return 0, f.fail("send", unix.EINVAL)
	}
	to, ok := w.(io.ReaderFrom)
	if !ok || f.guarded != nil { // whose descriptor can change between two pieces only
		return f.copyTo(w, off, n)
	}
	release, err := f.use()
	if err != nil {
		return 0, f.fail("send", err)
	}
	defer release()
	if off > 0 || f.sent {
		if _, err := unix.Seek(f.fd, off, io.SeekStart); err != nil {
			return 0, f.fail("send", err)
		}
	}
	f.sent = true
	sent, err := to.ReadFrom(&io.LimitedReader{R: &sender{f}, N: n})
	if err == nil && sent < n {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return sent, f.fail("send", err)
	}
	return sent, nil
}

// copyTo sends through a buffer.
func (f *osFile) copyTo(w io.Writer, off, n int64) (int64, error) {
	buf := f.tree.copies.Get().(*[copyBuffer]byte)
	defer f.tree.copies.Put(buf)
	var sent int64
	for sent < n {
		got, err := f.ReadAt(buf[:min(n-sent, copyBuffer)], off+sent)
		if got > 0 {
			put, werr := w.Write(buf[:got])
			sent += int64(put)
			if werr == nil && put < got {
				werr = io.ErrShortWrite
			}
			if werr != nil {
				return sent, f.fail("send", werr)
			}
		}
		if errors.Is(err, io.EOF) && sent < n {
			return sent, f.fail("send", io.ErrUnexpectedEOF)
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return sent, err
		}
	}
	return sent, nil
}

// sender shows a file to package net, whose connections send from whatever is
// a syscall.Conn by sendfile(2), from the descriptor's position on; and to
// those that do not, as a reader from the same position.
type sender struct{ f *osFile }

// Read implements io.Reader.
func (s *sender) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	n, err := retry(func() (int, error) { return unix.Read(s.f.fd, p) })
	if err != nil {
		return 0, err
	}
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

// SyscallConn implements syscall.Conn.
func (s *sender) SyscallConn() (syscall.RawConn, error) { return rawFile{s.f.fd}, nil }

// rawFile implements syscall.RawConn over a descriptor that never blocks.
type rawFile struct{ fd int }

// Control implements syscall.RawConn.
func (r rawFile) Control(f func(fd uintptr)) error {
	f(uintptr(r.fd))
	return nil
}

// Read implements syscall.RawConn.
func (r rawFile) Read(f func(fd uintptr) bool) error {
	f(uintptr(r.fd))
	return nil
}

// Write implements syscall.RawConn: what is opened to be sent is not written.
func (r rawFile) Write(func(fd uintptr) bool) error { return ErrUnsupported }

// copyStep bounds one copy_file_range(2), in bytes: NFS and FUSE do it in one
// request, in which the call cannot be interrupted.
const copyStep = 64 << 20

// CopyFrom implements File.
func (f *osFile) CopyFrom(src File, off, n int64) (int64, error) {
	from, ok := src.(*osFile)
	if !ok {
		return 0, f.fail("copy", ErrUnsupported)
	}
	release, err := f.use()
	if err != nil {
		return 0, f.fail("copy", err)
	}
	defer release()
	if release, err = from.use(); err != nil {
		return 0, f.fail("copy", err)
	}
	defer release()
	if off < 0 || n < 0 {
		return 0, f.fail("copy", unix.EINVAL)
	}
	f.unsure = f.tree.smb
	var copied int64
	for copied < n {
		in, out := off+copied, f.written
		step, err := retry(func() (int, error) {
			return unix.CopyFileRange(from.fd, &in, f.fd, &out, int(min(n-copied, copyStep)), 0)
		})
		if err != nil {
			return copied, f.fail("copy", copyError(err))
		}
		if step == 0 {
			return copied, f.stoppedShort(from, off+copied)
		}
		copied += int64(step)
		f.written += int64(step)
	}
	return copied, nil
}

// copyError classes the answers by which kernels say that these two files
// cannot be copied by copy_file_range(2): its man page, and before Linux 5.19
// EXDEV and EINVAL for what lies on two file systems or is not a plain file.
func copyError(err error) error {
	switch err {
	case unix.EXDEV, unix.EINVAL, unix.EPERM, unix.ETXTBSY: //nolint:errorlint // a bare errno
		return &classed{ErrUnsupported, err}
	}
	return err
}

// stoppedShort says why a copy got nothing at off. Some file systems (proc,
// and FUSE with a stale size) answer 0 bytes where there are some.
func (f *osFile) stoppedShort(from *osFile, off int64) error {
	st, err := from.Stat()
	if err != nil {
		return err
	}
	if st.Size <= off {
		return f.fail("copy", io.ErrUnexpectedEOF)
	}
	return f.fail("copy", ErrUnsupported)
}

// Stat implements File.
func (f *osFile) Stat() (Stat, error) {
	release, err := f.use()
	if err != nil {
		return Stat{}, f.fail("stat", err)
	}
	defer release()
	if f.tree.smb {
		st, err := f.statNow()
		if err == unix.ENOENT && f.guarded != nil { //nolint:errorlint // a bare errno
			// The client asks by the name, which was taken away: nobody else comes to
			// the file to change it.
			return f.guarded.known, nil
		}
		if err != nil {
			return Stat{}, f.fail("stat", err)
		}
		return st, nil
	}
	var st unix.Stat_t
	if err := lookAgain(func() error { return unix.Fstat(f.fd, &st) }); err != nil {
		return Stat{}, f.fail("stat", err)
	}
	return fromStat(&st), nil
}

// statNow is Stat on an SMB mount. Of a file that was written, the server sets the
// time of its last change up to two seconds after a write, or when it is closed,
// unless it is told a time; and the client has a time of its own, which it
// may show until it is made to ask.
func (f *osFile) statNow() (Stat, error) {
	if f.unsure {
		if err := retryErr(func() error { return unix.Fsync(f.fd) }); err != nil {
			return Stat{}, err
		}
		now := time.Now().Truncate(100 * time.Nanosecond) // what SMB can tell
		times := []unix.Timespec{{Nsec: unix.UTIME_OMIT}, unix.NsecToTimespec(now.UnixNano())}
		if err := retryErr(func() error { return unix.UtimesNanoAt(f.fd, "", times, unix.AT_EMPTY_PATH) }); err != nil {
			return Stat{}, err
		}
		f.unsure = false
	}
	return statAt(f.fd, "", unix.AT_EMPTY_PATH|unix.AT_STATX_FORCE_SYNC)
}

// Getxattr implements File. Most values fit into what the first call offers.
func (f *osFile) Getxattr(name string) ([]byte, error) {
	release, err := f.use()
	if err != nil {
		return nil, f.fail("getxattr", err)
	}
	defer release()
	var small [1024]byte
	for buf := small[:]; ; {
		n, err := retry(func() (int, error) { return unix.Fgetxattr(f.fd, name, buf) })
		switch err {
		case nil:
			return append(make([]byte, 0, n), buf[:n]...), nil
		case unix.ERANGE: //nolint:errorlint // a bare errno
			if len(buf) >= xattrMax {
				return nil, f.fail("getxattr", err)
			}
			buf = make([]byte, xattrMax)
		case unix.ENODATA:
			return nil, f.fail("getxattr", &classed{ErrNoXattr, err})
		default:
			return nil, f.fail("getxattr", err)
		}
	}
}

// xattrMax is the greatest size of a value, in bytes (XATTR_SIZE_MAX, xattr(7)).
const xattrMax = 64 << 10

// Setxattr implements File. On an SMB mount it is not offered: the client opens the
// file a second time for it, by which it loses its hold on the first, and from
// then on may show its own clock for the time of the last change.
func (f *osFile) Setxattr(name string, value []byte) error {
	return f.do("setxattr", func() error {
		if f.tree.smb {
			return ErrUnsupported
		}
		return unix.Fsetxattr(f.fd, name, value, 0)
	})
}

// Chown implements File.
func (f *osFile) Chown(uid, gid int) error {
	return f.do("chown", func() error { return unix.Fchown(f.fd, uid, gid) })
}

// Chmod implements File.
func (f *osFile) Chmod(mode fs.FileMode) error {
	return f.do("chmod", func() error { return unix.Fchmod(f.fd, modeBits(mode)) })
}

// Sync implements File. EINTR alone is tried again: it comes from the waiting
// and not from the writing, which has reported nothing yet.
func (f *osFile) Sync() error {
	return f.do("sync", func() error { return unix.Fsync(f.fd) })
}

func (f *osFile) do(op string, call func() error) error {
	release, err := f.use()
	if err == nil {
		err = retryErr(call)
		release()
	}
	if err != nil {
		return f.fail(op, err)
	}
	return nil
}

// Close implements File. Linux frees the descriptor whatever close(2) answers,
// EINTR included, so it is called once.
func (f *osFile) Close() error {
	if f.guarded != nil {
		return f.guarded.close(f)
	}
	return f.shut()
}

func (f *osFile) shut() error {
	if f.fd < 0 {
		return f.fail("close", fs.ErrClosed)
	}
	fd := f.fd
	f.fd = -1
	if err := unix.Close(fd); err != nil {
		return f.fail("close", err)
	}
	return nil
}
