package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/url"

	"github.com/shoal-storage/shoal/internal/iam"
	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/relay"
)

// Call is a request for an operation of the API, whose sender may have it carried out. If its action is Own, the
// handler asks what he may do.
type Call struct {
	ID       string // of the request, for the log
	Method   string
	Below    string // what it is about, behind the path of the operation
	Query    url.Values
	Scheme   string // by which the client has reached the gateway: "http" or "https"
	Host     string // that it called
	Remote   string // the address that it has
	Identity iam.Identity
	Secret   string     // of the sender
	Token    string     // of temporary credentials of his, or ""
	Values   iam.Values // what the conditions of policies ask of the request
	Front
}

// Front is what a gateway does for a call, while its handler runs.
type Front interface {
	// Allow returns nil if the sender may do an action to a bucket or object.
	Allow(action string, ref object.Ref) error

	// Body returns what was sent, and refuses what is longer than limit.
	Body(limit int64) ([]byte, error)
	// Unsigned reads what is sent as it comes, and holds it against nothing that was signed.
	Unsigned() io.Reader

	// Header sets a header of the answer.
	Header(name, value string)
	// Answer answers with a document.
	Answer(status int, contentType string, document []byte)
	// Stream answers with lines of JSON as they can be read, until they end or the client goes, and closes body then.
	Stream(body io.ReadCloser)
	// Listen answers with what a listener hears, until the client goes.
	Listen(l *relay.Listener)

	// Operate carries out an operation of S3 on a bucket, with a body of its own, and returns the document
	// that it answers with. It does not ask whether the sender may do that.
	Operate(ctx context.Context, operation, bucket string, body []byte) (document []byte, err error)
	// EnsureBucket makes a bucket that is not there, with Object Lock if it is to have that.
	EnsureBucket(ctx context.Context, bucket string, locked bool) error
	// Explain returns what a client is told of an error, whoever it is of.
	Explain(err error) *Error
}

// maxDocument bounds what one call sends.
const maxDocument = 1 << 20

// body returns what the call has sent.
func (c *Call) body() ([]byte, error) { return c.Body(maxDocument) }

// decode reads a document of the call.
func (c *Call) decode(v any) error {
	text, err := c.body()
	if err != nil {
		return err
	}
	return decode(text, v)
}

func decode(text []byte, v any) error {
	if err := json.Unmarshal(text, v); err != nil {
		return errDocument.because(err)
	}
	return nil
}

// allowOn returns nil if the sender may do an action to what is a user's: to what is
// his own if no policy denies it, to what is another's if one allows it. What is the
// root user's is his alone.
func (a *API) allowOn(c *Call, action, user string) error {
	said := c.Identity.Decide(&iam.Request{Identity: c.Identity, Action: action, Values: c.Values})
	switch {
	case user == a.Directory.Root() && !c.Identity.Root:
	case said == iam.Allow, said == iam.Abstain && user == c.Identity.User():
		return nil
	}
	return errAccessDenied
}

// unseal returns what the sender has sealed under his secret.
func (a *API) unseal(c *Call) ([]byte, error) {
	sealed, err := c.body()
	if err != nil {
		return nil, err
	}
	text, err := a.Sealer.Open(c.Secret, sealed)
	if err != nil {
		return nil, errDocument.with("The document is not encrypted under the secret key of the request.").because(err)
	}
	return text, nil
}

// readSealed reads a document that is sealed under the secret of the sender.
func (a *API) readSealed(c *Call, v any) error {
	text, err := a.unseal(c)
	if err != nil {
		return err
	}
	return decode(text, v)
}

// answerSealed answers with a document sealed under the secret of the sender.
func (a *API) answerSealed(c *Call, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return errInternal.because(err)
	}
	return a.answerSealedText(c, text)
}

// answerSealedText is answerSealed for what is text already.
func (a *API) answerSealedText(c *Call, text []byte) error {
	sealed, err := a.Sealer.Seal(c.Secret, text)
	if err != nil {
		return errInternal.because(err)
	}
	c.Answer(200, "application/octet-stream", sealed)
	return nil
}

func (c *Call) answerJSON(v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return errInternal.because(err)
	}
	c.Answer(200, "application/json", text)
	return nil
}

// answerNothing answers that it is done.
func (c *Call) answerNothing() { c.Answer(204, "", nil) }

// statusOf returns a status as the API has it.
func statusOf(enabled bool) string {
	if enabled {
		return "enabled"
	}
	return "disabled"
}

// parseStatus is its inverse.
func parseStatus(status string) (enabled bool, err error) {
	switch status {
	case "enabled":
		return true, nil
	case "disabled":
		return false, nil
	}
	return false, errInvalid.with("The status must be enabled or disabled.")
}

// rawPolicy returns the text of a policy within a document, "" if there is none.
func rawPolicy(raw json.RawMessage) string {
	if raw = bytes.TrimSpace(raw); bytes.Equal(raw, []byte("null")) || bytes.Equal(raw, []byte("{}")) {
		return ""
	}
	return string(raw)
}
