package lifecycle_test

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shoal-storage/shoal/internal/lifecycle"
	"github.com/shoal-storage/shoal/internal/lock"
	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/object/objecttest"
)

const bucket = "bucket-one"

func rules(inside ...string) string {
	var b strings.Builder
	for _, r := range inside {
		b.WriteString("<Rule>" + r + "</Rule>")
	}
	return "<LifecycleConfiguration>" + b.String() + "</LifecycleConfiguration>"
}

func prepare(text string) (*lifecycle.Configuration, error) {
	var c lifecycle.Configuration
	if err := xml.Unmarshal([]byte(text), &c); err != nil {
		return nil, err
	}
	return &c, c.Prepare()
}

const enabled = "<Status>Enabled</Status><Filter></Filter>"

func filtered(filter string) string { return "<Status>Enabled</Status><Filter>" + filter + "</Filter>" }

func TestAConfigurationThatS3WouldRefuseIsRefused(t *testing.T) {
	day := "<Expiration><Days>1</Days></Expiration>"
	for _, tt := range []struct {
		want error
		text string
	}{
		{nil, rules(enabled + day)},
		{nil, rules("<Status>Disabled</Status><Prefix></Prefix>" + day)},
		{nil, rules(enabled + "<Expiration><Date>2030-01-01T00:00:00Z</Date></Expiration>")},
		{nil, rules(enabled + "<Expiration><ExpiredObjectDeleteMarker>false</ExpiredObjectDeleteMarker></Expiration>")},
		{nil, rules("<Status>Enabled</Status><Filter><And><Prefix>a</Prefix><Tag><Key>k</Key><Value>v</Value></Tag></And></Filter>" + day)},
		{lifecycle.ErrMalformed, rules()},
		{lifecycle.ErrMalformed, rules("<Status>Enabled</Status>" + day)},
		{lifecycle.ErrMalformed, rules("<Prefix></Prefix>" + enabled + day)},
		{lifecycle.ErrMalformed, rules("<Status>On</Status><Filter></Filter>" + day)},
		{lifecycle.ErrMalformed, rules(enabled + "<Expiration></Expiration>")},
		{lifecycle.ErrMalformed, rules(enabled + "<Expiration><Days>1</Days><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>")},
		{lifecycle.ErrMalformed, rules(enabled + "<Expiration><Days>1</Days><ExpiredObjectDeleteMarker>false</ExpiredObjectDeleteMarker></Expiration>")},
		{lifecycle.ErrMalformed, rules(enabled + "<Expiration><Date>2030-01-01T00:00:00Z</Date><ExpiredObjectDeleteMarker>false</ExpiredObjectDeleteMarker></Expiration>")},
		{lifecycle.ErrMalformed, rules(enabled + "<Expiration><Date>soon</Date></Expiration>")},
		{lifecycle.ErrMalformed, rules("<Status>Enabled</Status><Filter><Prefix>a</Prefix><ObjectSizeLessThan>1</ObjectSizeLessThan></Filter>" + day)},
		{lifecycle.ErrMalformed, rules(enabled + "<NoncurrentVersionExpiration><NewerNoncurrentVersions>1</NewerNoncurrentVersions></NoncurrentVersionExpiration>")},
		{lifecycle.ErrMalformed, rules(filtered("<And/>") + day)},
		{lifecycle.ErrMalformed, rules(filtered("<Tag/>") + day)},
		{lifecycle.ErrMalformed, rules(filtered("<Tag><Key>k</Key></Tag>") + day)},
		{lifecycle.ErrMalformed, rules(filtered("<Tag><Value>v</Value></Tag>") + day)},
		{lifecycle.ErrMalformed, rules(filtered("<And><Prefix>p</Prefix><Tag><Key></Key><Value>v</Value></Tag></And>") + day)},
		{lifecycle.ErrMalformed, rules(filtered("<Tag><Key>"+strings.Repeat("ä", 129)+"</Key><Value>v</Value></Tag>") + day)},
		{lifecycle.ErrMalformed, rules(filtered("<Tag><Key>k</Key><Value>"+strings.Repeat("ä", 257)+"</Value></Tag>") + day)},
		{nil, rules(filtered("<Tag><Key>"+strings.Repeat("ä", 128)+"</Key><Value>"+strings.Repeat("ä", 256)+"</Value></Tag>") + day)},
		{nil, rules(filtered("<Tag><Key>k</Key><Value></Value></Tag>") + day)},
		{lifecycle.ErrRequest, rules(enabled)},
		{lifecycle.ErrRequest, rules("<Status>Enabled</Status><Filter><Tag><Key>k</Key><Value>v</Value></Tag></Filter><AbortIncompleteMultipartUpload><DaysAfterInitiation>1</DaysAfterInitiation></AbortIncompleteMultipartUpload>")},
		{lifecycle.ErrRequest, rules("<Status>Enabled</Status><Filter><And><Tag><Key>k</Key><Value>v</Value></Tag><Tag><Key>k</Key><Value>w</Value></Tag></And></Filter>" + day)},
		{lifecycle.ErrRequest, rules("<Status>Enabled</Status><Filter><Tag><Key>k</Key><Value>v</Value></Tag></Filter><Expiration><ExpiredObjectDeleteMarker>false</ExpiredObjectDeleteMarker></Expiration>")},
		{lifecycle.ErrRequest, rules("<Status>Enabled</Status><Filter><ObjectSizeLessThan>9</ObjectSizeLessThan></Filter><AbortIncompleteMultipartUpload><DaysAfterInitiation>1</DaysAfterInitiation></AbortIncompleteMultipartUpload>")},
		{lifecycle.ErrRequest, rules("<Status>Enabled</Status><Filter><ObjectSizeLessThan>0</ObjectSizeLessThan></Filter>" + day)},
		{lifecycle.ErrRequest, rules("<Status>Enabled</Status><Filter><And><ObjectSizeGreaterThan>5</ObjectSizeGreaterThan><ObjectSizeLessThan>5</ObjectSizeLessThan></And></Filter>" + day)},
		{nil, rules("<Status>Enabled</Status><Filter><Prefix>" + strings.Repeat("p", 1024) + "</Prefix></Filter>" + day)},
		{lifecycle.ErrRequest, rules("<Status>Enabled</Status><Filter><Prefix>" + strings.Repeat("p", 1025) + "</Prefix></Filter>" + day)},
		{nil, rules(enabled + "<NoncurrentVersionExpiration><NoncurrentDays>1</NoncurrentDays><NewerNoncurrentVersions>100</NewerNoncurrentVersions></NoncurrentVersionExpiration>")},
		{lifecycle.ErrArgument, rules(enabled + "<NoncurrentVersionExpiration><NoncurrentDays>1</NoncurrentDays><NewerNoncurrentVersions>101</NewerNoncurrentVersions></NoncurrentVersionExpiration>")},
		{lifecycle.ErrArgument, rules(enabled + "<Expiration><Days>0</Days></Expiration>")},
		{nil, rules(enabled + "<Expiration><Days>2147483647</Days></Expiration>")},
		{lifecycle.ErrArgument, rules(enabled + "<Expiration><Days>2147483648</Days></Expiration>")},
		{lifecycle.ErrArgument, rules(enabled + "<NoncurrentVersionExpiration><NoncurrentDays>9223372036854775807</NoncurrentDays></NoncurrentVersionExpiration>")},
		{lifecycle.ErrArgument, rules(enabled + "<AbortIncompleteMultipartUpload><DaysAfterInitiation>106751991167300</DaysAfterInitiation></AbortIncompleteMultipartUpload>")},
		{lifecycle.ErrArgument, rules(enabled + "<Expiration><Date>2030-01-01T01:00:00Z</Date></Expiration>")},
		{lifecycle.ErrArgument, rules("<ID>a</ID>"+enabled+day, "<ID>a</ID>"+enabled+day)},
		{lifecycle.ErrArgument, rules("<ID>" + strings.Repeat("x", 256) + "</ID>" + enabled + day)},
		{lifecycle.ErrArgument, rules(enabled + "<AbortIncompleteMultipartUpload><DaysAfterInitiation>0</DaysAfterInitiation></AbortIncompleteMultipartUpload>")},
		{nil, rules(enabled + "<Expiration><Days>1</Days><ExpiredObjectAllVersions>false</ExpiredObjectAllVersions></Expiration><DelMarkerExpiration></DelMarkerExpiration>")},
		{lifecycle.ErrNotImplemented, rules(enabled + "<Expiration><Days>1</Days><ExpiredObjectAllVersions>true</ExpiredObjectAllVersions></Expiration>")},
		{lifecycle.ErrNotImplemented, rules(enabled + day + "<AllVersionsExpiration><Days>1</Days></AllVersionsExpiration>")},
		{lifecycle.ErrNotImplemented, rules(enabled + day + "<DelMarkerExpiration><Days>1</Days></DelMarkerExpiration>")},
		{lifecycle.ErrNotImplemented, rules(enabled + "<DelMarkerExpiration><Days>1</Days></DelMarkerExpiration>")},
		{lifecycle.ErrNotImplemented, rules(enabled + "<Transition><Days>1</Days><StorageClass>GLACIER</StorageClass></Transition>")},
	} {
		if _, err := prepare(tt.text); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.text, err, tt.want)
		}
	}
}

