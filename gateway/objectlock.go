package gateway

import (
	"context"
	"encoding/xml"
	"errors"
	"strings"
	"time"

	"github.com/shoal-storage/shoal/internal/object"
)

// lockDocument is the document of a bucket that has Object Lock
// (https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-lock.html).
const lockDocument = "object-lock"

// Bounds of a default retention.
const (
	maxRetentionDays  = 36500
	maxRetentionYears = 100
)

// lockConfiguration is the body of Get- and PutObjectLockConfiguration.
type lockConfiguration struct {
	XMLName xml.Name  `xml:"ObjectLockConfiguration"`
	Space   string    `xml:"xmlns,attr,omitempty"`
	Enabled string    `xml:"ObjectLockEnabled"`
	Rule    *lockRule `xml:"Rule,omitempty"`
}

type lockRule struct {
	DefaultRetention *defaultRetention
}

type defaultRetention struct {
	Mode  string
	Days  *int `xml:"Days,omitempty"`
	Years *int `xml:"Years,omitempty"`
}

func (c *lockConfiguration) validate() error {
	if c.Enabled != "Enabled" {
		return errMalformedXML
	}
	if c.Rule == nil {
		return nil
	}
	d := c.Rule.DefaultRetention
	if d == nil || (d.Days == nil) == (d.Years == nil) {
		return errMalformedXML
	}
	if _, ok := parseRetentionMode(d.Mode); !ok {
		return errMalformedXML
	}
	n, most := d.Days, maxRetentionDays
	if d.Years != nil {
		n, most = d.Years, maxRetentionYears
	}
	if *n < 1 {
		return errInvalidArgument.with("Default retention period must be a positive integer value.")
	}
	if *n > most {
		return errInvalidArgument.with("Default retention period too large.")
	}
	return nil
}

// retention returns what a new version gets that asks for nothing.
func (c *lockConfiguration) retention(now time.Time) object.Retention {
	if c.Rule == nil {
		return object.Retention{}
	}
	d := c.Rule.DefaultRetention
	mode, _ := parseRetentionMode(d.Mode)
	if d.Years != nil {
		return object.Retention{Mode: mode, Until: now.AddDate(*d.Years, 0, 0)}
	}
	return object.Retention{Mode: mode, Until: now.AddDate(0, 0, *d.Days)}
}

func parseRetentionMode(name string) (object.RetentionMode, bool) {
	switch name {
	case "GOVERNANCE":
		return object.Governance, true
	case "COMPLIANCE":
		return object.Compliance, true
	}
	return object.NoRetention, false
}

func retentionMode(m object.RetentionMode) string {
	if m == object.Compliance {
		return "COMPLIANCE"
	}
	return "GOVERNANCE"
}

// retentionTime is how headers and documents tell a retention's end.
func retentionTime(t time.Time) string { return t.UTC().Format(timeFormat) }

// parseRetentionTime reads a retention's end as headers and documents tell it. As on S3, one
// that names no time zone is in UTC.
func parseRetentionTime(text string) (time.Time, bool) {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05"} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, t.UTC().Year() <= maxYear
		}
	}
	return time.Time{}, false
}

func newLockConfiguration() (string, error) {
	return encodeDocument(&lockConfiguration{Space: xmlNamespace, Enabled: "Enabled"})
}

// lockOf returns the configuration of a bucket, or nil if it has no Object Lock.
func (s *Server) lockOf(r *request, bucket string) (*lockConfiguration, error) {
	documents, err := s.documents(r, bucket)
	text, there := documents[lockDocument]
	if err != nil || !there {
		return nil, err
	}
	return parsed(&s.parsed, lockDocument, text, func(string) (*lockConfiguration, error) {
		var c lockConfiguration
		return &c, parseXML([]byte(text), &c)
	})
}

