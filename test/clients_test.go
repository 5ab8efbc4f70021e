package test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Every client does what people do with it: uploads of all sizes, ranges,
// listings of more than 10,000 keys, copies, presigned URLs, deletes. What is
// left out of one it cannot do.

func TestMC(t *testing.T) {
	t.Parallel()
	s := start(t)
	mc := client(t, "mc", nil, "--config-dir", t.TempDir(), "--no-color", "--disable-pager")
	mc.run(t, "alias", "set", "x", s.url, user, password)
	mc.run(t, "ready", "x")
	mc.run(t, "mb", "x/bucket")
	for _, size := range sizes() {
		file, back := randomFile(t, size), filepath.Join(t.TempDir(), "back")
		name := fmt.Sprintf("x/bucket/dir/%d", size)
		mc.run(t, "cp", "--attr", "color=blue", file, name)
		mc.run(t, "cp", name, back)
		sameContent(t, file, back)
		if stat := mc.run(t, "stat", name); !strings.Contains(stat, "X-Amz-Meta-Color") || !strings.Contains(stat, "blue") {
			t.Errorf("metadata is missing: %s", stat)
		}
	}
	file := randomFile(t, 1000)
	content := readFile(t, file)
	mc.run(t, "cp", "--checksum", "SHA256", file, "x/bucket/summed")
	mc.run(t, "cp", "x/bucket/summed", "x/bucket/copied")
	mc.run(t, "mv", "x/bucket/copied", "x/bucket/moved")
	mc.run(t, "tag", "set", "x/bucket/moved", "first=1&second=2")
	if tags := mc.run(t, "tag", "list", "x/bucket/moved"); !strings.Contains(tags, "second") {
		t.Errorf("tags: %s", tags)
	}
	if got := mc.run(t, "cat", "--offset", "900", "x/bucket/moved"); got != string(content[900:]) {
		t.Errorf("cat from byte 900 on printed %d bytes", len(got))
	}
	link := lastLine(mc.run(t, "share", "download", "x/bucket/moved"))
	fetch(t, link[strings.Index(link, "http"):], content)
	uploadByForm(t, mc, file)
	fill(t, s, "many")
	if out := mc.run(t, "ls", "x/many"); strings.Count(out, "key-") != manyKeys() {
		t.Errorf("listed %d keys", strings.Count(out, "key-"))
	}
	mirror := t.TempDir()
	mc.run(t, "mirror", "x/bucket", mirror)
	sameContent(t, file, filepath.Join(mirror, "moved"))
	mcKeepsVersions(t, mc)
	mc.run(t, "rm", "--recursive", "--force", "x/bucket")
	mc.run(t, "rb", "x/bucket")
	mc.run(t, "rb", "--force", "x/many")
	wantNoBuckets(t, s)
}

// uploadByForm runs the curl command that mc makes for people without keys.
func uploadByForm(t *testing.T, mc *cli, file string) {
	t.Helper()
	line := lastLine(mc.run(t, "share", "upload", "x/bucket/by-form"))
	line = line[strings.Index(line, "curl"):]
	sh := client(t, "sh", nil, "-c")
	sh.run(t, strings.Replace(line, "<FILE>", file, 1)+" --fail --silent --show-error")
	back := filepath.Join(t.TempDir(), "back")
	mc.run(t, "cp", "x/bucket/by-form", back)
	sameContent(t, file, back)
}

// wantNoBuckets looks on the disk for what deletes should have removed.
func wantNoBuckets(t *testing.T, s *server) {
	t.Helper()
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() != ".shoal.sys" {
			t.Errorf("%s is left", e.Name())
		}
	}
}

