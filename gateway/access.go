package gateway

import (
	"context"
	"crypto/tls"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/shoal-storage/shoal/internal/iam"
	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/sigv4"
)

// authorise asks whether the sender may do what the request is for. The form of
// a POST upload brings its own signature, so the question waits for it; which objects
// DeleteObjects is about its body says, and each of them is asked about; policies ask what
// a lock is to be, where a bucket and which tags, which a body says as well; and of the list of
// buckets everybody who is known sees those that he may list.
func (s *Server) authorise(r *request) error {
	switch r.op.name {
	case "PostObject", "DeleteObjects", "PutObjectRetention", "PutObjectLegalHold", "PutObjectTagging", "CreateBucket":
		return nil
	case "ListBuckets":
		if !r.identity.Anonymous() {
			return nil
		}
	}
	return s.authoriseStated(r, nil)
}

// authoriseStated asks whether the sender may do what the request is for, where the body
// says more of that, under the names of headers or fields of forms that would say it.
func (s *Server) authoriseStated(r *request, stated map[string]string) error {
	r.form = stated
	ref := r.ref()
	ref.Version = r.query.get("versionId")
	return s.allow(r, r.action(), ref)
}

// allow returns nil if the sender may do action to a bucket or object,
// errAccessDenied otherwise: if policies allow it, and the file system where it is asked.
func (s *Server) allow(r *request, action string, ref object.Ref) error {
	if err := s.allowByPolicy(r, action, ref); err != nil {
		return err
	}
	return s.permit(r, action, ref)
}

// allowByPolicy is allow by policies. What is asked for needs to be allowed by the
// bucket's policy or by the sender's own ones, and denied by none; but the root user can
// always get at the bucket's policy itself.
func (s *Server) allowByPolicy(r *request, action string, ref object.Ref) error {
	req := &iam.Request{Identity: r.identity, Action: action, Bucket: ref.Bucket, Key: ref.Key, Values: &conditionValues{s: s, r: r, ref: ref}}
	policy, err := s.policyOf(r, ref.Bucket)
	if err != nil {
		return err
	}
	said := iam.Abstain
	if policy != nil {
		said = policy.decide(req)
	}
	own := r.identity.Decide(req)
	switch {
	case own == iam.Deny:
		return errAccessDenied.because(errDeniedUser)
	case said == iam.Deny && (!r.identity.Root || !isPolicyAction(action)):
		return errAccessDenied.because(errExplicitDeny)
	case said == iam.Allow, own == iam.Allow:
		return s.notForStrangers(r, action)
	}
	return errAccessDenied
}

// notForStrangers refuses what S3 does for nobody it does not know, whatever a policy allows
// (https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketPolicy.html): else who is let in could let in others.
func (s *Server) notForStrangers(r *request, action string) error {
	switch {
	case !r.identity.Anonymous():
		return nil
	case isPolicyAction(action):
		return errMethodNotAllowed
	case strings.HasSuffix(action, "BucketOwnershipControls"), strings.HasSuffix(action, "BucketPublicAccessBlock"):
		return errAccessDenied.with(action + " does not support Anonymous requests!")
	}
	return nil
}

// mayList reports whether the sender may know which keys there are not. To others S3
// says of a missing key no more than of one that they may not read
// (https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html).
func (r *request) mayList(s *Server) bool { return r.mayListIn(s, r.bucket) }

// mayListIn is mayList of another bucket than the request's own.
func (r *request) mayListIn(s *Server, bucket string) bool {
	return s.allow(r, "s3:ListBucket", object.Ref{Bucket: bucket}) == nil
}

// visibleBuckets returns a question whether the sender sees a bucket in the list of all:
// if he may list all, or by his own policies this one.
func (s *Server) visibleBuckets(r *request) func(bucket string) bool {
	if s.allow(r, r.op.action, object.Ref{}) == nil {
		return func(string) bool { return true }
	}
	return func(bucket string) bool {
		ref := object.Ref{Bucket: bucket}
		return r.identity.Decide(&iam.Request{
			Identity: r.identity, Action: "s3:ListBucket", Bucket: bucket, Values: &conditionValues{s: s, r: r, ref: ref},
		}) == iam.Allow
	}
}

// isPolicyAction reports whether an action is on the policy of a bucket. As with
// AWS the root user cannot lock himself out of it
// (https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketPolicy.html).
func isPolicyAction(action string) bool {
	return slices.Contains([]string{"s3:GetBucketPolicy", "s3:PutBucketPolicy", "s3:DeleteBucketPolicy"}, action)
}

// bucketAccess is what a bucket's documents say of who may do what.
type bucketAccess struct {
	policy *iam.Policy
	// restricted says that a policy that lets in everyone counts for those who
	// are known only.
	restricted bool
}

func (a *bucketAccess) decide(req *iam.Request) iam.Decision {
	said := a.policy.Decide(req)
	if said == iam.Allow && a.restricted && req.Identity.Anonymous() && a.policy.Public() {
		return iam.Abstain
	}
	return said
}

