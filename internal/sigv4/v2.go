package sigv4

import (
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // version 2 is defined by it, and HMAC does not rest on collisions
	"crypto/subtle"
	"encoding/base64"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Version 2 is read in presigned URLs and forms: botocore still makes those for
// every endpoint that is not AWS's own, unless it is told not to, and they sign no
// content in version 4 either. In headers it is read by ParseV2 alone
// (https://docs.aws.amazon.com/AmazonS3/latest/userguide/RESTAuthentication.html).

// ParseV2 reads an Authorization header of version 2, which signs no content. Errors are as
// those of Parse.
func ParseV2(r Request) (Auth, error) {
	credential, spaced := strings.CutPrefix(r.Header.Get("Authorization"), "AWS ")
	key, signature, split := strings.Cut(credential, ":")
	if !spaced || !split || key == "" || signature == "" || strings.Contains(credential, " ") {
		return Auth{}, refuse(HeaderMalformed, "AWS authorization header is invalid.  Expected AwsAccessKeyId:signature")
	}
	a := Auth{AccessKey: key, Signature: signature, V2: true, SecurityToken: r.Header.Get(v2Token), PayloadHash: r.Header.Get(contentSHA256)}
	if a.PayloadHash == "" {
		a.PayloadHash = unsignedPayload
	}
	payload, err := ParsePayload(a.PayloadHash)
	if err != nil {
		return Auth{}, err
	}
	if payload.Mode.SignsChunks() { // which is done by version 4
		return Auth{}, errV2()
	}
	a.Time, err = signingTimeV2(r.Header)
	return a, err
}

// signingTimeV2 is signingTime for version 2, in which x-amz-date has any of the forms of Date.
func signingTimeV2(h Header) (time.Time, error) {
	if v := h.Get(v2Date); v != "" {
		h = Fields{{"Date", v}}
	}
	return signingTime(h)
}

// v2Date is the header that stands for Date where a client cannot set that.
const v2Date = "x-amz-date"

// parseV2 reads the parameters of a presigned URL of version 2.
func parseV2(q *authValues) (Auth, error) {
	for _, i := range []int{qV2AccessKey, qV2Signature, qV2Expires} {
		if q.value[i] == "" {
			return Auth{}, refuse(QueryV2Malformed, "Query-string authentication requires the Signature, Expires and AWSAccessKeyId parameters")
		}
	}
	end, err := strconv.ParseInt(q.value[qV2Expires], 10, 64)
	if err != nil || end < 0 {
		return Auth{}, refuse(QueryV2Malformed, "Invalid date (should be seconds since epoch): "+q.value[qV2Expires])
	}
	return Auth{
		AccessKey: q.value[qV2AccessKey], Signature: q.value[qV2Signature], Presigned: true, V2: true,
		Time: time.Unix(end, 0), PayloadHash: unsignedPayload, SecurityToken: q.value[qV2SecurityToken],
	}, nil
}

// verifyV2 is verify for version 2. All x-amz- headers are signed, so that nobody can add one.
func (a *Auth) verifyV2(r Request, secret string, now time.Time) error {
	if err := a.checkTimeV2(now); err != nil {
		return err
	}
	toSign := a.stringToSignV2(r, false)
	// Clients differ on how to sign a parameter without a value that is sent with a '='.
	for _, signed := range []string{toSign, a.stringToSignV2(r, true)} {
		if subtle.ConstantTimeCompare([]byte(signV2(signed, secret)), []byte(a.Signature)) == 1 {
			return nil
		}
	}
	e := refuse(SignatureMismatch, "The request signature we calculated does not match the signature you provided. Check your key and signing method.")
	e.AccessKey, e.Signature, e.StringToSign = a.AccessKey, a.Signature, toSign
	return e
}

// checkTimeV2 is checkTime for version 2, in which the Time of a presigned URL is its end.
func (a *Auth) checkTimeV2(now time.Time) error {
	if !a.Presigned {
		return a.checkTime(now)
	}
	if !now.After(a.Time) {
		return nil
	}
	e := refuse(Expired, "Request has expired")
	e.RequestTime, e.ServerTime = a.Time, now
	return e
}

// parsePostV2 is ParsePost for a form without the fields of version 4
// (https://docs.aws.amazon.com/AmazonS3/latest/userguide/HTTPPOSTForms.html).
// Such a form says no time; the policy has its end.
func parsePostV2(fields map[string]string) (Auth, error) {
	if fields["signature"] == "" && fields["awsaccesskeyid"] == "" {
		return Auth{}, ErrAnonymous
	}
	for _, name := range []string{"policy", "signature", "AWSAccessKeyId"} {
		if v, ok := fields[strings.ToLower(name)]; v == "" && (!ok || name != "policy") { // ParsePolicy refuses an empty one
			return Auth{}, noField(name)
		}
	}
	return Auth{
		AccessKey: fields["awsaccesskeyid"], Signature: fields["signature"], SecurityToken: fields["x-amz-security-token"],
		Form: true, V2: true,
	}, nil
}

func signV2(toSign, secret string) string {
	mac := hmac.New(sha1.New, []byte(secret))
	mac.Write([]byte(toSign))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// v2Token is the header and the parameter that has the token of temporary credentials.
const v2Token = "x-amz-security-token"

// dateV2 is what is signed as the date.
func (a *Auth) dateV2(h Header) string {
	switch {
	case a.Presigned:
		return strconv.FormatInt(a.Time.Unix(), 10)
	case h.Get(v2Date) != "":
		return "" // it is signed among the headers
	}
	return h.Get("Date")
}

// stringToSignV2 returns what is signed. A token in the URL is signed as the header that it
// stands for. bare leaves out the '=' of parameters without a value.
func (a *Auth) stringToSignV2(r Request, bare bool) string {
	var b strings.Builder
	for _, line := range []string{r.Method, r.Header.Get("Content-MD5"), r.Header.Get("Content-Type"), a.dateV2(r.Header)} {
		b.WriteString(line)
		b.WriteByte('\n')
	}
	token := a.SecurityToken
	var names []string
	if token != "" {
		names = append(names, v2Token)
	}
	for name := range r.Header.Names() {
		if name = strings.ToLower(name); strings.HasPrefix(name, "x-amz-") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		values := r.Header.Values(name)
		if name == v2Token && len(values) == 0 {
			values = []string{token}
		}
		b.WriteString(name + ":" + strings.Join(values, ",") + "\n")
	}
	if r.Bucket != "" {
		b.WriteString("/" + r.Bucket)
	}
	b.WriteString(r.Path)
	b.WriteString(subresourcesV2(r.Query, bare))
	return b.String()
}

// subresourcesV2 returns the parameters that are signed, sorted, with their
// values as they are meant.
func subresourcesV2(query string, bare bool) string {
	var signed []string
	for item := range strings.SplitSeq(query, "&") {
		name, value, valued := strings.Cut(item, "=")
		if name = decode(name, true); !isSubresourceV2(name) {
			continue
		}
		if valued && (value != "" || !bare) {
			name += "=" + decode(value, true)
		}
		signed = append(signed, name)
	}
	if signed == nil {
		return ""
	}
	slices.Sort(signed)
	return "?" + strings.Join(signed, "&")
}

// isSubresourceV2 reports whether a parameter is signed: those that version 2
// names, and those by which S3 knows operations that are newer. Were the latter
// not signed, whoever holds a URL could make another operation of it.
func isSubresourceV2(name string) bool {
	switch name {
	case "accelerate", "acl", "analytics", "cors", "delete", "inventory", "lifecycle", "location", "logging", "metrics",
		"notification", "object-lock", "partNumber", "policy", "replication", "requestPayment", "restore", "select", "select-type",
		"storageClass", "tagging", "torrent", "uploadId", "uploads", "versionId", "versioning", "versions", "website":
		return true
	case "abac", "append", "attributes", "encryption", "events", "intelligent-tiering", "lambdaArn", "legal-hold", "metadataConfiguration",
		"metadataInventoryTable", "metadataJournalTable", "metadataTable", "ownershipControls", "policyStatus", "publicAccessBlock", "renameObject", "replication-check",
		"replication-metrics", "replication-reset", "replication-reset-status", "retention", "session", "x-shoal-files", "x-shoal-limits":
		return true
	}
	return strings.HasPrefix(name, "response-")
}
