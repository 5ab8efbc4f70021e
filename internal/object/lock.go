package object

import (
	"fmt"
	"time"
)

// RetentionMode says who may take back the retention of a version
// (https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-lock.html).
type RetentionMode uint8

// The modes.
const (
	NoRetention RetentionMode = iota
	Governance                // whoever is allowed to bypass it
	Compliance                // nobody
)

// Retention keeps a version from being deleted until a time.
type Retention struct {
	Mode  RetentionMode
	Until time.Time
}

// Active reports whether the retention keeps anything at a time.
func (r Retention) Active(now time.Time) bool {
	return r.Mode != NoRetention && now.Before(r.Until)
}

// LegalHold keeps a version from being deleted until it is lifted. The values are
// stored.
type LegalHold uint8

// The states of a hold. S3 tells one that was lifted from one that never was.
const (
	NoLegalHold LegalHold = iota
	LegalHoldOn
	LegalHoldOff
)

// Protected returns why a version must not be deleted, whoever asks: it is held, or
// retained in compliance mode. A Store asks before it deletes a version.
func (i *Info) Protected(now time.Time) error {
	switch {
	case i.Meta.LegalHold == LegalHoldOn:
		return E("delete", i.Key, Locked, fmt.Errorf("version %s has a legal hold", i.Version))
	case i.Meta.Retention.Mode == Compliance && i.Meta.Retention.Active(now):
		return E("delete", i.Key, Locked, fmt.Errorf("version %s is retained until %s", i.Version, i.Meta.Retention.Until.Format(time.RFC3339)))
	}
	return nil
}

// NotGoverned allows what is not retained in governance mode at a time. It is the
// Check of a Delete by who may not bypass that.
func NotGoverned(now time.Time) Check {
	return func(current *Info) error {
		if current != nil && current.Meta.Retention.Mode == Governance && current.Meta.Retention.Active(now) {
			return E("delete", current.Key, Locked, fmt.Errorf("version %s is retained until %s", current.Version, current.Meta.Retention.Until.Format(time.RFC3339)))
		}
		return nil
	}
}
