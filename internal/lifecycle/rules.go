// Package lifecycle says which objects have had their time, by the rules of their
// buckets, and deletes them
// (https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-lifecycle-mgmt.html).
package lifecycle

import (
	"crypto/rand"
	"encoding/xml"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/shoal-storage/shoal/internal/object"
)

// Document is the name under which a bucket's configuration is kept among its
// documents.
const Document = "lifecycle"

// maxRules is how many rules a configuration may have, maxID how long the name of
// one.
const (
	maxRules = 1000
	maxID    = 255
	// maxPrefix is how long a prefix may be, maxNewer how many versions may be kept.
	maxPrefix = 1024
	maxNewer  = 100
	// maxDays is what S3 counts days up to.
	maxDays = math.MaxInt32
	// maxTagKey and maxTagValue are how many characters the tags of objects may have.
	maxTagKey   = 128
	maxTagValue = 256
)

// Configuration is a bucket's rules, as they are set and shown.
type Configuration struct {
	XMLName xml.Name `xml:"LifecycleConfiguration"`
	Space   string   `xml:"xmlns,attr,omitempty"`
	Rules   []Rule   `xml:"Rule"`
}

// Rule says what is deleted, and when.
type Rule struct {
	ID     string  `xml:"ID,omitempty"`
	Prefix *string `xml:"Prefix,omitempty"` // before there was Filter
	Filter *Filter `xml:"Filter,omitempty"`
	Status string

	Expiration                     *Expiration           `xml:"Expiration,omitempty"`
	NoncurrentVersionExpiration    *NoncurrentExpiration `xml:"NoncurrentVersionExpiration,omitempty"`
	AbortIncompleteMultipartUpload *Abort                `xml:"AbortIncompleteMultipartUpload,omitempty"`

	Transition                  *struct{} `xml:"Transition,omitempty"`
	NoncurrentVersionTransition *struct{} `xml:"NoncurrentVersionTransition,omitempty"`

	DelMarkerExpiration   *MinIOExpiration `xml:"DelMarkerExpiration,omitempty"`
	AllVersionsExpiration *MinIOExpiration `xml:"AllVersionsExpiration,omitempty"`
}

// Filter says which objects a rule is about: one thing, or several in And.
type Filter struct {
	Prefix                *string `xml:"Prefix,omitempty"`
	Tag                   *Tag    `xml:"Tag,omitempty"`
	ObjectSizeGreaterThan *int64  `xml:"ObjectSizeGreaterThan,omitempty"`
	ObjectSizeLessThan    *int64  `xml:"ObjectSizeLessThan,omitempty"`
	And                   *And    `xml:"And,omitempty"`
}

// And is what has to hold together.
type And struct {
	Prefix                *string `xml:"Prefix,omitempty"`
	Tags                  []Tag   `xml:"Tag,omitempty"`
	ObjectSizeGreaterThan *int64  `xml:"ObjectSizeGreaterThan,omitempty"`
	ObjectSizeLessThan    *int64  `xml:"ObjectSizeLessThan,omitempty"`
}

// Tag is one that an object must have.
type Tag struct{ Key, Value *string }

// Expiration is when current versions go.
type Expiration struct {
	Days                      *int   `xml:"Days,omitempty"`
	Date                      string `xml:"Date,omitempty"`
	ExpiredObjectDeleteMarker *bool  `xml:"ExpiredObjectDeleteMarker,omitempty"` // false is kept, and does nothing
	ExpiredObjectAllVersions  bool   `xml:"ExpiredObjectAllVersions,omitempty"`  // MinIO's, refused
}

// MinIOExpiration is one that MinIO has beside those of S3. It is refused, unless it asks for
// nothing.
type MinIOExpiration struct {
	Days int `xml:"Days,omitempty"`
}

func (e *MinIOExpiration) asks() bool { return e != nil && e.Days != 0 }

// NoncurrentExpiration is when versions go that are not current.
type NoncurrentExpiration struct {
	NoncurrentDays          *int `xml:"NoncurrentDays,omitempty"`
	NewerNoncurrentVersions *int `xml:"NewerNoncurrentVersions,omitempty"`
}

