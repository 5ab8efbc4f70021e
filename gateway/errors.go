package gateway

import (
	"context"
	"errors"
	"io"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/shoal-storage/shoal/gateway/admin"
	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/sigv4"
)

// s3Error is an error as S3's clients see it. Values are made from the codes
// below, the only place where codes, statuses and messages stand
// (https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html).
type s3Error struct {
	code    string
	status  int
	message string
	detail  []detail // further elements of the body
	header  []detail // further response headers
	cause   error    // for the log only
}

// detail is a named value in an error body.
type detail struct{ name, value string }

func (e *s3Error) Error() string {
	if e.cause != nil {
		return e.code + ": " + e.cause.Error()
	}
	return e.code + ": " + e.message
}

func (e *s3Error) Unwrap() error { return e.cause }

// with returns the error with another message.
func (e *s3Error) with(message string) *s3Error {
	c := *e
	c.message = message
	return &c
}

// because returns the error with a cause for the log.
func (e *s3Error) because(err error) *s3Error {
	c := *e
	c.cause = err
	return &c
}

// detailed returns the error with a further element in its body.
func (e *s3Error) detailed(name, value string) *s3Error {
	c := *e
	c.detail = append(c.detail[:len(c.detail):len(c.detail)], detail{name, value})
	return &c
}

// after returns the error with the time after which the client may try again.
func (e *s3Error) after(wait time.Duration) *s3Error {
	c := *e
	seconds := (wait + time.Second - 1) / time.Second
	c.header = append(c.header[:len(c.header):len(c.header)], detail{fasthttp.HeaderRetryAfter, itoa(int(seconds))})
	return &c
}

// valued returns the error with the value of a header of server-side encryption that
// was refused.
func (e *s3Error) valued(value string) *s3Error { return e.detailed("ArgumentValue", value) }