// policyOf returns what the documents of a bucket say, or nil if it has no policy.
func (s *Server) policyOf(r *request, bucket string) (*bucketAccess, error) {
	documents, err := s.documents(r, bucket)
	text, there := documents[policyDocument]
	if err != nil || !there {
		return nil, err
	}
	policy, err := parsed(&s.parsed, policyDocument, text, func(string) (*iam.Policy, error) {
		return iam.ParsePolicy([]byte(text), bucket)
	})
	if err != nil {
		return nil, err
	}
	block, err := s.publicBlock(documents)
	if err != nil {
		return nil, err
	}
	return &bucketAccess{policy: policy, restricted: block.RestrictPublicBuckets}, nil
}

// conditionValues answers what the conditions of policies ask of a request
// (https://docs.aws.amazon.com/AmazonS3/latest/userguide/amazon-s3-policy-keys.html).
type conditionValues struct {
	s   *Server
	r   *request
	ref object.Ref // what the question is about
}

// Value implements iam.Values.
func (v *conditionValues) Value(key string) []string {
	name, tag, isTag := strings.Cut(key, "/")
	if isTag {
		return v.tag(name, tag)
	}
	if rest, ok := strings.CutPrefix(name, "aws:"); ok {
		return v.global(rest)
	}
	rest, ok := strings.CutPrefix(name, "s3:")
	if !ok {
		return v.claim(key)
	}
	switch rest {
	case "x-amz-copy-source":
		return v.copySource()
	case keyIDHeader:
		return v.masterKey()
	}
	if strings.HasPrefix(rest, "x-amz-") {
		return present(v.stated(rest))
	}
	if strings.HasPrefix(rest, "object-lock-") {
		return v.lock(rest)
	}
	return v.ofS3(rest)
}

// stated returns what a header says, or in its place a field of the form or body.
func (v *conditionValues) stated(header string) string {
	if value, there := v.r.form[header]; there {
		return value
	}
	return v.header(header)
}

// header returns what a header says. What a form says its fields do: a header beside it has no
// effect, and so must not count.
func (v *conditionValues) header(name string) string {
	if v.serves("PostObject") {
		return ""
	}
	return v.r.header(name)
}

func (v *conditionValues) serves(operation string) bool {
	return v.r.op != nil && v.r.op.name == operation
}

// copySource returns the source of a copy in the two forms that policies name it in, whatever the
// form that the header has it in: other escapes must not make it another one.
func (v *conditionValues) copySource() []string {
	header := v.header("x-amz-copy-source")
	src, err := parseCopySource(header)
	if err != nil {
		return present(header) // the operation will refuse it
	}
	path := src.Bucket + "/" + src.Key
	return []string{path, "/" + path}
}

// masterKey returns the ID of a master key in the forms that it has here, for the same reason.
func (v *conditionValues) masterKey() []string {
	id := v.stated(keyIDHeader)
	if id == "" {
		return nil
	}
	return []string{id, keyName(id), keyIDPrefix + keyName(id)}
}

// lock returns the value of a key on the lock that a version is to get.
func (v *conditionValues) lock(name string) []string {
	if name != "object-lock-remaining-retention-days" {
		return present(v.stated("x-amz-" + name))
	}
	until, ok := parseRetentionTime(v.stated("x-amz-object-lock-retain-until-date"))
	if !ok {
		return nil // the operation will refuse it
	}
	days := math.Ceil(until.Sub(v.r.started).Hours() / 24)
	return []string{strconv.FormatFloat(days, 'f', -1, 64)}
}

// present is a value, if it is not empty.
func present(value string) []string {
	if value == "" {
		return nil
	}
	return []string{value}
}

// global returns the value of a key of AWS as a whole.
func (v *conditionValues) global(name string) []string {
	r := v.r
	switch name {
	case "sourceip":
		return present(r.remoteIP())
	case "securetransport":
		return []string{strconv.FormatBool(r.ctx.IsTLS())}
	case "referer":
		return present(r.header("Referer"))
	case "useragent":
		return present(r.header("User-Agent"))
	case "currenttime":
		return []string{r.started.UTC().Format(time.RFC3339)}
	case "epochtime":
		return []string{strconv.FormatInt(r.started.Unix(), 10)}
	case "username":
		return present(r.identity.User())
	case "userid":
		return present(userID(r.identity))
	case "tokenissuetime":
		if r.identity.Session != nil {
			return []string{r.identity.Session.Issued.Format(time.RFC3339)}
		}
	case "principaltype":
		return []string{principalType(r.identity)}
	case "principalarn":
		return present(principalARN(r.identity))
	case "principalaccount":
		if !r.identity.Anonymous() {
			return []string{stsAccount}
		}
	case "resourceaccount":
		return []string{stsAccount}
	case "requestedregion":
		return present(v.s.Region)
	case "viaawsservice", "principalisawsservice":
		return []string{"false"}
	}
	return nil
}

