package test

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// encrypting is a server that speaks TLS and has the master keys "first" and "second".
type encrypting struct {
	*server
	certs *certs
}

func startEncrypting(t *testing.T, flags ...string) *encrypting {
	t.Helper()
	c := newCerts(t, "shoal.test")
	keys := filepath.Join(t.TempDir(), "keys")
	must(t, os.WriteFile(keys, []byte("first:"+newSecret(t)+"\nsecond:"+newSecret(t)+"\n"), 0o600))
	s := startWith(t, []string{"SHOAL_KMS_SECRET_KEY_FILE=" + keys}, place{host: "127.0.0.1"}, t.TempDir(), append([]string{"--certs-dir", c.dir}, flags...)...)
	return &encrypting{s, c}
}

// newSecret returns a key of 32 bytes in base64.
func newSecret(t *testing.T) string {
	t.Helper()
	key := make([]byte, 32)
	_, err := rand.Read(key)
	must(t, err)
	return base64.StdEncoding.EncodeToString(key)
}

// authority is the file with the server's certificate.
func (s *encrypting) authority() string { return filepath.Join(s.certs.dir, "public.crt") }

// markedFile is a file of size bytes that are full of a marker.
func markedFile(t *testing.T, size int) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "marked")
	must(t, os.WriteFile(path, bytes.Repeat([]byte("marker of the content "), size/22+1)[:size], 0o600))
	return path
}

// hides looks for the marker, and for what else must not be there, in the tree and in
// the log.
func (s *encrypting) hides(t *testing.T, secrets ...string) {
	t.Helper()
	look := func(path string, b []byte) {
		for _, secret := range append(secrets, "marker") {
			if bytes.Contains(b, []byte(secret)) {
				t.Errorf("%.10q... is in %s", secret, path)
			}
		}
	}
	must(t, filepath.WalkDir(s.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		look(path, b)
		return err
	}))
	look("the log", []byte(s.log(t)))
}

func TestMCEncrypts(t *testing.T) {
	t.Parallel()
	s := startEncrypting(t)
	dir := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(dir, "certs", "CAs"), 0o700))
	must(t, os.WriteFile(filepath.Join(dir, "certs", "CAs", "shoal.crt"), readFile(t, s.authority()), 0o600))
	mc := client(t, "mc", nil, "--config-dir", dir, "--no-color", "--disable-pager")
	mc.run(t, "alias", "set", "x", s.url, user, password)
	mc.run(t, "mb", "x/bucket")
	secret := strings.TrimRight(newSecret(t), "=")
	for _, size := range []int{0, 1000, 20 << 20} {
		file, back := markedFile(t, size), filepath.Join(t.TempDir(), "back")
		for name, tt := range map[string]struct {
			write, read []string
			shown       string
		}{
			"c": {[]string{"--enc-c", "x/bucket/c=" + secret}, []string{"--enc-c", "x/bucket/c=" + secret}, "SSE-C"},
			"s": {[]string{"--enc-s3", "x/bucket/s"}, nil, "SSE-S3"},
			"k": {[]string{"--enc-kms", "x/bucket/k=second"}, nil, "SSE-KMS (arn:aws:kms:second)"},
		} {
			mc.run(t, append([]string{"cp", file, "x/bucket/" + name}, tt.write...)...)
			mc.run(t, append([]string{"cp", "x/bucket/" + name, back}, tt.read...)...)
			sameContent(t, file, back)
			if stat := mc.run(t, append([]string{"stat", "x/bucket/" + name}, tt.read...)...); !strings.Contains(stat, tt.shown) {
				t.Errorf("%s is shown as %s", name, stat)
			}
			if tt.read != nil {
				continue
			}
			mc.run(t, "cp", "x/bucket/"+name, "x/bucket/s2", "--enc-s3", "x/bucket/s2")
			mc.run(t, "cp", "x/bucket/s2", back)
			sameContent(t, file, back)
		}
		s.hides(t, secret)
	}
	if out, err := mc.try(t, "cp", "x/bucket/c", filepath.Join(t.TempDir(), "back")); err == nil {
		t.Errorf("without its key the object came back: %s", out)
	}
	mc.run(t, "encrypt", "set", "sse-kms", "first", "x/bucket")
	if out := mc.run(t, "encrypt", "info", "x/bucket"); !strings.Contains(out, "first") {
		t.Errorf("the bucket is shown as %s", out)
	}
	mc.run(t, "cp", markedFile(t, 100), "x/bucket/d")
	if stat := mc.run(t, "stat", "x/bucket/d"); !strings.Contains(stat, "arn:aws:kms:first") {
		t.Errorf("by default: %s", stat)
	}
	s.hides(t, secret)
	mc.run(t, "encrypt", "clear", "x/bucket")
}

func TestAWSCommandLineEncrypts(t *testing.T) {
	t.Parallel()
	s := startEncrypting(t)
	aws := client(t, "/usr/bin/aws", append(awsEnv(), "AWS_CA_BUNDLE="+s.authority()), "--endpoint-url", s.url)
	aws.run(t, "s3", "mb", "s3://bucket")
	key := filepath.Join(t.TempDir(), "key")
	must(t, os.WriteFile(key, []byte(newSecret(t)[:32]), 0o600))
	own := []string{"--sse-c", "AES256", "--sse-c-key", "fileb://" + key}
	for _, size := range []int{1000, 20 << 20} {
		file, back := markedFile(t, size), filepath.Join(t.TempDir(), "back")
		for name, tt := range map[string]struct{ write, read []string }{
			"c": {own, own},
			"s": {[]string{"--sse", "AES256"}, nil},
			"k": {[]string{"--sse", "aws:kms", "--sse-kms-key-id", "second"}, nil},
		} {
			aws.run(t, append([]string{"s3", "cp", file, "s3://bucket/" + name}, tt.write...)...)
			aws.run(t, append([]string{"s3", "cp", "s3://bucket/" + name, back}, tt.read...)...)
			sameContent(t, file, back)
		}
	}
	s.hides(t)
	// What was plain is encrypted by a copy onto itself.
	file, back := markedFile(t, 1000), filepath.Join(t.TempDir(), "back")
	aws.run(t, "s3", "cp", file, "s3://bucket/plain")
	aws.run(t, "s3", "cp", "s3://bucket/plain", "s3://bucket/plain", "--sse", "AES256")
	s.hides(t)
	aws.run(t, "s3", "cp", "s3://bucket/plain", back)
	sameContent(t, file, back)
}