// The codes.
var (
	errAccessDenied           = &s3Error{code: "AccessDenied", status: 403, message: "Access Denied"}
	errAuthorizationMalformed = &s3Error{code: "AuthorizationHeaderMalformed", status: 400, message: "The authorization header that you provided is not valid."}
	errAuthorizationQuery     = &s3Error{code: "AuthorizationQueryParametersError", status: 400, message: "The authorization query parameters that you provided are not valid."}
	errBadDigest              = &s3Error{code: "BadDigest", status: 400, message: "The Content-MD5 or checksum value that you specified did not match what the server received."}
	errBadRequest             = &s3Error{code: "BadRequest", status: 400, message: "An error occurred when parsing the HTTP request."}
	errBadVersion             = &s3Error{code: "InvalidArgument", status: 400, message: "Invalid version id specified"}
	errBucketACL              = &s3Error{code: "InvalidBucketAclWithObjectOwnership", status: 400, message: "Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced setting"}
	errBucketTaken            = &s3Error{code: "BucketAlreadyExists", status: 409, message: "The requested bucket name is not available."}
	errBucketExists           = &s3Error{code: "BucketAlreadyOwnedByYou", status: 409, message: "Your previous request to create the named bucket succeeded and you already own it."}
	errBucketNotEmpty         = &s3Error{code: "BucketNotEmpty", status: 409, message: "The bucket you tried to delete is not empty"}
	errConflict               = &s3Error{code: "OperationAborted", status: 409, message: "A conflicting conditional operation is currently in progress against this resource. Try again."}
	errCORSForbidden          = &s3Error{code: "AccessForbidden", status: 403, message: "CORSResponse: CORS is not enabled for this bucket."}
	errCustomersBlocked       = &s3Error{code: "AccessDenied", status: 403, message: "This bucket has blocked upload requests that specify Server Side Encryption with Customer provided keys (SSE-C). Please specify a different server-side encryption type"}
	errEncryptionAlgorithm    = &s3Error{code: "InvalidEncryptionAlgorithmError", status: 400, message: "The Encryption request you specified is not valid. Supported value: AES256."}
	errEntityTooLarge         = &s3Error{code: "EntityTooLarge", status: 400, message: "Your proposed upload exceeds the maximum allowed object size."}
	errEntityTooSmall         = &s3Error{code: "EntityTooSmall", status: 400, message: "Your proposed upload is smaller than the minimum allowed size"}
	errExpiredToken           = &s3Error{code: "ExpiredToken", status: 400, message: "The provided token has expired."}
	errHeaderTooLarge         = &s3Error{code: "RequestHeaderSectionTooLarge", status: 400, message: "Your request header section exceeds the maximum allowed size."}
	errIllegalLocation        = &s3Error{code: "IllegalLocationConstraintException", status: 400, message: "The location constraint is incompatible for the region specific endpoint this request was sent to."}
	errIncompleteBody         = &s3Error{code: "IncompleteBody", status: 400, message: "You did not provide the number of bytes specified by the Content-Length HTTP header"}
	errInternal               = &s3Error{code: "InternalError", status: 500, message: "We encountered an internal error. Please try again."}
	errInvalidAccessKey       = &s3Error{code: "InvalidAccessKeyId", status: 403, message: "The AWS Access Key Id you provided does not exist in our records."}
	errInvalidArgument        = &s3Error{code: "InvalidArgument", status: 400, message: "Invalid Argument"}
	errInvalidBucketName      = &s3Error{code: "InvalidBucketName", status: 400, message: "The specified bucket is not valid."}
	errInvalidChunkSize       = &s3Error{code: "InvalidChunkSizeError", status: 403, message: "Only the last chunk is allowed to have a size less than 8192 bytes"}
	errInvalidEncryption      = &s3Error{code: "InvalidArgument", status: 400, message: "Invalid Argument", detail: []detail{{"ArgumentName", encryptionHeader}}}
	errInvalidDigest          = &s3Error{code: "InvalidDigest", status: 400, message: "The Content-Md5 you specified is not valid."}
	errInvalidLocation        = &s3Error{code: "InvalidLocationConstraint", status: 400, message: "The specified location-constraint is not valid"}
	errInvalidPart            = &s3Error{code: "InvalidPart", status: 400, message: "One or more of the specified parts could not be found.  The part may not have been uploaded, or the specified entity tag may not match the part's entity tag."}
	errInvalidPartNumber      = &s3Error{code: "InvalidPartNumber", status: 416, message: "The requested partnumber is not satisfiable"}
	errInvalidPartOrder       = &s3Error{code: "InvalidPartOrder", status: 400, message: "The list of parts was not in ascending order. Parts must be ordered by part number."}
	errInvalidPolicy          = &s3Error{code: "InvalidPolicyDocument", status: 400, message: "The content of the form does not meet the conditions specified in the policy document."}
	errInvalidRange           = &s3Error{code: "InvalidRange", status: 416, message: "The requested range is not satisfiable"}
	errInvalidRedirect        = &s3Error{code: "InvalidRedirectLocation", status: 400, message: "The website redirect location must have a prefix of 'http://' or 'https://' or '/'."}
	errInvalidRequest         = &s3Error{code: "InvalidRequest", status: 400, message: "Invalid Request"}
	errInvalidStorageClass    = &s3Error{code: "InvalidStorageClass", status: 400, message: "The storage class that you specified is not valid."}
	errInvalidTag             = &s3Error{code: "InvalidTag", status: 400, message: "The tag provided was not a valid tag. This error can occur if the tag did not pass input validation."}
	errInvalidToken           = &s3Error{code: "InvalidToken", status: 400, message: "The provided token is malformed or otherwise invalid."}
	errInvalidURI             = &s3Error{code: "InvalidURI", status: 400, message: "The specified URI couldn't be parsed."}
	errInvalidWriteOffset     = &s3Error{code: "InvalidWriteOffset", status: 400, message: "The write offset value that you specified does not match the current object size."}
	errKMSNotConfigured       = &s3Error{code: "NotImplemented", status: 501, message: "Server side encryption specified but KMS is not configured"}
	errKeyTooLong             = &s3Error{code: "KeyTooLongError", status: 400, message: "Your key is too long."}
	errACLNotSupported        = &s3Error{code: "AccessControlListNotSupported", status: 400, message: "The bucket does not allow ACLs"}
	errMalformedACL           = &s3Error{code: "MalformedACLError", status: 400, message: "The XML you provided was not well-formed or did not validate against our published schema."}
	errMalformedPOST          = &s3Error{code: "MalformedPOSTRequest", status: 400, message: "The body of your POST request is not well-formed multipart/form-data."}
	errMalformedTrailer       = &s3Error{code: "MalformedTrailerError", status: 400, message: "The request contained trailing data that was not well-formed or did not conform to our published schema."}
	errMalformedXML           = &s3Error{code: "MalformedXML", status: 400, message: "The XML you provided was not well-formed or did not validate against our published schema."}
	errMessageTooLong         = &s3Error{code: "MaxMessageLengthExceeded", status: 400, message: "Your request was too big."}
	errMetadataTooLarge       = &s3Error{code: "MetadataTooLarge", status: 400, message: "Your metadata headers exceed the maximum allowed metadata size"}
	errMethodNotAllowed       = &s3Error{code: "MethodNotAllowed", status: 405, message: "The specified method is not allowed against this resource."}
	errMissingBody            = &s3Error{code: "MissingRequestBodyError", status: 400, message: "Request body is empty."}
	errMissingContentLength   = &s3Error{code: "MissingContentLength", status: 411, message: "You must provide the Content-Length HTTP header."}
	errUnexpectedContent      = &s3Error{code: "UnexpectedContent", status: 400, message: "This request does not support content."}
	errNeedsKey               = &s3Error{code: "InvalidRequest", status: 400, message: "The object was stored using a form of Server Side Encryption. The correct parameters must be provided to retrieve the object."}
	errNeedsNoKey             = &s3Error{code: "InvalidRequest", status: 400, message: "The encryption parameters are not applicable to this object."}
	errNoEncryption           = &s3Error{code: "ServerSideEncryptionConfigurationNotFoundError", status: 404, message: "The server side encryption configuration was not found"}
	errNoMasterKey            = &s3Error{code: "KMS.NotFoundException", status: 400, message: "The request was rejected because the specified entity or resource could not be found."}
	errInvalidOwner           = &s3Error{code: "InvalidBucketOwnerAWSAccountID", status: 400, message: "The value of the expected bucket owner parameter must be an AWS account ID."}
	errNoSuchBucket           = &s3Error{code: "NoSuchBucket", status: 404, message: "The specified bucket does not exist"}
	errNoSuchKey              = &s3Error{code: "NoSuchKey", status: 404, message: "The specified key does not exist."}
	errNoLifecycle            = &s3Error{code: "NoSuchLifecycleConfiguration", status: 404, message: "The lifecycle configuration does not exist"}
	errNoLock                 = &s3Error{code: "NoSuchObjectLockConfiguration", status: 404, message: "The specified object does not have a ObjectLock configuration"}
	errNoLockConfiguration    = &s3Error{code: "ObjectLockConfigurationNotFoundError", status: 404, message: "Object Lock configuration does not exist for this bucket"}
	errInvalidBucketState     = &s3Error{code: "InvalidBucketState", status: 409, message: "The request is not valid with the current state of the bucket."}
	errObjectLocked           = &s3Error{code: "AccessDenied", status: 403, message: "Access Denied because object protected by object lock."}
	errNoSuchBucketPolicy     = &s3Error{code: "NoSuchBucketPolicy", status: 404, message: "The bucket policy does not exist"}
	errNoSuchCORS             = &s3Error{code: "NoSuchCORSConfiguration", status: 404, message: "The CORS configuration does not exist"}
	errNoSuchPublicBlock      = &s3Error{code: "NoSuchPublicAccessBlockConfiguration", status: 404, message: "The public access block configuration was not found"}
	errMalformedPolicy        = &s3Error{code: "MalformedPolicy", status: 400, message: "Policy has invalid resource"}
	errNoSuchWebsite          = &s3Error{code: "NoSuchWebsiteConfiguration", status: 404, message: "The specified bucket does not have a website configuration"}
	errNoSuchUpload           = &s3Error{code: "NoSuchUpload", status: 404, message: "The specified multipart upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed."}
	errIllegalVersioning      = &s3Error{code: "IllegalVersioningConfigurationException", status: 400, message: "The Versioning element must be specified"}
	errNoSuchVersion          = &s3Error{code: "NoSuchVersion", status: 404, message: "The specified version does not exist."}
	errNotImplemented         = &s3Error{code: "NotImplemented", status: 501, message: "A header you provided implies functionality that is not implemented."}
	errNotModified            = &s3Error{code: "NotModified", status: 304, message: "Not Modified"}
	errPartKey                = &s3Error{code: "InvalidRequest", status: 400, message: "The multipart upload initiate requested encryption. Subsequent part requests must include the appropriate encryption parameters."}
	errPreconditionFailed     = &s3Error{code: "PreconditionFailed", status: 412, message: "At least one of the pre-conditions you specified did not hold."}
	errQuotaExceeded          = &s3Error{code: "XMinioAdminBucketQuotaExceeded", status: 400, message: "Bucket quota exceeded"}
	errRequestTimeout         = &s3Error{code: "RequestTimeout", status: 400, message: "Your socket connection to the server was not read from or written to within the timeout period."}
	errSHA256Mismatch         = &s3Error{code: "XAmzContentSHA256Mismatch", status: 400, message: "The provided 'x-amz-content-sha256' header does not match what was computed."}
	errSignatureDoesNotMatch  = &s3Error{code: "SignatureDoesNotMatch", status: 403, message: "The request signature we calculated does not match the signature you provided. Check your key and signing method."}
	errSlowDown               = &s3Error{code: "SlowDown", status: 503, message: "Please reduce your request rate."}
	errStorageFull            = &s3Error{code: "InsufficientStorage", status: 507, message: "The storage behind this endpoint has no space left."}
	errWriteConflict          = &s3Error{code: "ConditionalRequestConflict", status: 409, message: "A conflicting operation occurred during the processing of this request. Try again."}
	errTimeSkewed             = &s3Error{code: "RequestTimeTooSkewed", status: 403, message: "The difference between the request time and the current time is too large."}
	errNoMajority             = &s3Error{code: "ServiceUnavailable", status: 503, message: "Nothing was changed: this server reaches too few of the others to agree with them. Please try again."}
	errUnavailable            = &s3Error{code: "ServiceUnavailable", status: 503, message: "Service is unable to handle request. Please try again."}
	errWrongKey               = &s3Error{code: "AccessDenied", status: 403, message: "Requests specifying Server Side Encryption with Customer provided keys must provide the correct secret key."}
)

