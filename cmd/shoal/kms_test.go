package main

import (
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/shoal-storage/shoal/internal/sse"
)

// masterKey is a master key as variables have it.
func masterKey(name string) string {
	return name + ":" + base64.StdEncoding.EncodeToString([]byte(strings.Repeat(name[:1], 32)))
}

// serverCommandAndFlags returns a command that has the settings, and where they are,
// as it is after a command line.
func serverCommandAndFlags(t *testing.T, args ...string) (*cobra.Command, *serverFlags) {
	t.Helper()
	cmd, f := &cobra.Command{}, &serverFlags{}
	f.declare(cmd)
	if err := cmd.ParseFlags(args); err != nil {
		t.Fatal(err)
	}
	return cmd, f
}

func TestMasterKeysComeFromTheEnvironmentAndVault(t *testing.T) {
	file := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(file, []byte(masterKey("one")+"\n"+masterKey("two")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	// Nobody listens there: Vault need not be there at the start.
	vault := []string{"--kms-vault-address", "http://127.0.0.1:1", "--kms-vault-key", "v"}
	for _, tt := range []struct {
		name  string
		args  []string
		env   []string
		first string // default key, "" for none
	}{
		{"none", nil, nil, ""},
		{"a variable", nil, []string{"SHOAL_KMS_SECRET_KEY=" + masterKey("a")}, "a"},
		{"a file", nil, []string{"SHOAL_KMS_SECRET_KEY_FILE=" + file}, "one"},
		{"MinIO's", nil, []string{"MINIO_KMS_SECRET_KEY=" + masterKey("m")}, "m"},
		{"ours before MinIO's", nil, []string{"MINIO_KMS_SECRET_KEY=" + masterKey("m"), "SHOAL_KMS_SECRET_KEY=" + masterKey("a")}, "a"},
		{"Vault with a token", vault, []string{"SHOAL_KMS_VAULT_TOKEN=t"}, "v"},
		{"Vault with a role", vault, []string{"SHOAL_KMS_VAULT_ROLE_ID=r", "SHOAL_KMS_VAULT_SECRET_ID=s"}, "v"},
		{"Vault by variables", nil, []string{"SHOAL_KMS_VAULT_ADDRESS=http://127.0.0.1:1", "SHOAL_KMS_VAULT_KEY=v", "SHOAL_KMS_VAULT_TOKEN=t"}, "v"},
		{"Vault and a variable", vault, []string{"SHOAL_KMS_VAULT_TOKEN=t", "SHOAL_KMS_SECRET_KEY=" + masterKey("a")}, "v"},
	} {
		cmd, f := serverCommandAndFlags(t, tt.args...)
		env := readEnvironment(tt.env)
		if err := errors.Join(env.check(cmd.Flags()), env.apply(cmd.Flags()), f.kms.validate()); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		keys, err := f.kms.masterKeys(t.Context(), env, slog.New(slog.DiscardHandler))
		if err != nil || (keys == nil) != (tt.first == "") || keys != nil && keys.Default() != tt.first {
			t.Errorf("%s: %v, %v", tt.name, keys, err)
		}
	}
}

func TestSettingsOfEncryptionThatMakeNoSenseAreRefused(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	vault := []string{"--kms-vault-address", "http://127.0.0.1:1", "--kms-vault-key", "v"}
	for _, tt := range []struct {
		name string
		args []string
		env  []string
	}{
		{"no key", nil, []string{"SHOAL_KMS_SECRET_KEY=my-key"}},
		{"a short key", nil, []string{"SHOAL_KMS_SECRET_KEY=a:c2VjcmV0"}},
		{"an empty file", nil, []string{"SHOAL_KMS_SECRET_KEY_FILE=" + empty}},
		{"no such file", nil, []string{"SHOAL_KMS_SECRET_KEY_FILE=" + empty + "-not"}},
		{"Vault without a key", []string{"--kms-vault-address", "http://127.0.0.1:1"}, []string{"SHOAL_KMS_VAULT_TOKEN=t"}},
		{"a key without Vault", []string{"--kms-vault-key", "v"}, nil},
		{"Vault without a login", vault, nil},
		{"half a role", vault, []string{"SHOAL_KMS_VAULT_ROLE_ID=r"}},
		{"no address", []string{"--kms-vault-address", "vault", "--kms-vault-key", "v"}, []string{"SHOAL_KMS_VAULT_TOKEN=t"}},
		{"certificates that are none", append(vault, "--kms-vault-ca", empty), []string{"SHOAL_KMS_VAULT_TOKEN=t"}},
		{"everything, and nothing to do it with", []string{"--auto-encryption", "on"}, nil},
		{"neither on nor off", []string{"--auto-encryption", "maybe"}, nil},
	} {
		_, f := serverCommandAndFlags(t, tt.args...)
		err := f.kms.validate()
		if err == nil {
			_, err = f.kms.masterKeys(t.Context(), readEnvironment(tt.env), slog.New(slog.DiscardHandler))
		}
		if err == nil {
			t.Errorf("%s was taken", tt.name)
		} else if strings.Contains(err.Error(), "c2VjcmV0") {
			t.Errorf("%s: the error tells the key: %v", tt.name, err)
		}
	}
}

// parrot is a Vault of one key that "encrypts" by saying what it was told.
func parrot(w http.ResponseWriter, r *http.Request) {
	var in map[string]string
	if json.NewDecoder(r.Body).Decode(&in) != nil || r.Header.Get("X-Vault-Token") != "token" || r.Header.Get("X-Vault-Namespace") != "team" {
		w.WriteHeader(http.StatusForbidden)
		return
	}
	switch r.URL.Path {
	case "/v1/kv/encrypt/main":
		in["ciphertext"] = "vault:v1:" + in["plaintext"]
	case "/v1/kv/decrypt/main":
		in["plaintext"] = strings.TrimPrefix(in["ciphertext"], "vault:v1:")
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"data": in})
}

func TestVaultIsAskedAsTheSettingsSay(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(parrot))
	defer server.Close()
	ca, token := filepath.Join(t.TempDir(), "ca.pem"), filepath.Join(t.TempDir(), "token")
	block := &pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}
	if err := errors.Join(os.WriteFile(ca, pem.EncodeToMemory(block), 0o600), os.WriteFile(token, []byte("old\n"), 0o600)); err != nil {
		t.Fatal(err)
	}
	_, f := serverCommandAndFlags(t, "--kms-vault-address", server.URL, "--kms-vault-key", "main", "--kms-vault-mount", "kv", "--kms-vault-namespace", "team", "--kms-vault-ca", ca)
	keys, err := f.kms.masterKeys(t.Context(), readEnvironment([]string{"SHOAL_KMS_VAULT_TOKEN_FILE=" + token}), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := keys.Wrap(t.Context(), "main", sse.NewKey(), nil); err == nil {
		t.Error("Vault was asked with another token than the file's")
	}
	if err := os.WriteFile(token, []byte("token\n"), 0o600); err != nil { // renewed
		t.Fatal(err)
	}
	key := sse.NewKey()
	wrapped, err := keys.Wrap(t.Context(), keys.Default(), key, []byte("context"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := keys.Unwrap(t.Context(), "main", wrapped, []byte("context")); err != nil || got != key {
		t.Errorf("the key came back as another, %v", err)
	}
}
