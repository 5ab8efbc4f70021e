package iam

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// condition is one key of an operator
// (https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html).
type condition struct {
	key      string
	values   []string
	compare  comparison
	not      bool // it holds where no value compares
	ifExists bool // it holds where the request lacks the key
	null     bool // it is about whether the request has the key
	set      set
}

// comparison compares a value of the request with one of the policy.
type comparison func(have, want string) bool

// set says how several values of the request count.
type set uint8

const (
	single set = iota // as if there were one: any may do
	forAll            // each must do; none is fine
	forAny            // one must do
)

// parseCondition reads one key of an operator.
func parseCondition(operator, key string, values []string) (c condition, err error) {
	c.key, c.values = canonicalKey(key), values
	if !isConditionKey(c.key) {
		return c, errConditional
	}
	if len(values) == 0 {
		return c, fmt.Errorf("%w : %s of no values", errCondition, operator)
	}
	name := operator
	for prefix, s := range map[string]set{"ForAllValues:": forAll, "ForAnyValue:": forAny} {
		if rest, ok := strings.CutPrefix(name, prefix); ok {
			name, c.set = rest, s
		}
	}
	if rest, ok := strings.CutSuffix(name, "IfExists"); ok {
		name, c.ifExists = rest, true
	}
	if name == "Null" {
		if c.null = !c.ifExists; !c.null {
			return c, fmt.Errorf("%w : %s", errCondition, operator)
		}
		return c, c.validate(parsesAsBool)
	}
	c.compare, c.not, err = comparisonOf(name)
	if err != nil {
		return c, fmt.Errorf("%w : %s", errCondition, operator)
	}
	switch {
	case strings.HasPrefix(name, "Numeric"):
		err = c.validate(func(v string) bool { _, err := strconv.ParseFloat(v, 64); return err == nil })
	case strings.HasPrefix(name, "Date"):
		err = c.validate(func(v string) bool { _, ok := parseTime(v); return ok })
	case name == "Bool":
		err = c.validate(parsesAsBool)
	case name == "IpAddress", name == "NotIpAddress":
		if c.validate(func(v string) bool { _, ok := parsePrefix(v); return ok }) != nil {
			err = errAddress
		}
	}
	return c, err
}

// isConditionKey reports whether a key is of those that policies of buckets know: the
// global ones, and S3's own
// (https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazons3.html#amazons3-policy-keys).
func isConditionKey(key string) bool {
	name, ok := strings.CutPrefix(key, "s3:")
	if !ok {
		return strings.HasPrefix(key, "aws:") || strings.HasPrefix(key, "kms:") || strings.HasPrefix(key, "saml:") || strings.HasPrefix(key, "jwt:") || strings.HasPrefix(key, "ldap:")
	}
	name, _, _ = strings.Cut(name, "/")
	return strings.HasPrefix(name, "x-amz-") || slices.Contains(strings.Fields(s3Keys), name)
}

// misspelled reports whether a key is named like the global ones and is none of them: a statement with
// it would never apply, or always.
func misspelled(key string) bool {
	name, global := strings.CutPrefix(key, "aws:")
	name, _, _ = strings.Cut(name, "/")
	return global && !slices.Contains(strings.Fields(globalKeys), name)
}

// globalKeys are the condition keys of all services, also those that no request to this one has, and
// those of MinIO (https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html).
const globalKeys = ` assumedroot calledvia calledviafirst calledvialast chatbotsourcearn currenttime ec2instancesourceprivateipv4
 ec2instancesourcevpc epochtime federatedprovider groups ismcpserviceaction multifactorauthage multifactorauthpresent
 principalaccount principalarn principalisawsservice principalorgid principalorgpaths principalservicename
 principalservicenameslist principaltag principaltype referer requestedregion requesttag resourceaccount resourceorgid
 resourceorgpaths resourcetag securetransport sourceaccount sourcearn sourceidentity sourceip sourceorgid sourceorgpaths
 sourceowner sourcevpc sourcevpcarn sourcevpce tagkeys tokenissuetime useragent userid username viaawsmcpservice
 viaawsservice vpceaccount vpceorgid vpceorgpaths vpcsourceip `

// s3Keys are S3's own condition keys, but for those of headers.
const s3Keys = ` accesspointnetworkorigin authtype dataaccesspointaccount dataaccesspointarn delimiter existingobjecttag
 inventoryaccessibleoptionalfields jobsuspendedcause locationconstraint max-keys object-lock-legal-hold object-lock-mode
 object-lock-remaining-retention-days object-lock-retain-until-date prefix requestjoboperation requestjobpriority
 requestobjecttag requestobjecttagkeys resourceaccount signatureage signatureversion tlsversion versionid if-match if-none-match
 objectcreationoperation `

// comesWith reports whether requests for an action may have a condition key. Those that are not named here, and
// patterns of actions, S3 does not look at so closely.
func comesWith(key, action string) bool {
	var actions string
	switch key {
	case "s3:prefix", "s3:delimiter", "s3:max-keys":
		actions = ` listbucket listbucketversions `
	case "s3:x-amz-acl":
		actions = ` putobject putobjectacl putobjectversionacl putbucketacl createbucket `
	case "s3:versionid":
		actions = ` getobjectversion getobjectversionacl getobjectversionattributes getobjectversiontagging getobjectversiontorrent
 deleteobjectversion deleteobjectversiontagging putobjectversionacl putobjectversiontagging `
	default:
		return true
	}
	name, _ := strings.CutPrefix(strings.ToLower(action), "s3:")
	return strings.ContainsAny(name, "*?") || slices.Contains(strings.Fields(actions), name)
}

