package gateway

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shoal-storage/shoal/internal/events"
	"github.com/shoal-storage/shoal/internal/lock"
	"github.com/shoal-storage/shoal/internal/object"
)

// notebook is a Journal whose batches nobody needs again.
type notebook struct {
	mu    sync.Mutex
	names []string // of events and keys
	fails error
}

func (n *notebook) Keep(_ context.Context, _ string, content []byte) (string, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.fails != nil {
		return "", n.fails
	}
	for line := range strings.Lines(string(content)) {
		var m events.Message
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			return "", err
		}
		n.names = append(n.names, strings.TrimPrefix(string(m.Name), "s3:")+" "+m.Key)
	}
	return "s/1.1.webhook.A", nil
}

func (n *notebook) Left(context.Context) ([]string, error)        { return nil, nil }
func (n *notebook) Fetch(context.Context, string) ([]byte, error) { return nil, fs.ErrNotExist }
func (n *notebook) Drop(context.Context, string) error            { return nil }

// noted returns what was kept since the last time, in order.
func (n *notebook) noted() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	names := n.names
	n.names = nil
	return names
}

type nobody struct{}

func (nobody) Send(context.Context, *events.Message) error { return nil }
func (nobody) Close() error                                { return nil }

// serveEvents serves a bucket that has rules for everything, with one target.
func serveEvents(t *testing.T) (*fixture, *notebook) {
	t.Helper()
	n := &notebook{}
	locker := lock.NewLocal(1)
	t.Cleanup(locker.Close)
	service := events.New(context.Background(), events.Config{
		Targets: []events.Target{{Destination: events.Destination{Type: "webhook", ID: "A"}, Sender: nobody{}}},
		Journal: n, Locker: locker, Log: slog.New(slog.DiscardHandler), Now: time.Now,
	})
	t.Cleanup(func() {
		if err := service.Close(); err != nil {
			t.Error(err)
		}
	})
	f := serve(t, func(cfg *Config) { cfg.Events = service })
	f.ok(call{method: "PUT", path: "/bucket"})
	return f, n
}

func setRules(rules string) call {
	return call{method: "PUT", path: "/bucket", query: "notification", body: "<NotificationConfiguration>" + rules + "</NotificationConfiguration>"}
}

const everyEvent = "<QueueConfiguration><Id>all</Id><Queue>arn:minio:sqs::A:webhook</Queue><Event>s3:ObjectCreated:*</Event><Event>s3:ObjectRemoved:*</Event>" +
	"<Event>s3:ObjectTagging:*</Event><Event>s3:ObjectAccessed:*</Event></QueueConfiguration>"

func TestNotificationRulesAreKeptAndToldOf(t *testing.T) {
	f, n := serveEvents(t)
	get := call{method: "GET", path: "/bucket", query: "notification"}
	if r := f.ok(get); !strings.Contains(r.body, "<NotificationConfiguration") || strings.Contains(r.body, "Queue") {
		t.Errorf("before there are any: %s", r.body)
	}
	f.ok(setRules(everyEvent))
	if got := n.noted(); !slices.Equal(got, []string{"TestEvent "}) {
		t.Errorf("the target is told %q", got)
	}
	quiet := setRules(everyEvent)
	quiet.header = map[string]string{"x-amz-skip-destination-validation": "true"}
	f.ok(quiet)
	if got := n.noted(); got != nil {
		t.Errorf("a target that is not to be tried is told %q", got)
	}
	kept := f.ok(get).body
	if !strings.Contains(kept, "<Id>all</Id>") || !strings.Contains(kept, "<Event>s3:ObjectCreated:*</Event>") {
		t.Errorf("kept %s", kept)
	}
	f.refused("InvalidArgument", setRules(strings.ReplaceAll(everyEvent, "::A:", "::B:")))
	f.refused("InvalidArgument", setRules(strings.ReplaceAll(everyEvent, "Created:*", "Created:X")))
	f.refused("MalformedXML", setRules("<QueueConfiguration></QueueConfiguration>"))
	f.refused("NotImplemented", setRules("<EventBridgeConfiguration/>"))
	f.refused("NoSuchBucket", call{method: "PUT", path: "/other", query: "notification", body: "<NotificationConfiguration/>"})
	if again := f.ok(get).body; again != kept {
		t.Errorf("after refusals: %s", again)
	}
	f.ok(setRules(""))
	if r := f.ok(get); strings.Contains(r.body, "Queue") {
		t.Errorf("after they were removed: %s", r.body)
	}
}

