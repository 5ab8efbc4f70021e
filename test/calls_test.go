package test

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// callsOf returns how many calls of each kind a mount of NFSv4 has made, by what
// the kernel tells in /proc/self/mountstats.
func callsOf(t *testing.T, mount string) map[string]int {
	t.Helper()
	table, err := os.ReadFile("/proc/self/mountstats")
	must(t, err)
	calls, ours := make(map[string]int), false
	for line := range strings.Lines(string(table)) {
		fields := strings.Fields(line)
		switch {
		case len(fields) > 4 && fields[0] == "device":
			ours = fields[4] == mount && slices.Contains(fields, "nfs4")
		case ours && len(fields) > 8 && strings.ToUpper(fields[0]) == fields[0]: // a call's name
			n, err := strconv.Atoi(fields[1])
			must(t, err)
			calls[strings.TrimSuffix(fields[0], ":")] = n
		}
	}
	return calls
}

// isVersion42 reports whether a mount is one of NFSv4.2.
func isVersion42(t *testing.T, mount string) bool {
	t.Helper()
	kind, options := kindOf(t, mount)
	return kind == "nfs4" && slices.Contains(options, "vers=4.2")
}

// kindOf returns the type of what is mounted somewhere, and its options.
func kindOf(t *testing.T, mount string) (kind string, options []string) {
	t.Helper()
	table, err := os.ReadFile("/proc/self/mounts")
	must(t, err)
	for line := range strings.Lines(string(table)) {
		if fields := strings.Fields(line); len(fields) > 3 && fields[1] == mount {
			kind, options = fields[2], strings.Split(fields[3], ",")
		}
	}
	return kind, options
}

// onlyNFS skips a test on beds of other file servers.
func onlyNFS(t *testing.T) {
	t.Helper()
	if mounts := list("SHOAL_TEST_MOUNTS"); len(mounts) > 0 {
		if kind, _ := kindOf(t, mounts[0]); !strings.HasPrefix(kind, "nfs") {
			t.Skipf("%s has other owners and permissions", kind)
		}
	}
}

// callsFor returns the least that do took on a mount of eleven times, and what
// it consisted of: what the gateways do of themselves falls into some of them.
func callsFor(t *testing.T, mount string, do func(i int)) (least int, kinds string) {
	t.Helper()
	least = -1
	for i := range 11 {
		before := callsOf(t, mount)
		do(i)
		after, sum, list := callsOf(t, mount), 0, ""
		for _, kind := range slices.Sorted(maps.Keys(after)) {
			if n := after[kind] - before[kind]; n > 0 {
				sum += n
				list += fmt.Sprintf(" %s:%d", kind, n)
			}
		}
		if least < 0 || sum < least {
			least, kinds = sum, list
		}
	}
	return least, kinds
}

// onVersion42 returns the first mount of a bed of NFSv4.2.
func onVersion42(t *testing.T) string {
	t.Helper()
	mounts := list("SHOAL_TEST_MOUNTS")
	if len(mounts) == 0 || slices.ContainsFunc(mounts, func(m string) bool { return !isVersion42(t, m) }) {
		t.Skip("not on NFSv4.2 alone")
	}
	return mounts[0]
}

// measured is an operation, and how many calls it may take.
type measured struct {
	name  string
	bound int
	do    func(i int)
}

func (op measured) check(t *testing.T, mount string) {
	t.Helper()
	n, kinds := callsFor(t, mount, op.do)
	t.Logf("%-26s %3d of %d:%s", op.name, n, op.bound, kinds)
	if n > op.bound {
		t.Errorf("%s took %d calls, the bound is %d", op.name, n, op.bound)
	}
}

