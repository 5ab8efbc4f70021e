package bench

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/shoal-storage/shoal/internal/sigv4"
)

// client is a bare S3 client: no retries and no checksums, so that what is
// measured is the server.
type client struct {
	http   *http.Client
	base   *url.URL
	bucket string
	signer sigv4.Credentials
	sign   bool
}

func newClient(cfg Config) (*client, error) {
	base, err := url.Parse(cfg.Endpoint)
	if err != nil || base.Host == "" {
		return nil, fmt.Errorf("%s is not a URL such as http://127.0.0.1:9000", cfg.Endpoint)
	}
	return &client{
		http: &http.Client{Transport: &http.Transport{
			MaxIdleConnsPerHost: cfg.Concurrency,
			DisableCompression:  true,
			WriteBufferSize:     256 << 10,
			ReadBufferSize:      256 << 10,
			TLSClientConfig:     &tls.Config{InsecureSkipVerify: cfg.Insecure}, //nolint:gosec // asked for
		}},
		base: base, bucket: cfg.Bucket, sign: cfg.SignPayload,
		signer: sigv4.Credentials{AccessKey: cfg.AccessKey, Secret: cfg.SecretKey, Region: cfg.Region},
	}, nil
}

// do sends a signed request and returns the length of the answer's body. Its
// errors tell the method and the path.
func (c *client) do(ctx context.Context, method, key, query string, body []byte) (int64, error) {
	u := *c.base
	u.Path, u.RawQuery = "/"+c.bucket, query
	if key != "" {
		u.Path += "/" + key
	}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), bytes.NewReader(body))
	if err != nil {
		return 0, fmt.Errorf("%s %s: %w", method, u.Path, err)
	}
	req.ContentLength = int64(len(body))
	payload := "UNSIGNED-PAYLOAD"
	if c.sign {
		sum := sha256.Sum256(body)
		payload = hex.EncodeToString(sum[:])
	}
	header := sigv4.Fields{{Name: "Host", Value: u.Host}}
	for _, f := range c.signer.Sign(sigv4.Request{Method: method, Path: u.EscapedPath(), Query: query, Header: header}, payload, time.Now()) {
		req.Header.Set(f.Name, f.Value)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return 0, err // a *url.Error tells them
	}
	defer func() { _ = resp.Body.Close() }() // read to its end, or of no interest
	if resp.StatusCode >= 300 {
		return 0, fmt.Errorf("%s %s: %s%s", method, u.Path, resp.Status, reason(resp.Body))
	}
	n, err := io.Copy(io.Discard, resp.Body)
	if err != nil {
		return n, fmt.Errorf("%s %s: %w", method, u.Path, err)
	}
	return n, nil
}

// reason returns what an S3 error says, "" if there is none.
func reason(body io.Reader) string {
	var e struct{ Code, Message string }
	if xml.NewDecoder(io.LimitReader(body, 64<<10)).Decode(&e) != nil || e.Code == "" {
		return ""
	}
	return " (" + e.Code + "): " + e.Message
}

// makeBucket makes the bucket and reports whether it was missing.
func (c *client) makeBucket(ctx context.Context) (bool, error) {
	if _, err := c.do(ctx, http.MethodHead, "", "", nil); err == nil {
		return false, nil
	}
	_, err := c.do(ctx, http.MethodPut, "", "", nil)
	return err == nil, err
}

func (c *client) put(ctx context.Context, key string, body []byte) error {
	_, err := c.do(ctx, http.MethodPut, key, "", body)
	return err
}

func (c *client) get(ctx context.Context, key string) (int64, error) {
	return c.do(ctx, http.MethodGet, key, "", nil)
}

func (c *client) head(ctx context.Context, key string) error {
	_, err := c.do(ctx, http.MethodHead, key, "", nil)
	return err
}

// delete removes an object, or the bucket if key is "".
func (c *client) delete(ctx context.Context, key string) error {
	_, err := c.do(ctx, http.MethodDelete, key, "", nil)
	return err
}

// list reads one full page of keys after a key.
func (c *client) list(ctx context.Context, prefix, after string) error {
	q := url.Values{"list-type": {"2"}, "max-keys": {strconv.Itoa(1000)}, "prefix": {prefix}, "start-after": {after}}
	_, err := c.do(ctx, http.MethodGet, "", q.Encode(), nil)
	return err
}
