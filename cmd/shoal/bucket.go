package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/shoal-storage/shoal/gateway"
	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/sigv4"
)

// fileFlags say what new files and directories are given.
type fileFlags struct {
	uid, gid, fileMode, dirMode string
}

func (f *fileFlags) declare(fl *pflag.FlagSet) {
	fl.StringVar(&f.uid, "uid", "", "`number` of the user that new files and directories of buckets are given to (default: who shoal runs as)")
	fl.StringVar(&f.gid, "gid", "", "`number` of the group that they are given to (default: of who shoal runs as, or of a setgid directory)")
	fl.StringVar(&f.fileMode, "file-mode", "", "`permissions` of new files, such as 0640 (default: 0664 less the umask)")
	fl.StringVar(&f.dirMode, "dir-mode", "", "`permissions` of new directories, such as 2770 (default: 0775 less the umask)")
}

// files returns what the flags say that were given.
func (f *fileFlags) files() (files object.Files, err error) {
	for _, id := range []struct {
		text string
		to   **uint32
	}{{f.uid, &files.UID}, {f.gid, &files.GID}} {
		if id.text == "" {
			continue
		}
		n, wrong := strconv.ParseUint(id.text, 10, 32)
		if wrong != nil {
			return files, usage(id.text+" is not the number of a user or group", "id NAME tells it")
		}
		*id.to = new(uint32(n))
	}
	for _, mode := range []struct {
		text string
		to   **object.Permissions
	}{{f.fileMode, &files.FileMode}, {f.dirMode, &files.DirMode}} {
		if mode.text == "" {
			continue
		}
		*mode.to = new(object.Permissions)
		err = errors.Join(err, (*mode.to).UnmarshalText([]byte(mode.text)))
	}
	if err = errors.Join(err, files.Validate()); err != nil {
		return files, usage(err.Error(), "give permissions as chmod takes them: --file-mode 0664 --dir-mode 2775")
	}
	return files, nil
}

// bucketFlags are the flags of "shoal bucket files".
type bucketFlags struct {
	files    fileFlags
	reset    bool
	insecure bool
	region   string
}

func newBucketCommand() *cobra.Command {
	bucket := &cobra.Command{
		Use: "bucket", Short: "Set up a bucket in ways that S3 has no call for", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	var f bucketFlags
	files := &cobra.Command{
		Use:   "files [flags] URL/BUCKET",
		Short: "Show or set whose the bucket's new files are, and who may use them",
		Long: `Show what new files and directories of a bucket are given, as a JSON document, or
set that. What is not set is as the flags of "shoal server" say. What is there
already stays as it is.

Credentials are looked for as "shoal bench" does.`,
		Example: "  shoal bucket files --gid 1000 --file-mode 0660 --dir-mode 2770 http://nas:9000/projects\n  shoal bucket files --reset http://nas:9000/projects",
		Args:    cobra.ExactArgs(1),
		RunE:    func(cmd *cobra.Command, args []string) error { return f.run(cmd, args[0]) },
	}
	fl := files.Flags()
	f.files.declare(fl)
	fl.BoolVar(&f.reset, "reset", false, "have the bucket say nothing, but for what other flags say")
	fl.BoolVar(&f.insecure, "insecure", false, "accept any TLS certificate")
	fl.StringVar(&f.region, "region", "us-east-1", "region to sign for")
	bucket.AddCommand(files)
	return bucket
}

func (f *bucketFlags) run(cmd *cobra.Command, address string) error {
	at, err := url.Parse(address)
	if err != nil || at.Host == "" || strings.Trim(at.Path, "/") == "" || strings.Contains(strings.Trim(at.Path, "/"), "/") {
		return usage(address+" is not the URL of a bucket", "take one such as http://nas:9000/bucket")
	}
	given, err := f.files.files()
	if err != nil {
		return err
	}
	have := object.Files{}
	if !f.reset {
		if have, err = f.get(cmd.Context(), at); err != nil {
			return failed("files of "+address, err, "")
		}
	}
	if want := given.Or(have); f.reset || !given.IsZero() {
		document, err := json.Marshal(want)
		if err == nil {
			_, err = f.ask(cmd.Context(), http.MethodPut, at, document)
		}
		if err != nil {
			return failed("files of "+address, err, "")
		}
		have = want
	}
	document, err := json.Marshal(have)
	if err == nil {
		_, err = fmt.Fprintln(cmd.OutOrStdout(), string(document))
	}
	if err != nil {
		return failed("print the document", err, "")
	}
	return nil
}

func (f *bucketFlags) get(ctx context.Context, at *url.URL) (files object.Files, err error) {
	document, err := f.ask(ctx, http.MethodGet, at, nil)
	if err != nil {
		return files, err
	}
	return files, json.Unmarshal(document, &files)
}

// ask sends a signed request for the bucket's files and returns the answer.
func (f *bucketFlags) ask(ctx context.Context, method string, at *url.URL, body []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	accessKey, secretKey, err := clientCredentials(readEnvironment(os.Environ()))
	if err != nil {
		return nil, err
	}
	to := *at
	to.Path, to.RawQuery = "/"+strings.Trim(at.Path, "/"), gateway.FilesQuery+"="
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
		var refusal struct{ Message string }
		_ = xml.Unmarshal(answer, &refusal) // without one the status has to do
		err = fmt.Errorf("it answers %s: %s", response.Status, refusal.Message)
	}
	return answer, err
}
