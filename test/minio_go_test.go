package test

import (
	"bytes"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

func TestMinioGo(t *testing.T) {
	t.Parallel()
	s := start(t)
	ctx := t.Context()
	mc, err := minio.New(strings.TrimPrefix(s.url, "http://"), &minio.Options{Creds: credentials.NewStaticV4(user, password, ""), TrailingHeaders: true})
	must(t, err)
	must(t, mc.MakeBucket(ctx, "bucket", minio.MakeBucketOptions{}))
	for _, size := range sizes() {
		file, back := randomFile(t, size), filepath.Join(t.TempDir(), "back")
		key := "dir/" + filepath.Base(file)
		put, err := mc.FPutObject(ctx, "bucket", key, file, minio.PutObjectOptions{UserMetadata: map[string]string{"color": "blue"}})
		must(t, err)
		must(t, mc.FGetObject(ctx, "bucket", key, back, minio.GetObjectOptions{}))
		sameContent(t, file, back)
		stat, err := mc.StatObject(ctx, "bucket", key, minio.StatObjectOptions{})
		must(t, err)
		if stat.UserMetadata["Color"] != "blue" || stat.Size != size || stat.ETag != put.ETag {
			t.Errorf("%s: metadata %v, %d bytes, ETag %s after %s", key, stat.UserMetadata, stat.Size, stat.ETag, put.ETag)
		}
	}
	content := random(1000)
	_, err = mc.PutObject(ctx, "bucket", "k", bytes.NewReader(content), -1, minio.PutObjectOptions{}) // of a length not told
	must(t, err)
	t.Run("range", func(t *testing.T) {
		o, err := mc.GetObject(ctx, "bucket", "k", minio.GetObjectOptions{})
		must(t, err)
		defer o.Close()
		got := make([]byte, 50)
		if _, err := o.ReadAt(got, 100); err != nil || !bytes.Equal(got, content[100:150]) {
			t.Errorf("ReadAt: %x, %v", got, err)
		}
	})
	t.Run("copy", func(t *testing.T) { minioGoCopies(t, mc, content) })
	t.Run("presign", func(t *testing.T) {
		link, err := mc.PresignedPutObject(ctx, "bucket", "by url", time.Minute)
		must(t, err)
		send(t, link.String(), bytes.NewReader(content), int64(len(content)))
		link, err = mc.PresignedGetObject(ctx, "bucket", "by url", time.Minute, nil)
		must(t, err)
		fetch(t, link.String(), content)
	})
	fill(t, s, "many")
	for _, bucket := range []string{"many", "bucket"} {
		minioGoEmpties(t, mc, bucket)
		must(t, mc.RemoveBucket(ctx, bucket))
	}
	wantNoBuckets(t, s)
}

// minioGoCopies copies in one request and composes out of two objects by parts.
func minioGoCopies(t *testing.T, mc *minio.Client, content []byte) {
	ctx := t.Context()
	_, err := mc.CopyObject(ctx, minio.CopyDestOptions{Bucket: "bucket", Object: "copied"}, minio.CopySrcOptions{Bucket: "bucket", Object: "k"})
	must(t, err)
	large := random(6 << 20)
	_, err = mc.PutObject(ctx, "bucket", "large", bytes.NewReader(large), int64(len(large)), minio.PutObjectOptions{})
	must(t, err)
	_, err = mc.ComposeObject(ctx, minio.CopyDestOptions{Bucket: "bucket", Object: "composed"},
		minio.CopySrcOptions{Bucket: "bucket", Object: "large"}, minio.CopySrcOptions{Bucket: "bucket", Object: "copied"})
	must(t, err)
	o, err := mc.GetObject(ctx, "bucket", "composed", minio.GetObjectOptions{})
	must(t, err)
	defer o.Close()
	if got, err := io.ReadAll(o); err != nil || !bytes.Equal(got, append(large, content...)) {
		t.Errorf("composed: %d bytes, %v", len(got), err)
	}
}

// minioGoEmpties lists a bucket and removes all that it lists.
func minioGoEmpties(t *testing.T, mc *minio.Client, bucket string) {
	t.Helper()
	listed := make(chan minio.ObjectInfo)
	count := 0
	go func() {
		defer close(listed)
		for o := range mc.ListObjects(t.Context(), bucket, minio.ListObjectsOptions{Recursive: true}) {
			count++
			listed <- o
		}
	}()
	for failed := range mc.RemoveObjects(t.Context(), bucket, listed, minio.RemoveObjectsOptions{}) {
		t.Errorf("remove %s: %v", failed.ObjectName, failed.Err)
	}
	if bucket == "many" && count != manyKeys() {
		t.Errorf("listed %d keys", count)
	}
}

// must ends the test if there is an error.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