func TestWithoutTargetsRulesAreRefused(t *testing.T) {
	f := serveBucket(t)
	f.refused("InvalidArgument", setRules(everyEvent))
	f.ok(setRules(""))
}

// TestEachOperationTellsWhatItHasDone makes one after the other, and looks at what was
// kept when each was answered.
func TestEachOperationTellsWhatItHasDone(t *testing.T) {
	f, n := serveEvents(t)
	f.ok(setRules(everyEvent))
	n.noted()
	tags := "<Tagging><TagSet><Tag><Key>k</Key><Value>v</Value></Tag></TagSet></Tagging>"
	is := func(what string, want ...string) {
		t.Helper()
		got := n.noted()
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%s tells %q, want %q", what, got, want)
		}
	}
	f.put("k", "x")
	is("a put", "ObjectCreated:Put k")
	f.get("k")
	is("a get", "ObjectAccessed:Get k")
	f.ok(call{method: "HEAD", path: "/bucket/k"})
	is("a head", "ObjectAccessed:Head k")
	f.ok(call{method: "PUT", path: "/bucket/copy", header: map[string]string{"x-amz-copy-source": "bucket/k"}})
	is("a copy", "ObjectCreated:Copy copy")
	f.ok(call{method: "PUT", path: "/bucket/k", query: "tagging", body: tags})
	is("a tagging", "ObjectTagging:Put k")
	f.ok(call{method: "DELETE", path: "/bucket/k", query: "tagging"})
	is("its removal", "ObjectTagging:Delete k")
	f.ok(call{method: "DELETE", path: "/bucket/k"})
	is("a delete", "ObjectRemoved:Delete k")
	doc := "<Delete><Object><Key>a</Key></Object><Object><Key>b</Key></Object></Delete>"
	f.ok(call{method: "POST", path: "/bucket", query: "delete", body: doc, header: map[string]string{"Content-MD5": md5Base64(doc)}})
	is("a delete of two", "ObjectRemoved:Delete a", "ObjectRemoved:Delete b")
	f.versioning("Enabled")
	f.put("k", "x")
	n.noted()
	f.ok(call{method: "DELETE", path: "/bucket/k"})
	is("a delete with versioning", "ObjectRemoved:DeleteMarkerCreated k")
	f.refused("NoSuchKey", call{method: "GET", path: "/bucket/none"})
	is("what fails")
	up := f.upload("big")
	is("the begin of an upload")
	f.complete("big", up)
	is("an upload", "ObjectCreated:CompleteMultipartUpload big")
}

// upload begins an upload of one part and returns its ID.
func (f *fixture) upload(key string) (id string) {
	f.t.Helper()
	body := f.ok(call{method: "POST", path: "/bucket/" + key, query: "uploads"}).body
	_, rest, _ := strings.Cut(body, "<UploadId>")
	id, _, _ = strings.Cut(rest, "</UploadId>")
	f.ok(call{method: "PUT", path: "/bucket/" + key, query: "partNumber=1&uploadId=" + id, body: "x"})
	return id
}

func (f *fixture) complete(key, id string) {
	f.t.Helper()
	f.ok(completing(key, id))
}

// completing is the call that completes an upload of upload.
func completing(key, id string) call {
	doc := `<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>9dd4e461268c8034f5c8564e155c67a6</ETag></Part></CompleteMultipartUpload>`
	return call{method: "POST", path: "/bucket/" + key, query: "uploadId=" + id, body: doc}
}

// TestWhatCannotBeToldIsNotAcknowledged: the client does it again, and then it is.
func TestWhatCannotBeToldIsNotAcknowledged(t *testing.T) {
	f, n := serveEvents(t)
	f.ok(setRules(everyEvent))
	n.fails = errors.New("the disk fails")
	put := call{method: "PUT", path: "/bucket/k", body: "x"}
	f.refused("InternalError", put)
	f.refused("InternalError", call{method: "DELETE", path: "/bucket/k"})
	n.fails = nil
	n.noted()
	f.ok(put)
	if got := n.noted(); !slices.Equal(got, []string{"ObjectCreated:Put k"}) {
		t.Errorf("told %q", got)
	}
}

// blinded is a Store that cannot read what buckets are any more once an upload is completed, or an object copied.
type blinded struct {
	object.Store
	blind atomic.Bool
}

func (b *blinded) CompleteUpload(ctx context.Context, ref object.UploadRef, in object.CompleteInput) (object.Info, error) {
	defer b.blind.Store(true)
	return b.Store.CompleteUpload(ctx, ref, in)
}