func TestARuleWithoutANameGetsOne(t *testing.T) {
	c, err := prepare(rules(enabled+"<Expiration><Days>1</Days></Expiration>", enabled+"<Expiration><Days>2</Days></Expiration>"))
	if err != nil || c.Rules[0].ID == "" || c.Rules[0].ID == c.Rules[1].ID {
		t.Errorf("got %+v, %v", c, err)
	}
}

func TestAnObjectExpiresAtTheMidnightAfterItsDays(t *testing.T) {
	c, err := prepare(rules("<ID>late</ID>"+enabled+"<Expiration><Days>3</Days></Expiration>",
		"<ID>early</ID><Status>Enabled</Status><Filter><Prefix>tmp/</Prefix></Filter><Expiration><Days>1</Days></Expiration>",
		"<ID>off</ID><Status>Disabled</Status><Filter></Filter><Expiration><Days>1</Days></Expiration>"))
	if err != nil {
		t.Fatal(err)
	}
	made := time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC)
	for key, want := range map[string]string{"k": "2026-02-07T00:00:00Z late", "tmp/k": "2026-02-05T00:00:00Z early"} {
		at, rule, ok := c.Expires(&object.Info{Key: key, Modified: made})
		if got := at.Format(time.RFC3339) + " " + rule; !ok || got != want {
			t.Errorf("%s: %s, %v; want %s", key, got, ok, want)
		}
	}
	if at, _, _ := c.Expires(&object.Info{Key: "k", Modified: time.Date(2026, 2, 3, 0, 0, 0, 0, time.UTC)}); at.Day() != 6 {
		t.Errorf("of midnight itself: %v", at)
	}
}

