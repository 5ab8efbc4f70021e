package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"sync"
	"syscall"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/shoal-storage/shoal/gateway"
	"github.com/shoal-storage/shoal/internal/audit"
	"github.com/shoal-storage/shoal/internal/events/target"
)

// What the names of variables begin with that set up targets of the audit, and the
// variable of --audit-file, which begins so too.
const (
	shoalAudit        = "SHOAL_AUDIT_"
	auditFileVariable = "SHOAL_AUDIT_FILE"
)

// queueSize is the setting of how many records may wait for a target of the audit.
const queueSize = "queue_size"

// auditFamily has the kinds of targets that take any documents.
func auditFamily() family {
	f := family{shoal: shoalAudit, minio: "MINIO_AUDIT_", manual: "docs/operations.md"}
	for _, k := range target.Kinds() {
		if k.Type == "webhook" || k.Type == "kafka" {
			k.Settings = append(slices.Clone(k.Settings), queueSize)
			f.kinds = append(f.kinds, k)
		}
	}
	return f
}

// auditTargets returns the targets of the audit: those that variables enable, and a file,
// if its path is not empty.
func (e *environment) auditTargets(ctx context.Context, path string) ([]audit.Target, error) {
	var all []audit.Target
	err := e.enabled(auditFamily(), func(kind target.Kind, id string, values target.Settings) error {
		t, err := openAudit(ctx, kind, id, values)
		if err == nil {
			all = append(all, t)
		}
		return err
	})
	if err != nil || path == "" {
		return all, err
	}
	file, err := openAuditFile(path)
	if err != nil {
		return nil, err
	}
	return append(all, audit.Target{Name: "file", Room: audit.DefaultRoom, Sender: file}), nil
}

// openAudit returns a target of the audit.
func openAudit(ctx context.Context, kind target.Kind, id string, values target.Settings) (t audit.Target, err error) {
	t = audit.Target{Name: kind.Type + ":" + id, Room: audit.DefaultRoom}
	if text := values[queueSize]; text != "" {
		if t.Room, err = strconv.Atoi(text); err != nil || t.Room < 1 || t.Room > maxAuditRoom {
			return t, usage(fmt.Sprintf("the queue_size of the target %s of the audit is not a number from 1 to %d", t.Name, maxAuditRoom), "leave it out")
		}
	}
	if t.Sender, err = kind.OpenPlain(ctx, values); err != nil {
		return t, usage("the target "+t.Name+" of the audit is not set up right: "+err.Error(), "docs/operations.md lists the settings")
	}
	return t, nil
}

// maxAuditRoom bounds what a queue may have in memory: some 2 GB of records.
const maxAuditRoom = 1_000_000

// startAudit tells the targets of every request, until what it returns is closed.
func startAudit(ctx context.Context, targets []audit.Target, metrics *gateway.Metrics, log *slog.Logger) (*audit.Log, error) {
	l := audit.New(ctx, targets, log)
	if err := metrics.Registry.Register(auditCollector{l}); err != nil {
		return nil, errors.Join(failed("cannot measure the audit", err, ""), l.Close())
	}
	return l, nil
}

// auditFile writes records to a file, a line each. SIGHUP has it opened again, so that it
// can be moved away first.
type auditFile struct {
	path   string
	signal chan os.Signal
	done   chan struct{} // closed when no signal is waited for any more

	mu   sync.Mutex
	file *os.File
	err  error // of opening again
}

func openAuditFile(path string) (*auditFile, error) {
	a := &auditFile{path: path, signal: make(chan os.Signal, 1), done: make(chan struct{})}
	if err := a.open(); err != nil {
		return nil, failed("cannot write the audit to "+path, err, "name a file in a directory that shoal may write to")
	}
	signal.Notify(a.signal, syscall.SIGHUP)
	go func() {
		defer close(a.done)
		for range a.signal {
			a.reopen()
		}
	}()
	return a, nil
}

// auditMode has what people do with their data be for who runs the server alone.
const auditMode = 0o600

func (a *auditFile) open() (err error) {
	a.file, err = os.OpenFile(a.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, auditMode)
	return err
}

func (a *auditFile) reopen() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.file != nil {
		_ = a.file.Close() // all writes to it were checked
	}
	a.err = a.open()
}

// SendDocument implements audit.Sender. A record that could not be written whole is
// written again, behind a line feed.
func (a *auditFile) SendDocument(_ context.Context, _ string, document []byte) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.file == nil || a.err != nil {
		if a.err = a.open(); a.err != nil {
			return fmt.Errorf("open the audit file: %w", a.err)
		}
	}
	n, err := a.file.Write(append(document, '\n'))
	if err != nil && n > 0 {
		_, _ = a.file.Write([]byte{'\n'}) // else the next record makes the line long
	}
	if err != nil {
		return fmt.Errorf("write the audit file: %w", err)
	}
	return nil
}

// Close implements audit.Sender.
func (a *auditFile) Close() error {
	signal.Stop(a.signal)
	close(a.signal)
	<-a.done
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.file == nil || a.err != nil {
		return nil
	}
	return a.file.Close()
}

// auditCollector is the queues of the audit for Prometheus.
type auditCollector struct{ log *audit.Log }

// Describe implements prometheus.Collector; the metrics are not known before they are
// collected.
func (auditCollector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c auditCollector) Collect(out chan<- prometheus.Metric) {
	for _, m := range c.log.Measures() {
		tell(out, "shoal_audit_target_", prometheus.Labels{"target": m.Target}, []measure{
			{"queue_length", "Records of the audit that wait for the target.", prometheus.GaugeValue, float64(m.Waiting)},
			{"queue_limit", "Records that may wait, before new ones are lost.", prometheus.GaugeValue, float64(m.Room)},
			{"sent_total", "Records that the target has.", prometheus.CounterValue, float64(m.Sent)},
			{"errors_total", "Attempts that failed.", prometheus.CounterValue, float64(m.Failed)},
			{"lost_total", "Records that the target never gets.", prometheus.CounterValue, float64(m.Lost)},
		})
	}
}