// TestCallsOfTheFileServer bounds what an operation costs over the network. On
// NFSv3 there is no bound: it has no attributes, and a clock that is waited for.
func TestCallsOfTheFileServer(t *testing.T) {
	mount := onVersion42(t)
	fleet := startFleet(t, 2)
	ctx, bucket := t.Context(), aws.String("bucket")
	c := newS3(fleet[0], noRetry)
	_, err := c.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: bucket})
	must(t, err)
	content := random(4 << 10)
	put := func(key string) {
		_, err := c.PutObject(ctx, &s3.PutObjectInput{Bucket: bucket, Key: &key, Body: bytes.NewReader(content)})
		must(t, err)
	}
	remove := func(key string) {
		_, err := c.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: bucket, Key: &key})
		must(t, err)
	}
	tags := &types.Tagging{TagSet: []types.Tag{{Key: aws.String("a"), Value: aws.String("b")}}}
	for i := range 1000 {
		put(fmt.Sprintf("list/key%d", i))
	}
	for _, op := range []measured{
		{"PUT", 6, func(i int) { put(fmt.Sprintf("new%d", i)) }},
		{"PUT over another", 6, func(int) { put("new0") }},
		{"PUT four directories down", 10, func(i int) { put(fmt.Sprintf("a/b/c/d/new%d", i)) }},
		{"GET", 3, func(int) {
			_, err := readS3(c.GetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: aws.String("new1")}))
			must(t, err)
		}},
		{"GET four directories down", 3, func(i int) {
			if i == 0 {
				put("a/b/c/d/e")
			}
			_, err := readS3(c.GetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: aws.String("a/b/c/d/e")}))
			must(t, err)
		}},
		{"HEAD", 3, func(int) {
			_, err := c.HeadObject(ctx, &s3.HeadObjectInput{Bucket: bucket, Key: aws.String("new1")})
			must(t, err)
		}},
		{"HEAD of nothing", 3, func(int) {
			_, err := c.HeadObject(ctx, &s3.HeadObjectInput{Bucket: bucket, Key: aws.String("nothing")})
			wantCode(t, err, "NotFound")
		}},
		{"LIST 1000", 8, func(int) {
			page, err := c.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: bucket, Prefix: aws.String("list/")})
			must(t, err)
			if len(page.Contents) != 1000 {
				t.Errorf("%d objects", len(page.Contents))
			}
		}},
		{"DELETE", 12, func(i int) { remove(fmt.Sprintf("list/key%d", i)) }},
		{"tags", 18, func(int) {
			_, err := c.PutObjectTagging(ctx, &s3.PutObjectTaggingInput{Bucket: bucket, Key: aws.String("new1"), Tagging: tags})
			must(t, err)
		}},
		{"PUT, where there are tags", 8, func(i int) { put(fmt.Sprintf("other%d", i)) }},
		{"PUT over another", 14, func(int) { put("new0") }},
		{"GET", 5, func(int) {
			_, err := readS3(c.GetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: aws.String("new2")}))
			must(t, err)
		}},
		{"HEAD", 5, func(int) {
			_, err := c.HeadObject(ctx, &s3.HeadObjectInput{Bucket: bucket, Key: aws.String("new2")})
			must(t, err)
		}},
		{"DELETE", 16, func(i int) { remove(fmt.Sprintf("list/key%d", 20+i)) }},
	} {
		op.check(t, mount)
	}
}

// TestCallsOfTheFileServerForVersions bounds what versions cost, of a key with 30.
func TestCallsOfTheFileServerForVersions(t *testing.T) {
	mount := onVersion42(t)
	ctx, bucket, key := t.Context(), aws.String("bucket"), aws.String("k")
	c := newS3(startFleet(t, 2)[0], noRetry)
	_, err := c.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: bucket})
	must(t, err)
	_, err = c.PutBucketVersioning(ctx, &s3.PutBucketVersioningInput{
		Bucket: bucket, VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled},
	})
	must(t, err)
	content := random(4 << 10)
	put := func(int) *string {
		out, err := c.PutObject(ctx, &s3.PutObjectInput{Bucket: bucket, Key: key, Body: bytes.NewReader(content)})
		must(t, err)
		return out.VersionId
	}
	get := func(version *string) {
		_, err := readS3(c.GetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: key, VersionId: version}))
		must(t, err)
	}
	first := put(0)
	for i := range 30 {
		put(i)
	}
	for _, op := range []measured{
		{"PUT", 24, func(i int) { put(i) }},
		{"GET", 3, func(int) { get(nil) }},
		{"GET of the first version", 8, func(int) { get(first) }},
		{"page of versions", 24, func(int) {
			_, err := c.ListObjectVersions(ctx, &s3.ListObjectVersionsInput{Bucket: bucket, MaxKeys: aws.Int32(10)})
			must(t, err)
		}},
		{"PUT and DELETE", 54, func(i int) {
			put(i)
			_, err := c.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: bucket, Key: key})
			must(t, err)
		}},
		{"HEAD below a marker", 12, func(int) {
			_, err := c.HeadObject(ctx, &s3.HeadObjectInput{Bucket: bucket, Key: key})
			wantCode(t, err, "NotFound")
		}},
	} {
		op.check(t, mount)
	}
}