func TestAnUploadEndsAtTheMidnightAfterItsDays(t *testing.T) {
	abort := func(days int) string {
		return fmt.Sprintf("<AbortIncompleteMultipartUpload><DaysAfterInitiation>%d</DaysAfterInitiation></AbortIncompleteMultipartUpload>", days)
	}
	c, err := prepare(rules("<ID>late</ID>"+enabled+abort(3),
		"<ID>early</ID><Status>Enabled</Status><Filter><Prefix>tmp/</Prefix></Filter>"+abort(1),
		"<ID>off</ID><Status>Disabled</Status><Filter></Filter>"+abort(1),
		"<ID>objects</ID>"+enabled+"<Expiration><Days>1</Days></Expiration>"))
	if err != nil {
		t.Fatal(err)
	}
	upload := func(key string, hour int) *object.Upload {
		return &object.Upload{UploadRef: object.UploadRef{Ref: object.Ref{Bucket: bucket, Key: key}}, Initiated: time.Date(2026, 2, 3, hour, 0, 0, 0, time.UTC)}
	}
	for key, want := range map[string]string{"k": "2026-02-07T00:00:00Z late", "tmp/k": "2026-02-05T00:00:00Z early"} {
		at, rule, ok := c.Aborts(upload(key, 4))
		if got := at.Format(time.RFC3339) + " " + rule; !ok || got != want {
			t.Errorf("%s: %s, %v; want %s", key, got, ok, want)
		}
	}
	if at, _, _ := c.Aborts(upload("k", 0)); at.Day() != 6 {
		t.Errorf("of midnight itself: %v", at)
	}
	c.Rules = c.Rules[2:]
	if at, rule, ok := c.Aborts(upload("k", 4)); ok {
		t.Errorf("an upload that stays: %v by %s", at, rule)
	}
}

