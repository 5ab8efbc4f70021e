package gateway

import (
	"errors"
	"time"

	"github.com/shoal-storage/shoal/internal/directory"
	"github.com/shoal-storage/shoal/internal/iam"
)

// The security token service as AWS versions it, and the account that its answers are of:
// there is one, which has no number.
const (
	stsVersion   = "2011-06-15"
	stsNamespace = "https://sts.amazonaws.com/doc/" + stsVersion + "/"
	stsAccount   = "000000000000"
)

// stsAnswer is the answer to a call.
type stsAnswer struct {
	xmlWriter
	action string
}

// newSTS begins the answer to an action.
func newSTS(action string) *stsAnswer {
	w := &stsAnswer{action: action}
	w.buf = append(w.buf, xmlDeclaration+"<"+action+`Response xmlns="`+stsNamespace+`">`...)
	w.open(action + "Result")
	return w
}

// credentials writes temporary credentials.
func (w *stsAnswer) credentials(c directory.Session) {
	w.open("Credentials")
	w.text("AccessKeyId", c.AccessKey)
	w.text("SecretAccessKey", c.Secret)
	w.text("SessionToken", c.Token)
	w.text("Expiration", c.Expires.UTC().Format(time.RFC3339))
	w.close("Credentials")
}

// assumedRole writes who the temporary credentials are of.
func (w *stsAnswer) assumedRole(user, session string) {
	w.open("AssumedRoleUser")
	w.text("Arn", sessionARN(user, session))
	w.text("AssumedRoleId", sessionID(user, session))
	w.close("AssumedRoleUser")
}

// answerSTS answers with what has been written.
func (r *request) answerSTS(w *stsAnswer) {
	w.close(w.action + "Result")
	w.open("ResponseMetadata")
	w.text("RequestId", r.id)
	w.close("ResponseMetadata")
	r.set("Content-Type", "text/xml")
	r.set("Cache-Control", "no-store")
	r.ctx.Response.SetBodyRaw(w.end(w.action + "Response"))
}

// sessionID is what "aws:userid" says of a session.
func sessionID(user, session string) string {
	if session == "" {
		return user
	}
	return user + ":" + session
}

func sessionARN(user, session string) string {
	arn := "arn:aws:sts::" + stsAccount + ":assumed-role/" + user
	if session == "" {
		return arn
	}
	return arn + "/" + session
}

// userID is what "aws:userid" says of somebody.
func userID(who iam.Identity) string {
	if who.Session == nil {
		return who.User()
	}
	return sessionID(who.User(), who.Session.Name)
}

// arnOf is the Amazon Resource Name of somebody.
func arnOf(who iam.Identity) string {
	switch {
	case who.Session != nil:
		return sessionARN(who.User(), who.Session.Name)
	case who.Root:
		return "arn:aws:iam::" + stsAccount + ":root"
	}
	return "arn:aws:iam::" + stsAccount + ":user/" + who.User()
}

// The codes of the security token service
// (https://docs.aws.amazon.com/STS/latest/APIReference/CommonErrors.html).
var (
	errSTSInvalidAction = &s3Error{code: "InvalidAction", status: 400, message: "This endpoint does not know the action."}
	errSTSInvalid       = &s3Error{code: "InvalidParameterValue", status: 400, message: "An invalid or out-of-range value was supplied for the input parameter."}
	errSTSNotSigned     = &s3Error{code: "MissingAuthenticationToken", status: 403, message: "The request must contain a valid access key ID and signature."}
	errSTSNoPolicy      = &s3Error{code: "AccessDenied", status: 403, message: "The identity provider names no policy that there is."}
	errSTSProvider      = &s3Error{code: "IDPCommunicationError", status: 400, message: "The identity provider could not be asked. Try again."}
	errSTSBadIdentity   = &s3Error{code: "InvalidIdentityToken", status: 400, message: "The identity token is not valid."}
	errSTSOldIdentity   = &s3Error{code: "ExpiredTokenException", status: 400, message: "The identity token has expired."}
	errSTSUnknownKey    = &s3Error{code: "InvalidClientTokenId", status: 403, message: "The security token included in the request is invalid."}
)

// toSTS turns an error into what the security token service calls it.
func toSTS(e *s3Error) *s3Error {
	switch {
	case errors.Is(e.cause, directory.ErrInvalid):
		return errSTSInvalid.with(e.message).because(e)
	case e.code == errInvalidAccessKey.code, e.code == errInvalidToken.code:
		return errSTSUnknownKey.because(e)
	}
	return e
}

// stsErrorXML is the body of an error of the security token service.
func stsErrorXML(e *s3Error, id string) []byte {
	w := &xmlWriter{buf: []byte(xmlDeclaration + `<ErrorResponse xmlns="` + stsNamespace + `">`)}
	fault := "Sender"
	if e.status >= 500 {
		fault = "Receiver"
	}
	w.open("Error")
	w.text("Type", fault)
	w.text("Code", e.code)
	w.text("Message", e.message)
	w.close("Error")
	w.text("RequestId", id)
	return w.end("ErrorResponse")
}
