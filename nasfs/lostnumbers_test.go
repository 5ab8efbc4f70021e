package nasfs_test

import (
	"testing"

	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/vfs"
	"github.com/shoal-storage/shoal/nasfs"
)

// What is in use when a share is remounted keeps the inode number that was made up for it.
func TestWhileInodeNumbersAreMadeUpNothingIsOpened(t *testing.T) {
	fault := vfs.NewFault(vfs.NewMemory().Root())
	s := open(t, config(t, fault.Root()))
	must(t, s.CreateBucket(t.Context(), object.Bucket{Name: bucket}))
	must(t, putIn(t.Context(), s, "key", "content", nil))
	nasfs.Quiesce(s)

	nasfs.LoseNumbers(s)
	calls := fault.Total()
	_, err := s.Stat(t.Context(), ref("key"))
	is(t, "stat", err, object.Unavailable)
	_, err = s.Open(t.Context(), ref("key"))
	is(t, "open", err, object.Unavailable)
	is(t, "put", putIn(t.Context(), s, "other", "content", nil), object.Unavailable)
	is(t, "delete", drop(t.Context(), s, ref("key"), nil), object.Unavailable)
	_, err = s.List(t.Context(), object.Query{Bucket: bucket, Limit: 10})
	is(t, "list", err, object.Unavailable)
	if made := fault.Total() - calls; made > 0 {
		t.Errorf("%d calls were made", made)
	}

	nasfs.RegainNumbers(s)
	if got, _, err := read(t.Context(), s, "key"); err != nil || got != "content" {
		t.Errorf("read %q, %v", got, err)
	}
}

// losing is a body that does something when it has been read half.
type losing struct {
	object.Body
	half func()
	n    int
}

// Read implements io.Reader.
func (l *losing) Read(p []byte) (int, error) {
	if l.n++; l.n == 40 {
		l.half()
	}
	return l.Body.Read(p[:min(len(p), 64<<10)])
}

// A record under a number that was made up would be of no file.
func TestAFileThatWasStagedWhileInodeNumbersWereLostIsGivenUp(t *testing.T) {
	s := open(t, config(t, vfs.NewMemory().Root()))
	must(t, s.CreateBucket(t.Context(), object.Bucket{Name: bucket}))
	content := body(string(make([]byte, 4<<20)))
	in := object.PutInput{Body: &losing{Body: content, half: func() {
		nasfs.LoseNumbers(s)
		nasfs.RegainNumbers(s)
	}}}
	_, err := s.Put(t.Context(), ref("key"), in)
	is(t, "put", err, object.Unavailable)
	_, err = s.Stat(t.Context(), ref("key"))
	is(t, "stat", err, object.NoSuchKey)
}