// TestMoreDaysThanCanBeCountedNeverEnd: rules from before may have them.
func TestMoreDaysThanCanBeCountedNeverEnd(t *testing.T) {
	end := time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)
	for _, days := range []int{math.MaxInt32, math.MaxInt32 + 1, 106751991167300, 213503982334601, math.MaxInt64 - 1, math.MaxInt64} {
		c, err := lifecycle.Parse(rules(enabled + fmt.Sprintf("<Expiration><Days>%d</Days></Expiration>"+
			"<AbortIncompleteMultipartUpload><DaysAfterInitiation>%[1]d</DaysAfterInitiation></AbortIncompleteMultipartUpload>", days)))
		if err != nil {
			t.Fatal(err)
		}
		if at, _, ok := c.Expires(&object.Info{Key: "k", Modified: time.Now()}); !ok || at.Before(end) {
			t.Errorf("an object after %d days: %v, %v", days, at, ok)
		}
		if at, _, ok := c.Aborts(&object.Upload{Initiated: time.Now()}); !ok || at.Before(end) {
			t.Errorf("an upload after %d days: %v, %v", days, at, ok)
		}
	}
}

// TestAFilterFromBeforeThatNamesNothingIsAboutNothing, and not about every object.
func TestAFilterFromBeforeThatNamesNothingIsAboutNothing(t *testing.T) {
	for _, filter := range []string{"<And></And>", "<Tag><Key></Key><Value></Value></Tag>", "<Tag></Tag>", "<And><Tag></Tag></And>"} {
		c, err := lifecycle.Parse(rules(filtered(filter) + "<Expiration><Days>1</Days></Expiration>"))
		if err != nil {
			t.Fatal(err)
		}
		for _, tags := range [][]object.Tag{nil, {{Key: "k", Value: "v"}}} {
			if at, _, ok := c.Expires(&object.Info{Key: "k", Meta: object.Meta{Tags: tags}}); ok {
				t.Errorf("%s: an object with the tags %v expires at %s", filter, tags, at)
			}
		}
	}
	c, err := lifecycle.Parse(rules(filtered("<And></And>") + "<AbortIncompleteMultipartUpload><DaysAfterInitiation>1</DaysAfterInitiation></AbortIncompleteMultipartUpload>"))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, ok := c.Aborts(&object.Upload{}); ok {
		t.Error("an upload ends")
	}
}

// shelf is a store with one bucket.
type shelf struct {
	object.Store
	t *testing.T
}

func newShelf(t *testing.T, versioning object.Versioning, text string) *shelf {
	t.Helper()
	s := &shelf{objecttest.NewMemory(), t}
	if _, err := prepare(text); err != nil {
		t.Fatal(err)
	}
	s.must(s.CreateBucket(t.Context(), object.Bucket{Name: bucket, Versioning: versioning, Documents: map[string]string{lifecycle.Document: text}}))
	return s
}

func (s *shelf) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *shelf) put(key string, size int, tags ...object.Tag) object.Info {
	s.t.Helper()
	info, err := s.Put(s.t.Context(), object.Ref{Bucket: bucket, Key: key}, object.PutInput{Body: objecttest.NewBody(make([]byte, size), object.CRC32), Meta: object.Meta{Tags: tags}})
	s.must(err)
	return info
}

func (s *shelf) remove(key string) {
	s.t.Helper()
	_, err := s.Delete(s.t.Context(), object.Ref{Bucket: bucket, Key: key}, nil)
	s.must(err)
}

// after sweeps as if so many days had gone by, and returns what was done.
func (s *shelf) after(days int, dryRun bool) []string {
	s.t.Helper()
	var done []string
	sweep := &lifecycle.Sweep{Store: s.Store, Now: time.Now().AddDate(0, 0, days), DryRun: dryRun, Done: func(a lifecycle.Action, ref object.Ref, _ object.Deleted) {
		done = append(done, fmt.Sprintf("%s %s", a, ref.Key))
	}}
	s.must(sweep.Run(s.t.Context()))
	return done
}

