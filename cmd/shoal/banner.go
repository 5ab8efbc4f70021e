package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"strings"
	"syscall"

	"github.com/shoal-storage/shoal/internal/vfs"
	"github.com/shoal-storage/shoal/nasfs"
)

// banner tells how to reach the server: lines to paste.
func (f *serverFlags) banner(out io.Writer, addr net.Addr, path string, creds credentials) {
	url := f.serverURL
	if url == "" {
		url = "http://"
		if f.certsDir != "" {
			url = "https://"
		}
		url += reachable(addr)
	}
	password := "(from " + creds.source + ")"
	made := strings.HasSuffix(creds.source, ownCredentialsFile)
	if made {
		password = creds.password
	}
	var b strings.Builder
	fmt.Fprintf(&b, "shoal %s  serving %s\n\n", version, path)
	fmt.Fprintf(&b, "  S3        %s\n", url)
	fmt.Fprintf(&b, "  user      %s\n", creds.user)
	fmt.Fprintf(&b, "  password  %s\n", password)
	if made {
		fmt.Fprintf(&b, "            kept in %s\n", creds.source)
	} else {
		password = "PASSWORD"
	}
	fmt.Fprintf(&b, `
  mc        mc alias set shoal %[1]s %[2]s %[3]s
            mc mb shoal/demo && echo hello | mc pipe shoal/demo/hello
  aws       export AWS_ACCESS_KEY_ID=%[2]s AWS_SECRET_ACCESS_KEY=%[3]s AWS_DEFAULT_REGION=%[4]s
            aws --endpoint-url %[1]s s3 ls
  boto3     boto3.client("s3", endpoint_url="%[1]s", region_name="%[4]s",
                         aws_access_key_id="%[2]s", aws_secret_access_key="%[3]s")

`, url, creds.user, password, f.region)
	// A start-up text that cannot be written is no reason not to serve.
	_, _ = io.WriteString(out, b.String())
}

// reachable returns a host and port that this machine reaches the listener at.
func reachable(addr net.Addr) string {
	tcp, ok := addr.(*net.TCPAddr)
	if ok && tcp.IP.IsUnspecified() {
		return fmt.Sprintf("127.0.0.1:%d", tcp.Port)
	}
	return addr.String()
}

// openFailure says why a tree cannot be served and what to do.
func (f *serverFlags) openFailure(path string, err error) error {
	switch {
	case errors.Is(err, nasfs.ErrOtherTree):
		return unsafe("--read-mount "+f.readMount+" does not show the tree "+path, "mount the same export there, with the option nosharecache")
	case errors.Is(err, nasfs.ErrSameMount):
		return unsafe("--read-mount "+f.readMount+" shares what its client knows with "+path, "mount it with the option nosharecache")
	case errors.Is(err, nasfs.ErrStaleReads):
		return unsafe("--read-mount "+f.readMount+" goes on showing what was replaced in "+path, "leave it out; the server cannot keep two mounts of one host apart")
	}
	return openFailure(path, err)
}

// openFailure says why a tree cannot be opened.
func openFailure(path string, err error) error {
	if e, ok := errors.AsType[*vfs.IncoherentError](err); ok {
		return unsafe("cannot serve "+path+" by several gateways: "+e.Why, e.Cure+", or let a single gateway serve it, with --single-gateway")
	}
	switch {
	case errors.Is(err, vfs.ErrNumbers):
		return unsafe("cannot serve "+path+": "+vfs.ErrNumbers.Error(), vfs.CureNumbers+", while nothing else uses it")
	case errors.Is(err, nasfs.ErrInUse):
		return unsafe("cannot serve "+path+": another shoal serves it", "stop it first: one gateway serves a directory")
	case errors.Is(err, nasfs.ErrFoldsCase):
		return unsafe("cannot serve "+path+": its file system does not tell upper from lower case, so an object would overwrite another one",
			`set "case sensitive = yes" for the share on a Samba server (ZFS: a dataset with casesensitivity=sensitive), or accept it with --folded-case`)
	case errors.Is(err, nasfs.ErrMinIODrive):
		return unsafe("cannot serve "+path+": it is a drive of MinIO, whose objects are not plain files",
			"serve an empty directory and copy from the running MinIO: mc mirror OLD NEW")
	case errors.Is(err, nasfs.ErrMinIOFiles):
		return unsafe("cannot serve "+path+": MinIO serves it, and keeps content types and user metadata in .minio.sys",
			"copy through S3 to keep those (mc mirror OLD NEW), or stop MinIO and move .minio.sys out of the directory: the files are served as they are")
	case errors.Is(err, fs.ErrPermission):
		return failed("cannot use "+path, err, "make it writable for the user that shoal runs as; where an NFS export squashes root, on the server")
	case errors.Is(err, syscall.EROFS):
		return failed("cannot use "+path, err, "mount it for writing")
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return failed("cannot use "+path, err, "free some space, or some inodes (df -i)")
	}
	return failed("cannot serve "+path, err, "")
}