// toS3 turns any error into what the client is told. It is the one place where
// a Kind becomes a code.
func toS3(err error) *s3Error {
	if e, ok := errors.AsType[*s3Error](err); ok {
		return e
	}
	if e, ok := errors.AsType[*admin.Error](err); ok {
		return fromAdmin(e)
	}
	if e, ok := errors.AsType[*sigv4.Error](err); ok {
		return fromSignature(e)
	}
	if e := admin.FromDirectory(err); e != nil {
		return fromAdmin(e)
	}
	kind := object.KindOf(err)
	if e := fromTransport(err); e != nil && (kind == object.Internal || e.code == errRequestTimeout.code) { // else it is about the storage
		return e
	}
	return fromKind(kind, err)
}

// isDenied reports whether an error says that the sender may not do what he asks for.
func isDenied(err error) bool {
	e, ok := errors.AsType[*s3Error](err)
	return ok && e.code == errAccessDenied.code
}

// fromTransport recognises what a client did to its connection.
func fromTransport(err error) *s3Error {
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, errWireBroken):
		return errIncompleteBody.because(err)
	case errors.Is(err, errClientSilent):
		return errRequestTimeout.because(err)
	}
	return nil
}

func fromKind(kind object.Kind, err error) *s3Error {
	switch kind {
	case object.Internal:
		if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
			return errUnavailable.because(err)
		}
		return errInternal.because(err)
	case object.Unknown:
		return errInternal.because(err)
	case object.Unavailable, object.ReadOnly:
		return errUnavailable.because(err)
	case object.OverQuota:
		return errQuotaExceeded.because(err)
	case object.Full:
		return errStorageFull.because(err)
	case object.AccessDenied:
		return errAccessDenied.inTheWay(err).because(err)
	case object.BadName:
		return errInvalidArgument.with("The storage cannot hold an object of this name.").because(err)
	case object.NoSuchBucket:
		return errNoSuchBucket.because(err)
	case object.NoSuchKey:
		return fromMarker(errNoSuchKey, err).because(err)
	case object.NoSuchVersion:
		return errNoSuchVersion.because(err)
	case object.BadVersion:
		return errBadVersion.because(err)
	case object.DeleteMarker:
		return fromMarker(errMethodNotAllowed, err).because(err)
	case object.NoSuchUpload:
		return errNoSuchUpload.because(err)
	case object.BucketExists:
		if _, taken := errors.AsType[*object.Obstacle](err); taken {
			return errBucketTaken.inTheWay(err).because(err)
		}
		return errBucketExists.because(err)
	case object.BucketNotEmpty:
		return errBucketNotEmpty.inTheWay(err).because(err)
	case object.Locked:
		return errObjectLocked.because(err)
	case object.PreconditionFailed:
		return unmetCheck(err)
	case object.Conflict:
		return errConflict.because(err)
	case object.InvalidPart:
		return errInvalidPart.ofPart(err)
	case object.InvalidPartOrder:
		return errInvalidPartOrder.because(err)
	case object.PartTooSmall:
		return errEntityTooSmall.detailed("MinSizeAllowed", itoa(object.MinPartSize)).ofPart(err)
	case object.TooLarge:
		return errEntityTooLarge.because(err)
	case object.BadDigest:
		return errBadDigest.explained(err)
	case object.InvalidRequest:
		return errInvalidRequest.explained(err)
	case object.NotImplemented:
		return errNotImplemented.because(err)
	}
	return errInternal.because(err)
}

