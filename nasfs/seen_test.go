package nasfs_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/shoal-storage/shoal/internal/lock"
	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/vfs"
	"github.com/shoal-storage/shoal/nasfs"
)

// Whatever is seen of a path, the key whose file it is, is that, or begins with it.
func TestWhatIsSeenOfAPathIsAboutTheKeyOfItsFile(t *testing.T) {
	t.Parallel()
	s := open(t, config(t, vfs.NewMemory().Root()))
	for _, c := range []struct {
		path string
		dir  bool
		want string
		ok   bool
	}{
		{"bucket/a/b.txt", false, "a/b.txt", true},
		{"bucket/a/b", true, "a/b/", true},
		{"bucket", true, "", true},
		{"bucket", false, "", false}, // a file beside the buckets
		{"bucket/a/=0=", false, "a/", true},
		{"bucket/a/=0=/b", false, "a//b", true},
		{"bucket/=e=%2E/b", false, "./b", true},
		{"bucket/d/=f=a", false, "d/a", true},
		{"bucket/d/=l=" + strings.Repeat("x", 252) + "/=m=rest", false, "d/", true},
		{"bucket/.nfs0123456789abcdef01234567", false, "", false},
		{"bucket/.nfs0123456789abcdef01234567/a", false, "", false},
		{".shoal.sys/sessions", true, "", false},
	} {
		in, name, ok := s.Seen(c.path, c.dir)
		if ok != c.ok || ok && (name != c.want || in != "bucket") {
			t.Errorf("%s is about %q in %q, %v; want %q, %v", c.path, name, in, ok, c.want, c.ok)
		}
	}
}

// touchedSince returns what a gateway is told of a bucket, as text.
func touchedSince(ctx context.Context, g *nasfs.Fleet, since string) (keys, next string, known bool) {
	touched, next, known := g.Touched(ctx, bucket, since)
	slices.Sort(touched)
	return strings.Join(slices.Compact(touched), " "), next, known
}

func TestWhatAnyGatewayChangesIsTouchedAndWhatOthersDoIsNot(t *testing.T) {
	onEachKind(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		for _, key := range []string{"put", "deleted", "renamed", "dir/theirs"} {
			must(t, putIn(ctx, w.gateways[0], key, "x", nil))
		}
		_, mark, _ := touchedSince(ctx, w.gateways[2], "")
		must(t, putIn(ctx, w.gateways[0], "put", "y", nil))
		must(t, drop(ctx, w.gateways[1], ref("deleted"), nil))
		must(t, w.gateways[1].Rename(ctx, ref("renamed"), ref("dir/new"), object.CopyInput{}))
		dir, err := w.faults[2].Root().OpenDir(bucket + "/dir")
		must(t, err)
		must(t, dir.Remove("theirs"))
		must(t, dir.Close())
		got, mark, known := touchedSince(ctx, w.gateways[2], mark)
		if want := "deleted dir/new put renamed"; got != want || !known {
			t.Errorf("touched %q, %v, want %q", got, known, want)
		}
		if got, _, known := touchedSince(ctx, w.gateways[2], mark); got != "" || !known {
			t.Errorf("then touched %q, %v", got, known)
		}
	})
}

func TestADeletionThatIsBeingMadeIsTouched(t *testing.T) {
	onEachKind(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		must(t, putIn(ctx, w.gateways[0], "k", "x", nil))
		_, mark, _ := touchedSince(ctx, w.gateways[1], "")
		must(t, drop(ctx, w.gateways[0], ref("k"), func(*object.Info) error {
			if got, _, known := touchedSince(ctx, w.gateways[1], mark); got != "k" || !known {
				t.Errorf("touched %q, %v", got, known)
			}
			return nil
		}))
	})
}

func TestWhatIsTouchedIsNotKnown(t *testing.T) {
	for name, happens := range map[string]func(t *testing.T, w *world){
		"after a gap":                        func(_ *testing.T, w *world) { w.table.forget() },
		"to a gateway whose session is over": func(_ *testing.T, w *world) { w.members[1].expire() },
		"when all of the bucket is": func(t *testing.T, w *world) {
			lease, err := w.members[0].Acquire(t.Context(), lock.Exclusive, "b/"+bucket)
			must(t, err)
			lease.Release()
		},
	} {
		t.Run(name, func(t *testing.T) {
			onEachKind(t, func(t *testing.T, w *world) {
				_, mark, _ := touchedSince(t.Context(), w.gateways[1], "")
				happens(t, w)
				if got, _, known := touchedSince(t.Context(), w.gateways[1], mark); known {
					t.Errorf("it is known that %q is touched", got)
				}
			})
		})
	}
}