// putLockConfiguration serves PutObjectLockConfiguration. A bucket that has Object
// Lock has it for ever
// (https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObjectLockConfiguration.html).
func (s *Server) putLockConfiguration(ctx context.Context, r *request) error {
	var in lockConfiguration
	if err := s.readDocument(ctx, r, &in); err != nil {
		return err
	}
	if err := in.validate(); err != nil {
		return err
	}
	in.XMLName, in.Space = xml.Name{Local: "ObjectLockConfiguration"}, xmlNamespace
	text, err := encodeDocument(&in)
	if err != nil {
		return err
	}
	return s.setDocument(ctx, r, lockDocument, text, func(b *object.Bucket) error {
		if b.Versioning != object.Versioned {
			return errInvalidBucketState.with("Versioning must be 'Enabled' on the bucket to apply a Object Lock configuration")
		}
		return nil
	})
}

// protect gives a new version the retention and legal hold that the request asks
// for, or that the bucket gives to all. get returns a header or form field.
func (s *Server) protect(r *request, ref object.Ref, get func(name string) string, m *object.Meta) error {
	mode, until, hold := get("x-amz-object-lock-mode"), get("x-amz-object-lock-retain-until-date"), get("x-amz-object-lock-legal-hold")
	err := s.mayGive(r, ref, gifts{tags: len(m.Tags) > 0, retention: mode+until != "", hold: hold != ""})
	if err != nil {
		return err
	}
	if m.LegalHold, err = parseLegalHold(hold); err != nil {
		return err
	}
	switch {
	case mode == "" && until == "":
	case mode == "" || until == "":
		return errInvalidArgument.with("x-amz-object-lock-retain-until-date and x-amz-object-lock-mode must both be supplied")
	default:
		if m.Retention, err = s.parseRetention(mode, until); err != nil {
			return err
		}
	}
	lock, err := s.lockOf(r, r.bucket)
	switch {
	case err != nil:
		return err
	case lock == nil && mode+hold != "":
		return errInvalidRequest.with("Bucket is missing ObjectLockConfiguration")
	case lock != nil && mode == "":
		m.Retention = lock.retention(s.Now())
	}
	return nil
}

// gifts are what a request gives to a new version beside its content.
type gifts struct{ tags, retention, hold bool }

// mayGive returns nil if the sender may give a new version what takes more than may be enough to
// write: protection, which cannot be undone, and tags, by which policies may let others read
// (https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html). What the file system says
// of the writing has been asked.
func (s *Server) mayGive(r *request, ref object.Ref, to gifts) error {
	for _, needed := range [...]struct {
		action string
		asked  bool
	}{
		{"s3:PutObjectTagging", to.tags},
		{"s3:PutObjectRetention", to.retention},
		{"s3:PutObjectLegalHold", to.hold},
	} {
		if !needed.asked {
			continue
		}
		if err := s.allowByPolicy(r, needed.action, ref); err != nil {
			return err
		}
	}
	return nil
}

// mayLock refuses a content that cannot be deleted once it is there, and that the client has not declared:
// what arrives must be what was sent
// (https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html).
func mayLock(m *object.Meta, b *body, operation string) error {
	if m.Retention.Mode == object.NoRetention && m.LegalHold != object.LegalHoldOn || b.vouched() {
		return nil
	}
	return errInvalidRequest.with("Content-MD5 OR x-amz-checksum- HTTP header is required for " + operation + " requests with Object Lock parameters")
}

func parseLegalHold(status string) (object.LegalHold, error) {
	switch status {
	case "":
		return object.NoLegalHold, nil
	case "ON":
		return object.LegalHoldOn, nil
	case "OFF":
		return object.LegalHoldOff, nil
	}
	return 0, errInvalidArgument.with("Legal Hold must be either of 'ON' or 'OFF'").
		detailed("ArgumentName", "x-amz-object-lock-legal-hold").detailed("ArgumentValue", status)
}

