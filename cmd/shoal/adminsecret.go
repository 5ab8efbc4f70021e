package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
)

// secretFlag names where a secret is read from, so that none is in a list of processes or
// in the history of a shell.
type secretFlag struct{ path string }

func (f *secretFlag) declare(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.path, "secret-file", "", "`file` that has the secret key, - for the standard input (default: one is made)")
}

// maxSecretFile bounds what is read of a file that has a secret, in bytes.
const maxSecretFile = 4096

// read returns the secret, "" if none is given.
func (f *secretFlag) read(in io.Reader) (string, error) {
	if f.path == "" {
		return "", nil
	}
	content, err := readInput(f.path, in, maxSecretFile)
	if err != nil {
		return "", failed("cannot read the secret key", err, "--secret-file names the file")
	}
	secret := strings.TrimRight(string(content), "\r\n")
	if secret == "" {
		return "", usage("there is no secret key in "+f.path, "write it there, or leave out --secret-file to have one made")
	}
	return secret, nil
}

// readInput reads a file, - being the standard input, of so many bytes at most.
func readInput(path string, in io.Reader, most int64) ([]byte, error) {
	if path != "-" {
		file, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer file.Close() //nolint:errcheck // it was only read
		in = file
	}
	content, err := io.ReadAll(io.LimitReader(in, most+1))
	if err == nil && int64(len(content)) > most {
		err = fmt.Errorf("%s has more than %d bytes", path, most)
	}
	return content, err
}

// madeCredentials are an access key and, if that was made here, its secret.
type madeCredentials struct {
	AccessKey string `json:"access_key"`
	Secret    string `json:"secret_key,omitempty"`
}

// showCredentials shows a secret key, unless that is "": who gave it knows it.
func (r *adminRun) showCredentials(accessKey, secret string) error {
	err := r.fields(madeCredentials{accessKey, secret}, [2]string{"access key", accessKey}, [2]string{"secret key", secret})
	if err == nil && secret != "" {
		_, _ = fmt.Fprintln(r.cmd.ErrOrStderr(), "The secret key is not shown again.") // it is a hint
	}
	return err
}
