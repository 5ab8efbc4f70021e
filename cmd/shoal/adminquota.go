package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/shoal-storage/shoal/internal/adminclient"
)

func (f *adminFlags) quotaCommands() *cobra.Command {
	return noun("quota", "How much a bucket may hold", f.quotaSet(), f.quotaInfo(), f.quotaClear())
}

func (f *adminFlags) quotaSet() *cobra.Command {
	var size string
	var objects int64
	cmd := f.verb(&cobra.Command{
		Use: "set BUCKET", Short: "Set how much a bucket may hold", Args: cobra.ExactArgs(1),
		Long: `Set how many bytes and objects a bucket may hold; what is not named has no limit.
The bucket is counted first, which for a large one takes more than a minute: see
--timeout. The limit is in force on all gateways when the command returns.`,
		Example: "  shoal admin quota set photos --size 10GiB --objects 100000",
	}, func(ctx context.Context, r *adminRun, args []string) error {
		q := adminclient.Quota{Objects: objects}
		if size != "" {
			var err error
			if q.Bytes, err = parseSize(size); err != nil {
				return err
			}
		}
		if q.Bytes <= 0 && objects <= 0 || objects < 0 {
			return usage("a limit is more than 0", "shoal admin quota clear takes a limit away")
		}
		if err := r.SetQuota(ctx, args[0], q); err != nil {
			return err
		}
		return r.showQuota(args[0], q)
	})
	cmd.Flags().StringVar(&size, "size", "", "`bytes`, with KiB, MiB, GiB or TiB")
	cmd.Flags().Int64Var(&objects, "objects", 0, "`number` of objects")
	cmd.MarkFlagsOneRequired("size", "objects")
	return cmd
}

func (f *adminFlags) quotaInfo() *cobra.Command {
	return f.verb(&cobra.Command{Use: "info BUCKET", Short: "Show how much a bucket may hold", Args: cobra.ExactArgs(1)}, func(ctx context.Context, r *adminRun, args []string) error {
		q, err := r.Quota(ctx, args[0])
		if err != nil {
			return err
		}
		return r.showQuota(args[0], q)
	})
}

func (f *adminFlags) quotaClear() *cobra.Command {
	return f.each(&cobra.Command{Use: "clear BUCKET...", Short: "Let buckets hold as much as there is room for"},
		func(c *adminclient.Client, ctx context.Context, bucket string) error {
			return c.SetQuota(ctx, bucket, adminclient.Quota{})
		},
		func(bucket string) (any, string) {
			return quotaDocument{Bucket: bucket}, "bucket " + bucket + " has no limit"
		})
}

// quotaDocument is how much a bucket may hold; 0 is no limit.
type quotaDocument struct {
	Bucket string `json:"bucket"`
	adminclient.Quota
}

func (r *adminRun) showQuota(bucket string, q adminclient.Quota) error {
	return r.fields(quotaDocument{bucket, q},
		[2]string{"bucket", bucket}, [2]string{"size", limited(q.Bytes, sizeText)}, [2]string{"objects", limited(q.Objects, decimal)})
}
