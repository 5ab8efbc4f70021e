package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/shoal-storage/shoal/internal/sse"
	"github.com/shoal-storage/shoal/internal/vault"
)

// The secrets of encryption, each also with _FILE behind it.
const (
	masterKeyVariable  = "SHOAL_KMS_SECRET_KEY"
	vaultTokenVariable = "SHOAL_KMS_VAULT_TOKEN"
	vaultRoleVariable  = "SHOAL_KMS_VAULT_ROLE_ID"
	vaultIDVariable    = "SHOAL_KMS_VAULT_SECRET_ID"
)

// vaultTimeout bounds one call of Vault.
const vaultTimeout = 5 * time.Second

// kmsFlags are the flags about encryption.
type kmsFlags struct {
	address, mount, namespace, key, ca, roleMount string // of Vault

	auto     string // on or off
	overHTTP bool
}

func (f *kmsFlags) declare(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringVar(&f.address, "kms-vault-address", "", "`URL` of a HashiCorp Vault whose transit engine has the master keys")
	fl.StringVar(&f.mount, "kms-vault-mount", "transit", "`path` of Vault's transit engine")
	fl.StringVar(&f.namespace, "kms-vault-namespace", "", "`namespace` of Vault Enterprise")
	fl.StringVar(&f.key, "kms-vault-key", "", "`name` of the master key that is used where none is named")
	fl.StringVar(&f.ca, "kms-vault-ca", "", "`file` with the certificates (PEM) that Vault's is signed by (default: those of the system)")
	fl.StringVar(&f.roleMount, "kms-vault-approle-mount", "approle", "`path` of the AppRole method, for a login with SHOAL_KMS_VAULT_ROLE_ID and _SECRET_ID")
	fl.StringVar(&f.auto, "auto-encryption", "off", "on: encrypt objects with a master key (SSE-S3) where neither request nor bucket says otherwise")
	fl.BoolVar(&f.overHTTP, "sse-c-over-http", false, "take the encryption keys of clients over plain HTTP: for where a proxy in front speaks TLS")
}

func (f *kmsFlags) validate() error {
	switch {
	case f.auto != "on" && f.auto != "off" && f.auto != "":
		return usage("--auto-encryption "+f.auto+" is neither on nor off", "take off")
	case f.address == "" && (f.key != "" || f.ca != "" || f.namespace != ""):
		return usage("there are settings of Vault, and --kms-vault-address is missing", "set it, or leave the others out")
	case f.address != "" && f.key == "":
		return usage("--kms-vault-key is missing", "name a key of the transit engine: vault write -f transit/keys/shoal")
	}
	return nil
}

// masterKeys returns what objects are encrypted under, nil if there is nothing. Keys
// of the environment count beside those of Vault, whose default is used then.
func (f *kmsFlags) masterKeys(ctx context.Context, env *environment, log *slog.Logger) (sse.MasterKeys, error) {
	text, from, err := env.secret([]string{masterKeyVariable, "MINIO_KMS_SECRET_KEY"})
	if err != nil {
		return nil, err
	}
	var local *sse.Local
	if text != "" {
		if local, err = sse.ParseLocal(text); err != nil {
			return nil, usage(from+": "+err.Error(), "make one: echo shoal:$(head -c 32 /dev/urandom | base64)")
		}
	}
	switch {
	case f.address != "":
		client, err := f.openVault(ctx, env, log)
		if err != nil || local == nil {
			return client, err
		}
		return local.Before(client), nil
	case local != nil:
		return local, nil
	case f.auto == "on":
		return nil, usage("--auto-encryption needs a master key", "set "+masterKeyVariable+"_FILE, or --kms-vault-address")
	}
	return nil, nil
}

// openVault returns the keys of Vault. That it cannot be reached now is no reason not
// to start.
func (f *kmsFlags) openVault(ctx context.Context, env *environment, log *slog.Logger) (sse.MasterKeys, error) {
	login, err := f.vaultLogin(env)
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}, MaxIdleConnsPerHost: 64, IdleConnTimeout: time.Minute, ForceAttemptHTTP2: true}
	if f.ca != "" {
		pem, err := os.ReadFile(f.ca)
		if err != nil {
			return nil, failed("cannot read --kms-vault-ca", err, readRemedy(err))
		}
		transport.TLSClientConfig.RootCAs = x509.NewCertPool()
		if !transport.TLSClientConfig.RootCAs.AppendCertsFromPEM(pem) {
			return nil, usage("there is no certificate in --kms-vault-ca "+f.ca, "put certificates (PEM) into it")
		}
	}
	client, err := vault.New(vault.Config{
		Address: f.address, Namespace: f.namespace, Mount: f.mount, Key: f.key, Login: login,
		HTTP: &http.Client{Transport: transport}, Timeout: vaultTimeout,
	})
	if err != nil {
		return nil, usage(err.Error(), "shoal server --help says what the flags take")
	}
	if err := client.Check(ctx, f.key); err != nil {
		log.Warn("the master key in Vault cannot be used now", "address", f.address, "key", f.key, "error", err)
	}
	return client, nil
}

// vaultLogin returns how to log in: with a role, or with a token, whose file is read
// anew when it has ended.
func (f *kmsFlags) vaultLogin(env *environment) (vault.Login, error) {
	role, _, err := env.secret([]string{vaultRoleVariable})
	if err != nil {
		return vault.Login{}, err
	}
	id, _, err := env.secret([]string{vaultIDVariable})
	if err != nil {
		return vault.Login{}, err
	}
	if (role == "") != (id == "") {
		return vault.Login{}, usage("of "+vaultRoleVariable+" and "+vaultIDVariable+" one is missing", "set both, or "+vaultTokenVariable)
	}
	if role != "" {
		return vault.AppRole(f.roleMount, role, id), nil
	}
	read := func() (string, error) {
		token, _, err := env.secret([]string{vaultTokenVariable})
		return token, err
	}
	switch token, err := read(); {
	case err != nil:
		return vault.Login{}, err
	case token == "":
		return vault.Login{}, usage("there is nothing to log in to Vault with", "set "+vaultTokenVariable+"_FILE, or "+vaultRoleVariable+" and "+vaultIDVariable)
	}
	return vault.Token(read), nil
}
