package main

import (
	"cmp"
	"strconv"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/shoal-storage/shoal/gateway"
	"github.com/shoal-storage/shoal/internal/object"
)

// fileFlags say what new files and directories are given.
type fileFlags struct {
	uid, gid, fileMode, dirMode string
}

func (f *fileFlags) declare(fl *pflag.FlagSet) {
	fl.StringVar(&f.uid, "uid", "", "`number` of the user that new files and directories of buckets are given to (default: who shoal runs as)")
	fl.StringVar(&f.gid, "gid", "", "`number` of the group that new files and directories of buckets are given to (default: of who shoal runs as, or of a setgid directory)")
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
		err = cmp.Or(err, (*mode.to).UnmarshalText([]byte(mode.text)))
	}
	if err = cmp.Or(err, files.Validate()); err != nil {
		return files, usage(err.Error(), "give permissions as chmod takes them: --file-mode 0664 --dir-mode 2775")
	}
	return files, nil
}

// bucketFlags are the flags of "shoal bucket files".
type bucketFlags struct {
	client clientFlags
	files  fileFlags
	reset  bool
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
	fl.BoolVar(&f.reset, "reset", false, "drop what is set of the bucket, except what other flags set")
	f.client.declare(fl)
	bucket.AddCommand(files, newBucketLimitsCommand())
	return bucket
}

func (f *bucketFlags) run(cmd *cobra.Command, address string) error {
	at, err := bucketURL(address)
	if err != nil {
		return err
	}
	at.RawQuery = gateway.FilesQuery + "="
	given, err := f.files.files()
	if err != nil {
		return err
	}
	have := object.Files{}
	if !f.reset {
		if err = f.client.get(cmd.Context(), at, &have); err != nil {
			return failed("files of "+address, err, certificateRemedy(err))
		}
	}
	if want := given.Or(have); f.reset || !given.IsZero() {
		if err := f.client.put(cmd.Context(), at, want); err != nil {
			return failed("files of "+address, err, certificateRemedy(err))
		}
		have = want
	}
	return show(cmd, have)
}
