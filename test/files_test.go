package test

import (
	bits "encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// onServer returns where the file server has what is at dir on a mount.
func onServer(m mountOf) string {
	at := filepath.Join(exported, filepath.Base(m.dir))
	if _, err := os.Stat(at); err == nil {
		return at
	}
	return m.dir
}

// TestNewFilesInheritWhatTheirDirectoryHas compares an object's file with one that a
// user of the share has made beside it.
func TestNewFilesInheritWhatTheirDirectoryHas(t *testing.T) {
	onlyNFS(t)
	mounts := mountsOfOneTree(t)
	defer syscall.Umask(syscall.Umask(0)) // which clients before NFSv4.2 heed, whatever is inherited
	s := startAt(t, mounts[0].place, mounts[0].dir)
	c, ctx, bucket := newS3(s, noRetry), t.Context(), aws.String("bucket")
	_, err := c.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: bucket})
	must(t, err)
	dir := filepath.Join(onServer(mounts[0]), *bucket)
	err = syscall.Setxattr(dir, "system.posix_acl_default", userMay(1234, 7), 0)
	if errors.Is(err, syscall.ENOTSUP) {
		t.Skip("the file system has no access control lists")
	}
	must(t, err)
	if os.Geteuid() == 0 {
		must(t, os.Chown(dir, -1, 4321))
	}
	must(t, os.Chmod(dir, 0o775|os.ModeSetgid))
	for _, key := range []string{"key", "made/on/the/way"} {
		_, err := c.PutObject(ctx, &s3.PutObjectInput{Bucket: bucket, Key: &key, Body: strings.NewReader("x")})
		must(t, err)
		made := filepath.Join(mounts[len(mounts)-1].dir, *bucket, filepath.Dir(key), "by a user")
		f, err := os.OpenFile(made, os.O_CREATE|os.O_WRONLY, 0o664)
		must(t, err)
		must(t, f.Close())
		got, want := ownership(t, filepath.Join(dir, key)), ownership(t, filepath.Join(dir, filepath.Dir(key), "by a user"))
		if got != want || !strings.Contains(want, "d204") { // 1234
			t.Errorf("%s: %s, and the user's %s", key, got, want)
		}
	}
}

// userMay is a list of access control (acl(5)) as the kernel has it: a user has
// permissions, which the mask leaves.
func userMay(user, permissions uint16) []byte {
	list := bits.LittleEndian.AppendUint32(nil, 2)
	for _, e := range [][2]uint16{{0x01, 7}, {0x02, permissions}, {0x04, 5}, {0x10, 7}, {0x20, 0}} {
		list = bits.LittleEndian.AppendUint16(list, e[0])
		list = bits.LittleEndian.AppendUint16(list, e[1])
		id := ^uint32(0)
		if e[0] == 0x02 {
			id = uint32(user)
		}
		list = bits.LittleEndian.AppendUint32(list, id)
	}
	return list
}

// ownership says whose a file is and who may use it.
func ownership(t *testing.T, path string) string {
	t.Helper()
	info, err := os.Stat(path)
	must(t, err)
	st := info.Sys().(*syscall.Stat_t)
	list := make([]byte, 1<<10)
	n, err := syscall.Getxattr(path, "system.posix_acl_access", list)
	if err != nil {
		n = 0
	}
	return fmt.Sprintf("%v of %d:%d, list %s", info.Mode(), st.Uid, st.Gid, hex.EncodeToString(effective(list[:n])))
}

// effective returns a list with what its mask leaves of the permissions of users and
// groups. A server that is given a list of NFSv4 stores them so.
func effective(list []byte) []byte {
	mask := uint16(7)
	each := func(do func(tag uint16, permissions []byte)) {
		for e := list[min(4, len(list)):]; len(e) >= 8; e = e[8:] {
			do(bits.LittleEndian.Uint16(e), e[2:4])
		}
	}
	each(func(tag uint16, permissions []byte) {
		if tag == 0x10 {
			mask = bits.LittleEndian.Uint16(permissions)
		}
	})
	each(func(tag uint16, permissions []byte) {
		if tag == 0x02 || tag == 0x04 || tag == 0x08 {
			bits.LittleEndian.PutUint16(permissions, bits.LittleEndian.Uint16(permissions)&mask)
		}
	})
	return list
}