func (s *shelf) is(what string, got []string, want ...string) {
	s.t.Helper()
	if !slices.Equal(got, want) {
		s.t.Errorf("%s: %q, want %q", what, got, want)
	}
}

func (s *shelf) keys() []string {
	s.t.Helper()
	page, err := s.ListVersions(s.t.Context(), object.VersionQuery{Bucket: bucket, Limit: 1000})
	s.must(err)
	var all []string
	for _, v := range page.Versions {
		text := v.Key
		if v.Marker {
			text += " marker"
		}
		all = append(all, text)
	}
	return all
}

func TestObjectsExpireByPrefixTagsAndSize(t *testing.T) {
	s := newShelf(t, object.Unversioned, rules(
		"<Status>Enabled</Status><Filter><Prefix>log/</Prefix></Filter><Expiration><Days>2</Days></Expiration>",
		"<Status>Enabled</Status><Filter><Tag><Key>tmp</Key><Value>yes</Value></Tag></Filter><Expiration><Days>1</Days></Expiration>",
		"<Status>Enabled</Status><Filter><ObjectSizeGreaterThan>100</ObjectSizeGreaterThan></Filter><Expiration><Days>1</Days></Expiration>"))
	s.put("keep", 1)
	s.put("large", 101)
	s.put("log/a", 1)
	s.put("tagged", 1, object.Tag{Key: "tmp", Value: "yes"})
	s.put("tagged otherwise", 1, object.Tag{Key: "tmp", Value: "no"})
	s.is("at once", s.after(0, false))
	s.is("a dry run", s.after(4, true), "expire large", "expire log/a", "expire tagged")
	s.is("after 2 days", s.after(2, false), "expire large", "expire tagged")
	s.is("after 4 days", s.after(4, false), "expire log/a")
	s.is("left", s.keys(), "keep", "tagged otherwise")
}

func TestVersionsExpireByAgeAndNumber(t *testing.T) {
	s := newShelf(t, object.Versioned, rules(enabled+
		"<NoncurrentVersionExpiration><NoncurrentDays>1</NoncurrentDays><NewerNoncurrentVersions>2</NewerNoncurrentVersions></NoncurrentVersionExpiration>"))
	for range 5 {
		s.put("k", 1)
	}
	s.put("l", 1)
	s.is("at once", s.after(0, false))
	s.is("after 2 days", s.after(2, false), "expire noncurrent k", "expire noncurrent k")
	s.is("left", s.keys(), "k", "k", "k", "l")
}

func TestAnExpiredObjectLeavesAMarkerThatGoesWhenItIsAlone(t *testing.T) {
	s := newShelf(t, object.Versioned, rules(enabled+"<Expiration><Days>1</Days></Expiration>",
		enabled+"<NoncurrentVersionExpiration><NoncurrentDays>1</NoncurrentDays></NoncurrentVersionExpiration>"))
	s.put("k", 1)
	s.is("after 2 days", s.after(2, false), "expire k")
	s.is("left", s.keys(), "k marker", "k")
	s.is("after 4 days", s.after(4, false), "expire noncurrent k")
	s.is("the marker alone", s.after(6, false), "remove marker k")
	s.is("left", s.keys())
}

func TestMarkersGoByARuleOfTheirOwn(t *testing.T) {
	s := newShelf(t, object.Versioned, rules(enabled+"<Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>"))
	s.remove("alone")
	s.put("covered", 1)
	s.remove("covered")
	s.put("current", 1)
	s.is("done", s.after(0, false), "remove marker alone")
	s.is("left", s.keys(), "covered marker", "covered", "current")
}

// unlisted is a Store whose versions nobody is to list.
type unlisted struct {
	object.Store
	t *testing.T
}

func (u unlisted) ListVersions(ctx context.Context, q object.VersionQuery) (object.VersionPage, error) {
	u.t.Error("the versions were listed")
	return u.Store.ListVersions(ctx, q)
}

