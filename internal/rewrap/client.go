package rewrap

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/shoal-storage/shoal/internal/sigv4"
)

// client makes the few calls of S3 that are needed.
type client struct {
	base   *url.URL
	signer sigv4.Credentials
	http   *http.Client
}

// Error is an answer that refuses.
type Error struct {
	Status        int
	Code, Message string // of S3, where it says so
}

func (e *Error) Error() string { return fmt.Sprintf("%d %s: %s", e.Status, e.Code, e.Message) }

// maxAnswer bounds what is read of an answer, in bytes: a page of versions with the
// longest keys is below it.
const maxAnswer = 16 << 20

// attempts is how often a call is made that the server was too busy for.
const attempts = 4

// call makes a call, again if the server is busy, and reads the answer into answer
// unless that is nil. It returns the headers of the answer.
func (c *client) call(ctx context.Context, method string, v version, query url.Values, body []byte, answer any) (http.Header, error) {
	for try := 1; ; try++ {
		header, err := c.once(ctx, method, v, query, body, answer)
		refused, ok := err.(*Error) //nolint:errorlint // once wraps nothing around it
		if !ok || refused.Status != http.StatusServiceUnavailable || try == attempts {
			return header, err
		}
		timer := time.NewTimer(time.Second << try)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil, err
		}
	}
}

func (c *client) once(ctx context.Context, method string, v version, query url.Values, body []byte, answer any) (http.Header, error) {
	u := *c.base
	u.Path, u.RawQuery = "/"+v.bucket, query.Encode()
	if v.key != "" {
		u.Path += "/" + v.key
	}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, u.Path, err)
	}
	sum := sha256.Sum256(body)
	signed := sigv4.Request{Method: method, Path: u.EscapedPath(), Query: u.RawQuery, Header: sigv4.Fields{{Name: "Host", Value: u.Host}}}
	for _, f := range c.signer.Sign(signed, hex.EncodeToString(sum[:]), time.Now()) {
		req.Header.Set(f.Name, f.Value)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err // a *url.Error tells method and URL
	}
	defer func() { _ = resp.Body.Close() }() // read as far as it is of interest
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, u.Path, err)
	}
	if resp.StatusCode/100 != 2 {
		refused := &Error{Status: resp.StatusCode}
		_ = xml.Unmarshal(text, refused) // a proxy may have answered
		refused.Status = resp.StatusCode
		return nil, refused
	}
	if answer == nil {
		return resp.Header, nil
	}
	if err := xml.Unmarshal(text, answer); err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, u.Path, err)
	}
	return resp.Header, nil
}

// buckets returns the names of all buckets.
func (c *client) buckets(ctx context.Context) ([]string, error) {
	var answer struct {
		Buckets struct{ Bucket []struct{ Name string } }
	}
	if _, err := c.call(ctx, http.MethodGet, version{}, nil, nil, &answer); err != nil {
		return nil, fmt.Errorf("list the buckets: %w", err)
	}
	var names []string
	for _, b := range answer.Buckets.Bucket {
		names = append(names, b.Name)
	}
	return names, nil
}

// versionPage is a page of versions, with encoded keys.
type versionPage struct {
	Version []struct {
		Key       string
		VersionID string `xml:"VersionId"`
	}
	IsTruncated         bool
	NextKeyMarker       string
	NextVersionIDMarker string `xml:"NextVersionIdMarker"`
}

func (c *client) versions(ctx context.Context, bucket string, after url.Values) (page versionPage, err error) {
	after.Set("versions", "")
	after.Set("encoding-type", "url")
	if _, err := c.call(ctx, http.MethodGet, version{bucket: bucket}, after, nil, &page); err != nil {
		return page, fmt.Errorf("list %s: %w", bucket, err)
	}
	return page, nil
}

// uploadPage is a page of uploads in progress, with encoded keys.
type uploadPage struct {
	Upload             []struct{}
	IsTruncated        bool
	NextKeyMarker      string
	NextUploadIDMarker string `xml:"NextUploadIdMarker"`
}

func (c *client) uploads(ctx context.Context, bucket string, after url.Values) (page uploadPage, err error) {
	after.Set("uploads", "")
	after.Set("encoding-type", "url")
	if _, err := c.call(ctx, http.MethodGet, version{bucket: bucket}, after, nil, &page); err != nil {
		return page, fmt.Errorf("list the uploads in %s: %w", bucket, err)
	}
	return page, nil
}

// The headers that a server tells in what became of a key; one of before has none.
const (
	masterKeyHeader   = "x-shoal-master-key"
	wrappedAnewHeader = "x-shoal-wrapped-anew"
)

// rewrap has the key of one version wrapped anew. It returns the name of the master key
// that it is under now, or "" if the server does not tell, and whether that is
// the same as before.
func (c *client) rewrap(ctx context.Context, v version) (master string, same bool, err error) {
	query := url.Values{"encryption": {""}}
	if v.id != "" {
		query.Set("versionId", v.id)
	}
	header, err := c.call(ctx, http.MethodPut, v, query, []byte("<ObjectEncryption><Rewrap/></ObjectEncryption>"), nil)
	return header.Get(masterKeyHeader), header.Get(wrappedAnewHeader) == "false", err
}
