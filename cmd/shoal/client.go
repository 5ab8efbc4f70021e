package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/shoal-storage/shoal/internal/sigv4"
)

// clientFlags say how to talk to an endpoint, whose documents are shown and set.
type clientFlags struct {
	insecure bool
	region   string
}

func (f *clientFlags) declare(fl *pflag.FlagSet) {
	fl.BoolVar(&f.insecure, "insecure", false, "accept any TLS certificate")
	fl.StringVar(&f.region, "region", "us-east-1", "region to sign for")
}

// serverURL returns the URL of the server that arguments name, or else another.
func serverURL(args []string, other string) (string, error) {
	address := strings.TrimRight(append(args, other)[0], "/")
	if at, err := url.Parse(address); err != nil || !isWeb(at) {
		return "", usage(printable(address)+" is not the URL of a server", "take one such as http://nas:9000")
	}
	return address, nil
}

// isWeb reports whether a URL is one of HTTP or HTTPS.
func isWeb(at *url.URL) bool { return at.Host != "" && (at.Scheme == "http" || at.Scheme == "https") }

// clientCredentials returns the credentials to sign with.
func clientCredentials(env *environment) (accessKey, secretKey string, err error) {
	if id, secret := env.values["AWS_ACCESS_KEY_ID"], env.values["AWS_SECRET_ACCESS_KEY"]; id != "" && secret != "" {
		return id, secret, nil
	}
	creds, err := env.credentials()
	if err != nil {
		return "", "", err
	}
	if dir, unknown := stateDirectory(env.values["SHOAL_STATE_DIR"]); creds.user == "" && unknown == nil {
		if creds, err = (&state{dir: dir}).keptCredentials(); err != nil {
			return "", "", err
		}
	}
	if creds.user == "" {
		return "", "", usage("no credentials", "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or SHOAL_ROOT_USER and SHOAL_ROOT_PASSWORD (or SHOAL_ROOT_PASSWORD_FILE)")
	}
	return creds.user, creds.password, nil
}

// certificateRemedy says what to do about a certificate that is not accepted, "" if the error is
// another one.
func certificateRemedy(err error) string {
	if _, unknown := errors.AsType[*tls.CertificateVerificationError](err); !unknown {
		return ""
	}
	return "name the file of its authority in SSL_CERT_FILE, or accept any with --insecure"
}

// bucketURL parses the URL of a bucket.
func bucketURL(address string) (*url.URL, error) {
	at, err := url.Parse(address)
	if err == nil {
		at.Path = strings.Trim(at.Path, "/")
	}
	if err != nil || !isWeb(at) || at.Path == "" || strings.Contains(at.Path, "/") {
		return nil, usage(address+" is not the URL of a bucket", "take one such as http://nas:9000/bucket")
	}
	at.Path = "/" + at.Path
	return at, nil
}

// get reads the document at a URL.
func (f *clientFlags) get(ctx context.Context, at *url.URL, into any) error {
	document, err := f.ask(ctx, http.MethodGet, at, nil)
	if err != nil {
		return err
	}
	return json.Unmarshal(document, into)
}

// put sets it.
func (f *clientFlags) put(ctx context.Context, at *url.URL, v any) error {
	document, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = f.ask(ctx, http.MethodPut, at, document)
	return err
}

// show prints a document.
func show(cmd *cobra.Command, v any) error {
	document, err := json.Marshal(v)
	if err == nil {
		_, err = fmt.Fprintln(cmd.OutOrStdout(), string(document))
	}
	if err != nil {
		return failed("print the document", err, "")
	}
	return nil
}

// ask sends a signed request and returns the answer.
func (f *clientFlags) ask(ctx context.Context, method string, to *url.URL, body []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	accessKey, secretKey, err := clientCredentials(readEnvironment(os.Environ()))
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, method, to.String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(body)
	signer := sigv4.Credentials{AccessKey: accessKey, Secret: secretKey, Region: f.region}
	header := sigv4.Fields{{Name: "Host", Value: to.Host}}
	for _, field := range signer.Sign(sigv4.Request{Method: method, Path: to.EscapedPath(), Query: to.RawQuery, Header: header}, hex.EncodeToString(sum[:]), time.Now()) {
		request.Header.Set(field.Name, field.Value)
	}
	response, err := clientOf(f.insecure).Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close() //nolint:errcheck // read already
	answer, err := io.ReadAll(io.LimitReader(response.Body, maxStatus))
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("it answers %s: %s", response.Status, messageOf(answer))
	}
	return answer, err
}

// messageOf returns the message of an error as S3 has it, or "".
func messageOf(answer []byte) string {
	var refusal struct{ Message string }
	_ = xml.Unmarshal(answer, &refusal) // without one the status has to do
	return refusal.Message
}