func parsesAsBool(v string) bool {
	return strings.EqualFold(v, "true") || strings.EqualFold(v, "false")
}

// validate refuses values that the operator cannot compare with, but for those
// with variables.
func (c *condition) validate(fits func(string) bool) error {
	for _, v := range c.values {
		if !fits(v) && !strings.Contains(v, "${") {
			return fmt.Errorf("Invalid value for condition key %s: %s", c.key, v) //nolint:staticcheck,revive // for the client
		}
	}
	return nil
}

// comparisonOf returns what an operator compares by, and whether it is the
// opposite.
func comparisonOf(name string) (c comparison, not bool, err error) {
	base := name
	for _, pair := range [][2]string{{"StringNot", "String"}, {"NumericNot", "Numeric"}, {"DateNot", "Date"}, {"ArnNot", "Arn"}, {"NotIp", "Ip"}} {
		if rest, ok := strings.CutPrefix(name, pair[0]); ok {
			base, not = pair[1]+rest, true
		}
	}
	switch base {
	case "StringEquals":
		c = equals
	case "StringEqualsIgnoreCase":
		c = strings.EqualFold
	case "StringLike", "ArnEquals", "ArnLike":
		c = func(have, want string) bool { return wild(want, have) }
	case "Bool":
		c = strings.EqualFold
	case "BinaryEquals":
		c = binaryEquals
	case "IpAddress":
		c = inPrefix
	default:
		c = ordered(base)
	}
	if c == nil || not && base == "Bool" {
		return nil, false, errCondition
	}
	return c, not, nil
}

// ordered returns the comparison of an operator of numbers or dates, or nil.
func ordered(name string) comparison {
	for kind, diff := range map[string]func(have, want string) (int, bool){"Numeric": numbers, "Date": times} {
		rest, ok := strings.CutPrefix(name, kind)
		if !ok {
			continue
		}
		var fits func(int) bool
		switch rest {
		case "Equals":
			fits = func(d int) bool { return d == 0 }
		case "LessThan":
			fits = func(d int) bool { return d < 0 }
		case "LessThanEquals":
			fits = func(d int) bool { return d <= 0 }
		case "GreaterThan":
			fits = func(d int) bool { return d > 0 }
		case "GreaterThanEquals":
			fits = func(d int) bool { return d >= 0 }
		default:
			return nil
		}
		return func(have, want string) bool {
			d, ok := diff(have, want)
			return ok && fits(d)
		}
	}
	return nil
}

func numbers(have, want string) (int, bool) {
	h, err1 := strconv.ParseFloat(have, 64)
	w, err2 := strconv.ParseFloat(want, 64)
	switch {
	case err1 != nil || err2 != nil:
		return 0, false
	case h < w:
		return -1, true
	case h > w:
		return 1, true
	}
	return 0, true
}

func times(have, want string) (int, bool) {
	h, ok1 := parseTime(have)
	w, ok2 := parseTime(want)
	return h.Compare(w), ok1 && ok2
}

// parseTime reads a date of ISO 8601, or seconds since 1970.
func parseTime(s string) (time.Time, bool) {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04Z07:00", "2006-01-02", "2006-01", "2006"} {
		if t, err := time.Parse(layout, s); err == nil && (layout != "2006" || len(s) == 4) {
			return t, true
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return time.Unix(n, 0), err == nil
}

func binaryEquals(have, want string) bool {
	h, err1 := base64.StdEncoding.DecodeString(have)
	w, err2 := base64.StdEncoding.DecodeString(want)
	return err1 == nil && err2 == nil && bytes.Equal(h, w)
}

func parsePrefix(s string) (netip.Prefix, bool) {
	if !strings.Contains(s, "/") {
		addr, err := netip.ParseAddr(s)
		return netip.PrefixFrom(addr, addr.BitLen()), err == nil
	}
	p, err := netip.ParsePrefix(s)
	return p, err == nil
}

func inPrefix(have, want string) bool {
	addr, err := netip.ParseAddr(have)
	p, ok := parsePrefix(want)
	return err == nil && ok && p.Contains(addr.Unmap())
}

func equals(have, want string) bool { return same(want, have) }

// holds reports whether the condition is met.
func (c *condition) holds(r *Request, variables bool) bool {
	have := r.value(c.key)
	if c.null {
		return strings.EqualFold(c.values[0], "true") == (len(have) == 0)
	}
	if len(have) == 0 {
		// What is not there is no value that an opposite could be about.
		return c.ifExists || c.set == forAll || c.set == single && c.not
	}
	want := c.values
	if variables && slices.ContainsFunc(want, func(v string) bool { return strings.Contains(v, "${") }) {
		want = make([]string, len(c.values))
		for i, v := range c.values {
			want[i] = expand(v, r)
		}
	}
	does := func(v string) bool {
		return slices.ContainsFunc(want, func(w string) bool { return c.compare(v, w) }) != c.not
	}
	if c.set == forAll || c.set == single && c.not {
		return !slices.ContainsFunc(have, func(v string) bool { return !does(v) })
	}
	return slices.ContainsFunc(have, does)
}