func TestAWSCommandLine(t *testing.T) {
	t.Parallel()
	s := start(t)
	aws := client(t, "/usr/bin/aws", awsEnv(), "--endpoint-url", s.url)
	aws.run(t, "s3", "mb", "s3://bucket")
	for _, size := range sizes() {
		file, back := randomFile(t, size), filepath.Join(t.TempDir(), "back")
		name := fmt.Sprintf("s3://bucket/dir/%d", size)
		aws.run(t, "s3", "cp", "--metadata", "color=blue", file, name)
		aws.run(t, "s3", "cp", name, back)
		sameContent(t, file, back)
	}
	file := randomFile(t, 1000)
	content := readFile(t, file)
	aws.run(t, "s3", "cp", file, "s3://bucket/k")
	aws.run(t, "s3", "cp", "s3://bucket/k", "s3://bucket/copied")
	aws.run(t, "s3", "mv", fmt.Sprintf("s3://bucket/dir/%d", 17<<20), "s3://bucket/dir/copied-by-parts")
	back := filepath.Join(t.TempDir(), "range")
	aws.run(t, "s3api", "get-object", "--bucket", "bucket", "--key", "copied", "--range", "bytes=10-19", back)
	if got := readFile(t, back); !bytes.Equal(got, content[10:20]) {
		t.Errorf("range: %q", got)
	}
	fetch(t, strings.TrimSpace(aws.run(t, "s3", "presign", "s3://bucket/copied")), content)
	aws.run(t, "s3api", "put-object-tagging", "--bucket", "bucket", "--key", "k", "--tagging", "TagSet=[{Key=a,Value=1}]")
	if out := aws.run(t, "s3api", "get-object-tagging", "--bucket", "bucket", "--key", "k"); !strings.Contains(out, `"a"`) {
		t.Errorf("tags: %s", out)
	}
	fill(t, s, "many")
	if out := aws.run(t, "s3", "ls", "s3://many"); strings.Count(out, "key-") != manyKeys() {
		t.Errorf("listed %d keys", strings.Count(out, "key-"))
	}
	mirror := t.TempDir()
	aws.run(t, "s3", "sync", "s3://bucket", mirror)
	sameContent(t, file, filepath.Join(mirror, "copied"))
	aws.run(t, "s3", "rm", "--recursive", "s3://bucket")
	aws.run(t, "s3", "rb", "s3://bucket")
	aws.run(t, "s3api", "delete-object", "--bucket", "many", "--key", "key-00000")
	if out, err := aws.try(t, "s3api", "head-object", "--bucket", "many", "--key", "key-00000"); err == nil {
		t.Errorf("a deleted key is there: %s", out)
	}
}

func TestS3cmd(t *testing.T) {
	t.Parallel()
	s := start(t)
	config := filepath.Join(t.TempDir(), "s3cfg")
	host := strings.TrimPrefix(s.url, "http://")
	text := fmt.Sprintf("[default]\naccess_key = %s\nsecret_key = %s\nhost_base = %s\nhost_bucket = %s\nuse_https = False\nmultipart_chunk_size_mb = 5\n", user, password, host, host)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s3cmd := client(t, "/usr/bin/s3cmd", nil, "-c", config, "--no-progress")
	s3cmd.run(t, "mb", "s3://bucket")
	for _, size := range sizes() {
		file, back := randomFile(t, size), filepath.Join(t.TempDir(), "back")
		name := fmt.Sprintf("s3://bucket/dir/%d", size)
		s3cmd.run(t, "put", file, name)
		s3cmd.run(t, "get", name, back)
		sameContent(t, file, back)
	}
	file := randomFile(t, 1000)
	s3cmd.run(t, "put", file, "s3://bucket/k")
	s3cmd.run(t, "cp", "s3://bucket/k", "s3://bucket/copied")
	s3cmd.run(t, "mv", "s3://bucket/copied", "s3://bucket/moved")
	if out := s3cmd.run(t, "info", "s3://bucket/moved"); !strings.Contains(out, "MD5") {
		t.Errorf("info: %s", out)
	}
	s3cmd.run(t, "info", "s3://bucket")
	// A download that broke off goes on with a range.
	part := filepath.Join(t.TempDir(), "part")
	if err := os.WriteFile(part, readFile(t, file)[:300], 0o600); err != nil {
		t.Fatal(err)
	}
	s3cmd.run(t, "get", "--continue", "s3://bucket/moved", part)
	sameContent(t, file, part)
	fill(t, s, "many")
	if out := s3cmd.run(t, "ls", "s3://many"); strings.Count(out, "key-") != manyKeys() {
		t.Errorf("listed %d keys", strings.Count(out, "key-"))
	}
	s3cmd.run(t, "del", "s3://bucket/k")
	s3cmd.run(t, "del", "--recursive", "--force", "s3://bucket")
	s3cmd.run(t, "rb", "s3://bucket")
	s3cmd.run(t, "rb", "--recursive", "--force", "s3://many")
	wantNoBuckets(t, s)
}