// parseRetention reads a mode and an end, which must lie ahead.
func (s *Server) parseRetention(mode, until string) (object.Retention, error) {
	m, ok := parseRetentionMode(mode)
	if !ok {
		return object.Retention{}, errInvalidArgument.with("Unknown wormMode directive.").
			detailed("ArgumentName", "x-amz-object-lock-mode").detailed("ArgumentValue", mode)
	}
	t, ok := parseRetentionTime(until)
	if !ok {
		return object.Retention{}, errInvalidArgument.with("The retain until date must be provided in ISO 8601 format").
			detailed("ArgumentName", "x-amz-object-lock-retain-until-date").detailed("ArgumentValue", until)
	}
	if !t.After(s.Now()) {
		return object.Retention{}, errInvalidArgument.with("The retain until date must be in the future!").
			detailed("ArgumentName", "x-amz-object-lock-retain-until-date").detailed("ArgumentValue", until)
	}
	return object.Retention{Mode: m, Until: t.UTC()}, nil
}

// legalHold is S3's word for a hold that there is or was.
func legalHold(h object.LegalHold) string {
	if h == object.LegalHoldOn {
		return "ON"
	}
	return "OFF"
}

// setLock tells who may know it how a version is protected.
func (s *Server) setLock(r *request, ref object.Ref, m *object.Meta) {
	if m.Retention.Mode != object.NoRetention && s.allow(r, "s3:GetObjectRetention", ref) == nil {
		r.set("x-amz-object-lock-mode", retentionMode(m.Retention.Mode))
		r.set("x-amz-object-lock-retain-until-date", retentionTime(m.Retention.Until))
	}
	if m.LegalHold != object.NoLegalHold && s.allow(r, "s3:GetObjectLegalHold", ref) == nil {
		r.set("x-amz-object-lock-legal-hold", legalHold(m.LegalHold))
	}
}

// lockable returns the version that a request on its protection is about.
func (s *Server) lockable(r *request) (object.Ref, error) {
	ref, err := r.version()
	if err != nil {
		return ref, err
	}
	lock, err := s.lockOf(r, r.bucket)
	if err == nil && lock == nil {
		err = errInvalidRequest.with("Bucket is missing Object Lock Configuration")
	}
	return ref, err
}

// statLockable looks at the version that a request on its protection is about.
func (s *Server) statLockable(ctx context.Context, r *request) (object.Info, error) {
	ref, err := r.version()
	if err != nil {
		return object.Info{}, err
	}
	info, err := s.Store.Stat(ctx, ref)
	if err == nil {
		r.setVersion(info.Version)
		_, err = s.lockable(r)
	}
	return info, err
}

// readProtection reads the document of a version's protection. Unlike others that are missing,
// S3 says of it that it is malformed.
func (s *Server) readProtection(ctx context.Context, r *request, v any) error {
	err := s.readDocument(ctx, r, v)
	if errors.Is(err, errMissingBody) {
		return errMalformedXML
	}
	return err
}

// retentionDocument is the body of Get- and PutObjectRetention.
type retentionDocument struct {
	XMLName         xml.Name `xml:"Retention"`
	Mode            string
	RetainUntilDate string
}

// getObjectRetention serves GetObjectRetention
// (https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObjectRetention.html).
func (s *Server) getObjectRetention(ctx context.Context, r *request) error {
	info, err := s.statLockable(ctx, r)
	if err != nil {
		return err
	}
	if info.Meta.Retention.Mode == object.NoRetention {
		return errNoLock
	}
	w := newXML("Retention")
	w.text("Mode", retentionMode(info.Meta.Retention.Mode))
	w.text("RetainUntilDate", retentionTime(info.Meta.Retention.Until))
	r.answerXML(w.end("Retention"))
	return nil
}