func TestARuleThatKeepsMarkersDoesNothing(t *testing.T) {
	text := rules(enabled + "<Expiration><ExpiredObjectDeleteMarker>false</ExpiredObjectDeleteMarker></Expiration>")
	s := newShelf(t, object.Versioned, text)
	s.remove("alone")
	info := s.put("k", 1)
	kept := s.Store
	s.Store = unlisted{kept, t}
	s.is("after a year", s.after(365, false))
	s.Store = kept
	s.is("left", s.keys(), "alone marker", "k")
	c, err := lifecycle.Parse(text)
	s.must(err)
	if at, rule, ok := c.Expires(&info); ok {
		t.Errorf("it expires at %v by %s", at, rule)
	}
}

func TestMarkersAloneStayBesideARuleThatKeepsThem(t *testing.T) {
	s := newShelf(t, object.Versioned, rules(enabled+"<Expiration><ExpiredObjectDeleteMarker>false</ExpiredObjectDeleteMarker></Expiration>",
		enabled+"<NoncurrentVersionExpiration><NoncurrentDays>1</NoncurrentDays></NoncurrentVersionExpiration>"))
	s.remove("alone")
	s.put("k", 1)
	s.put("k", 1)
	s.is("after 2 days", s.after(2, false), "expire noncurrent k")
	s.is("left", s.keys(), "alone marker", "k")
}

func TestUploadsEndThatWereNotCompleted(t *testing.T) {
	s := newShelf(t, object.Unversioned, rules(
		"<Status>Enabled</Status><Filter><Prefix>up/</Prefix></Filter><AbortIncompleteMultipartUpload><DaysAfterInitiation>1</DaysAfterInitiation></AbortIncompleteMultipartUpload>"))
	for _, key := range []string{"other", "up/k"} {
		_, err := s.CreateUpload(t.Context(), object.Upload{UploadRef: object.UploadRef{Ref: object.Ref{Bucket: bucket, Key: key}}, Algorithm: object.CRC32})
		s.must(err)
	}
	s.is("at once", s.after(0, false))
	s.is("after 2 days", s.after(2, false), "abort upload up/k")
	page, err := s.ListUploads(t.Context(), object.UploadQuery{Bucket: bucket, Limit: 10})
	if err != nil || len(page.Uploads) != 1 || page.Uploads[0].Key != "other" {
		t.Errorf("left: %+v, %v", page, err)
	}
}

func TestWhatIsLockedStays(t *testing.T) {
	s := newShelf(t, object.Versioned, rules(enabled+"<NoncurrentVersionExpiration><NoncurrentDays>1</NoncurrentDays></NoncurrentVersionExpiration>"))
	for key, meta := range map[string]object.Meta{
		"held":     {LegalHold: object.LegalHoldOn},
		"governed": {Retention: object.Retention{Mode: object.Governance, Until: time.Now().AddDate(1, 0, 0)}},
	} {
		_, err := s.Put(t.Context(), object.Ref{Bucket: bucket, Key: key}, object.PutInput{Body: objecttest.NewBody(nil, object.CRC32), Meta: meta})
		s.must(err)
		s.put(key, 1)
	}
	s.is("after 2 days", s.after(2, false))
	s.is("left", s.keys(), "governed", "governed", "held", "held")
}

// changing is a Store in which an object is replaced just before it is deleted.
type changing struct {
	object.Store
	s *shelf
}

func (c changing) Delete(ctx context.Context, ref object.Ref, check object.Check) (object.Deleted, error) {
	c.s.put(ref.Key, 2)
	return c.Store.Delete(ctx, ref, check)
}

func TestAnObjectThatWasReplacedMeanwhileStays(t *testing.T) {
	s := newShelf(t, object.Unversioned, rules(enabled+"<Expiration><Days>1</Days></Expiration>"))
	s.put("k", 1)
	s.Store = changing{s.Store, s}
	s.is("done", s.after(2, false))
	s.is("left", s.keys(), "k")
}