// Abort is when uploads go that were not completed.
type Abort struct {
	DaysAfterInitiation int
}

// The kinds of errors of Prepare. Their texts are for the client.
var (
	ErrMalformed      = errors.New("the configuration does not have the form of one")
	ErrArgument       = errors.New("a value of the configuration is not valid")
	ErrRequest        = errors.New("the configuration asks for what cannot be")
	ErrNotImplemented = errors.New("the configuration asks for what is not supported")
)

// ErrTransition refuses to move objects to other storage classes.
var ErrTransition error = invalid{ErrNotImplemented, "Transitions to other storage classes are not supported."}

// invalid is an error of a kind, with a text of its own.
type invalid struct {
	kind error
	text string
}

func (i invalid) Error() string { return i.text }
func (i invalid) Unwrap() error { return i.kind }

// Prepare refuses what S3 does not take, and gives names to rules that have none.
func (c *Configuration) Prepare() error {
	if len(c.Rules) == 0 || len(c.Rules) > maxRules {
		return ErrMalformed
	}
	seen := make(map[string]bool)
	for i := range c.Rules {
		r := &c.Rules[i]
		if r.ID == "" {
			r.ID = strings.ToLower(rand.Text())
		}
		switch {
		case len(r.ID) > maxID:
			return invalid{ErrArgument, "ID length should not exceed allowed limit of 255"}
		case seen[r.ID]:
			return invalid{ErrArgument, "Rule ID must be unique. Found same ID for more than one rule"}
		}
		seen[r.ID] = true
		if err := r.validate(); err != nil {
			return err
		}
	}
	return nil
}

func (r *Rule) validate() error {
	switch {
	case r.Status != "Enabled" && r.Status != "Disabled", (r.Prefix == nil) == (r.Filter == nil):
		return ErrMalformed
	case r.Transition != nil || r.NoncurrentVersionTransition != nil:
		return ErrTransition
	case r.DelMarkerExpiration.asks():
		return invalid{ErrNotImplemented, "Expiration of delete markers by days (DelMarkerExpiration) is not supported."}
	case r.AllVersionsExpiration.asks(), r.Expiration != nil && r.Expiration.ExpiredObjectAllVersions:
		return invalid{ErrNotImplemented, "Expiration of all versions of an object at once is not supported."}
	case r.Expiration == nil && r.NoncurrentVersionExpiration == nil && r.AbortIncompleteMultipartUpload == nil:
		return invalid{ErrRequest, "At least one action needs to be specified in a rule"}
	}
	if err := r.Filter.validate(); err != nil {
		return err
	}
	if err := r.and().validate(); err != nil {
		return err
	}
	if err := r.Expiration.validate(r.tags()); err != nil {
		return err
	}
	if err := r.NoncurrentVersionExpiration.validate(); err != nil {
		return err
	}
	return r.AbortIncompleteMultipartUpload.validate(r.and())
}

func (n *NoncurrentExpiration) validate() error {
	switch {
	case n == nil:
		return nil
	case n.NoncurrentDays == nil:
		return ErrMalformed
	case !countable(*n.NoncurrentDays):
		return invalid{ErrArgument, "'NoncurrentDays' for NoncurrentVersionExpiration action must be a positive integer"}
	case n.NewerNoncurrentVersions != nil && (*n.NewerNoncurrentVersions < 1 || *n.NewerNoncurrentVersions > maxNewer):
		return invalid{ErrArgument, "'NewerNoncurrentVersions' for NoncurrentVersionExpiration action must be between 1 and 100"}
	}
	return nil
}

// validate checks what is done about uploads, which have neither tags nor a size.
func (a *Abort) validate(about And) error {
	switch {
	case a == nil:
		return nil
	case len(about.Tags) > 0:
		return invalid{ErrRequest, "AbortIncompleteMultipartUpload cannot be specified with Tags."}
	case about.ObjectSizeGreaterThan != nil || about.ObjectSizeLessThan != nil:
		return invalid{ErrRequest, "AbortIncompleteMultipartUpload cannot be specified with Object Size."}
	case !countable(a.DaysAfterInitiation):
		return invalid{ErrArgument, "'DaysAfterInitiation' for AbortIncompleteMultipartUpload action must be a positive integer"}
	}
	return nil
}

