package sigv4

import (
	"bytes"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"time"
)

// Limits of a POST policy. A form's fields may have 20 KB in all.
const (
	maxPolicy     = 20 << 10 // bytes of base64
	maxConditions = 100
)

// Policy is what a POST form may contain
// (https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-HTTPPOSTConstructPolicy.html).
type Policy struct {
	Expiration time.Time
	Conditions []Condition
	// MinSize and MaxSize are the bounds of content-length-range in bytes, 0 and
	// math.MaxInt64 where it has none.
	MinSize, MaxSize int64
}

// Condition is one condition on a field of the form.
type Condition struct {
	Field  string // in lower case, without '$'
	Value  string
	Prefix bool // starts-with, otherwise the field must equal Value
}

// String returns the condition as AWS shows it in errors.
func (c Condition) String() string {
	operator := "eq"
	if c.Prefix {
		operator = "starts-with"
	}
	return fmt.Sprintf(`["%s", "$%s", "%s"]`, operator, c.Field, c.Value)
}

func (c Condition) holds(value string) bool {
	if !c.Prefix {
		return value == c.Value
	}
	if c.Field != "content-type" {
		return strings.HasPrefix(value, c.Value)
	}
	// A list of types is matched one by one.
	for one := range strings.SplitSeq(value, ",") {
		if !strings.HasPrefix(strings.TrimSpace(one), c.Value) {
			return false
		}
	}
	return true
}

func invalidPolicy(message string) error {
	return refuse(InvalidPolicy, "Invalid Policy: "+message)
}

// ParsePolicy reads the policy field of a form. Errors are *Error of the reason
// InvalidPolicy.
func ParsePolicy(encoded string) (Policy, error) {
	p := Policy{MaxSize: math.MaxInt64}
	if len(encoded) > maxPolicy {
		return Policy{}, invalidPolicy("it is too long.")
	}
	document, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return Policy{}, invalidPolicy("invalid Base64 encoding.")
	}
	var in struct {
		Expiration *string           `json:"expiration"`
		Conditions []json.RawMessage `json:"conditions"`
	}
	var members map[string]json.RawMessage
	document = standardEscapes(document)
	if decodeStrict(document, &in) != nil || decodeStrict(document, &members) != nil {
		return Policy{}, invalidPolicy("Invalid JSON.")
	}
	for name := range members { // a struct takes them in any case
		if name != "expiration" && name != "conditions" {
			return Policy{}, invalidPolicy("Unexpected: '" + name + "'.")
		}
	}
	if in.Expiration == nil {
		return Policy{}, invalidPolicy("Policy missing expiration.")
	}
	if in.Conditions == nil {
		return Policy{}, invalidPolicy("Policy missing conditions.")
	}
	if len(in.Conditions) > maxConditions {
		return Policy{}, invalidPolicy("it has too many conditions.")
	}
	if p.Expiration, err = time.Parse(time.RFC3339, *in.Expiration); err != nil {
		return Policy{}, invalidPolicy("Invalid 'expiration' value: '" + *in.Expiration + "'")
	}
	for _, raw := range in.Conditions {
		if err := p.add(raw); err != nil {
			return Policy{}, err
		}
	}
	return p, nil
}

// standardEscapes returns a policy with those escapes of its own that JSON does not have
// written as JSON has them: \$ for the sign that names of fields begin with, and \v.
func standardEscapes(document []byte) []byte {
	out := make([]byte, 0, len(document))
	for i := 0; i < len(document); i++ {
		switch rest := document[i:]; {
		case bytes.HasPrefix(rest, []byte(`\$`)):
			out, i = append(out, '$'), i+1
		case bytes.HasPrefix(rest, []byte(`\v`)):
			out, i = append(out, `\u000b`...), i+1
		case rest[0] == '\\' && len(rest) > 1:
			out, i = append(out, rest[:2]...), i+1
		default:
			out = append(out, rest[0])
		}
	}
	return out
}

func decodeStrict(document []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(document))
	d.DisallowUnknownFields()
	d.UseNumber()
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more than one value")
	}
	return nil
}

// add reads one condition: {"field": "value"} or a list of three.
func (p *Policy) add(raw json.RawMessage) error {
	if bytes.HasPrefix(raw, []byte("{")) {
		var simple map[string]string
		if decodeStrict(raw, &simple) != nil || len(simple) != 1 {
			return invalidPolicy("Invalid Simple-Condition: Simple-Conditions must have exactly one property specified.")
		}
		for name, value := range simple {
			p.Conditions = append(p.Conditions, Condition{Field: strings.ToLower(name), Value: value})
		}
		return nil
	}
	var list []any
	if decodeStrict(raw, &list) != nil {
		return invalidPolicy("Invalid condition test: must be a List or Object.")
	}
	if len(list) == 0 {
		return invalidPolicy("Invalid Condition: missing operation identifier.")
	}
	operator, ok := list[0].(string)
	if !ok {
		return invalidPolicy("Invalid Condition: unknown operation.")
	}
	if len(list) != 3 {
		return invalidPolicy("Invalid " + operator + ": wrong number of arguments.")
	}
	switch operator = strings.ToLower(operator); operator {
	case "content-length-range":
		return p.bound(list[1], list[2])
	case "eq", "starts-with":
		name, isName := list[1].(string)
		value, isValue := list[2].(string)
		if !isName || !isValue || !strings.HasPrefix(name, "$") || len(name) == 1 {
			return invalidPolicy("Invalid Condition: a match has the form [operation, $field, value].")
		}
		p.Conditions = append(p.Conditions, Condition{Field: strings.ToLower(name[1:]), Value: value, Prefix: operator == "starts-with"})
		return nil
	}
	return invalidPolicy("Invalid Condition: unknown operation '" + operator + "'.")
}