func TestRclone(t *testing.T) {
	t.Parallel()
	s := start(t)
	rclone := client(t, "/usr/bin/rclone", []string{
		"RCLONE_CONFIG=/dev/null", "RCLONE_CONFIG_X_TYPE=s3", "RCLONE_CONFIG_X_PROVIDER=Other", "RCLONE_CONFIG_X_ENDPOINT=" + s.url,
		"RCLONE_CONFIG_X_ACCESS_KEY_ID=" + user, "RCLONE_CONFIG_X_SECRET_ACCESS_KEY=" + password, "RCLONE_CONFIG_X_REGION=" + region,
	}, "--s3-upload-cutoff", "10M", "--s3-chunk-size", "5M")
	rclone.run(t, "mkdir", "x:bucket")
	for _, size := range sizes() {
		file, back := randomFile(t, size), filepath.Join(t.TempDir(), "back")
		name := fmt.Sprintf("x:bucket/dir/%d", size)
		rclone.run(t, "copyto", file, name)
		rclone.run(t, "copyto", name, back)
		sameContent(t, file, back)
	}
	file := randomFile(t, 1000)
	content := readFile(t, file)
	rclone.run(t, "copyto", file, "x:bucket/dir/k")
	if got := rclone.run(t, "cat", "--offset", "100", "--count", "50", "x:bucket/dir/k"); got != string(content[100:150]) {
		t.Errorf("cat printed %d bytes", len(got))
	}
	fetch(t, lastLine(rclone.run(t, "link", "x:bucket/dir/k")), content)
	rclone.run(t, "copy", "x:bucket/dir", "x:bucket/copy")
	rclone.run(t, "check", "x:bucket/dir", "x:bucket/copy", "--download")
	fill(t, s, "many")
	if out := rclone.run(t, "lsf", "x:many"); strings.Count(out, "key-") != manyKeys() {
		t.Errorf("listed %d keys", strings.Count(out, "key-"))
	}
	rclone.run(t, "deletefile", "x:bucket/dir/k")
	if out := rclone.run(t, "lsf", "x:bucket/dir"); strings.Contains(out, "k\n") {
		t.Errorf("a deleted key is listed: %s", out)
	}
	rclone.run(t, "purge", "x:bucket")
	rclone.run(t, "purge", "x:many")
	wantNoBuckets(t, s)
}

func TestRestic(t *testing.T) {
	t.Parallel()
	s := start(t)
	source := t.TempDir()
	for i, size := range append(sizes(), 9<<20) {
		if err := os.Rename(randomFile(t, size), filepath.Join(source, fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
	}
	restic := client(t, "/usr/bin/restic", append(awsEnv(), "RESTIC_PASSWORD=x", "RESTIC_REPOSITORY=s3:"+s.url+"/backups/host"), "--no-cache")
	restic.run(t, "init")
	restic.run(t, "backup", source)
	restic.run(t, "backup", source)
	restic.run(t, "check", "--read-data")
	target := t.TempDir()
	restic.run(t, "restore", "latest", "--target", target)
	for i := range append(sizes(), 9<<20) {
		sameContent(t, filepath.Join(source, fmt.Sprint(i)), filepath.Join(target, source, fmt.Sprint(i)))
	}
	restic.run(t, "forget", "--keep-last", "1", "--prune")
	if out := restic.run(t, "snapshots", "--compact"); !strings.Contains(out, "1 snapshots") {
		t.Errorf("snapshots that are left: %s", out)
	}
}

// scriptEnv tells the scripts in clients/ what to do.
func scriptEnv(t *testing.T, s *server) []string {
	t.Helper()
	fill(t, s, "many")
	return append(awsEnv(), "ENDPOINT="+s.url, fmt.Sprintf("MANY=%d", manyKeys()), fmt.Sprintf("LARGE=%d", sizes()[4]))
}

func TestBoto3(t *testing.T) {
	t.Parallel()
	s := start(t)
	env := scriptEnv(t, s)
	client(t, "/usr/bin/python3", env).run(t, "clients/boto3_test.py")
}

// TestTerraformAndBackupsFindWhatTheyNeed has every setting of a bucket be put again as it is, and
// locked objects be kept from everybody, on files as on drives.
func TestTerraformAndBackupsFindWhatTheyNeed(t *testing.T) {
	t.Parallel()
	for name, dir := range map[string]string{"files": t.TempDir(), "drives": fourDrives(t)} {
		t.Run(name, func(t *testing.T) {
			s := startOn(t, dir)
			client(t, "/usr/bin/python3", append(awsEnv(), "ENDPOINT="+s.url)).run(t, "clients/features_test.py")
		})
	}
}

// TestNewerBoto3 runs on machines that have a boto3 beside Debian's: since 1.36
// it sends checksums in trailers, as the SDKs for Go and JavaScript do.
func TestNewerBoto3(t *testing.T) {
	t.Parallel()
	s := start(t)
	python := client(t, "python3", scriptEnv(t, s))
	if _, err := python.try(t, "-c", "import boto3; assert tuple(map(int, boto3.__version__.split('.')[:2])) >= (1, 36)"); err != nil {
		t.Skip("no boto3 of 1.36 or later; the other SDKs cover trailers")
	}
	python.run(t, "clients/boto3_test.py")
}

func TestAWSSDKForJavaScript(t *testing.T) {
	t.Parallel()
	s := start(t)
	env := scriptEnv(t, s)
	client(t, "node", env).run(t, "clients/sdk_test.mjs")
}
