package gateway

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/shoal-storage/shoal/internal/iam"
	"github.com/shoal-storage/shoal/internal/object"
)

// bouncer is a Store with a Judge that lets nobody have what is named so: "Read bucket/k".
// It remembers what it was asked.
type bouncer struct {
	object.Store
	mu     sync.Mutex
	denied []string
	asked  []string
	who    object.Person
}

func (b *bouncer) CanJudge(context.Context) error { return nil }

func (b *bouncer) Permit(_ context.Context, who object.Person, what object.Access, ref object.Ref) error {
	return b.judge(who, []string{"Read", "Change", "Replace", "List"}[what]+" "+ref.Bucket+"/"+ref.Key)
}

func (b *bouncer) judge(who object.Person, question string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asked, b.who = append(b.asked, question), who
	if slices.Contains(b.denied, question) {
		return object.E("permit", question, object.AccessDenied, nil)
	}
	return nil
}

// deny has it deny this, and forget what it was asked.
func (b *bouncer) deny(questions ...string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asked, b.denied = nil, questions
}

func (b *bouncer) questions() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Join(b.asked, ", ")
}

func (b *bouncer) Open(ctx context.Context, ref object.Ref) (object.Handle, error) {
	h, err := b.Store.Open(ctx, ref)
	return judgedHandle{h, b}, err
}

type judgedHandle struct {
	object.Handle
	b *bouncer
}

func (h judgedHandle) Permit(who object.Person) error {
	return h.b.judge(who, "open "+h.Info().Key)
}

// servePermissions serves an office where permissions on the file system count, and ann is
// somebody there.
func servePermissions(t *testing.T) (*office, *bouncer) {
	t.Helper()
	var b *bouncer
	o := serveOfficeWith(t, func(cfg *Config) {
		b = &bouncer{Store: cfg.Store}
		cfg.Store, cfg.Permissions = b, b
	})
	_, err := o.directory.Attach(t.Context(), holder("ann"), []string{"readwrite"})
	o.must(t, err)
	o.must(t, o.directory.SetPOSIX(t.Context(), "ann", iam.POSIX{UID: new(uint32(1000)), Supplementary: []uint32{100}}))
	for _, key := range []string{"a/b/k", "a/c/k", "k"} {
		o.ok(call{method: "PUT", path: "/bucket/" + key, body: "x"})
	}
	b.deny()
	return o, b
}

// anns is a call of ann's.
func anns(method, path, query, body string, header map[string]string) call {
	return call{method: method, path: path, query: query, body: body, header: header, user: "ann", secret: secretOf("ann")}
}

func TestWhoIsSomebodyOnTheFileSystemDoesOnlyWhatItLetsHim(t *testing.T) {
	o, b := servePermissions(t)
	from := map[string]string{"x-amz-copy-source": "/bucket/k"}
	const tags = `<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>`
	for _, tt := range []struct {
		call   call
		denied string
	}{
		{anns("GET", "/bucket/k", "", "", nil), "Read bucket/k"},
		{anns("GET", "/bucket/k", "", "", nil), "open k"},
		{anns("HEAD", "/bucket/k", "", "", nil), "Read bucket/k"},
		{anns("GET", "/bucket/k", "tagging=", "", nil), "Read bucket/k"},
		{anns("PUT", "/bucket/k", "tagging=", tags, nil), "Change bucket/k"},
		{anns("PUT", "/bucket/k", "", "x", nil), "Replace bucket/k"},
		{anns("DELETE", "/bucket/k", "", "", nil), "Replace bucket/k"},
		{anns("PUT", "/bucket/copy", "", "", from), "Read bucket/k"},
		{anns("PUT", "/bucket/copy", "", "", from), "open k"},
		{anns("PUT", "/bucket/copy", "", "", from), "Replace bucket/copy"},
		{anns("POST", "/bucket/k", "uploads=", "", nil), "Replace bucket/k"},
		{anns("GET", "/bucket", "list-type=2&prefix=a/", "", nil), "List bucket/a/"},
		{anns("GET", "/bucket", "versions=", "", nil), "List bucket/"},
		{anns("GET", "/bucket", "uploads=", "", nil), "List bucket/"},
		{anns("PUT", "/mine", "", "", nil), "Replace mine/"},
		{anns("DELETE", "/bucket", "", "", nil), "Replace bucket/"},
	} {
		b.deny(tt.denied)
		if got := o.do(tt.call); got.status != http.StatusForbidden {
			t.Errorf("%s %s?%s without %s: %d %s; asked was %s", tt.call.method, tt.call.path, tt.call.query, tt.denied, got.status, got.body, b.questions())
		}
	}
	if b.who.UID != 1000 || b.who.GID != object.Nobody || !slices.Equal(b.who.Groups, []uint32{100}) {
		t.Errorf("asked for %+v", b.who)
	}
	b.deny()
	o.refused("AccessDenied", anns("GET", "/bucket", "events=s3:ObjectCreated:*", "", nil))
	o.ok(anns("PUT", "/bucket/k", "", "x", nil))
	o.ok(anns("GET", "/bucket/k", "", "", nil))
}

