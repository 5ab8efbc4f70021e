package main

import (
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func TestTargetsOfTheAuditComeFromVariables(t *testing.T) {
	file := filepath.Join(t.TempDir(), "audit.log")
	for _, tt := range []struct {
		env   []string
		path  string
		want  []string // names and rooms
		fails string   // in the error
	}{
		{nil, "", nil, ""},
		{[]string{auditFileVariable + "=" + file}, file, []string{"file 10000"}, ""},
		{[]string{"SHOAL_AUDIT_WEBHOOK_ENABLE=on", "SHOAL_AUDIT_WEBHOOK_ENDPOINT=http://a/b"}, "", []string{"webhook:_ 10000"}, ""},
		{[]string{"MINIO_AUDIT_WEBHOOK_ENABLE_A=on", "MINIO_AUDIT_WEBHOOK_ENDPOINT_A=http://a/b", "MINIO_AUDIT_WEBHOOK_QUEUE_SIZE_A=5", "MINIO_AUDIT_WEBHOOK_BATCH_SIZE_A=7"}, "", []string{"webhook:A 5"}, ""},
		{[]string{"SHOAL_AUDIT_KAFKA_ENABLE_A=on", "SHOAL_AUDIT_KAFKA_BROKERS_A=a:1", "SHOAL_AUDIT_KAFKA_TOPIC_A=t"}, "", []string{"kafka:A 10000"}, ""},
		{[]string{"SHOAL_AUDIT_WEBHOOK_ENDPOINT=http://a/b"}, "", nil, ""}, // not enabled
		{[]string{"SHOAL_AUDIT_WEBHOOK_ENABLE=on"}, "", nil, "endpoint is missing"},
		{[]string{"SHOAL_AUDIT_WEBHOOK_ENDPOIMT=http://a/b"}, "", nil, "not a setting"},
		{[]string{"SHOAL_AUDIT_REDIS_ENABLE=on"}, "", nil, "not a setting"},
		{[]string{"SHOAL_AUDIT_WEBHOOK_ENABLE=on", "SHOAL_AUDIT_WEBHOOK_ENDPOINT=http://a/b", "SHOAL_AUDIT_WEBHOOK_QUEUE_SIZE=0"}, "", nil, "queue_size"},
		{nil, filepath.Join(file, "below"), nil, "cannot write the audit"},
	} {
		targets, err := readEnvironment(tt.env).auditTargets(t.Context(), tt.path)
		var got []string
		for _, to := range targets {
			got = append(got, to.Name+" "+strconv.Itoa(to.Room))
			if err := to.Close(); err != nil {
				t.Error(err)
			}
		}
		if !slices.Equal(got, tt.want) || (err == nil) != (tt.fails == "") || err != nil && !strings.Contains(err.Error(), tt.fails) {
			t.Errorf("%v: %q, %v", tt.env, got, err)
		}
	}
}