// TestOneWorkerOfManySweepsAfterEachMidnight runs two on one Locker for three days.
func TestOneWorkerOfManySweepsAfterEachMidnight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShelf(t, object.Unversioned, rules(enabled+"<Expiration><Days>1</Days></Expiration>"))
		locker := lock.NewLocal(1)
		defer locker.Close()
		ctx, stop := context.WithCancel(t.Context())
		expired := make(chan time.Time, 10)
		over := make(chan struct{})
		for range 2 {
			w := &lifecycle.Worker{Store: s.Store, Locker: locker, Log: slog.New(slog.DiscardHandler), Now: time.Now, Done: func(context.Context, lifecycle.Action, object.Ref, object.Deleted) { expired <- time.Now() }}
			go func() { w.Run(ctx); over <- struct{}{} }()
		}
		time.Sleep(time.Hour)
		s.put("k", 1)
		time.Sleep(72 * time.Hour)
		stop()
		<-over
		<-over
		close(expired)
		var all []time.Time
		for at := range expired {
			all = append(all, at)
		}
		if len(all) != 1 || all[0].Sub(all[0].Truncate(24*time.Hour)) > time.Hour {
			t.Errorf("expired at %v", all)
		}
	})
}

func FuzzPrepare(f *testing.F) {
	f.Add(rules(enabled + "<Expiration><Days>1</Days></Expiration>"))
	f.Fuzz(func(t *testing.T, text string) {
		c, err := prepare(text)
		if err != nil {
			return
		}
		b, err := xml.Marshal(c)
		if err != nil {
			t.Skip("names that XML cannot have")
		}
		if again, err := lifecycle.Parse(string(b)); err != nil || len(again.Rules) != len(c.Rules) {
			t.Errorf("%q does not come back: %v", b, err)
		}
		c.Expires(&object.Info{Key: "k", Modified: time.Unix(0, 0)})
	})
}

// meanwhile is a Store in which a client does something once just before a version is deleted.
type meanwhile struct {
	object.Store
	client func()
}

func (m *meanwhile) Delete(ctx context.Context, ref object.Ref, check object.Check) (object.Deleted, error) {
	if f := m.client; f != nil {
		m.client = nil
		f()
	}
	return m.Store.Delete(ctx, ref, check)
}

// undoing is a Store in which a client does something just before it is looked which version is current.
type undoing struct {
	object.Store
	client func()
}

func (u *undoing) Stat(ctx context.Context, ref object.Ref) (object.Info, error) {
	if f := u.client; f != nil {
		u.client = nil
		f()
	}
	return u.Store.Stat(ctx, ref)
}

func TestWhatAClientPutsOrBringsBackMeanwhileIsNotDeleted(t *testing.T) {
	const past = "<NoncurrentVersionExpiration><NoncurrentDays>1</NoncurrentDays></NoncurrentVersionExpiration>"
	suspend := func(s *shelf) {
		s.must(s.UpdateBucket(s.t.Context(), bucket, func(b *object.Bucket) error { b.Versioning = object.Suspended; return nil }))
	}
	for name, c := range map[string]struct {
		rule    string
		prepare func(s *shelf) (meanwhile func())
		undoes  bool
	}{
		"a null marker is an object": {"<Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>", func(s *shelf) func() {
			suspend(s)
			s.remove("k")
			return func() { s.put("k", 7) }
		}, false},
		"a null version is another one": {past, func(s *shelf) func() {
			suspend(s)
			s.put("k", 1)
			s.must(s.UpdateBucket(s.t.Context(), bucket, func(b *object.Bucket) error { b.Versioning = object.Versioned; return nil }))
			s.put("k", 2)
			suspend(s)
			return func() { s.put("k", 7) }
		}, false},
		"a version is current again": {past, func(s *shelf) func() {
			s.put("k", 7)
			marker, err := s.Delete(s.t.Context(), object.Ref{Bucket: bucket, Key: "k"}, nil)
			s.must(err)
			return func() {
				_, err := s.Delete(s.t.Context(), object.Ref{Bucket: bucket, Key: "k", Version: marker.Version}, nil)
				s.must(err)
			}
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := newShelf(t, object.Versioned, rules(enabled+c.rule))
			client := *s
			then := c.prepare(&client)
			if s.Store = (&meanwhile{client.Store, then}); c.undoes {
				s.Store = &undoing{client.Store, then}
			}
			s.after(3, false)
			if info, err := client.Stat(t.Context(), object.Ref{Bucket: bucket, Key: "k"}); err != nil || info.Size != 7 {
				t.Errorf("it is %d bytes, %v", info.Size, err)
			}
		})
	}
}