func (b *blinded) Put(ctx context.Context, ref object.Ref, in object.PutInput) (object.Info, error) {
	defer b.blind.Store(ref.Key == "copy")
	return b.Store.Put(ctx, ref, in)
}

func (b *blinded) StatBucket(ctx context.Context, name string) (object.Bucket, error) {
	if b.blind.Load() {
		return object.Bucket{}, object.E("stat bucket", name, object.Unavailable, errors.New("nobody answers"))
	}
	return b.Store.StatBucket(ctx, name)
}

// TestWhatWasDoneAndCannotBeToldIsNotSaidToBeUnavailable: a 503 says that nothing was changed.
func TestWhatWasDoneAndCannotBeToldIsNotSaidToBeUnavailable(t *testing.T) {
	f, n := serveEvents(t)
	f.ok(setRules(everyEvent))
	f.server.Store = &blinded{Store: f.store}
	n.fails = object.E("keep", "", object.Unavailable, errors.New("too few drives answer"))
	f.refused("InternalError", call{method: "PUT", path: "/bucket/k", body: "x"})
	f.refused("InternalError", call{method: "DELETE", path: "/bucket/k"})
	id := f.upload("big")
	f.refused("InternalError", completing("big", id))
	if _, err := f.store.Stat(t.Context(), object.Ref{Bucket: "bucket", Key: "big"}); err != nil {
		t.Errorf("it was completed, and then: %v", err)
	}
}

func TestWhatIsDoneIsToldByTheRulesOfWhenItBegan(t *testing.T) {
	f, n := serveEvents(t)
	f.ok(setRules(everyEvent))
	store := &blinded{Store: f.store}
	f.server.Store = store
	id := f.upload("big")
	n.noted()
	f.ok(completing("big", id))
	if got := n.noted(); !slices.Equal(got, []string{"ObjectCreated:CompleteMultipartUpload big"}) {
		t.Errorf("told %q", got)
	}
	store.blind.Store(false)
	f.put("k", "x")
	n.noted()
	f.ok(call{method: "PUT", path: "/bucket/copy", header: map[string]string{"x-amz-copy-source": "/bucket/k"}})
	if got := n.noted(); !slices.Equal(got, []string{"ObjectCreated:Copy copy"}) {
		t.Errorf("told %q", got)
	}
}

func TestWhoListensHearsWhatHappens(t *testing.T) {
	f, _ := serveEvents(t)
	for query, want := range map[string]string{
		"events=s3%3AObjectCreated%3A%2A&prefix=a&suffix=t": "a.txt",
		"events=s3%3AObjectRemoved%3A%2A&ping=10":           "b.txt",
	} {
		resp, err := f.client.Do(f.request(call{method: "GET", path: "/bucket", query: query}))
		if err != nil {
			t.Fatal(err)
		}
		f.put("b.txt", "x")
		f.put("a.txt", "x")
		f.ok(call{method: "DELETE", path: "/bucket/b.txt"})
		var line struct {
			Records []struct {
				EventName string
				S3        struct{ Object struct{ Key string } }
			}
		}
		text, err := bufio.NewReader(resp.Body).ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal([]byte(text), &line); err != nil || len(line.Records) != 1 || line.Records[0].S3.Object.Key != want || !strings.HasPrefix(line.Records[0].EventName, "s3:") {
			t.Errorf("%s: heard %s, %v", query, text, err)
		}
		resp.Body.Close()
	}
	f.refused("NoSuchBucket", call{method: "GET", path: "/other", query: "events=s3%3AObjectCreated%3A%2A"})
	f.refused("InvalidArgument", call{method: "GET", path: "/bucket", query: "events=s3%3AX"})
	f.refused("InvalidArgument", call{method: "GET", path: "/bucket", query: "events=s3%3AObjectCreated%3A%2A&ping=0"})
	if r := f.do(call{method: "GET", path: "/bucket", query: "events=s3%3AObjectCreated%3A%2A", anonymous: true}); r.status != http.StatusForbidden {
		t.Errorf("anybody may listen: %d", r.status)
	}
}

func TestAStopEndsWhoListens(t *testing.T) {
	f, _ := serveEvents(t)
	resp, err := f.client.Do(f.request(call{method: "GET", path: "/", query: "events=s3%3AObjectCreated%3A%2A"}))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	f.put("k", "x")
	in := bufio.NewReader(resp.Body)
	if line, err := in.ReadString('\n'); err != nil || !strings.Contains(line, `"k"`) {
		t.Errorf("heard %q, %v", line, err)
	}
	f.server.dismiss()
	if line, err := in.ReadString('\n'); err == nil {
		t.Errorf("heard %q", line)
	}
}
