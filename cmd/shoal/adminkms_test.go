package main

import (
	"context"
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"github.com/shoal-storage/shoal/gateway"
	"github.com/shoal-storage/shoal/internal/sse"
)

// broken are master keys that cannot be used.
type broken struct{ sse.MasterKeys }

func (broken) Wrap(context.Context, string, sse.Key, []byte) ([]byte, error) {
	return nil, errors.New("sealed\n1 error occurred:\n\t* for good\n\n")
}

func TestMasterKeysAreListedAndTried(t *testing.T) {
	keys, err := sse.ParseLocal("one:" + base64.StdEncoding.EncodeToString(make([]byte, sse.KeySize)))
	if err != nil {
		t.Fatal(err)
	}
	c := openConsole(t, func(cfg *gateway.Config) { cfg.MasterKeys = keys })
	for command, want := range map[string]string{
		"kms ls": "MASTER KEY\none\n", "kms ls x*": "MASTER KEY\n", "kms ls --json": `["one"]` + "\n",
		"kms status": "master key  one\nencryption  works\ndecryption  works\n", "kms status one --json": `{"name":"one"}` + "\n",
	} {
		if out := c.does(strings.Fields(command)...); out != want {
			t.Errorf("%s says\n%swant\n%s", command, out, want)
		}
	}
	if _, said, code := c.run("", "kms", "create", "two"); code != exitFailed || !strings.Contains(said, "docs/encryption.md") {
		t.Errorf("exit %d, %s", code, said)
	}
	c = openConsole(t, func(cfg *gateway.Config) { cfg.MasterKeys = broken{keys} })
	if out, said, code := c.run("", "kms", "status"); code != exitFindings || !strings.Contains(said, "cannot be used: sealed: 1 error occurred: * for good") || !strings.Contains(out, "encryption  sealed: 1 error occurred: * for good\ndecryption  not tried\n") {
		t.Errorf("one that cannot be used: exit %d, %s%s", code, out, said)
	}
}