// bound takes a content-length-range into account; of several all must hold.
func (p *Policy) bound(least, most any) error {
	low, ok1 := wholeNumber(least)
	high, ok2 := wholeNumber(most)
	if !ok1 || !ok2 || low > high {
		return invalidPolicy("Invalid content-length-range.")
	}
	p.MinSize, p.MaxSize = max(p.MinSize, low), min(p.MaxSize, high)
	return nil
}

// wholeNumber reads a number, which some clients put in quotes.
func wholeNumber(v any) (int64, bool) {
	var n json.Number
	switch v := v.(type) {
	case json.Number:
		n = v
	case string:
		n = json.Number(v)
	}
	i, err := n.Int64()
	return i, err == nil && i >= 0
}

// exempt reports whether a field needs no condition.
func exempt(field string) bool {
	switch field {
	case "policy", "file", "x-amz-signature", "signature", "awsaccesskeyid":
		return true
	}
	return strings.HasPrefix(field, "x-ignore-")
}

// Check returns nil if a form meets the policy. fields holds what the form has,
// under lower-case names, with ${filename} put in, and "bucket"; size is that
// of the file in bytes, or -1 while it is not known, when the caller bounds the
// file by MinSize and MaxSize itself. Errors are *Error of the reasons
// PolicyExpired, PolicyViolated, EntityTooSmall and EntityTooLarge.
func (p Policy) Check(now time.Time, fields map[string]string, size int64) error {
	if !now.Before(p.Expiration) {
		return refuse(PolicyExpired, "Invalid according to Policy: Policy expired.")
	}
	covered := make(map[string]bool, len(p.Conditions))
	for _, c := range p.Conditions {
		if !c.holds(fields[c.Field]) {
			return refuse(PolicyViolated, "Invalid according to Policy: Policy Condition failed: "+c.String())
		}
		covered[c.Field] = true
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if !covered[name] && !exempt(name) {
			return refuse(PolicyViolated, "Invalid according to Policy: Extra input fields: "+name)
		}
	}
	return p.CheckSize(size)
}

// CheckSize returns nil if the policy allows a file of size bytes; a negative
// size is not known yet and allowed.
func (p Policy) CheckSize(size int64) error {
	switch {
	case size < 0:
	case size < p.MinSize:
		return &Error{Reason: EntityTooSmall, Message: "Your proposed upload is smaller than the minimum allowed size", Size: size, Bound: p.MinSize}
	case size > p.MaxSize:
		return &Error{Reason: EntityTooLarge, Message: "Your proposed upload exceeds the maximum allowed object size.", Size: size, Bound: p.MaxSize}
	}
	return nil
}

// ParsePost reads what a POST form says about its signature; fields has
// lower-case names
// (https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-authentication-HTTPPOST.html).
// The error is ErrAnonymous for a form without one, or an *Error.
func ParsePost(fields map[string]string) (Auth, error) {
	if fields["x-amz-signature"] == "" && fields["x-amz-credential"] == "" && fields["x-amz-algorithm"] == "" {
		return parsePostV2(fields)
	}
	for _, name := range []string{"policy", "x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-signature"} {
		if v, ok := fields[name]; v == "" && (!ok || name != "policy") { // ParsePolicy refuses an empty one
			return Auth{}, noField(name)
		}
	}
	switch fields["x-amz-algorithm"] {
	case algorithm:
	case ecdsa:
		return Auth{}, refuse(NotImplemented, "ECDSA signatures (SigV4A) are not implemented.")
	default:
		return Auth{}, refuse(FormMalformed, "Only "+algorithm+" is supported").about("X-Amz-Algorithm", fields["x-amz-algorithm"])
	}
	a := Auth{Form: true, SecurityToken: fields["x-amz-security-token"]}
	if problem := a.setCredential(fields["x-amz-credential"]); problem != "" {
		return Auth{}, refuse(FormMalformed, problem).about("x-amz-credential", fields["x-amz-credential"])
	}
	var err error
	if a.Time, err = time.Parse(timeFormat, fields["x-amz-date"]); err != nil || a.Time.Format(dateFormat) != a.Date {
		return Auth{}, refuse(FormMalformed, `X-Amz-Date must be in the ISO8601 Long Format "yyyyMMdd'T'HHmmss'Z'" and of the Credential's date`)
	}
	a.Signature = fields["x-amz-signature"]
	return a, nil
}

func noField(name string) error {
	return refuse(FormMalformed, "Bucket POST must contain a field named '"+name+"'.  If it is specified, please check the order of the fields.").about(name, "")
}

// VerifyPolicy returns nil if the policy, in base64 as the form has it, was
// signed with the secret, and an *Error of the reason SignatureMismatch
// otherwise. The caller calls CheckScope and Policy.Check too.
func (a Auth) VerifyPolicy(policy, secret string) error {
	var signature string
	if a.V2 {
		signature = signV2(policy, secret)
	} else {
		k := a.key(secret)
		sum := k.sign([]byte(policy))
		signature = string(sum[:])
	}
	if subtle.ConstantTimeCompare([]byte(signature), []byte(a.Signature)) == 1 {
		return nil
	}
	e := refuse(SignatureMismatch, "The request signature we calculated does not match the signature you provided. Check your key and signing method.")
	e.AccessKey, e.Signature, e.StringToSign = a.AccessKey, a.Signature, policy
	return e
}
