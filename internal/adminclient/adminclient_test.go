package adminclient_test

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shoal-storage/shoal/gateway"
	"github.com/shoal-storage/shoal/gateway/admin"
	"github.com/shoal-storage/shoal/gateway/gatewaytest"
	"github.com/shoal-storage/shoal/internal/adminclient"
	"github.com/shoal-storage/shoal/internal/logs"
	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/object/objecttest"
	"github.com/shoal-storage/shoal/internal/sse"
	"github.com/shoal-storage/shoal/internal/trace"
)

// office is a gateway with the bucket "bucket", as its root user asks it.
type office struct {
	*adminclient.Client
	url   string
	store object.Store
}

func open(t *testing.T, change func(*gateway.Config)) *office {
	t.Helper()
	var o office
	o.url = gatewaytest.Serve(t, func(cfg *gateway.Config) {
		o.store = cfg.Store
		if change != nil {
			change(cfg)
		}
	})
	o.Client = o.as(t, gatewaytest.User, gatewaytest.Secret)
	must(t, o.store.CreateBucket(t.Context(), object.Bucket{Name: "bucket", Created: time.Now()}))
	return &o
}

func (o *office) as(t *testing.T, user, secret string) *adminclient.Client {
	t.Helper()
	c, err := adminclient.New(adminclient.Config{Endpoint: o.url, AccessKey: user, Secret: secret, HTTP: http.DefaultClient, Timeout: time.Minute})
	must(t, err)
	return c
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// same fails the test if two documents differ, but for times.
func same(t *testing.T, what string, got, want any, err error) {
	t.Helper()
	if err != nil {
		t.Errorf("%s: %v", what, err)
	} else if g, w := shown(t, got), shown(t, want); !reflect.DeepEqual(g, w) {
		t.Errorf("%s is %v, want %v", what, g, w)
	}
}

// shown is a document as programs see it, without its times.
func shown(t *testing.T, v any) any {
	t.Helper()
	text, err := json.Marshal(v)
	must(t, err)
	var plain any
	must(t, json.Unmarshal(text, &plain))
	return timeless(plain)
}

func timeless(v any) any {
	switch v := v.(type) {
	case []any:
		for i := range v {
			v[i] = timeless(v[i])
		}
	case map[string]any:
		for name := range v {
			if v[name] = timeless(v[name]); name == "updated" || name == "created" || name == "uptime" {
				delete(v, name)
			}
		}
	}
	return v
}

func TestUsersAreMadeShownDisabledAndRemoved(t *testing.T) {
	o, ctx := open(t, nil), t.Context()
	must(t, o.SetUser(ctx, "ann b&c", "secret of ann", true))
	must(t, o.SetUser(ctx, "bob", "secret of bob", true))
	must(t, o.EnableUser(ctx, "bob", false))
	must(t, o.AddMembers(ctx, "devs", []string{"bob"}))
	_, err := o.Attach(ctx, adminclient.Holder{Kind: adminclient.UserKind, Name: "bob"}, []string{"readonly", "writeonly"})
	must(t, err)

	ann := adminclient.User{Name: "ann b&c", Enabled: true, Policies: []string{}, Groups: []string{}}
	bob := adminclient.User{Name: "bob", Policies: []string{"readonly", "writeonly"}, Groups: []string{"devs"}}
	users, err := o.Users(ctx)
	same(t, "the list", users, []adminclient.User{ann, bob}, err)
	user, err := o.User(ctx, "bob")
	same(t, "bob", user, bob, err)

	must(t, o.RemoveUser(ctx, "bob"))
	if _, err := o.User(ctx, "bob"); !adminclient.IsCode(err, "XMinioAdminNoSuchUser") {
		t.Errorf("who is removed: %v", err)
	}
}

func TestGroupsAreMadeWithTheirMembersAndRemovedWithoutAny(t *testing.T) {
	o, ctx := open(t, nil), t.Context()
	must(t, o.SetUser(ctx, "ann", "secret of ann", true))
	must(t, o.AddMembers(ctx, "devs", []string{"ann"}))
	must(t, o.AddMembers(ctx, "empty", nil))
	must(t, o.EnableGroup(ctx, "devs", false))
	names, err := o.Groups(ctx)
	same(t, "the list", names, []string{"devs", "empty"}, err)
	group, err := o.Group(ctx, "devs")
	same(t, "the group", group, adminclient.Group{Name: "devs", Members: []string{"ann"}, Policies: []string{}}, err)
	if err := o.RemoveGroup(ctx, "devs"); !adminclient.IsCode(err, "XMinioAdminGroupNotEmpty") {
		t.Errorf("removing a group with a member: %v", err)
	}
	must(t, o.RemoveMembers(ctx, "devs", []string{"ann"}))
	must(t, o.RemoveGroup(ctx, "devs"))
	names, err = o.Groups(ctx)
	same(t, "the list", names, []string{"empty"}, err)
}

const readHome = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:GetObject"],"Resource":["arn:aws:s3:::home/*"]}]}`

func TestPoliciesAreMadeAttachedAndTold(t *testing.T) {
	o, ctx := open(t, nil), t.Context()
	must(t, o.SetUser(ctx, "ann", "secret of ann", true))
	must(t, o.SetUser(ctx, "bob", "secret of bob", true))
	must(t, o.AddMembers(ctx, "devs", []string{"ann", "bob"}))
	must(t, o.SetPolicy(ctx, "home", json.RawMessage(readHome)))
	policy, err := o.Policy(ctx, "home")
	same(t, "the policy", policy, adminclient.Policy{Name: "home", Policy: json.RawMessage(readHome)}, err)
	all, err := o.Policies(ctx)
	if err != nil || len(all) != 6 || all[2].Name != "home" || string(all[2].Policy) != readHome {
		t.Errorf("the list is %v, %v", all, err)
	}

	ann, devs := adminclient.Holder{Kind: adminclient.UserKind, Name: "ann"}, adminclient.Holder{Kind: adminclient.GroupKind, Name: "devs"}
	eve := adminclient.Holder{Kind: adminclient.EntryKind, Name: "uid=eve,dc=example"}
	for _, to := range []adminclient.Holder{ann, devs, eve} {
		done, err := o.Attach(ctx, to, []string{"home", "readonly"})
		same(t, "what is attached to "+to.Name, done, []string{"home", "readonly"}, err)
	}
	done, err := o.Detach(ctx, ann, []string{"readonly"})
	same(t, "what is detached", done, []string{"readonly"}, err)
	for what, tt := range map[string]struct {
		of   adminclient.Selection
		want []adminclient.Attachment
	}{
		"of all":      {adminclient.Selection{}, []adminclient.Attachment{{ann, []string{"home"}}, {devs, []string{"home", "readonly"}}}},
		"of a user":   {adminclient.Selection{Users: []string{"ann"}}, []adminclient.Attachment{{ann, []string{"home"}}}},
		"of a policy": {adminclient.Selection{Policies: []string{"readonly"}}, []adminclient.Attachment{{devs, []string{"readonly"}}}},
		"of LDAP":     {adminclient.Selection{LDAP: true}, []adminclient.Attachment{{eve, []string{"home", "readonly"}}}},
		"of a member": {adminclient.Selection{Users: []string{"bob"}}, []adminclient.Attachment{}}, // what he has is the group's
		"of nobody":   {adminclient.Selection{Groups: []string{"none"}}, []adminclient.Attachment{}},
	} {
		got, err := o.Attachments(ctx, tt.of)
		same(t, "what is attached "+what, got, tt.want, err)
	}
	if err := o.RemovePolicy(ctx, "home"); !adminclient.IsCode(err, "XMinioAdminPolicyInUse") {
		t.Errorf("removing a policy that is attached: %v", err)
	}
}

func TestAccessKeysAreMadeChangedAndRemoved(t *testing.T) {
	o, ctx := open(t, nil), t.Context()
	must(t, o.SetUser(ctx, "ann", "secret of ann", true))
	soon := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	made, secret, err := o.AddAccessKey(ctx, adminclient.NewAccessKey{User: "ann", Policy: json.RawMessage(readHome), Name: "job", Description: "a job", Expires: soon})
	must(t, err)
	want := adminclient.AccessKey{AccessKey: made, User: "ann", Enabled: true, Policy: json.RawMessage(readHome), Name: "job", Description: "a job", Expires: soon}
	got, err := o.AccessKey(ctx, made)
	same(t, "the key", got, want, err)
	if _, err := o.as(t, made, secret).Users(ctx); !adminclient.IsCode(err, "AccessDenied") {
		t.Errorf("what the key may not do: %v", err)
	}

	must(t, o.EditAccessKey(ctx, made, adminclient.KeyChange{Policy: json.RawMessage("{}"), Name: "other", Enabled: new(false), Expires: &time.Time{}}))
	want.Policy, want.Name, want.Enabled, want.Expires = nil, "other", false, time.Time{}
	got, err = o.AccessKey(ctx, made)
	same(t, "the changed key", got, want, err)

	chosen, secret, err := o.AddAccessKey(ctx, adminclient.NewAccessKey{AccessKey: "roots", Secret: "a chosen secret"})
	if err != nil || chosen != "roots" || secret != "a chosen secret" {
		t.Errorf("a chosen pair came back as %s, %s, %v", chosen, secret, err)
	}
	for what, users := range map[string][]string{"ann": {"ann"}, "all": nil} {
		keys := []adminclient.AccessKey{want}
		if users == nil {
			keys = append(keys, adminclient.AccessKey{AccessKey: "roots", User: gatewaytest.User, Enabled: true})
		}
		got, err := o.AccessKeys(ctx, users)
		same(t, "the list of "+what, got, keys, err)
	}
	must(t, o.RemoveAccessKey(ctx, made))
	if _, err := o.AccessKey(ctx, made); !adminclient.IsCode(err, "XMinioAdminServiceAccountNotFound") {
		t.Errorf("a key that is removed: %v", err)
	}
}

func TestAQuotaIsSetShownAndClearedAndTheBucketCounted(t *testing.T) {
	o, ctx := open(t, nil), t.Context()
	_, err := o.store.Put(ctx, object.Ref{Bucket: "bucket", Key: "k"}, object.PutInput{Body: objecttest.NewBody([]byte("12345"), object.CRC64NVME)})
	must(t, err)
	for _, want := range []adminclient.Quota{{}, {Bytes: 1 << 40, Objects: 10}, {Objects: 3}, {}} {
		must(t, o.SetQuota(ctx, "bucket", want))
		got, err := o.Quota(ctx, "bucket")
		same(t, "the quota", got, want, err)
	}
	held := adminclient.Held{Bytes: 5, Objects: 1, Versions: 1}
	u, err := o.Usage(ctx)
	if u.Counted.IsZero() {
		t.Error("it does not say when it was counted")
	}
	u.Counted = time.Time{}
	same(t, "the usage", u, adminclient.Usage{Buckets: []adminclient.BucketUsage{{"bucket", held}}, All: 1}, err)
}

func TestTheGatewaysAreToldAndCanBeEnded(t *testing.T) {
	var ended []bool
	o, ctx := open(t, func(cfg *gateway.Config) { cfg.Admin.Stop = func(restart bool) { ended = append(ended, restart) } }), t.Context()
	host := strings.TrimPrefix(o.url, "http://")
	info, err := o.Info(ctx)
	same(t, "the info", info, adminclient.Info{Region: "us-east-1", Buckets: 1, Gateways: []adminclient.Gateway{
		{Endpoint: host, Online: true, Version: "1.2.3", Drives: []adminclient.Drive{{Path: host, Online: true}}},
	}}, err)
	for _, action := range []adminclient.Action{adminclient.Restart, adminclient.Stop} {
		for _, dry := range []bool{true, false} {
			name, err := o.Do(ctx, action, dry)
			same(t, "who ends", name, "here:9000", err)
		}
	}
	same(t, "what was done", ended, []bool{true, false}, nil)
}

func TestUsersAndConfigurationsMoveToAnotherGateway(t *testing.T) {
	from, to, ctx := open(t, nil), open(t, nil), t.Context()
	must(t, from.SetUser(ctx, "ann", "secret of ann", true))
	must(t, from.AddMembers(ctx, "devs", []string{"ann"}))
	must(t, from.SetPolicy(ctx, "home", json.RawMessage(readHome)))
	_, err := from.Attach(ctx, adminclient.Holder{Kind: adminclient.UserKind, Name: "ann"}, []string{"home"})
	must(t, err)
	_, _, err = from.AddAccessKey(ctx, adminclient.NewAccessKey{User: "ann", AccessKey: "annskey"})
	must(t, err)
	archive, err := from.ExportUsers(ctx)
	must(t, err)
	done, err := to.ImportUsers(ctx, archive)
	same(t, "what was imported", done, []adminclient.Imported{
		{Kind: "access key", Name: "annskey", Done: true},
		{Kind: "group", Name: "devs", Done: true},
		{Kind: "policies of user", Name: "ann", Done: true},
		{Kind: "policy", Name: "home", Done: true},
		{Kind: "user", Name: "ann", Done: true},
	}, err)
	if _, err := to.as(t, "ann", "secret of ann").Users(ctx); !adminclient.IsCode(err, "AccessDenied") {
		t.Errorf("who has moved is answered with %v", err)
	}

	must(t, from.SetQuota(ctx, "bucket", adminclient.Quota{Bytes: 7}))
	must(t, from.store.CreateBucket(ctx, object.Bucket{Name: "other", Versioning: object.Versioned}))
	archive, err = from.ExportBuckets(ctx, "")
	must(t, err)
	done, err = to.ImportBuckets(ctx, "bucket", archive)
	same(t, "what was imported of one bucket", done, []adminclient.Imported{{Kind: "notification", Name: "bucket", Done: true}, {Kind: "quota", Name: "bucket", Done: true}}, err)
	quota, err := to.Quota(ctx, "bucket")
	same(t, "the quota", quota, adminclient.Quota{Bytes: 7}, err)
	archive, err = from.ExportBuckets(ctx, "other")
	must(t, err)
	done, err = to.ImportBuckets(ctx, "", archive)
	same(t, "what was imported of the other", done, []adminclient.Imported{{Kind: "notification", Name: "other", Done: true}, {Kind: "versioning", Name: "other", Done: true}}, err)
}

func TestWhatIsRefusedOfAnArchiveIsTold(t *testing.T) {
	o, ctx := open(t, func(cfg *gateway.Config) { cfg.Admin.Usage = nil }), t.Context() // so there are no quotas
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	file, err := w.Create("bucket/quota.json")
	must(t, err)
	_, err = io.WriteString(file, `{"quota":1}`)
	must(t, errors.Join(err, w.Close()))
	done, err := o.ImportBuckets(ctx, "", b.Bytes())
	if err != nil || len(done) != 1 || done[0].Done || done[0].Kind != "quota" || !strings.Contains(done[0].Reason, "--single-gateway") {
		t.Errorf("%+v, %v", done, err)
	}
	if _, err := o.ImportUsers(ctx, []byte("no archive")); !adminclient.IsCode(err, "XMinioAdminInvalidArgument") {
		t.Errorf("what is no archive: %v", err)
	}
}

func TestMasterKeysAreListedAndTried(t *testing.T) {
	keys, err := sse.ParseLocal("one:" + base64.StdEncoding.EncodeToString(make([]byte, sse.KeySize)) + ",two:" + base64.StdEncoding.EncodeToString(make([]byte, sse.KeySize)))
	must(t, err)
	o, ctx := open(t, func(cfg *gateway.Config) { cfg.MasterKeys = keys }), t.Context()
	for pattern, want := range map[string][]string{"": {"one", "two"}, "t*": {"two"}, "x*": {}} {
		names, err := o.MasterKeys(ctx, pattern)
		same(t, "the list of "+pattern, names, want, err)
	}
	for name, want := range map[string]string{"": "one", "two": "two"} {
		status, err := o.MasterKey(ctx, name)
		same(t, "the status", status, adminclient.MasterKeyStatus{Name: want}, err)
	}
	if err := o.CreateMasterKey(ctx, "three"); !adminclient.IsCode(err, "NotImplemented") {
		t.Errorf("making one that is in a file: %v", err)
	}
	if _, err := open(t, nil).MasterKeys(ctx, ""); err == nil {
		t.Error("there are master keys without any")
	}
}

func TestATraceGoesOnUntilItsVisitorHasSeenEnough(t *testing.T) {
	o := open(t, nil)
	enough := errors.New("enough")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	asking := make(chan error, 1)
	go func() {
		for ctx.Err() == nil { // those before somebody listens are not told
			if _, err := o.User(ctx, "nobody"); !adminclient.IsCode(err, "XMinioAdminNoSuchUser") {
				asking <- err
				return
			}
		}
		asking <- nil
	}()
	err := o.Trace(ctx, trace.Interest{Types: trace.Internal, Errors: true, Threshold: time.Nanosecond}, func(c *trace.Call) error {
		if c.Function != "admin.AdminUserInfo" || c.Error != "XMinioAdminNoSuchUser" || c.Node != "here:9000" {
			t.Errorf("it tells of %+v", c)
		}
		return enough
	})
	cancel()
	if !errors.Is(err, enough) {
		t.Error(err)
	}
	if err := <-asking; err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestTheLogIsHeardFromItsPastOn(t *testing.T) {
	hub := logs.NewHub()
	log := slog.New(logs.NewHandler(slog.NewTextHandler(io.Discard, nil), hub, nil))
	o := open(t, func(cfg *gateway.Config) { cfg.Admin.Logs = hub })
	for i := range 3 {
		log.Info(fmt.Sprint("line ", i))
		log.Info("of a request", "request", "1234")
	}
	enough := errors.New("enough")
	var heard []string
	err := o.Logs(t.Context(), logs.Interest{Kind: logs.Process, Last: 2}, func(l *logs.Line) error {
		heard = append(heard, l.Message)
		switch len(heard) {
		case 2:
			log.Info("line 3")
		case 3:
			return enough
		}
		return nil
	})
	if want := []string{"line 1", "line 2", "line 3"}; !errors.Is(err, enough) || !slices.Equal(heard, want) {
		t.Errorf("heard %q, %v, want %q", heard, err, want)
	}
	if err := o.Logs(t.Context(), logs.Interest{Kind: "other"}, nil); err == nil {
		t.Error("a kind that is none is asked for")
	}
}

func TestWhatRefusesIsToldWithItsCode(t *testing.T) {
	o, ctx := open(t, nil), t.Context()
	must(t, o.SetUser(ctx, "ann", "secret of ann", true))
	for want, c := range map[string]*adminclient.Client{
		"AccessDenied":          o.as(t, "ann", "secret of ann"),
		"SignatureDoesNotMatch": o.as(t, "ann", "another secret"),
		"InvalidAccessKeyId":    o.as(t, "eve", "secret of eve"),
	} {
		if _, err := c.Users(ctx); !adminclient.IsCode(err, want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("want %s, got %v", want, err)
		}
	}
}

func TestAnAnswerOfSomethingElseIsNotTakenForOne(t *testing.T) {
	for what, tt := range map[string]struct {
		status int
		body   string
		want   string
	}{
		"a proxy's error": {502, "<html>no gateway</html>", "502 Bad Gateway"},
		"a web page":      {200, "<html>hello</html>", "decode the answer to list-users"},
		"an empty answer": {200, "", "decode the answer to list-users"},
	} {
		other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(tt.status)
			_, _ = io.WriteString(w, tt.body)
		}))
		c, err := adminclient.New(adminclient.Config{Endpoint: other.URL, AccessKey: "a", Secret: "b", HTTP: http.DefaultClient})
		must(t, err)
		if _, err := c.Users(t.Context()); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", what, err)
		}
		other.Close()
	}
}

func TestAnEndpointIsAURLWithoutAPath(t *testing.T) {
	for endpoint, want := range map[string]bool{
		"http://nas:9000": true, "https://nas/": true,
		"nas:9000": false, "": false, "ftp://nas": false, "http://nas/bucket": false, "http://nas?x=1": false, "http://a:b@nas": false, "http://[": false,
	} {
		if _, err := adminclient.New(adminclient.Config{Endpoint: endpoint}); (err == nil) != want {
			t.Errorf("%q: %v", endpoint, err)
		}
	}
}

func TestLocksAreThoseOfTheGateways(t *testing.T) {
	o := open(t, func(cfg *gateway.Config) {
		cfg.Admin.Locks = func(_ context.Context, most int) []admin.Lock {
			return []admin.Lock{{Name: "o/bucket/key", Exclusive: true, Age: time.Minute, Holder: "gw1:9000"}, {Name: "b/bucket", Age: time.Second, Holder: "gw2:9000"}}[:most]
		}
	})
	got, err := o.Locks(t.Context(), 2)
	must(t, err)
	want := []adminclient.Lock{{Resource: "bucket/key", Exclusive: true, Held: time.Minute, Gateway: "gw1:9000"}, {Resource: "bucket", Held: time.Second, Gateway: "gw2:9000"}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
}
