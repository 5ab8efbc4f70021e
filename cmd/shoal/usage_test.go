package main

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
)

// kept are records of which nothing is changed.
type kept map[string]string

func (k kept) Get(name string) (value []byte, revision uint64, err error) {
	return []byte(k[name]), 1, nil
}

func (k kept) List(prefix string) (names []string, err error) {
	for name := range k {
		if strings.HasPrefix(name, prefix) {
			names = append(names, name)
		}
	}
	return names, nil
}

func (kept) Set(context.Context, string, []byte, uint64) error {
	return errors.New("nothing is changed")
}

func TestWhatBucketsHoldIsMeasured(t *testing.T) {
	records := kept{
		"usage/a": `{"bytes":100,"objects":10,"versions":12,"markers":3,"at":"2026-01-02T03:04:05Z"}`,
		"usage/b": `{"bytes":1000,"objects":20,"versions":20,"markers":0,"at":"2026-01-02T03:04:05Z","due":"2026-01-02T03:05:05Z","written":true}`,
		"usage/c": `{"written":true}`,
		"other":   `{"bytes":5}`,
	}
	want := []string{
		"minio_bucket_usage_deletemarker_total gauge bucket=a 3",
		"minio_bucket_usage_deletemarker_total gauge bucket=b 0",
		"minio_bucket_usage_object_total gauge bucket=a 10",
		"minio_bucket_usage_object_total gauge bucket=b 20",
		"minio_bucket_usage_total_bytes gauge bucket=a 100",
		"minio_bucket_usage_total_bytes gauge bucket=b 1000",
		"minio_bucket_usage_version_total gauge bucket=a 15",
		"minio_bucket_usage_version_total gauge bucket=b 20",
		"minio_cluster_usage_deletemarker_total gauge  3",
		"minio_cluster_usage_object_total gauge  30",
		"minio_cluster_usage_total_bytes gauge  1100",
		"minio_cluster_usage_version_total gauge  35",
		"shoal_bucket_usage_bytes gauge bucket=a 100",
		"shoal_bucket_usage_bytes gauge bucket=b 1000",
		"shoal_bucket_usage_objects gauge bucket=a 10",
		"shoal_bucket_usage_objects gauge bucket=b 20",
		"shoal_bucket_usage_versions gauge bucket=a 12",
		"shoal_bucket_usage_versions gauge bucket=b 20",
	}
	if got := gathered(t, usageCollector{records, true}); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	want = slices.DeleteFunc(want, func(line string) bool { return strings.HasPrefix(line, "minio_cluster_") })
	if got := gathered(t, usageCollector{records, false}); !slices.Equal(got, want) {
		t.Errorf("of single buckets got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
