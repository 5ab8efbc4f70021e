package object

import "strings"

// IfMatch allows an operation on an object whose ETag is one of etags, which
// is the value of an If-Match header: ETags with or without quotes, separated
// by commas, or "*" for any. Where there is no object it fails with the Kind
// absent, otherwise with PreconditionFailed.
func IfMatch(etags string, absent Kind) Check {
	return func(current *Info) error {
		switch {
		case current == nil:
			return E("if-match", "", absent, nil)
		case !MatchETag(etags, current.ETag):
			return E("if-match", current.Key, PreconditionFailed, nil)
		}
		return nil
	}
}

// IfNoneMatch allows an operation where there is no object, or one whose ETag
// is none of etags.
func IfNoneMatch(etags string) Check {
	return func(current *Info) error {
		if current != nil && MatchETag(etags, current.ETag) {
			return E("if-none-match", current.Key, PreconditionFailed, nil)
		}
		return nil
	}
}

// All allows what every check that is not nil allows; it returns nil if there
// is none.
func All(checks ...Check) Check {
	var some []Check
	for _, c := range checks {
		if c != nil {
			some = append(some, c)
		}
	}
	switch len(some) {
	case 0:
		return nil
	case 1:
		return some[0]
	}
	return func(current *Info) error {
		for _, c := range some {
			if err := c(current); err != nil {
				return err
			}
		}
		return nil
	}
}

// MatchETag reports whether etag is in a list such as an If-Match header holds
// (RFC 9110 section 13.1.1). Weak tags compare by their opaque part.
func MatchETag(list, etag string) bool {
	for item := range strings.SplitSeq(list, ",") {
		item = strings.TrimPrefix(strings.TrimSpace(item), "W/")
		if item == "*" || strings.Trim(item, `"`) == etag {
			return true
		}
	}
	return false
}