func TestWhoIsNobodyThereIsAskedNothing(t *testing.T) {
	o, b := servePermissions(t)
	b.deny("Read bucket/k", "open k")
	o.ok(call{method: "GET", path: "/bucket/k"}) // the root user
	o.must(t, o.directory.SetPOSIX(t.Context(), "ann", iam.POSIX{}))
	o.ok(anns("GET", "/bucket/k", "", "", nil))
	if asked := b.questions(); asked != "" {
		t.Errorf("asked was %s", asked)
	}
}

func TestListingsLeaveOutDirectoriesThatMayNotBeRead(t *testing.T) {
	o, b := servePermissions(t)
	o.ok(call{method: "POST", path: "/bucket/a/b/up", query: "uploads="})
	for _, tt := range []struct{ query, denied, seen string }{
		{"list-type=2", "List bucket/a/b/", "a/c/k k"},
		{"list-type=2", "List bucket/a/", "k"},
		{"list-type=2&prefix=a/", "List bucket/a/b/", "a/c/k"},
		{"list-type=2&prefix=a/&delimiter=/", "List bucket/a/b/", "a/b/ a/c/"}, // as names in a directory
		{"list-type=2&prefix=a/b", "List bucket/a/b/", ""},
		{"", "List bucket/a/b/", "a/c/k k"},
		{"versions=", "List bucket/a/b/", "a/c/k k"},
		{"uploads=", "List bucket/a/b/", ""},
		{"uploads=", "List bucket/a/c/", "a/b/up"},
	} {
		b.deny(tt.denied)
		body := o.ok(anns("GET", "/bucket", tt.query, "", nil)).body
		var names []string
		for _, part := range strings.Split(body, "<Key>")[1:] {
			name, _, _ := strings.Cut(part, "<")
			names = append(names, name)
		}
		for _, part := range strings.Split(body, "<CommonPrefixes><Prefix>")[1:] {
			name, _, _ := strings.Cut(part, "<")
			names = append(names, name)
		}
		if got := strings.Join(names, " "); got != tt.seen {
			t.Errorf("%s without %s shows %q, want %q", tt.query, tt.denied, got, tt.seen)
		}
	}
}

func TestAPageOfWhichNothingIsSeenLeadsToTheNext(t *testing.T) {
	o, b := servePermissions(t)
	b.deny("List bucket/a/b/")
	body := o.ok(anns("GET", "/bucket", "max-keys=1", "", nil)).body
	if !strings.Contains(body, "<IsTruncated>true</IsTruncated>") || !strings.Contains(body, "<NextMarker>a/b/k</NextMarker>") {
		t.Error(body)
	}
}

func BenchmarkPermissionsThatDoNotCount(b *testing.B) {
	s := &Server{}
	r := &request{identity: iam.Identity{POSIX: &iam.POSIX{UID: new(uint32(1000))}}}
	for b.Loop() {
		if err := s.permit(r, "s3:GetObject", object.Ref{Bucket: "bucket", Key: "k"}); err != nil {
			b.Fatal(fmt.Errorf("permit: %w", err))
		}
	}
}
