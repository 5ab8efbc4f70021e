package test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// device is a block device whose failures can be chosen, with a file system on it
// (https://docs.kernel.org/admin-guide/device-mapper/).
type device struct {
	name    string // of the mapped device
	source  string // the device below it, as tables name that
	sectors string
	dir     string // where it is mounted
}

// devices makes a file system on each of the devices that SHOAL_TEST_DEVICES names, and mounts
// it, and returns how a server is told of them.
func devices(t *testing.T) (all []*device, named string) {
	t.Helper()
	names := list("SHOAL_TEST_DEVICES")
	if len(names) < 4 {
		t.Skip("takes four mapped devices: test/beds/run drives")
	}
	parent := t.TempDir()
	for i, name := range names[:4] {
		table := strings.Fields(do(t, "dmsetup", "table", name))
		d := &device{name: name, source: table[3], sectors: table[1], dir: filepath.Join(parent, fmt.Sprint("d", i+1))}
		must(t, os.Mkdir(d.dir, 0o700))
		do(t, "mkfs.ext4", "-q", "-F", "-E", "nodiscard", d.path())
		do(t, "mount", d.path(), d.dir)
		t.Cleanup(func() {
			d.becomes(t, "linear", "0")
			_ = exec.Command("umount", "-l", d.dir).Run() // it may be unmounted
		})
		all = append(all, d)
	}
	return all, parent + "/d{1...4}"
}

// do runs a command and returns what it prints.
func do(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

func (d *device) path() string { return "/dev/mapper/" + d.name }

// becomes has the device do from now on what a target does, with what is told that behind the
// device below.
func (d *device) becomes(t *testing.T, target string, args ...string) {
	t.Helper()
	table := []string{"0", d.sectors, target}
	if target != "error" {
		table = append(append(table, d.source), args...)
	}
	d.suspend(t)
	do(t, "dmsetup", "load", d.name, "--table", strings.Join(table, " "))
	d.resume(t)
}

func becoming(target string, args ...string) func(d *device, t *testing.T) {
	return func(d *device, t *testing.T) { d.becomes(t, target, args...) }
}

// repaired is what somebody does whose disk works again: the server has let go of the file system,
// which is checked and mounted anew.
func (d *device) repaired(t *testing.T) {
	t.Helper()
	d.becomes(t, "linear", "0")
	eventually(t, "nobody uses the file system", func() bool { return exec.Command("umount", d.dir).Run() == nil })
	d.mount(t)
}

// mount mounts the file system when it has been checked.
func (d *device) mount(t *testing.T) {
	t.Helper()
	if out, err := exec.Command("fsck.ext4", "-y", d.path()).CombinedOutput(); err != nil {
		t.Logf("fsck: %v: %s", err, out) // it has changed something
	}
	do(t, "mount", d.path(), d.dir)
}

// spoil has the first blocks of all shards not be read any more.
func (d *device) spoil(t *testing.T) {
	t.Helper()
	d.becomes(t, "dust", "0", "4096")
	blocks := 0
	for _, dir := range []string{"data", "segments"} {
		must(t, filepath.WalkDir(filepath.Join(d.dir, ".shoal.sys", dir), func(path string, e os.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			for _, line := range strings.Split(do(t, "filefrag", "-e", "-b4096", path), "\n") {
				if f := strings.Fields(strings.ReplaceAll(line, "..", " ")); len(f) > 5 && strings.HasSuffix(f[0], ":") {
					first, err := strconv.Atoi(f[3])
					if err != nil {
						continue // the heading
					}
					for i := range 3 {
						do(t, "dmsetup", "message", d.name, "0", "addbadblock", fmt.Sprint(first+i))
						blocks++
					}
				}
			}
			return nil
		}))
	}
	if blocks == 0 {
		t.Fatal("there was nothing to spoil")
	}
	do(t, "dmsetup", "message", d.name, "0", "enable")
}

// forget has reads come from the devices again.
func forget(t *testing.T) {
	t.Helper()
	must(t, os.WriteFile("/proc/sys/vm/drop_caches", []byte("3"), 0o200))
}

// TestADeviceThatFails has one device of four fail in each way while clients write. Writes and reads
// go on; what was written is there; and when the device works again the drive gets
// what it has missed, with nobody starting anything anew: also what is being written as it comes
// back. In the end two others are taken away, and everything is read.
func TestADeviceThatFails(t *testing.T) {
	for name, c := range map[string]struct {
		fails, works func(d *device, t *testing.T)
		quiet        bool // it need not be noticed
	}{
		"at everything":      {fails: becoming("error"), works: (*device).repaired},
		"at writes":          {fails: becoming("flakey", "0", "0", "3600", "1", "error_writes"), works: (*device).repaired},
		"at reads of shards": {fails: (*device).spoil, works: becoming("linear", "0"), quiet: true},
		"by hanging":         {fails: (*device).suspend, works: (*device).resume},
		"by being slow":      {fails: becoming("delay", "0", "300"), works: becoming("linear", "0"), quiet: true},
		"by being read-only": {fails: (*device).abort, works: (*device).repaired},
		"by being full":      {fails: (*device).fill, works: (*device).empty, quiet: true},
		"by reading wrongly": {fails: becoming("flakey", "0", "0", "3600", "5", "corrupt_bio_byte", "100", "r", "1", "0"), works: becoming("linear", "0"), quiet: true},
	} {
		t.Run(name, func(t *testing.T) {
			all, named := devices(t)
			s := startOn(t, named)
			_, err := newS3(s).CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("bucket")})
			must(t, err)
			awaitWhole(t, s)
			w := startSlowStream(t, []*server{s}, 300*time.Millisecond)
			w.await(t, 20)
			c.fails(all[1], t)
			if !c.quiet {
				eventually(t, "it is missed", func() bool { return lacking(t, s) })
			}
			w.await(t, 40)
			forget(t)
			w.expect(t, s)
			upload, uploaded := putSlowly(t, newS3(s), "bucket", "slow", 300_000)
			slow := random(300_000)
			_, err = upload.Write(slow[:150_000])
			must(t, err)
			works := time.Now()
			c.works(all[1], t)
			w.await(t, 20)
			w.end()
			if c.quiet {
				shoal(t, append(clientEnv(t), awsEnv()...), "admin", "heal", "--start", "--url", s.url)
			}
			awaitPass(t, s, works)
			_, err = upload.Write(slow[150_000:])
			must(t, errors.Join(err, <-uploaded))
			w.took("slow", slow)
			awaitWhole(t, s) // what that pass could not see yet is for the next one
			for _, d := range []*device{all[0], all[3]} {
				do(t, "umount", "-l", d.dir)
				eventually(t, "it is not read any more", func() bool { return saysLost(t, s, d.dir) })
			}
			forget(t)
			w.expect(t, s)
		})
	}
}

