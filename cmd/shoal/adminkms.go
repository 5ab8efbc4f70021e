package main

import (
	"context"
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"github.com/shoal-storage/shoal/internal/adminclient"
)

func (f *adminFlags) kmsCommands() *cobra.Command {
	return noun("kms", "Master keys that objects are encrypted under", f.kmsList(), f.kmsCreate(), f.kmsStatus())
}

func (f *adminFlags) kmsList() *cobra.Command {
	return f.verb(&cobra.Command{
		Use: "ls [PATTERN]", Short: "List the master keys, or those that fit a pattern such as 'team-*'", Args: cobra.MaximumNArgs(1),
	}, func(ctx context.Context, r *adminRun, args []string) error {
		names, err := r.MasterKeys(ctx, append(args, "")[0])
		if err != nil {
			return err
		}
		var rows [][]string
		for _, name := range names {
			rows = append(rows, []string{name})
		}
		return r.table(names, []string{"MASTER KEY"}, rows)
	})
}

// masterKeyDocument names a master key.
type masterKeyDocument struct {
	Created string `json:"created"`
}

func (f *adminFlags) kmsCreate() *cobra.Command {
	return f.each(&cobra.Command{Use: "create NAME...", Short: "Make master keys in Vault"}, (*adminclient.Client).CreateMasterKey,
		func(name string) (any, string) { return masterKeyDocument{name}, "there is a master key " + name })
}

func (f *adminFlags) kmsStatus() *cobra.Command {
	return f.verb(&cobra.Command{
		Use: "status [NAME]", Short: "Try a master key, or the default one", Args: cobra.MaximumNArgs(1),
		Long: "Have the gateway encrypt and decrypt with a master key. The exit code is 3 if it cannot.",
	}, func(ctx context.Context, r *adminRun, args []string) error {
		k, err := r.MasterKey(ctx, append(args, "")[0])
		if err != nil {
			return err
		}
		trouble := oneLine(k.EncryptError + k.DecryptError) // of one alone
		encrypts, decrypts := "works", "works"
		switch {
		case k.EncryptError != "":
			encrypts, decrypts = trouble, "not tried"
		case k.DecryptError != "":
			decrypts = trouble
		}
		err = r.fields(k, [2]string{"master key", k.Name}, [2]string{"encryption", encrypts}, [2]string{"decryption", decrypts})
		if err == nil && trouble != "" {
			return &failure{code: exitFindings, what: "master key " + printable(k.Name) + " cannot be used", cause: errors.New(printable(trouble)), remedy: "docs/encryption.md says what it needs"}
		}
		return err
	})
}

// oneLine returns a text of several lines, which Vault sets in too, as one of one line.
func oneLine(text string) string {
	var lines []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSuffix(strings.Join(strings.Fields(line), " "), ":"); line != "" {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, ": ")
}
