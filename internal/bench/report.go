package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
)

// WriteTable writes results as a table.
func WriteTable(w io.Writer, results []Result) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	server := false
	for _, r := range results {
		server = server || r.ServerCPU > 0
	}
	_, _ = fmt.Fprint(t, "op\tsize\tconc\tops\terrors\tops/s\tMiB/s\tp50 ms\tp99 ms\tmax ms\t") // Flush tells
	if server {
		_, _ = fmt.Fprint(t, "CPU-s/GiB\tCPU-ms/op\tpeak MiB\t")
	}
	_, _ = fmt.Fprintln(t)
	for _, r := range results {
		_, _ = fmt.Fprintf(t, "%s\t%s\t%d\t%d\t%d\t%.0f\t%.1f\t%.2f\t%.2f\t%.2f\t",
			r.Op, size(r.SizeBytes), r.Concurrency, r.Ops, r.Errors, r.OpsPerSecond, r.MiBPerSecond, r.P50Millis, r.P99Millis, r.MaxMillis)
		if server {
			_, _ = fmt.Fprintf(t, "%s\t%.3f\t%.0f\t", perGiB(r), r.ServerCPUPer1k, r.ServerPeakMiB)
		}
		_, _ = fmt.Fprintln(t)
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("write results: %w", err)
	}
	for _, r := range results {
		if r.Errors > 0 {
			if _, err := fmt.Fprintf(w, "\n%s: %d errors, the first: %s\n", r.Op, r.Errors, r.FirstError); err != nil {
				return fmt.Errorf("write results: %w", err)
			}
		}
	}
	return nil
}

// perGiB leaves the cell empty where hardly any bytes moved.
func perGiB(r Result) string {
	if r.ServerCPUPerGiB == 0 || r.SizeBytes < 1<<20 {
		return ""
	}
	return fmt.Sprintf("%.3f", r.ServerCPUPerGiB)
}

func size(n int64) string {
	for _, u := range []struct {
		unit int64
		name string
	}{{1 << 30, "GiB"}, {1 << 20, "MiB"}, {1 << 10, "KiB"}} {
		if n >= u.unit && n%u.unit == 0 {
			return fmt.Sprintf("%d %s", n/u.unit, u.name)
		}
	}
	return fmt.Sprintf("%d B", n)
}

// WriteJSON writes results as one document.
func WriteJSON(w io.Writer, results []Result) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	if err := e.Encode(struct {
		Schema  int      `json:"schema"`
		Results []Result `json:"results"`
	}{1, results}); err != nil {
		return fmt.Errorf("write results: %w", err)
	}
	return nil
}
