package gateway

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/shoal-storage/shoal/internal/object"
)

func TestWhatAStoreFindsWrongIsToldAsS3TellsIt(t *testing.T) {
	digest := object.E("complete", "k", object.BadDigest, errors.New("the CRC32 you specified did not match the calculated checksum"))
	size := object.E("complete", "k", object.InvalidRequest, errors.New("the provided 'x-amz-mp-object-size' header value 5 does not match what was computed: 6"))
	const mismatch = "The CRC32 you specified did not match the calculated checksum."
	for name, tt := range map[string]struct {
		err  error
		want string
	}{
		"a word at the end":        {digest, mismatch},
		"a number at the end":      {size, "The provided 'x-amz-mp-object-size' header value 5 does not match what was computed: 6"},
		"one error around another": {object.E("complete", "bucket/k", object.BadDigest, fmt.Errorf("set 1: %w", digest)), mismatch},
		"no cause":                 {object.E("complete", "k", object.BadDigest, nil), errBadDigest.message},
	} {
		if got := toS3(tt.err).message; got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}

func TestWhatIsInTheWayAndCannotBeSeenThroughS3IsNamed(t *testing.T) {
	tr := serveTree(t)
	tr.ok(call{method: "PUT", path: "/names"})
	for path, make := range map[string]func(path string) error{
		"names/=0=": func(path string) error { return os.WriteFile(path, nil, 0o600) },
		"file-name": func(path string) error { return os.WriteFile(path, nil, 0o600) },
		"link-name": func(path string) error { return os.Symlink(tr.path, path) },
	} {
		if err := make(filepath.Join(tr.path, path)); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		call
		code, named string
	}{
		{call{method: "PUT", path: "/names//lead", body: "x"}, "AccessDenied", "names/=0="},
		{call{method: "DELETE", path: "/names"}, "BucketNotEmpty", "names/=0="},
		{call{method: "PUT", path: "/file-name"}, "BucketAlreadyExists", "file-name"},
		{call{method: "PUT", path: "/link-name"}, "BucketAlreadyExists", "link-name"},
	} {
		if r := tr.refused(tt.code, tt.call); !strings.Contains(r.body, `: "`+tt.named+`" is in the way`) {
			t.Errorf("%s %s: %s", tt.method, tt.path, r.body)
		}
	}
	tr.refused("BucketAlreadyOwnedByYou", call{method: "PUT", path: "/names"})
}

// TestTheServersDeadlinesAreNoneOfTheClients has a call of another gateway end at its deadline, which the
// connection to that one tells of in the same way as a client's does.
func TestTheServersDeadlinesAreNoneOfTheClients(t *testing.T) {
	for want, err := range map[*s3Error]error{
		errUnavailable:    object.E("change a record", "", object.Unavailable, fmt.Errorf("ask: %w", os.ErrDeadlineExceeded)),
		errInternal:       fmt.Errorf("ask: %w", os.ErrDeadlineExceeded),
		errRequestTimeout: object.E("put", "k", object.Internal, fmt.Errorf("%w: %w", errClientSilent, os.ErrDeadlineExceeded)),
	} {
		if got := toS3(err); got.code != want.code {
			t.Errorf("%v: %s, want %s", err, got.code, want.code)
		}
	}
}
