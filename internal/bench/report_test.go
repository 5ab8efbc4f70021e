package bench_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/shoal-storage/shoal/internal/bench"
)

func results() []bench.Result {
	return []bench.Result{
		{Op: bench.Put, SizeBytes: 4 << 20, Concurrency: 16, Seconds: 2, Ops: 100, OpsPerSecond: 50, MiBPerSecond: 200, P50Millis: 1.5, P99Millis: 20.25, MaxMillis: 31},
		{Op: bench.Get, SizeBytes: 1000, Concurrency: 2, Seconds: 2, Ops: 7, Errors: 3, FirstError: "GET /b/k: 503", OpsPerSecond: 3.5},
	}
}

func TestTheTableHasARowForEachPhaseAndTheErrorsBelow(t *testing.T) {
	const want = `
   op    size  conc  ops  errors  ops/s  MiB/s  p50 ms  p99 ms  max ms
  put   4 MiB    16  100       0     50  200.0    1.50   20.25   31.00
  get  1000 B     2    7       3      4    0.0    0.00    0.00    0.00

get: 3 errors, the first: GET /b/k: 503
`
	var b strings.Builder
	if err := bench.WriteTable(&b, results()); err != nil || b.String() != want[1:] {
		t.Errorf("%v, got\n%s", err, b.String())
	}
}

func TestTheTableHasTheServersCostsIfTheyWereMeasured(t *testing.T) {
	const want = `
   op    size  conc  ops  errors  ops/s  MiB/s  p50 ms  p99 ms  max ms  CPU-s/GiB  CPU-ms/op  peak MiB
  put   4 MiB    16  100       0     50  200.0    1.50   20.25   31.00      1.280      5.000        64
  get  1000 B     2    7       0      4    0.0    0.00    0.00    0.00                 0.000         0
`
	measured := results()
	measured[0].ServerCPU, measured[0].ServerCPUPerGiB, measured[0].ServerCPUPer1k, measured[0].ServerPeakMiB = 0.5, 1.28, 5, 64
	measured[1].ServerCPUPerGiB, measured[1].Errors = 300, 0 // of small objects it says nothing
	var b strings.Builder
	if err := bench.WriteTable(&b, measured); err != nil || b.String() != want[1:] {
		t.Errorf("%v, got\n%s", err, b.String())
	}
}

// Scripts read it: a name that changes needs another schema.
func TestTheDocumentKeepsItsNames(t *testing.T) {
	const want = `
{
  "schema": 1,
  "results": [
    {
      "op": "get",
      "size_bytes": 1000,
      "concurrency": 2,
      "signed_payload": false,
      "seconds": 2,
      "ops": 7,
      "errors": 3,
      "first_error": "GET /b/k: 503",
      "ops_per_second": 3.5,
      "mib_per_second": 0,
      "p50_ms": 0,
      "p99_ms": 0,
      "max_ms": 0,
      "server_cpu_seconds": 0.5,
      "server_cpu_seconds_per_gib": 1,
      "server_cpu_seconds_per_1000_ops": 2,
      "server_peak_mib": 3
    }
  ]
}
`
	r := results()[1]
	r.ServerCPU, r.ServerCPUPerGiB, r.ServerCPUPer1k, r.ServerPeakMiB = 0.5, 1, 2, 3
	var b strings.Builder
	if err := bench.WriteJSON(&b, []bench.Result{r}); err != nil || b.String() != want[1:] {
		t.Errorf("%v, got\n%s", err, b.String())
	}
}

var errFull = errors.New("full")

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errFull }

func TestAReportThatCannotBeWrittenIsAnError(t *testing.T) {
	if err := bench.WriteTable(full{}, results()); !errors.Is(err, errFull) {
		t.Errorf("table: %v", err)
	}
	if err := bench.WriteJSON(full{}, results()); !errors.Is(err, errFull) {
		t.Errorf("document: %v", err)
	}
}