func (f *Filter) validate() error {
	if f == nil {
		return nil
	}
	parts := 0
	for _, there := range []bool{f.Prefix != nil, f.Tag != nil, f.ObjectSizeGreaterThan != nil, f.ObjectSizeLessThan != nil, f.And != nil} {
		if there {
			parts++
		}
	}
	if parts > 1 || f.nothing() {
		return ErrMalformed
	}
	return nil
}

// nothing reports whether it asks for several things together and names none. S3 takes no
// such filter, and of one from before nobody can say which objects were meant: no object is.
func (f *Filter) nothing() bool {
	return f != nil && f.And != nil && f.And.Prefix == nil && len(f.And.Tags) == 0 && f.And.ObjectSizeGreaterThan == nil && f.And.ObjectSizeLessThan == nil
}

func (t Tag) validate() error {
	if t.Key == nil || t.Value == nil || *t.Key == "" || utf8.RuneCountInString(*t.Key) > maxTagKey || utf8.RuneCountInString(*t.Value) > maxTagValue {
		return ErrMalformed
	}
	return nil
}

// is reports whether it is a tag of an object.
func (t Tag) is(tags map[string]string) bool {
	if t.Key == nil || t.Value == nil {
		return false
	}
	v, ok := tags[*t.Key]
	return ok && v == *t.Value
}

func (a And) validate() error {
	greater, less := a.ObjectSizeGreaterThan, a.ObjectSizeLessThan
	switch {
	case a.Prefix != nil && len(*a.Prefix) > maxPrefix:
		return invalid{ErrRequest, "The maximum size of a prefix is 1024."}
	case greater != nil && *greater < 0:
		return invalid{ErrRequest, "'ObjectSizeGreaterThan' should not be negative"}
	case less != nil && *less < 1:
		return invalid{ErrRequest, "'ObjectSizeLessThan' should be at least 1"}
	case greater != nil && less != nil && *less <= *greater:
		return invalid{ErrRequest, "'ObjectSizeLessThan' has to be a value greater than 'ObjectSizeGreaterThan'"}
	}
	seen := make(map[string]bool)
	for _, t := range a.Tags {
		if err := t.validate(); err != nil {
			return err
		}
		if seen[*t.Key] {
			return invalid{ErrRequest, "Duplicate Tag Keys are not allowed."}
		}
		seen[*t.Key] = true
	}
	return nil
}

func (e *Expiration) validate(tags []Tag) error {
	if e == nil {
		return nil
	}
	parts := 0
	for _, there := range []bool{e.Days != nil, e.Date != "", e.ExpiredObjectDeleteMarker != nil} {
		if there {
			parts++
		}
	}
	switch {
	case parts != 1:
		return ErrMalformed
	case e.Days != nil && !countable(*e.Days):
		return invalid{ErrArgument, "'Days' for Expiration action must be a positive integer"}
	case e.ExpiredObjectDeleteMarker != nil && len(tags) > 0:
		return invalid{ErrRequest, "ExpiredObjectDeleteMarker cannot be specified with Tags."}
	case e.Date != "":
		t, err := parseDate(e.Date)
		if err != nil {
			return ErrMalformed
		}
		if t != midnight(t) {
			return invalid{ErrArgument, "'Date' must be at midnight GMT"}
		}
	}
	return nil
}

func parseDate(s string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		t, err = time.Parse(time.DateOnly, s)
	}
	if err != nil {
		return t, fmt.Errorf("parse date: %w", err)
	}
	return t.UTC(), nil
}

func midnight(t time.Time) time.Time { return t.UTC().Truncate(24 * time.Hour) }

// countable reports whether something can have that many days.
func countable(days int) bool { return 1 <= days && days <= maxDays }

