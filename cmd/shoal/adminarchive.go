package main

import (
	"context"
	"errors"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/shoal-storage/shoal/internal/adminclient"
	"github.com/shoal-storage/shoal/internal/directory"
	"github.com/shoal-storage/shoal/internal/iam"
)

func (f *adminFlags) iamCommands() *cobra.Command {
	return noun("iam", "Move users, groups, policies and access keys, from MinIO too", f.usersExport(), f.usersImport())
}

func (f *adminFlags) bucketCommands() *cobra.Command {
	return noun("bucket", "Move the configurations of buckets, from MinIO too", f.bucketsExport(), f.bucketsImport())
}

func (f *adminFlags) usersExport() *cobra.Command {
	return f.archiveVerb(&cobra.Command{
		Use: "export FILE", Short: "Write everybody into a file (zip), with their secrets", Args: cobra.ExactArgs(1),
		Long: "Write users, groups, policies and access keys into a new file, - being the standard\noutput. It has all secrets in the clear: keep it as you keep the root password.",
	}, func(ctx context.Context, r *adminRun, args []string) error {
		archive, err := r.ExportUsers(ctx)
		if err != nil {
			return err
		}
		return r.writeArchive(args[0], archive)
	})
}

func (f *adminFlags) usersImport() *cobra.Command {
	return f.archiveVerb(&cobra.Command{
		Use: "import FILE", Short: "Take in what \"iam export\", or mc, has written", Args: cobra.ExactArgs(1),
		Long: "Take in users, groups, policies and access keys. What is here and not in the file stays;\nwhat is in both is then as in the file. The exit code is 3 if something was skipped: the\nlog of the gateway says why.",
	}, func(ctx context.Context, r *adminRun, args []string) error {
		archive, err := readArchive(args[0], r)
		if err != nil {
			return err
		}
		done, err := r.ImportUsers(ctx, archive)
		if err != nil {
			return err
		}
		return r.showImport(done, "the log of the gateway says why")
	})
}

func (f *adminFlags) bucketsExport() *cobra.Command {
	return f.archiveVerb(&cobra.Command{
		Use: "export FILE [BUCKET]", Short: "Write the configurations of all buckets, or one, into a file (zip)", Args: cobra.RangeArgs(1, 2),
	}, func(ctx context.Context, r *adminRun, args []string) error {
		archive, err := r.ExportBuckets(ctx, second(args))
		if err != nil {
			return err
		}
		return r.writeArchive(args[0], archive)
	})
}

func (f *adminFlags) bucketsImport() *cobra.Command {
	return f.archiveVerb(&cobra.Command{
		Use: "import FILE [BUCKET]", Short: "Take in what \"bucket export\", or mc, has written", Args: cobra.RangeArgs(1, 2),
		Long: "Take in the configurations of all buckets in a file, or of one. Buckets that are missing\nare made. The exit code is 3 if something was refused.",
	}, func(ctx context.Context, r *adminRun, args []string) error {
		archive, err := readArchive(args[0], r)
		if err != nil {
			return err
		}
		done, err := r.ImportBuckets(ctx, second(args), archive)
		if err != nil {
			return err
		}
		return r.showImport(done, "the table says why")
	})
}

// second is the second argument, "" if there is none.
func second(args []string) string { return append(args, "", "")[1] }

// archiveVerb is verb for a command whose first argument is a file.
func (f *adminFlags) archiveVerb(cmd *cobra.Command, do func(ctx context.Context, r *adminRun, args []string) error) *cobra.Command {
	cmd = f.verb(cmd, do)
	cmd.ValidArgsFunction = nil
	return cmd
}

func readArchive(path string, r *adminRun) ([]byte, error) {
	archive, err := readInput(path, r.cmd.InOrStdin(), directory.MaxArchive)
	if err != nil {
		return nil, failed("cannot read the archive", err, "name a file, or - for the standard input")
	}
	return archive, nil
}

// exportDocument is what was written.
type exportDocument struct {
	File  string `json:"file"`
	Bytes int64  `json:"bytes"`
}

// writeArchive writes a new file that only its owner may read.
func (r *adminRun) writeArchive(path string, archive []byte) error {
	if path == "-" {
		if _, err := r.cmd.OutOrStdout().Write(archive); err != nil {
			return failed("cannot write the archive", err, "")
		}
		return nil
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return usage(printable(path)+" is there already", "name a new file")
	}
	if err == nil {
		_, err = file.Write(archive)
		err = errors.Join(err, file.Close())
	}
	if err != nil {
		return failed("cannot write the archive", err, "name a file in a directory that you may write to")
	}
	size := int64(len(archive))
	return r.say(exportDocument{path, size}, path+" has "+sizeText(size))
}

// showImport shows what has become of what an archive has, and returns an error if that
// is not all in force. That policies which are there without being made stay as they
// are is well.
func (r *adminRun) showImport(done []adminclient.Imported, remedy string) error {
	var rows [][]string
	missing := false
	for _, i := range done {
		outcome := "imported"
		if !i.Done {
			outcome = "skipped"
			_, builtIn := iam.Canned()[i.Name]
			missing = missing || i.Kind != "policy" || !builtIn
		}
		rows = append(rows, []string{i.Kind, i.Name, outcome, i.Reason})
	}
	if err := r.table(done, []string{"KIND", "NAME", "OUTCOME", "REASON"}, rows); err != nil {
		return err
	}
	if missing {
		return &failure{code: exitFindings, what: "something was skipped", remedy: remedy}
	}
	return nil
}