// TestABucketsNewFilesAreWhoseItSays sets it with the command, and needs root to.
func TestABucketsNewFilesAreWhoseItSays(t *testing.T) {
	onlyNFS(t)
	fleet := startFleet(t, 2, "--dir-mode", "2770")
	c, ctx, bucket := newS3(fleet[1], noRetry), t.Context(), aws.String("bucket")
	_, err := c.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: bucket})
	must(t, err)
	env, at := serverEnv(t.TempDir()), fleet[0].url+"/bucket"
	uid, gid := os.Geteuid(), os.Getegid()
	if uid == 0 {
		uid, gid = 1234, 4321
	}
	want := fmt.Sprintf(`{"uid":%d,"gid":%d,"file_mode":"0640"}`, uid, gid)
	out, errOut, code := shoal(t, env, "bucket", "files", "--uid", fmt.Sprint(uid), "--gid", fmt.Sprint(gid), "--file-mode", "640", at)
	if code != 0 || strings.TrimSpace(out) != want {
		t.Fatalf("exit %d: %s %s", code, out, errOut)
	}
	_, err = c.PutObject(ctx, &s3.PutObjectInput{Bucket: bucket, Key: aws.String("dir/key"), Body: strings.NewReader("x")})
	must(t, err)
	for path, mode := range map[string]string{"dir": "dgrwxrwx---", "dir/key": "-rw-r-----"} {
		got := ownership(t, filepath.Join(fleet[0].dir, *bucket, path))
		if !strings.HasPrefix(got, fmt.Sprintf("%s of %d:%d", mode, uid, gid)) {
			t.Errorf("%s: %s", path, got)
		}
	}
	if out, _, code := shoal(t, env, "bucket", "files", "--reset", at); code != 0 || strings.TrimSpace(out) != "{}" {
		t.Errorf("taken back: exit %d: %s", code, out)
	}
	if _, errOut, code := shoal(t, env, "bucket", "files", "--file-mode", "rw", at); code != 2 {
		t.Errorf("a mode that is none: exit %d: %s", code, errOut)
	}
}

// TestAUsersNewFilesAreHis sets who he is with the command, and needs root to give files
// to another one.
func TestAUsersNewFilesAreHis(t *testing.T) {
	t.Parallel()
	onlyNFS(t)
	o := operate(t, 2)
	bucket := aws.String("bucket")
	_, err := newS3(o.fleet[0], noRetry).CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: bucket})
	must(t, err)
	secret := filepath.Join(t.TempDir(), "secret")
	must(t, os.WriteFile(secret, []byte("ann's secret"), 0o600))
	o.admin(t, "user", "add", "ann", "--secret-file", secret)
	o.admin(t, "policy", "attach", "readwrite", "--user", "ann")
	uid, gid := os.Geteuid(), os.Getegid()
	if uid == 0 {
		uid, gid = 1234, 4321
	}
	o.admin(t, "user", "posix", "ann", "--uid", fmt.Sprint(uid), "--gid", fmt.Sprint(gid))
	for _, put := range []struct {
		key      string
		by       func(*s3.Options)
		uid, gid int
	}{
		{"hers/key", as("ann", "ann's secret"), uid, gid},
		{"others/key", as(user, password), os.Geteuid(), os.Getegid()},
	} {
		for i, s := range o.fleet {
			c, key, own := newS3(s, noRetry, put.by), fmt.Sprint(put.key, i), fmt.Sprint("bucket-", put.uid, "-", i)
			_, err := c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: bucket, Key: &key, Body: strings.NewReader("x")})
			must(t, err)
			_, err = c.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &own})
			must(t, err)
			for _, path := range []string{filepath.Join(*bucket, key), filepath.Join(*bucket, filepath.Dir(key)), own} {
				if got := ownership(t, filepath.Join(s.dir, path)); !strings.Contains(got, fmt.Sprintf(" of %d:%d,", put.uid, put.gid)) {
					t.Errorf("%s: %s", path, got)
				}
			}
		}
	}
}

