package erasure

import (
	"encoding/base32"
	"fmt"

	"github.com/shoal-storage/shoal/erasure/register"
	"github.com/shoal-storage/shoal/internal/object"
)

// idEncoding makes IDs of tokens that sort as these do.
func idEncoding() *base32.Encoding {
	return base32.NewEncoding("0123456789abcdefghijklmnopqrstuv").WithPadding(base32.NoPadding)
}

// versionID returns the ID of the version that was made by a token.
func versionID(made register.Token) string { return idEncoding().EncodeToString(made.Append(nil)) }

// parseVersion returns the register of a version's ID, and the token that finds it.
func parseVersion(id string) (name string, made register.Token, err error) {
	if id == object.NullVersion {
		return register.Null, made, nil
	}
	b, err := idEncoding().DecodeString(id)
	if err == nil {
		made, err = register.ParseToken(b)
	}
	if err != nil || made.IsZero() || versionID(made) != id {
		return "", register.Token{}, fmt.Errorf("%q is no version's ID", id)
	}
	return id, made, nil
}

// unknownVersion is the Kind of the error of what is no ID of a version here.
func unknownVersion(id string) object.Kind {
	if object.PossibleVersion(id) {
		return object.NoSuchVersion
	}
	return object.BadVersion
}

// nextVersion returns the register that a write to the bucket makes, which a commit
// completes by its token.
func (h *hold) nextVersion(b *bucket) (name string, made register.Token) {
	if b.Record.Versioning != object.Versioned {
		return register.Null, register.Token{}
	}
	return versionID(h.token), h.token
}

// shown returns the ID of a version as it is told.
func (b *bucket) shown(version string) string {
	if b.Record.Versioning == object.Unversioned {
		return ""
	}
	return version
}

// info returns what is told of a version.
func (b *bucket) info(ref object.Ref, r *register.Record, v *value) object.Info {
	i := v.info
	i.Bucket, i.Key, i.Version = ref.Bucket, ref.Key, b.shown(r.Version)
	return i
}

// checked runs a Check on what there is: a record, or nil.
func (b *bucket) checked(ref object.Ref, r *register.Record, check object.Check) error {
	if check == nil {
		return nil
	}
	if r == nil || r.Kind != register.Object {
		return refusedBy(check(nil))
	}
	v, err := decodeValue(r.Value)
	if err != nil {
		return err
	}
	i := b.info(ref, r, v)
	return refusedBy(check(&i))
}

// refused is the error of a Check, which is returned as it is.
type refused struct{ error }

func (r refused) Unwrap() error { return r.error }

func refusedBy(err error) error {
	if err == nil {
		return nil
	}
	return refused{err}
}