// TestDevicesThatAreFullAreReadAndDeletedFrom has something else take the last byte of all devices while
// nothing runs: the drives are opened with the room of their ballast.
func TestDevicesThatAreFullAreReadAndDeletedFrom(t *testing.T) {
	all, named := devices(t)
	s := startOn(t, named)
	_, err := newS3(s).CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("bucket")})
	must(t, err)
	put := func(key string) error {
		_, err := newS3(s).PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("bucket"), Key: aws.String(key), Body: bytes.NewReader(random(100_000))})
		return err
	}
	w := startSlowStream(t, []*server{s}, 300*time.Millisecond)
	w.await(t, 20)
	w.end()
	must(t, put("gone"))
	s.kill(t)
	for _, d := range all {
		d.fill(t)
	}
	s = startOn(t, named)
	w.expect(t, s)
	if err := put("refused"); errorCode(err) != "InsufficientStorage" {
		t.Errorf("a write to full devices: %v", err)
	}
	_, err = newS3(s).DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: aws.String("bucket"), Key: aws.String("gone")})
	must(t, err)
	for _, d := range all {
		d.empty(t)
	}
	eventually(t, "there is room", func() bool { return put("more") == nil })
	w.expect(t, s)
}

// TestADeviceThatForgets has one device of four lose all that is written to it, and say nothing: when it is
// mounted anew it is as it was before. What was written is there, and a pass over everything
// gives the drive what it has lost.
func TestADeviceThatForgets(t *testing.T) {
	all, named := devices(t)
	s := startOn(t, named)
	_, err := newS3(s).CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("bucket")})
	must(t, err)
	w := startSlowStream(t, []*server{s}, 300*time.Millisecond)
	w.await(t, 20)
	do(t, "sync")
	all[1].becomes(t, "flakey", "0", "0", "3600", "1", "drop_writes")
	w.await(t, 20)
	w.end()
	s.stop(t)
	do(t, "umount", all[1].dir)
	all[1].becomes(t, "linear", "0")
	forget(t)
	all[1].mount(t)
	s = startOn(t, named)
	w.expect(t, s)
	asked := time.Now()
	shoal(t, append(clientEnv(t), awsEnv()...), "admin", "heal", "--start", "--url", s.url)
	if p := awaitPass(t, s, asked); p.Shards == 0 {
		t.Errorf("the drive had lost nothing: %+v", p)
	}
	for _, d := range []*device{all[0], all[3]} {
		do(t, "umount", "-l", d.dir)
		eventually(t, "it is not read any more", func() bool { return saysLost(t, s, d.dir) })
	}
	forget(t)
	w.expect(t, s)
}

// fill leaves no room.
func (d *device) fill(t *testing.T) {
	t.Helper()
	f, err := os.Create(filepath.Join(d.dir, "full"))
	must(t, err)
	defer f.Close()
	for at, size := int64(0), int64(64<<20); size >= 4096; {
		if syscall.Fallocate(int(f.Fd()), 0, at, size) != nil {
			size /= 2
		} else {
			at += size
		}
	}
}

func (d *device) empty(t *testing.T) {
	t.Helper()
	must(t, os.Remove(filepath.Join(d.dir, "full")))
}

// suspend has the device hang.
func (d *device) suspend(t *testing.T) {
	t.Helper()
	do(t, "dmsetup", "suspend", "--noflush", "--nolockfs", d.name)
}

func (d *device) resume(t *testing.T) {
	t.Helper()
	do(t, "dmsetup", "resume", d.name)
}

// abort has the file system believe that it is damaged.
func (d *device) abort(t *testing.T) {
	t.Helper()
	do(t, "mount", "-o", "remount,abort", d.dir)
}