// putObjectRetention serves PutObjectRetention
// (https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObjectRetention.html).
func (s *Server) putObjectRetention(ctx context.Context, r *request) error {
	var in retentionDocument
	if err := s.readProtection(ctx, r, &in); err != nil {
		return err
	}
	stated := map[string]string{"x-amz-object-lock-mode": in.Mode, "x-amz-object-lock-retain-until-date": in.RetainUntilDate}
	if err := s.authoriseStated(r, stated); err != nil {
		return err
	}
	ref, err := s.lockable(r)
	if err != nil {
		return err
	}
	want, err := s.retentionIn(&in)
	if err != nil {
		return err
	}
	bypass := s.bypasses(r, ref)
	info, err := s.Store.Update(ctx, ref, func(m *object.Meta) error {
		if !mayRetain(m.Retention, want, s.LockNow(), bypass) {
			return errObjectLocked
		}
		m.Retention = want
		return nil
	})
	r.setVersion(info.Version)
	return err
}

// retentionIn returns the retention that a document asks for: none, if it is empty.
func (s *Server) retentionIn(in *retentionDocument) (object.Retention, error) {
	if in.Mode == "" && in.RetainUntilDate == "" {
		return object.Retention{}, nil
	}
	_, known := parseRetentionMode(in.Mode)
	_, readable := parseRetentionTime(in.RetainUntilDate)
	if !known || !readable {
		return object.Retention{}, errMalformedXML
	}
	return s.parseRetention(in.Mode, in.RetainUntilDate)
}

// mayRetain reports whether a retention may become another one: it may always be
// extended, and otherwise only where it is over or, in governance mode, bypassed.
func mayRetain(is, want object.Retention, now time.Time, bypass bool) bool {
	switch {
	case !is.Active(now):
		return true
	case want.Mode == is.Mode && !want.Until.Before(is.Until):
		return true
	}
	return is.Mode == object.Governance && bypass
}

// bypasses reports whether the sender asks to bypass governance mode, and may.
func (s *Server) bypasses(r *request, ref object.Ref) bool {
	return strings.EqualFold(r.header("x-amz-bypass-governance-retention"), "true") && s.allow(r, "s3:BypassGovernanceRetention", ref) == nil
}

// governed is what a delete by the sender has to be checked for: nothing, if it is
// of no version or in no bucket with Object Lock, or if it bypasses governance mode.
func (s *Server) governed(r *request, ref object.Ref) (object.Check, error) {
	if ref.Version == "" {
		return nil, nil
	}
	lock, err := s.lockOf(r, ref.Bucket)
	if err != nil || lock == nil || s.bypasses(r, ref) {
		return nil, err
	}
	return object.NotGoverned(s.LockNow()), nil
}

// legalHoldDocument is the body of Get- and PutObjectLegalHold.
type legalHoldDocument struct {
	XMLName xml.Name `xml:"LegalHold"`
	Status  string
}

// getObjectLegalHold serves GetObjectLegalHold
// (https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObjectLegalHold.html).
func (s *Server) getObjectLegalHold(ctx context.Context, r *request) error {
	info, err := s.statLockable(ctx, r)
	if err != nil {
		return err
	}
	if info.Meta.LegalHold == object.NoLegalHold {
		return errNoLock
	}
	w := newXML("LegalHold")
	w.text("Status", legalHold(info.Meta.LegalHold))
	r.answerXML(w.end("LegalHold"))
	return nil
}

// putObjectLegalHold serves PutObjectLegalHold
// (https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObjectLegalHold.html).
func (s *Server) putObjectLegalHold(ctx context.Context, r *request) error {
	var in legalHoldDocument
	if err := s.readProtection(ctx, r, &in); err != nil {
		return err
	}
	if err := s.authoriseStated(r, map[string]string{"x-amz-object-lock-legal-hold": in.Status}); err != nil {
		return err
	}
	hold, err := parseLegalHold(in.Status)
	if err != nil || hold == object.NoLegalHold {
		return errMalformedXML
	}
	ref, err := s.lockable(r)
	if err != nil {
		return err
	}
	info, err := s.Store.Update(ctx, ref, func(m *object.Meta) error {
		m.LegalHold = hold
		return nil
	})
	r.setVersion(info.Version)
	return err
}
