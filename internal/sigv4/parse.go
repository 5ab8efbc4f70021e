package sigv4

import (
	"strconv"
	"strings"
	"time"
)

// Parse reads what a request says about its signature, from the Authorization
// header (sigv4-auth-using-authorization-header.html) or the query
// (sigv4-query-string-auth.html). The error is ErrAnonymous, with only
// PayloadHash set in the Auth, or an *Error.
func Parse(r Request) (Auth, error) {
	authorization := r.Header.Get("Authorization")
	q, err := authQuery(r.Query)
	if err != nil {
		return Auth{}, err
	}
	switch {
	case authorization != "" && (q.has(qAlgorithm) || q.has(qV2Signature)):
		return Auth{}, refuse(SeveralMechanisms, "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, "+
			"Signature query string parameter or the Authorization header should be specified")
	case authorization != "":
		return parseHeader(r.Header, authorization)
	case q.has(qAlgorithm) || q.has(qSignature) || q.has(qCredential):
		return parseQuery(r.Header, q)
	case q.has(qV2Signature) && q.has(qV2AccessKey):
		return parseV2(q)
	}
	a := Auth{PayloadHash: r.Header.Get(contentSHA256)}
	if _, err := ParsePayload(a.PayloadHash); err != nil {
		return a, err
	}
	return a, ErrAnonymous
}

func errV2() error {
	return refuse(UnsupportedV2, "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.")
}

func malformedHeader(message string) error {
	return refuse(HeaderMalformed, "The authorization header is malformed; "+message)
}

// parseHeader reads an Authorization header.
func parseHeader(h Header, value string) (Auth, error) {
	scheme, rest, spaced := strings.Cut(value, " ")
	switch {
	case !spaced:
		return Auth{}, refuse(UnsupportedType, "Authorization header is invalid -- one and only one ' ' (space) required.").about("Authorization", value)
	case scheme == algorithm:
	case scheme == ecdsa:
		return Auth{}, refuse(NotImplemented, "ECDSA signatures (SigV4A) are not implemented.")
	case scheme == "AWS":
		return Auth{}, errV2()
	default:
		return Auth{}, refuse(UnsupportedType, "Unsupported Authorization Type").about("Authorization", scheme)
	}
	credential, signed, signature, problem := components(rest)
	if problem != "" {
		return Auth{}, malformedHeader(problem)
	}
	var a Auth
	if problem := a.setCredential(credential); problem != "" {
		return Auth{}, malformedHeader(problem)
	}
	if problem := a.setSigned(signed, signature); problem != "" {
		return Auth{}, malformedHeader(problem)
	}
	var err error
	if a.Time, err = signingTime(h); err != nil {
		return Auth{}, err
	}
	if a.Time.Format(dateFormat) != a.Date {
		return Auth{}, malformedHeader(`Invalid credential date "` + a.Date + `". This date is not the same as X-Amz-Date: "` + a.Time.Format(dateFormat) + `".`)
	}
	a.SecurityToken = h.Get("X-Amz-Security-Token")
	a.PayloadHash = h.Get(contentSHA256)
	return a, a.checkPayload()
}

// checkPayload refuses a request whose payload hash is missing where it must
// not be, or is nothing that AWS knows.
func (a Auth) checkPayload() error {
	if a.PayloadHash == "" {
		if a.Service != service {
			return nil
		}
		return refuse(MissingContentSHA256, "Missing required header for this request: "+contentSHA256)
	}
	_, err := ParsePayload(a.PayloadHash)
	return err
}

