package main

import (
	"log/slog"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/shoal-storage/shoal/internal/audit"
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

func TestTheQueueOfEachAuditTargetIsMeasured(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	targets, err := readEnvironment(nil).auditTargets(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	log := audit.New(t.Context(), targets, slog.New(slog.DiscardHandler))
	if err := log.Add(&audit.Record{}); err != nil {
		t.Error(err)
	}
	if err := log.Close(); err != nil { // what waits is written
		t.Error(err)
	}
	const name = "shoal_audit_target_"
	want := []string{
		name + "errors_total counter target=file 0", name + "lost_total counter target=file 0", name + "queue_length gauge target=file 0",
		name + "queue_limit gauge target=file 10000", name + "sent_total counter target=file 1",
	}
	if got := gathered(t, auditCollector{log}); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
