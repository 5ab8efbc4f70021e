package admin

import (
	"errors"
	"strings"

	"github.com/shoal-storage/shoal/internal/directory"
)

// Error is an error as the clients of the API see it.
type Error struct {
	Code    string
	Status  int
	Message string
	Cause   error // for the log only
}

// Error implements error.
func (e *Error) Error() string {
	if e.Cause != nil {
		return e.Code + ": " + e.Cause.Error()
	}
	return e.Code + ": " + e.Message
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

// with returns the error with another message.
func (e *Error) with(message string) *Error {
	c := *e
	c.Message = message
	return &c
}

// because returns the error with a cause for the log.
func (e *Error) because(err error) *Error {
	c := *e
	c.Cause = err
	return &c
}

// The codes of the API, as MinIO's tools know them.
var (
	errUnknown     = &Error{Code: "XMinioAdminVersionMismatch", Status: 426, Message: "This 'admin' API is not supported by server in 'mode-shoal'"}
	errInvalid     = &Error{Code: "XMinioAdminInvalidArgument", Status: 400, Message: "Invalid arguments specified."}
	errDocument    = &Error{Code: "XMinioAdminConfigBadJSON", Status: 400, Message: "JSON configuration provided is of incorrect format"}
	errSetting     = &Error{Code: "XMinioConfigError", Status: 400, Message: "There is no such setting."}
	errNoUser      = &Error{Code: "XMinioAdminNoSuchUser", Status: 404, Message: "The specified user does not exist."}
	errNoGroup     = &Error{Code: "XMinioAdminNoSuchGroup", Status: 404, Message: "The specified group does not exist."}
	errNoPolicy    = &Error{Code: "XMinioAdminNoSuchPolicy", Status: 404, Message: "The canned policy does not exist."}
	errNoAccount   = &Error{Code: "XMinioAdminServiceAccountNotFound", Status: 404, Message: "The specified service account is not found."}
	errTaken       = &Error{Code: "XMinioAdminInvalidAccessKey", Status: 400, Message: "The access key is in use already."}
	errNotEmpty    = &Error{Code: "XMinioAdminGroupNotEmpty", Status: 400, Message: "The specified group is not empty - cannot remove it."}
	errInUse       = &Error{Code: "XMinioAdminPolicyInUse", Status: 400, Message: "The policy is attached to users or groups."}
	errNoChange    = &Error{Code: "XMinioAdminPolicyChangeAlreadyApplied", Status: 400, Message: "The specified policy change is already in effect."}
	errNoRecords   = &Error{Code: "NotImplemented", Status: 501, Message: "This server joins no others (--single-gateway), so it keeps no users."}
	errNotAllowed  = &Error{Code: "AccessDenied", Status: 403, Message: "A service account that a policy bounds cannot make or change service accounts."}
	errHealRunning = &Error{Code: "XMinioHealAlreadyRunning", Status: 400, Message: "Another pass that was asked for is not over. --force-start has it end, --force-stop too."}
	errHealUnknown = &Error{Code: "XMinioHealNoSuchProcess", Status: 404, Message: "There is no such pass, or another one was asked for since."}
	errTesting     = &Error{Code: "XMinioAdminTestRunning", Status: 409, Message: "A speed test is under way at this gateway."} // each would measure the other
)

// Codes that the API has in common with S3.
var (
	errAccessDenied    = &Error{Code: "AccessDenied", Status: 403, Message: "Access Denied"}
	errBadPolicy       = &Error{Code: "MalformedPolicyDocument", Status: 400, Message: "The session policy is malformed."}
	errInternal        = &Error{Code: "InternalError", Status: 500, Message: "We encountered an internal error. Please try again."}
	errInvalidArgument = &Error{Code: "InvalidArgument", Status: 400, Message: "Invalid Argument"}
	errKeysDenied      = &Error{Code: "KMS.AccessDeniedException", Status: 403, Message: "The key management service denies it."} // AccessDenied would be of the sender
	errNoKeys          = &Error{Code: "NotImplemented", Status: 501, Message: "Server side encryption specified but KMS is not configured"}
	errNoMasterKey     = &Error{Code: "KMS.NotFoundException", Status: 400, Message: "The request was rejected because the specified entity or resource could not be found."}
	errNotImplemented  = &Error{Code: "NotImplemented", Status: 501, Message: "A header you provided implies functionality that is not implemented."}
	errRequestTimeout  = &Error{Code: "RequestTimeout", Status: 400, Message: "Your socket connection to the server was not read from or written to within the timeout period."}
	errSlowDown        = &Error{Code: "SlowDown", Status: 503, Message: "Please reduce your request rate."}
	errUnavailable     = &Error{Code: "ServiceUnavailable", Status: 503, Message: "Service is unable to handle request. Please try again."}
)

// FromDirectory turns an error of the Directory into what the client is told, nil if it
// is none of those that it can do something about.
func FromDirectory(err error) *Error {
	for cause, e := range map[error]*Error{
		directory.ErrNoUser: errNoUser, directory.ErrNoGroup: errNoGroup, directory.ErrNoPolicy: errNoPolicy,
		directory.ErrNoAccount: errNoAccount, directory.ErrTaken: errTaken, directory.ErrNotEmpty: errNotEmpty,
		directory.ErrInUse: errInUse, directory.ErrNoChange: errNoChange, directory.ErrNoRecords: errNoRecords,
	} {
		if errors.Is(err, cause) {
			return e.because(err)
		}
	}
	if errors.Is(err, directory.ErrBadPolicy) {
		return errBadPolicy.with(strings.TrimPrefix(err.Error(), directory.ErrBadPolicy.Error()+": ")).because(err)
	}
	if errors.Is(err, directory.ErrInvalid) {
		return errInvalid.with(strings.TrimPrefix(err.Error(), directory.ErrInvalid.Error()+": ")).because(err)
	}
	return nil
}