// components takes apart "Credential=..., SignedHeaders=..., Signature=...",
// which may come in any order, with or without spaces, each once; it returns
// what is wrong with them.
func components(s string) (credential, signed, signature, problem string) {
	if strings.Count(s, ",") != 2 {
		return "", "", "", "the authorization header requires three components: Credential, SignedHeaders, and Signature."
	}
	for item := range strings.SplitSeq(s, ",") {
		item = strings.TrimSpace(item)
		name, value, ok := strings.Cut(item, "=")
		if !ok {
			return "", "", "", `the authorization component "` + item + `" is malformed.`
		}
		switch name {
		case "Credential":
			credential = value
		case "SignedHeaders":
			signed = value
		case "Signature":
			signature = value
		}
	}
	switch {
	case credential == "":
		problem = "missing Credential."
	case signed == "":
		problem = "missing SignedHeaders."
	case signature == "":
		problem = "missing Signature."
	}
	return credential, signed, signature, problem
}

// setCredential reads "KEY/YYYYMMDD/REGION/SERVICE/aws4_request"; it returns
// what is wrong with it. It is read from its end, for an access key may hold
// slashes.
func (a *Auth) setCredential(s string) string {
	var found [4]string
	rest := s
	for i := range found {
		slash := strings.LastIndexByte(rest, '/')
		if slash < 0 {
			return malformedCredential
		}
		rest, found[i] = rest[:slash], rest[slash+1:]
	}
	a.AccessKey, a.Service, a.Region, a.Date = rest, found[1], found[2], found[3]
	switch {
	case a.AccessKey == "" || a.Service == "":
		return malformedCredential
	case found[0] != terminator:
		return `incorrect terminal "` + found[0] + `". This endpoint uses "` + terminator + `".`
	case !isDate(a.Date):
		return `incorrect date format "` + a.Date + `". This date in the credential must be in the format "yyyyMMdd".`
	}
	return ""
}

const malformedCredential = `the Credential is mal-formed; expecting "<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request".`

// isDate reports whether s has the eight digits of a scope's date.
func isDate(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return len(s) == len(dateFormat)
}

// setSigned takes the list of signed headers and the signature; it returns what
// is wrong with the list.
func (a *Auth) setSigned(headers, signature string) string {
	if strings.Count(headers, ";") >= maxSignedHeaders {
		return "too many signed headers."
	}
	a.SignedHeaders = strings.Split(headers, ";")
	host := false
	for _, name := range a.SignedHeaders {
		if name == "" || strings.ContainsAny(name, ": \t\r\n") {
			return "the SignedHeaders are mal-formed."
		}
		host = host || name == "host"
	}
	if !host {
		return `'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.`
	}
	a.Signature = signature // of any form: one that cannot be right is a wrong one, as in S3
	return ""
}

// signingTime returns when a request was signed: X-Amz-Date, or the Date header
// where there is none.
func signingTime(h Header) (time.Time, error) {
	if v := h.Get("X-Amz-Date"); v != "" {
		if t, err := time.Parse(timeFormat, v); err == nil {
			return t, nil
		}
	} else if v := h.Get("Date"); v != "" {
		for _, layout := range []string{time.RFC1123, time.RFC1123Z, timeFormat, time.RFC850, time.ANSIC} {
			if t, err := time.Parse(layout, v); err == nil {
				return t.UTC(), nil
			}
		}
	}
	return time.Time{}, refuse(MissingDate, "AWS authentication requires a valid Date or x-amz-date header")
}

// The query parameters that make a presigned URL.
const (
	qAlgorithm = iota
	qCredential
	qDate
	qExpires
	qSignedHeaders
	qSignature
	qSecurityToken
	qContentSHA256
	qV2Signature
	qV2AccessKey
	qV2Expires
	qV2SecurityToken
	qCount
)

func authParameter(name string) (int, bool) {
	switch name {
	case "X-Amz-Algorithm":
		return qAlgorithm, true
	case "X-Amz-Credential":
		return qCredential, true
	case "X-Amz-Date":
		return qDate, true
	case "X-Amz-Expires":
		return qExpires, true
	case "X-Amz-SignedHeaders":
		return qSignedHeaders, true
	case signatureParameter:
		return qSignature, true
	case "X-Amz-Security-Token":
		return qSecurityToken, true
	case v2Token:
		return qV2SecurityToken, true
	case "X-Amz-Content-Sha256":
		return qContentSHA256, true
	case "Signature":
		return qV2Signature, true
	case "AWSAccessKeyId":
		return qV2AccessKey, true
	case "Expires":
		return qV2Expires, true
	}
	return 0, false
}