// unmetCheck returns the error of a Check that refused, with the condition that did not hold: it is what
// the innermost of the errors says was done.
func unmetCheck(err error) *s3Error {
	var done string
	for found, ok := errors.AsType[*object.Error](err); ok; found, ok = errors.AsType[*object.Error](found.Err) {
		done = found.Op
	}
	for _, condition := range []string{ifMatch, ifNoneMatch} {
		if strings.EqualFold(done, condition) {
			return unmet(condition).because(err)
		}
	}
	return errPreconditionFailed.because(err)
}

// inTheWay returns the error with what is in the way and cannot be seen through S3 in its message,
// if the Store has named that.
func (e *s3Error) inTheWay(err error) *s3Error {
	o, ok := errors.AsType[*object.Obstacle](err)
	if !ok {
		return e
	}
	return e.with(strings.TrimSuffix(e.message, ".") + ": " + o.Error() + ", which is neither a bucket nor an object.")
}

// explained returns the error with what the Store found wrong as its message: it stands
// in the innermost of the errors that say what was done.
func (e *s3Error) explained(err error) *s3Error {
	var why error
	for found, ok := errors.AsType[*object.Error](err); ok; found, ok = errors.AsType[*object.Error](found.Err) {
		why = found.Err
	}
	if why == nil {
		return e.because(err)
	}
	return e.with(sentence(why.Error())).because(err)
}

// sentence writes a message as S3 does: with a capital, and with a full stop behind a word,
// but none behind a number.
func sentence(message string) string {
	if last := message[len(message)-1]; 'a' <= last && last <= 'z' {
		message += "."
	}
	return strings.ToUpper(message[:1]) + message[1:]
}

// ofPart returns the error with the part that the Store refused.
func (e *s3Error) ofPart(err error) *s3Error {
	part, ok := errors.AsType[*object.PartError](err)
	if !ok {
		return e.because(err)
	}
	if part.Size > 0 {
		e = e.detailed("ProposedSize", itoa(int(part.Size)))
	}
	return e.detailed("PartNumber", itoa(part.Number)).detailed("ETag", part.ETag).because(err)
}

// ofUpload returns the error of a completion, with the upload in front of the part that is not
// as the client says, or of those in the wrong order, as S3 has it.
func ofUpload(err error, id string) error {
	if !errors.Is(err, object.InvalidPart) && !errors.Is(err, object.InvalidPartOrder) {
		return err
	}
	e := *toS3(err)
	e.detail = append([]detail{{"UploadId", id}}, e.detail...)
	return &e
}