// due returns when something that began at a time has had its days: the midnight
// after. More than can be counted, as rules from before may have them, never end.
func due(began time.Time, days int) time.Time {
	t := began.UTC().AddDate(0, 0, min(days, maxDays))
	if t.Equal(midnight(t)) {
		return t
	}
	return midnight(t).AddDate(0, 0, 1)
}

// and returns what the rule is about, in one form.
func (r *Rule) and() And {
	switch f := r.Filter; {
	case f == nil:
		return And{Prefix: r.Prefix}
	case f.And != nil:
		return *f.And
	case f.Tag != nil:
		return And{Tags: []Tag{*f.Tag}}
	default:
		return And{Prefix: f.Prefix, ObjectSizeGreaterThan: f.ObjectSizeGreaterThan, ObjectSizeLessThan: f.ObjectSizeLessThan}
	}
}

func (r *Rule) tags() []Tag { return r.and().Tags }

// prefix returns what the keys begin with that the rule is about.
func (r *Rule) prefix() string {
	if p := r.and().Prefix; p != nil {
		return *p
	}
	return ""
}

// about reports whether the rule is about an object, apart from its tags.
func (r *Rule) about(key string, size int64) bool {
	a := r.and()
	return r.Status == "Enabled" && !r.Filter.nothing() && strings.HasPrefix(key, r.prefix()) &&
		(a.ObjectSizeGreaterThan == nil || size > *a.ObjectSizeGreaterThan) && (a.ObjectSizeLessThan == nil || size < *a.ObjectSizeLessThan)
}

// tagged reports whether an object has the tags that the rule is about.
func (r *Rule) tagged(tags []object.Tag) bool {
	have := make(map[string]string, len(tags))
	for _, t := range tags {
		have[t.Key] = t.Value
	}
	for _, t := range r.tags() {
		if !t.is(have) {
			return false
		}
	}
	return true
}

// expires returns when a current version goes; not ok if the rule says nothing of
// that.
func (r *Rule) expires(modified time.Time) (at time.Time, ok bool) {
	e := r.Expiration
	switch {
	case !e.timed():
		return at, false
	case e.Days != nil:
		return due(modified, *e.Days), true
	}
	at, err := parseDate(e.Date)
	return at, err == nil
}

// timed reports whether it says when current versions go.
func (e *Expiration) timed() bool { return e != nil && (e.Days != nil || e.Date != "") }

// removesMarkers reports whether delete markers go that have nothing below them.
func (e *Expiration) removesMarkers() bool {
	return e != nil && e.ExpiredObjectDeleteMarker != nil && *e.ExpiredObjectDeleteMarker
}

// deletes reports whether the rule is one by which versions or markers go.
func (r *Rule) deletes() bool {
	return r.Expiration.timed() || r.Expiration.removesMarkers() || r.NoncurrentVersionExpiration != nil
}

// Expires returns when a current version goes and by which rule; not ok if it
// stays.
func (c *Configuration) Expires(info *object.Info) (at time.Time, rule string, ok bool) {
	for i := range c.Rules {
		r := &c.Rules[i]
		if !r.about(info.Key, info.Size) || !r.tagged(info.Meta.Tags) {
			continue
		}
		if t, does := r.expires(info.Modified); does && (!ok || t.Before(at)) {
			at, rule, ok = t, r.ID, true
		}
	}
	return at, rule, ok
}

// Aborts returns when an upload ends that is not completed and by which rule; not
// ok if it stays.
func (c *Configuration) Aborts(up *object.Upload) (at time.Time, rule string, ok bool) {
	for i := range c.Rules {
		r := &c.Rules[i]
		a := r.AbortIncompleteMultipartUpload
		if a == nil || !r.about(up.Key, 0) {
			continue
		}
		if t := due(up.Initiated, a.DaysAfterInitiation); !ok || t.Before(at) {
			at, rule, ok = t, r.ID, true
		}
	}
	return at, rule, ok
}

// Parse reads a configuration that Prepare has accepted.
func Parse(text string) (*Configuration, error) {
	var c Configuration
	if err := xml.Unmarshal([]byte(text), &c); err != nil {
		return nil, fmt.Errorf("parse lifecycle: %w", err)
	}
	return &c, nil
}