// authValues holds the decoded values of those parameters.
type authValues struct {
	value [qCount]string
	there [qCount]bool
}

func (q *authValues) has(i int) bool { return q.there[i] }

// authQuery finds the parameters of a signature in a query. One that is there
// twice is refused, so that nobody can read another than was checked.
func authQuery(raw string) (*authValues, error) {
	var q authValues
	for raw != "" {
		var item string
		item, raw, _ = strings.Cut(raw, "&")
		name, value, _ := strings.Cut(item, "=")
		if !strings.HasPrefix(name, "X-") && !strings.HasPrefix(name, "S") && !strings.HasPrefix(name, "A") && name != "Expires" && name != v2Token && !strings.Contains(name, "%") {
			continue
		}
		i, ok := authParameter(decode(name, true))
		if !ok {
			continue
		}
		if q.there[i] {
			return nil, refuse(QueryMalformed, "A parameter of the signature is given twice.")
		}
		q.value[i], q.there[i] = decode(value, true), true
	}
	return &q, nil
}

func malformedQuery(message string) error { return refuse(QueryMalformed, message) }

// parseQuery reads the parameters of a presigned URL.
func parseQuery(h Header, q *authValues) (Auth, error) {
	for _, i := range []int{qAlgorithm, qCredential, qDate, qExpires, qSignedHeaders, qSignature} {
		if q.value[i] == "" {
			return Auth{}, malformedQuery("Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, " +
				"X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters.")
		}
	}
	switch q.value[qAlgorithm] {
	case algorithm:
	case ecdsa:
		return Auth{}, refuse(NotImplemented, "ECDSA signatures (SigV4A) are not implemented.")
	default:
		return Auth{}, malformedQuery(`X-Amz-Algorithm only supports "` + algorithm + `"`)
	}
	a := Auth{Presigned: true, SecurityToken: q.value[qSecurityToken]}
	if problem := a.setCredential(q.value[qCredential]); problem != "" {
		return Auth{}, malformedQuery("Error parsing the X-Amz-Credential parameter; " + problem)
	}
	if problem := a.setSigned(q.value[qSignedHeaders], q.value[qSignature]); problem != "" {
		return Auth{}, malformedQuery(problem)
	}
	var err error
	if a.Time, err = time.Parse(timeFormat, q.value[qDate]); err != nil {
		return Auth{}, malformedQuery(`X-Amz-Date must be in the ISO8601 Long Format "yyyyMMdd'T'HHmmss'Z'"`)
	}
	if a.Time.Format(dateFormat) != a.Date {
		return Auth{}, malformedQuery(`Invalid credential date "` + a.Date + `". This date is not the same as X-Amz-Date: "` + a.Time.Format(dateFormat) + `".`)
	}
	if a.Expires, err = parseExpires(q.value[qExpires]); err != nil {
		return Auth{}, err
	}
	// SDKs may move the header into the query, as they do with others.
	a.PayloadHash = q.value[qContentSHA256]
	if a.PayloadHash == "" {
		a.PayloadHash = h.Get(contentSHA256)
	}
	if a.PayloadHash == "" {
		a.PayloadHash = unsignedPayload
	}
	return a, a.checkPayload()
}

// parseExpires reads the life of a presigned URL, in seconds from 1 to a week.
func parseExpires(s string) (time.Duration, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	switch {
	case err != nil:
		return 0, malformedQuery("X-Amz-Expires should be a number")
	case n < 0:
		return 0, malformedQuery("X-Amz-Expires must be non-negative")
	case n == 0:
		return 0, malformedQuery("X-Amz-Expires must be at least one second")
	case n > int64(MaxExpires/time.Second):
		return 0, malformedQuery("X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be less than 604800 seconds")
	}
	return time.Duration(n) * time.Second, nil
}
