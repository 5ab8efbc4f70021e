package test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// operator runs "shoal admin" with root's credentials, at each gateway in turn.
type operator struct {
	*administration
	cli *cli
}

func operate(t *testing.T, n int) *operator {
	t.Helper()
	return operateFleet(t, startFleet(t, n))
}

func operateFleet(t *testing.T, fleet []*server) *operator {
	t.Helper()
	env := append(serverEnv(t.TempDir()), "PATH="+os.Getenv("PATH"))
	return &operator{&administration{fleet: fleet}, &cli{path: binary(t), args: []string{"admin"}, env: env}}
}

// admin runs a command at the next gateway and returns its output.
func (o *operator) admin(t *testing.T, args ...string) string {
	t.Helper()
	o.next++
	return o.cli.run(t, append(args, "--url", o.fleet[o.next%len(o.fleet)].url)...)
}

// TestTheCommandLineAdministersAFleet makes each change at another gateway, and asks all
// of them when it has returned.
func TestTheCommandLineAdministersAFleet(t *testing.T) {
	t.Parallel()
	o := operate(t, 2)
	root := newS3(o.fleet[0], noRetry)
	_, err := root.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("bucket")})
	must(t, err)

	var ann struct {
		Secret string `json:"secret_key"`
	}
	out, _, _ := shoal(t, o.cli.env, "admin", "user", "add", "ann", "--json", "--url", o.fleet[1].url)
	must(t, json.Unmarshal([]byte(out), &ann))
	o.everywhere(t, "ann", ann.Secret, notAllowed)
	o.admin(t, "policy", "attach", "readwrite", "--user", "ann")
	o.everywhere(t, "ann", ann.Secret, "")
	o.admin(t, "user", "disable", "ann")
	o.everywhere(t, "ann", ann.Secret, notKnown)
	o.admin(t, "user", "enable", "ann")
	o.admin(t, "policy", "detach", "readwrite", "--user", "ann")
	o.admin(t, "group", "add", "devs", "ann")
	file := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(file, []byte(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:PutObject","Resource":"arn:aws:s3:::bucket/home/*"}]}`), 0o600))
	o.admin(t, "policy", "create", "home", file)
	o.admin(t, "policy", "attach", "home", "--group", "devs")
	o.everywhere(t, "ann", ann.Secret, "")

	must(t, os.WriteFile(file, []byte("the key's secret\n"), 0o600))
	o.admin(t, "accesskey", "create", "--user", "ann", "--access-key", "annskey", "--secret-file", file)
	o.everywhere(t, "annskey", "the key's secret", "")
	if keys := o.admin(t, "accesskey", "ls"); !strings.Contains(keys, "annskey") {
		t.Errorf("the access keys are %s", keys)
	}
	o.admin(t, "quota", "set", "bucket", "--objects", "2")
	if usage := o.admin(t, "usage", "bucket", "--json"); !strings.Contains(usage, `"objects":2`) { // home/ann and home/annskey
		t.Errorf("the bucket holds %s", usage)
	}
	_, err = root.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("bucket"), Key: aws.String("third")})
	if errorCode(err) != "XMinioAdminBucketQuotaExceeded" {
		t.Errorf("an object beyond the quota: %v", err)
	}
	o.admin(t, "user", "rm", "ann")
	o.everywhere(t, "annskey", "the key's secret", notKnown)
}

func TestTheCommandLineWatchesAndEndsGateways(t *testing.T) {
	t.Parallel()
	o := operate(t, 2)
	get := func(key string) {
		_, err := newS3(o.fleet[1], noRetry).GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String("none"), Key: aws.String(key)})
		if errorCode(err) != "NoSuchBucket" {
			t.Errorf("a bucket that is not there: %v", err)
		}
	}
	heard := watch(t, o.cli, func() { get("probe") }, "trace", "--errors", "--url", o.fleet[0].url)
	get("missing")
	select {
	case line := <-heard:
		if !strings.Contains(line, "s3.GetObject /none/missing") || !strings.Contains(line, " 404 NoSuchBucket ") {
			t.Errorf("traced %s", line)
		}
	case <-time.After(time.Minute):
		t.Error("nothing was traced")
	}

	eventually(t, "both are online", func() bool {
		_, said, code := shoal(t, o.cli.env, "admin", "info", "--url", o.fleet[0].url)
		return code == 0 && said == ""
	})
	o.cli.run(t, "service", "stop", "--url", o.fleet[1].url)
	<-o.fleet[1].exited
	o.cli.run(t, "user", "ls", "--url", o.fleet[0].url)
}