func TestBoto3Encrypts(t *testing.T) {
	t.Parallel()
	s := startEncrypting(t)
	for _, python := range []string{"/usr/bin/python3", "python3"} {
		client(t, python, append(awsEnv(), "AWS_CA_BUNDLE="+s.authority(), "ENDPOINT="+s.url)).run(t, "clients/encryption_test.py")
	}
}

func TestEncryptedObjectsOutliveAGatewayAndAChangeOfKeys(t *testing.T) {
	t.Parallel()
	dir, keys := t.TempDir(), filepath.Join(t.TempDir(), "keys")
	first, second := "first:"+newSecret(t), "second:"+newSecret(t)
	give := func(text string) []string {
		must(t, os.WriteFile(keys, []byte(text), 0o600))
		return []string{"SHOAL_KMS_SECRET_KEY_FILE=" + keys}
	}
	file := markedFile(t, 100_000)
	run := func(text string, do func(aws *cli)) {
		s := startWith(t, give(text), place{host: "127.0.0.1"}, dir)
		do(client(t, "/usr/bin/aws", awsEnv(), "--endpoint-url", s.url))
		s.terminate(t)
	}
	reads := func(aws *cli, name string) {
		back := filepath.Join(t.TempDir(), "back")
		aws.run(t, "s3", "cp", "s3://bucket/"+name, back)
		sameContent(t, file, back)
	}
	run(first, func(aws *cli) {
		aws.run(t, "s3", "mb", "s3://bucket")
		aws.run(t, "s3", "cp", file, "s3://bucket/old", "--sse", "AES256")
		reads(aws, "old")
	})
	run(second+","+first, func(aws *cli) {
		reads(aws, "old")
		aws.run(t, "s3", "cp", file, "s3://bucket/new", "--sse", "AES256")
		aws.run(t, "s3", "cp", "s3://bucket/old", "s3://bucket/old", "--sse", "AES256")
	})
	run(second, func(aws *cli) {
		reads(aws, "new")
		reads(aws, "old")
	})
	run("third:"+newSecret(t), func(aws *cli) {
		if out, err := aws.try(t, "s3", "cp", "s3://bucket/new", filepath.Join(t.TempDir(), "back")); err == nil {
			t.Errorf("without its master key the object came back: %s", out)
		}
	})
}

func TestWhereEverythingIsEncryptedClientsNoticeNothing(t *testing.T) {
	t.Parallel()
	s := startWith(t, []string{"SHOAL_KMS_SECRET_KEY=first:" + newSecret(t)}, place{host: "127.0.0.1"}, t.TempDir(), "--auto-encryption", "on")
	client(t, "/usr/bin/python3", scriptEnv(t, s)).run(t, "clients/boto3_test.py")
}

func TestAFleetReadsAndRewrapsWhatAnyGatewayHasEncrypted(t *testing.T) {
	t.Parallel()
	dir, keys := t.TempDir(), filepath.Join(t.TempDir(), "keys")
	old, next := "old:"+newSecret(t), "next:"+newSecret(t)
	must(t, os.WriteFile(keys, []byte(next+"\n"+old+"\n"), 0o600))
	env := []string{"SHOAL_KMS_SECRET_KEY_FILE=" + keys}
	one := startWith(t, env, place{host: "127.0.0.1"}, dir)
	two := one.again(t)
	at := func(s *server) *cli { return client(t, "/usr/bin/aws", awsEnv(), "--endpoint-url", s.url) }
	file, back := markedFile(t, 6<<20), filepath.Join(t.TempDir(), "back")
	at(one).run(t, "s3", "mb", "s3://bucket")
	at(one).run(t, "s3", "cp", file, "s3://bucket/k", "--sse", "aws:kms", "--sse-kms-key-id", "old")
	at(two).run(t, "s3", "cp", file, "s3://bucket/l", "--sse", "AES256")
	at(two).run(t, "s3", "cp", file, "s3://bucket/plain")
	at(two).run(t, "s3api", "create-multipart-upload", "--bucket", "bucket", "--key", "up")
	for _, from := range []*server{one, two} {
		for _, key := range []string{"k", "l"} {
			at(from).run(t, "s3", "cp", "s3://bucket/"+key, back)
			sameContent(t, file, back)
		}
	}
	out, said, code := shoal(t, awsEnv(), "rewrap", two.url)
	const counts = "0 keys wrapped anew, 2 under the same key as before, 1 objects without a master key, 0 deleted meanwhile, 0 failed\n1 under \"next\", 1 under \"old\"\n"
	if code != 3 || out != counts || !strings.Contains(said, "1 upload in progress") {
		t.Errorf("rewrap ended with %d: %s%s", code, out, said)
	}
	at(one).run(t, "s3", "cp", "s3://bucket/k", back)
	sameContent(t, file, back)
}
