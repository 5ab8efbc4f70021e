package test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awscredentials "github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// withToken has a client sign with temporary credentials.
func withToken(v credentials.Value) func(*s3.Options) {
	return func(o *s3.Options) {
		o.Credentials = awscredentials.NewStaticCredentialsProvider(v.AccessKeyID, v.SecretAccessKey, v.SessionToken)
	}
}

// readEverywhere wants an answer to a GET of temporary credentials on each gateway: "" for
// success, or the code of the error.
func (a *administration) readEverywhere(t *testing.T, v credentials.Value, want string) {
	t.Helper()
	for i, s := range a.fleet {
		_, err := newS3(s, noRetry, withToken(v)).GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String("bucket"), Key: aws.String("k")})
		if got := errorCode(err); got != want || err != nil && want == "" {
			t.Errorf("gateway %d answers with %v, want %q", i, err, want)
		}
	}
}

// administerAnn is a fleet with an object and the user "ann", who may do everything to it.
func administerAnn(t *testing.T) *administration {
	t.Helper()
	a := administer(t)
	a.mc.run(t, "mb", "g0/bucket")
	_, err := newS3(a.fleet[0]).PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("bucket"), Key: aws.String("k"), Body: strings.NewReader("content")})
	must(t, err)
	a.admin(t, "user", "add", "@", "ann", "ann's secret")
	a.admin(t, "policy", "attach", "@", "readwrite", "--user", "ann")
	return a
}

// assumeAt makes temporary credentials of ann's on one gateway.
func (a *administration) assumeAt(t *testing.T, gateway int) credentials.Value {
	t.Helper()
	c, err := credentials.NewSTSAssumeRole(a.fleet[gateway].url, credentials.STSAssumeRoleOptions{AccessKey: "ann", SecretKey: "ann's secret"})
	must(t, err)
	v, err := c.GetWithContext(nil)
	must(t, err)
	return v
}

// TestTemporaryCredentialsOfOneGatewayCountOnAll also when whose they are is disabled or
// removed on another one: they are refused everywhere when that command has returned.
func TestTemporaryCredentialsOfOneGatewayCountOnAll(t *testing.T) {
	a := administerAnn(t)
	var all []credentials.Value
	for i := range a.fleet {
		all = append(all, a.assumeAt(t, i))
		a.readEverywhere(t, all[i], "")
	}
	a.admin(t, "user", "disable", "@", "ann")
	a.readEverywhere(t, all[0], notKnown)
	a.admin(t, "user", "enable", "@", "ann")
	a.readEverywhere(t, all[1], "")
	a.admin(t, "policy", "detach", "@", "readwrite", "--user", "ann")
	a.readEverywhere(t, all[1], notAllowed)
	a.admin(t, "user", "remove", "@", "ann")
	for _, v := range all {
		a.readEverywhere(t, v, notKnown)
	}
	wrong := all[0]
	wrong.SessionToken = all[1].SessionToken
	a.readEverywhere(t, wrong, "InvalidToken")
}

func TestClientsUseTemporaryCredentials(t *testing.T) {
	a := administerAnn(t)
	var urls []string
	for _, s := range a.fleet {
		urls = append(urls, s.url)
	}
	anns := append(awsEnv(), "AWS_ACCESS_KEY_ID=ann", "AWS_SECRET_ACCESS_KEY=ann's secret")
	t.Run("boto3", func(t *testing.T) {
		client(t, "/usr/bin/python3", append(anns, "ENDPOINTS="+strings.Join(urls, ","))).run(t, "clients/sts_test.py")
	})
	t.Run("aws", func(t *testing.T) {
		out := client(t, "/usr/bin/aws", anns, "--endpoint-url", urls[0]).run(t, "sts", "assume-role", "--role-arn", "arn:aws:iam::000000000000:role/any", "--role-session-name", "job", "--output", "json")
		var made struct {
			Credentials struct{ AccessKeyId, SecretAccessKey, SessionToken string } //nolint:revive,staticcheck // the names in AWS's JSON
		}
		must(t, json.Unmarshal([]byte(out), &made))
		temporary := append(awsEnv(), "AWS_ACCESS_KEY_ID="+made.Credentials.AccessKeyId, "AWS_SECRET_ACCESS_KEY="+made.Credentials.SecretAccessKey, "AWS_SESSION_TOKEN="+made.Credentials.SessionToken)
		cli := client(t, "/usr/bin/aws", temporary, "--endpoint-url", urls[1])
		if got := cli.run(t, "s3", "cp", "s3://bucket/k", "-"); got != "content" {
			t.Errorf("read %q", got)
		}
		fetch(t, strings.TrimSpace(cli.run(t, "s3", "presign", "s3://bucket/k")), []byte("content"))
	})
	t.Run("mc", func(t *testing.T) {
		v := a.assumeAt(t, 1)
		host := strings.TrimPrefix(urls[2], "http://")
		mc := client(t, "mc", []string{fmt.Sprintf("MC_HOST_temporary=http://%s:%s:%s@%s", v.AccessKeyID, v.SecretAccessKey, v.SessionToken, host)}, "--config-dir", t.TempDir(), "--no-color")
		if got := mc.run(t, "cat", "temporary/bucket/k"); got != "content" {
			t.Errorf("read %q", got)
		}
		mc.run(t, "cp", randomFile(t, 1<<20), "temporary/bucket/uploaded")
	})
}
