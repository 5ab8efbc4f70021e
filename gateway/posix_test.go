package gateway

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/shoal-storage/shoal/internal/iam"
	"github.com/shoal-storage/shoal/internal/object"
)

// ids are numbers of a user and a group, 0 for none.
type ids struct{ uid, gid uint32 }

func idsOf(f object.Files) (i ids) {
	if f.UID != nil {
		i.uid = *f.UID
	}
	if f.GID != nil {
		i.gid = *f.GID
	}
	return i
}

// share is a Store whose files can be given to the users below 5000. It remembers what
// was to be given.
type share struct {
	object.Store
	mu    sync.Mutex
	given []ids
}

func (s *share) note(f object.Files) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.given = append(s.given, idsOf(f))
}

// taken returns what was to be given since it was asked the last time.
func (s *share) taken() []ids {
	s.mu.Lock()
	defer s.mu.Unlock()
	given := s.given
	s.given = nil
	return given
}

func (s *share) Prove(_ context.Context, f object.Files) error {
	if f.UID != nil && *f.UID >= 5000 {
		return object.E("set up files", "", object.InvalidRequest, errors.New("gateways must run as root"))
	}
	return nil
}

func (s *share) CreateBucket(ctx context.Context, b object.Bucket) error {
	s.note(b.Dir)
	return s.Store.CreateBucket(ctx, b)
}

func (s *share) Put(ctx context.Context, ref object.Ref, in object.PutInput) (object.Info, error) {
	s.note(in.Files)
	return s.Store.Put(ctx, ref, in)
}

func (s *share) Copy(ctx context.Context, src, dst object.Ref, in object.CopyInput) (object.Info, error) {
	s.note(in.Files)
	return s.Store.(object.Copier).Copy(ctx, src, dst, in)
}

func (s *share) Rename(ctx context.Context, src, dst object.Ref, in object.CopyInput) error {
	s.note(in.Files)
	return s.Store.(object.Renamer).Rename(ctx, src, dst, in)
}

func (s *share) CompleteUpload(ctx context.Context, ref object.UploadRef, in object.CompleteInput) (object.Info, error) {
	s.note(in.Files)
	return s.Store.CompleteUpload(ctx, ref, in)
}

// serveShare serves an office whose objects are files, where ann may write.
func serveShare(t *testing.T) (*office, *share) {
	t.Helper()
	var s *share
	o := serveOfficeWith(t, func(cfg *Config) {
		s = &share{Store: cfg.Store}
		cfg.Store = s
	})
	_, err := o.directory.Attach(t.Context(), holder("ann"), []string{"readwrite"})
	o.must(t, err)
	return o, s
}

func TestWhoAUserIsToTheFileSystemIsSetByWhoMay(t *testing.T) {
	o, _ := serveShare(t)
	for _, tt := range []struct{ who, user, document, code string }{
		{"ann", "ann", `{"uid":1000}`, "AccessDenied"},
		{"boss", "nobody", `{"uid":1000}`, "XMinioAdminNoSuchUser"},
		{"boss", "annskey", `{"uid":1000}`, "XMinioAdminNoSuchUser"},
		{"boss", "ann", `{"uid":5000}`, "InvalidRequest"}, // who cannot be given files
		{"boss", "ann", `{"uid":4294967295}`, "XMinioAdminInvalidArgument"},
		{"boss", "ann", `{"uid":-1}`, "XMinioAdminConfigBadJSON"},
		{"boss", "ann", `{"user":1000}`, "XMinioAdminConfigBadJSON"},
		{"boss", "ann", ``, "XMinioAdminConfigBadJSON"},
		{"boss", "ann", `{"supplementaryGroups":[4294967295]}`, "XMinioAdminInvalidArgument"},
		{"boss", "ann", `{"supplementaryGroups":[` + strings.Repeat("1,", 64) + `1]}`, "XMinioAdminInvalidArgument"},
		{"boss", "ann", `{"uid":1000,"gid":0,"supplementaryGroups":[7]}`, ""},
	} {
		if answer, code := o.admin(tt.who, "PUT", "set-user-posix", "accessKey="+tt.user, tt.document); code != tt.code {
			t.Errorf("%s sets %s of %s: %s", tt.who, tt.document, tt.user, answer.body)
		}
	}
	if answer, _ := o.admin("ann", "GET", "user-info", "accessKey=ann", ""); !strings.Contains(answer.body, `"uid":1000,"gid":0,"supplementaryGroups":[7]`) {
		t.Errorf("shown is %s", answer.body)
	}
	if _, code := o.admin("boss", "PUT", "set-user-posix", "accessKey=ann", `{}`); code != "" {
		t.Errorf("taking it back: %s", code)
	}
	if answer, _ := o.admin("ann", "GET", "user-info", "accessKey=ann", ""); strings.Contains(answer.body, "uid") {
		t.Errorf("shown is %s", answer.body)
	}
}

func TestWhereObjectsAreNoFilesNobodyCanBeGivenThem(t *testing.T) {
	o := serveOffice(t)
	if answer, code := o.admin("boss", "PUT", "set-user-posix", "accessKey=ann", `{"uid":1000}`); code != "NotImplemented" || answer.status != http.StatusNotImplemented {
		t.Errorf("%d %s", answer.status, answer.body)
	}
	if answer, code := o.admin("boss", "PUT", "set-user-posix", "accessKey=ann", `{}`); code != "" {
		t.Errorf("taking back what is not there: %s", answer.body)
	}
}

// TestWhatAUserMakesIsGivenToHim makes a bucket, and an object in every way that there is,
// by the user and by a service account of his.
func TestWhatAUserMakesIsGivenToHim(t *testing.T) {
	o, s := serveShare(t)
	o.must(t, o.directory.SetPOSIX(t.Context(), "ann", iam.POSIX{UID: new(uint32(1000)), GID: new(uint32(100))}))
	for who, want := range map[string]ids{"ann": {1000, 100}, "annskey": {1000, 100}, "boss": {}, testUser: {}} {
		secret := secretOf(who)
		if who == testUser {
			secret = testSecret
		}
		by := func(c call) reply {
			t.Helper()
			c.user, c.secret = who, secret
			return o.ok(c)
		}
		s.taken()
		by(call{method: "PUT", path: "/of-" + who})
		by(call{method: "PUT", path: "/bucket/put", body: "x"})
		by(call{method: "PUT", path: "/bucket/put", body: "y", header: map[string]string{"x-amz-write-offset-bytes": "1"}})
		by(call{method: "PUT", path: "/bucket/copy", header: map[string]string{"x-amz-copy-source": "/bucket/put"}})
		by(call{method: "PUT", path: "/bucket/moved", query: "renameObject=", header: map[string]string{"x-amz-rename-source": "/put"}})
		by(extracting(archived(t, file("a", "1"), file("b", "2"))))
		id := o.createUpload(nil)
		part := by(uploadPart(id, 1, "hello", nil))
		by(complete(id, partXML(1, part.header.Get("ETag")), nil))
		if r := o.post(form{file: "picture", user: who, secret: secret, fields: [][2]string{{"key", "posted"}}}); r.status != http.StatusNoContent {
			t.Errorf("%s posts: %d %s", who, r.status, r.body)
		}
		if got := s.taken(); len(got) != 9 || slices.ContainsFunc(got, func(i ids) bool { return i != want }) {
			t.Errorf("what %s makes is given to %v, want %v", who, got, want)
		}
	}
}
