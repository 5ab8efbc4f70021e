package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/shoal-storage/shoal/gateway/admin"
	"github.com/shoal-storage/shoal/internal/object"
)

// toldSpeed is what a round came to, as MinIO's tools read it.
type toldSpeed struct {
	Version                          string
	Servers, Disks, Size, Concurrent int
	PUTStats, GETStats               *toldRate
}

type toldRate struct {
	ThroughputPerSec, ObjectsPerSec uint64
	ResponseTime                    struct{ Max time.Duration }
	Servers                         []struct{ ThroughputPerSec uint64 }
}

func TestASpeedTestTellsOfEachRoundAndLeavesNothing(t *testing.T) {
	o := serveOfficeWith(t, func(cfg *Config) { cfg.Version = "1" })
	answer, code := o.admin("boss", "POST", "speedtest", "size=1000&duration=1s&concurrent=2", "")
	if code != "" {
		t.Fatal(code)
	}
	var last toldSpeed
	decoder := json.NewDecoder(strings.NewReader(answer.body))
	for first := true; ; first = false {
		var next toldSpeed
		err := decoder.Decode(&next)
		if errors.Is(err, io.EOF) {
			break
		}
		o.must(t, err)
		if first && next.Version != "" {
			t.Errorf("the first line is a result: %+v", next)
		}
		last = next
	}
	if last.Version == "" || last.Concurrent != 2 || last.Size != 1000 || last.Servers != 1 || last.Disks == 0 {
		t.Errorf("%+v", last)
	}
	for what, r := range map[string]*toldRate{"PUT": last.PUTStats, "GET": last.GETStats} {
		if r.ObjectsPerSec == 0 || r.ThroughputPerSec < r.ObjectsPerSec || r.ResponseTime.Max == 0 || len(r.Servers) != 1 || r.Servers[0].ThroughputPerSec != r.ThroughputPerSec {
			t.Errorf("%s: %+v", what, r)
		}
	}
	if buckets, err := o.store.ListBuckets(t.Context()); err != nil || len(buckets) != 1 {
		t.Errorf("left: %+v, %v", buckets, err)
	}
}

func TestASpeedTestIsBoundedAndForAdministrators(t *testing.T) {
	o := serveOffice(t)
	for _, tt := range [][3]string{
		{"ann", "size=1", "AccessDenied"},
		{"boss", "size=x", "XMinioAdminInvalidArgument"},
		{"boss", "size=99999999999", "XMinioAdminInvalidArgument"},
		{"boss", "concurrent=100000", "XMinioAdminInvalidArgument"},
		{"boss", "duration=1h", "XMinioAdminInvalidArgument"},
		{"boss", "bucket=bucket", "NotImplemented"},
		{"boss", "noclear=true", "NotImplemented"},
	} {
		if _, code := o.admin(tt[0], "POST", "speedtest", tt[1], ""); code != tt[2] {
			t.Errorf("%s by %s: %q, want %s", tt[1], tt[0], code, tt[2])
		}
	}
}

// TestASpeedTestEndsWithTheGateway has it end before its time, and remove its bucket.
func TestASpeedTestEndsWithTheGateway(t *testing.T) {
	o := serveOffice(t)
	ended := make(chan string)
	go func() {
		answer, _ := o.admin("boss", "POST", "speedtest", "size=10&duration=60s&concurrent=1", "")
		ended <- answer.body
	}()
	for {
		buckets, err := o.store.ListBuckets(t.Context())
		o.must(t, err)
		if len(buckets) == 2 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	if _, code := o.admin("boss", "POST", "speedtest", "", ""); code != "XMinioAdminTestRunning" {
		t.Errorf("beside another: %q", code)
	}
	o.server.dismiss()
	if body := <-ended; strings.Contains(body, `"concurrent":1`) {
		t.Errorf("a result: %s", body)
	}
	o.server.api.AwaitTests(t.Context())
	if buckets, err := o.store.ListBuckets(t.Context()); err != nil || len(buckets) != 1 {
		t.Errorf("left: %+v, %v", buckets, err)
	}
}

func TestDrivesAreMeasured(t *testing.T) {
	o := serveOfficeWith(t, func(cfg *Config) {
		cfg.Admin.MeasureDrives = func(_ context.Context, block, size int64) []admin.Speed {
			return []admin.Speed{{Path: "/d1", Written: float64(block), Read: float64(size)}, {Path: "/d2", Err: object.Full}}
		}
	})
	answer, code := o.admin("boss", "POST", "speedtest/drive", "blocksize=4096&filesize=8192", "")
	want := `"drivePerf":[{"path":"/d1","readThroughput":8192,"writeThroughput":4096},{"path":"/d2","readThroughput":0,"writeThroughput":0,"error":"` + object.Full.Error() + `"}]`
	if code != "" || !strings.Contains(answer.body, want) {
		t.Errorf("%s %s, want %s", code, answer.body, want)
	}
	if _, code := serveOffice(t).admin(testUser, "POST", "speedtest/drive", "", ""); code != "NotImplemented" {
		t.Errorf("where nothing can be measured: %q", code)
	}
}

func TestWhatAClientSendsToMeasureIsTakenWhateverWasSigned(t *testing.T) {
	o := serveOffice(t)
	sent := call{method: "POST", path: "/minio/admin/v3/" + "speedtest/client/devnull", user: "boss", secret: secretOf("boss"), body: strings.Repeat("x", 1<<20), payload: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}
	if got := o.do(sent); got.status != 200 {
		t.Errorf("%d %s", got.status, got.body)
	}
	if got, code := o.admin("boss", "POST", "speedtest/client/devnull/extratime", "", ""); code != "" || got.body != `{"dur":0}` {
		t.Errorf("%s %s", code, got.body)
	}
}
