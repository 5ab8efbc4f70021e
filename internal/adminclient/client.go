// Package adminclient makes the calls of a gateway's admin API, which is that of MinIO:
// requests are signed, and documents that hold secrets are sealed under the secret of
// whoever asks.
package adminclient

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/shoal-storage/shoal/internal/sealing"
	"github.com/shoal-storage/shoal/internal/sigv4"
)

// Config says whom a Client asks, and as who.
type Config struct {
	Endpoint  string // URL of a gateway, without a path
	AccessKey string
	Secret    string
	Token     string // of temporary credentials, or ""
	HTTP      *http.Client
	Timeout   time.Duration // of a call, but for streams and imports; 0: none
}

// Client makes calls. Its methods may be called concurrently. Where the gateway refuses
// a call, their error is an *Error.
type Client struct {
	base    *url.URL
	signer  sigv4.Credentials
	http    *http.Client
	sealer  *sealing.Sealer
	timeout time.Duration
}

// New returns a Client, or what is wrong with the endpoint. It asks nothing yet.
func New(cfg Config) (*Client, error) {
	base, err := url.Parse(cfg.Endpoint)
	if err != nil {
		return nil, fmt.Errorf("the address of the server: %w", err)
	}
	if base.Scheme != "http" && base.Scheme != "https" || base.Host == "" || strings.Trim(base.Path, "/") != "" || base.RawQuery != "" || base.User != nil {
		return nil, errors.New("the address of a server is a URL such as http://nas:9000, without a path")
	}
	return &Client{
		base:    base,
		signer:  sigv4.Credentials{AccessKey: cfg.AccessKey, Secret: cfg.Secret, SecurityToken: cfg.Token},
		http:    cfg.HTTP,
		sealer:  sealing.New(1),
		timeout: cfg.Timeout,
	}, nil
}

// Error is an answer that refuses a call.
type Error struct {
	Status  int    // of HTTP
	Code    string // of the API, "" where something else has answered
	Message string
}

func (e *Error) Error() string {
	if e.Code == "" {
		return fmt.Sprintf("it answers %d %s", e.Status, http.StatusText(e.Status))
	}
	return fmt.Sprintf("%s (%s)", strings.TrimSuffix(e.Message, "."), e.Code)
}

// IsCode reports whether an error is the answer of a gateway that has a code.
func IsCode(err error, code string) bool {
	refused, ok := errors.AsType[*Error](err)
	return ok && refused.Code == code
}

// Where the API stands, and what of it is about master keys.
const (
	adminPath = "/minio/admin/v3/"
	kmsPath   = "/minio/kms/v1/"
)

// maxAnswer bounds what is read of an answer, in bytes: a list of 200,000 users is below
// it.
const maxAnswer = 64 << 20

// call is a call of the API.
type call struct {
	method, path string // below adminPath, or in full
	query        url.Values
	body         any          // is sent as JSON, or as it is if it is []byte; nil: nothing is
	answer       any          // the answer is decoded into it, or kept if it is *[]byte; nil: it has none
	header       *http.Header // the header of the answer is kept there; nil: it is of no interest
	sealed       sealed
	patient      bool // it may take longer than the timeout
}

// sealed says which documents of a call are.
type sealed uint8

const (
	sealedBody sealed = 1 << iota
	sealedAnswer
)

// call makes a call.
func (c *Client) call(ctx context.Context, k call) error {
	if c.timeout > 0 && !k.patient {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.timeout)
		defer cancel()
	}
	body, err := c.encode(k)
	if err != nil {
		return err
	}
	resp, err := c.send(ctx, k, body)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }() // read as far as it is of interest
	if k.header != nil {
		*k.header = resp.Header
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err == nil && len(text) > maxAnswer {
		err = fmt.Errorf("it has more than %d MiB", maxAnswer>>20)
	}
	if err != nil {
		return fmt.Errorf("read the answer to %s: %w", k.path, err)
	}
	return c.decode(k, text)
}

func (c *Client) encode(k call) ([]byte, error) {
	body, raw := k.body.([]byte)
	if k.body == nil {
		return nil, nil
	}
	var err error
	if !raw {
		body, err = json.Marshal(k.body)
	}
	if err == nil && k.sealed&sealedBody != 0 {
		body, err = c.sealer.Seal(c.signer.Secret, body)
	}
	if err != nil {
		return nil, fmt.Errorf("encode what %s is given: %w", k.path, err)
	}
	return body, nil
}

func (c *Client) decode(k call, text []byte) (err error) {
	if k.answer == nil {
		return nil
	}
	if k.sealed&sealedAnswer != 0 {
		text, err = c.sealer.Open(c.signer.Secret, text)
	}
	if raw, ok := k.answer.(*[]byte); ok {
		*raw = text
	} else if err == nil {
		err = json.Unmarshal(text, k.answer)
	}
	if err != nil {
		return fmt.Errorf("decode the answer to %s: %w", k.path, err)
	}
	return nil
}

// send sends a signed request and returns the answer unless that refuses. Who calls it
// closes the body.
func (c *Client) send(ctx context.Context, k call, body []byte) (*http.Response, error) {
	to := *c.base
	if to.Path = k.path; !strings.HasPrefix(k.path, "/") {
		to.Path = adminPath + k.path
	}
	to.RawQuery = k.query.Encode()
	req, err := http.NewRequestWithContext(ctx, k.method, to.String(), bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", k.path, err)
	}
	sum := sha256.Sum256(body)
	signed := sigv4.Request{Method: k.method, Path: to.EscapedPath(), Query: to.RawQuery, Header: sigv4.Fields{{Name: "Host", Value: to.Host}}}
	for _, f := range c.signer.Sign(signed, hex.EncodeToString(sum[:]), time.Now()) {
		req.Header.Set(f.Name, f.Value)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err //nolint:wrapcheck // a *url.Error tells method and URL
	}
	if resp.StatusCode/100 == 2 {
		return resp, nil
	}
	defer func() { _ = resp.Body.Close() }() // read as far as it is of interest
	return nil, refusal(resp)
}

// maxRefusal bounds what is read of an answer that refuses, in bytes.
const maxRefusal = 64 << 10

// refusal returns what an answer says that refuses.
func refusal(resp *http.Response) error {
	e := &Error{Status: resp.StatusCode}
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxRefusal))
	if err != nil {
		return e // the status has to do
	}
	var said struct{ Code, Message string }
	_ = json.Unmarshal(text, &said) // a proxy may have answered
	e.Code, e.Message = said.Code, said.Message
	return e
}