// principalARN is the name of who sent a request: for temporary credentials that of whom
// they were made for, as on AWS.
func principalARN(who iam.Identity) string {
	if who.Anonymous() {
		return ""
	}
	who.Session = nil
	return arnOf(who)
}

// claim returns what an identity provider says of the sender.
func (v *conditionValues) claim(key string) []string {
	return v.r.identity.Claims[key]
}

func principalType(who iam.Identity) string {
	switch {
	case who.Anonymous():
		return "Anonymous"
	case who.Session != nil:
		return "AssumedRole"
	case who.Root:
		return "Account"
	}
	return "User"
}

// ofS3 returns the value of a key of S3.
func (v *conditionValues) ofS3(name string) []string {
	r := v.r
	switch name {
	case "prefix", "delimiter":
		if r.query.has(name) {
			return []string{r.query.get(name)}
		}
	case "locationconstraint":
		return present(r.form["location-constraint"])
	case "max-keys":
		return present(r.query.get("max-keys"))
	case "versionid":
		return present(v.ref.Version)
	case "signatureversion":
		return present(signatureVersion(r.auth))
	case "authtype":
		return present(authType(r.auth))
	case "signatureage":
		return present(r.signatureAge())
	case "requestobjecttagkeys":
		return tagKeys(v.requestTags())
	case "if-match", "if-none-match":
		if v.serves("PostObject") {
			return nil
		}
		return present(r.list(name))
	case "objectcreationoperation":
		return []string{strconv.FormatBool(makesObject(r.op.name))}
	case "resourceaccount":
		return []string{stsAccount}
	case "tlsversion":
		return present(tlsVersion(r.ctx.TLSConnectionState()))
	}
	return nil
}

// makesObject reports whether an operation makes an object, of those that take the
// permission to write one: the steps of a multipart upload before its last do not.
func makesObject(operation string) bool {
	switch operation {
	case "PutObject", "PostObject", "CopyObject", "CompleteMultipartUpload", "RenameObject":
		return true
	}
	return false
}

// tlsVersion is the version of TLS that the request came by, such as 1.3.
func tlsVersion(state *tls.ConnectionState) string {
	if state == nil {
		return ""
	}
	return strings.TrimPrefix(tls.VersionName(state.Version), "TLS ")
}

// tag returns the value of one tag, of the object or of the request.
func (v *conditionValues) tag(kind, name string) []string {
	var tags []object.Tag
	switch kind {
	case "s3:existingobjecttag":
		tags = v.objectTags()
	case "s3:requestobjecttag":
		tags = v.requestTags()
	}
	for _, t := range tags {
		if t.Key == name {
			return []string{t.Value}
		}
	}
	return nil
}

// objectTags returns the tags of the object as it is; what cannot be told has none.
func (v *conditionValues) objectTags() []object.Tag {
	if v.ref.Key == "" {
		return nil
	}
	ctx, cancel := context.WithTimeoutCause(v.s.root, v.s.QuickTimeout, errStalled)
	defer cancel()
	info, err := v.s.Store.Stat(ctx, v.ref)
	if err != nil {
		return nil
	}
	return info.Meta.Tags
}

// requestTags returns the tags that the request gives to the object, by its header, or by a field
// of the form or its body. The header of a copy that takes over its source's tags has no effect.
func (v *conditionValues) requestTags() []object.Tag {
	if v.serves("CopyObject") && v.r.header("x-amz-tagging-directive") != "REPLACE" {
		return nil
	}
	tags, err := parseTagHeader(v.stated("x-amz-tagging"))
	if document, there := v.r.form["tagging"]; there {
		tags, err = parseTagField(document)
	}
	if err != nil {
		return nil // the operation will refuse them
	}
	return tags
}

func tagKeys(tags []object.Tag) []string {
	keys := make([]string, 0, len(tags))
	for _, t := range tags {
		keys = append(keys, t.Key)
	}
	return keys
}

// signatureVersion and authType are how the request was signed.
func signatureVersion(a sigv4.Auth) string {
	switch {
	case a.AccessKey == "":
		return ""
	case a.V2:
		return "AWS"
	}
	return "AWS4-HMAC-SHA256"
}

func authType(a sigv4.Auth) string {
	switch {
	case a.AccessKey == "":
		return ""
	case a.Presigned:
		return "REST-QUERY-STRING"
	case a.Form:
		return "POST"
	}
	return "REST-HEADER"
}

// signatureAge is how old the signature is, in ms. That of version 2 is always 0
// (https://docs.aws.amazon.com/AmazonS3/latest/API/bucket-policy-s3-sigv4-conditions.html).
func (r *request) signatureAge() string {
	switch {
	case r.auth.AccessKey == "":
		return ""
	case r.auth.V2:
		return "0"
	}
	return strconv.FormatInt(r.started.Sub(r.auth.Time).Milliseconds(), 10)
}