// TestPermissionsOnTheShareCountForWhoIsSomebodyThere lays out files as people on the share do.
// Only root can find out what others may do. Of supplementary groups a server of NFS may know
// better (manage-gids).
func TestPermissionsOnTheShareCountForWhoIsSomebodyThere(t *testing.T) {
	t.Parallel()
	onlyNFS(t)
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	o := operateFleet(t, startFleet(t, 2, "--posix-enforce"))
	ctx, bucket, root := t.Context(), aws.String("bucket"), newS3(o.fleet[0], noRetry)
	_, err := root.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: bucket})
	must(t, err)
	for _, key := range []string{"private/k", "team/k", "open/k"} {
		_, err := root.PutObject(ctx, &s3.PutObjectInput{Bucket: bucket, Key: &key, Body: strings.NewReader("x")})
		must(t, err)
	}
	in := filepath.Join(o.fleet[0].dir, *bucket)
	must(t, errors.Join(os.Chmod(o.fleet[0].dir, 0o755), os.Chmod(in, 0o755))) // a bed's is for its owner alone
	for path, mode := range map[string]os.FileMode{"private": 0o700, "team": 0o770, "team/k": 0o640, "open": 0o755, "open/k": 0o644} {
		must(t, os.Chown(filepath.Join(in, path), 4001, 4100))
		must(t, os.Chmod(filepath.Join(in, path), mode))
	}
	secret := filepath.Join(t.TempDir(), "secret")
	must(t, os.WriteFile(secret, []byte("a good secret"), 0o600))
	for name, who := range map[string][]string{"ann": {"--uid", "4001"}, "bob": {"--uid", "4002", "--gid", "4100"}, "eve": {"--uid", "4003", "--gid", "4003"}} {
		o.admin(t, "user", "add", name, "--secret-file", secret)
		o.admin(t, "policy", "attach", "readwrite", "--user", name)
		o.admin(t, append([]string{"user", "posix", name}, who...)...)
	}
	for i, tt := range []struct{ who, reads, writes, sees string }{
		{"ann", "open/k private/k team/k", "open private team", "open/k private/k team/k"},
		{"bob", "open/k team/k", "team", "open/k team/k"},
		{"eve", "open/k", "", "open/k"},
	} {
		c := newS3(o.fleet[i%2], noRetry, as(tt.who, "a good secret"))
		var reads, writes, sees []string
		for _, key := range []string{"open/k", "private/k", "team/k"} {
			_, err := c.GetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: &key})
			if err == nil {
				reads = append(reads, key)
			} else if errorCode(err) != notAllowed {
				t.Error(err)
			}
			dir, own := filepath.Dir(key), filepath.Join(filepath.Dir(key), "of", tt.who)
			_, err = c.PutObject(ctx, &s3.PutObjectInput{Bucket: bucket, Key: &own, Body: strings.NewReader("x")})
			if err == nil {
				writes = append(writes, dir)
				_, err = c.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: bucket, Key: &own})
			}
			if err != nil && errorCode(err) != notAllowed {
				t.Error(err)
			}
		}
		page, err := c.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: bucket})
		must(t, err)
		for _, o := range page.Contents {
			sees = append(sees, *o.Key)
		}
		if strings.Join(reads, " ") != tt.reads || strings.Join(writes, " ") != tt.writes || strings.Join(sees, " ") != tt.sees {
			t.Errorf("%s reads %q, writes to %q, sees %q; want %+v", tt.who, reads, writes, sees, tt)
		}
	}
}
