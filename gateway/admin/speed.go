package admin

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"strconv"
	"time"

	"github.com/shoal-storage/shoal/internal/speed"
)

// Speed is what a drive below this gateway takes and gives, in bytes a second.
type Speed struct {
	Path          string
	Written, Read float64
	Err           error // that it could not be found out; the others are 0
}

// speedRate is what one half of a test came to, as MinIO's tools know it.
type speedRate struct {
	ThroughputPerSec uint64        `json:"throughputPerSec"`
	ObjectsPerSec    uint64        `json:"objectsPerSec"`
	Response         timings       `json:"responseTime"`
	TTFB             timings       `json:"ttfb"`
	Servers          []serverSpeed `json:"servers"`
}

type serverSpeed struct {
	Endpoint         string `json:"endpoint"`
	ThroughputPerSec uint64 `json:"throughputPerSec"`
	ObjectsPerSec    uint64 `json:"objectsPerSec"`
	Err              string `json:"err"`
}

// timings are of how long things took, in nanoseconds.
type timings struct {
	Average time.Duration `json:"avg"`
	P50     time.Duration `json:"p50"`
	P75     time.Duration `json:"p75"`
	P95     time.Duration `json:"p95"`
	P99     time.Duration `json:"p99"`
	P999    time.Duration `json:"p999"`
	Max     time.Duration `json:"max"`
	Min     time.Duration `json:"min"`
}

// timingsOf measures durations that are sorted.
func timingsOf(all []time.Duration) (t timings) {
	if len(all) == 0 {
		return t
	}
	var sum time.Duration
	for _, d := range all {
		sum += d
	}
	at := func(part float64) time.Duration { return all[int(part*float64(len(all)-1))] }
	return timings{
		Average: sum / time.Duration(len(all)), P50: at(0.5), P75: at(0.75), P95: at(0.95), P99: at(0.99), P999: at(0.999), Max: all[len(all)-1], Min: all[0],
	}
}

func speedRateOf(r speed.Rate, endpoint string) speedRate {
	bytes, objects := uint64(r.Bytes), uint64(r.Objects)
	return speedRate{
		ThroughputPerSec: bytes, ObjectsPerSec: objects, Response: timingsOf(r.Took), TTFB: timingsOf(r.First),
		Servers: []serverSpeed{{Endpoint: endpoint, ThroughputPerSec: bytes, ObjectsPerSec: objects}},
	}
}

// objectSpeed is what a round came to. As long as nothing has, MinIO's tools know that by the
// version, which is missing.
type objectSpeed struct {
	Version    string `json:"version"`
	Servers    int    `json:"servers"`
	Disks      int    `json:"disks"`
	Size       int64  `json:"size"`
	Concurrent int    `json:"concurrent"`
	PUTStats   *speedRate
	GETStats   *speedRate
}

// What is tested if nobody says.
const (
	someSpeedSize       = 64 << 20
	someSpeedConcurrent = 32
	someSpeedDuration   = 10 * time.Second
	someDriveFile       = 256 << 20
	someDriveBlock      = 4 << 20
)

// speedTest serves speedtest: how fast this gateway writes and reads objects in its Store.
func (a *API) speedTest(_ context.Context, c *Call) error {
	if c.Query.Get("bucket") != "" || c.Query.Get("noclear") == "true" {
		return errNotImplemented.with("It is measured in a bucket of its own, which is removed.")
	}
	cfg := speed.Config{Size: someSpeedSize, Concurrency: someSpeedConcurrent, Duration: someSpeedDuration, Autotune: c.Query.Get("autotune") == "true", Now: a.Now}
	size, err1 := c.count("size", cfg.Size)
	concurrency, err2 := c.count("concurrent", int64(cfg.Concurrency))
	var err3 error
	if text := c.Query.Get("duration"); text != "" {
		cfg.Duration, err3 = time.ParseDuration(text)
	}
	if err := errors.Join(err1, err2, err3); err != nil {
		return errInvalid.because(err)
	}
	cfg.Size, cfg.Concurrency = size, int(min(concurrency, speed.MaxConcurrency+1))
	if err := cfg.Validate(); err != nil {
		return errInvalid.with(err.Error()).because(err)
	}
	endpoint, disks, servers := a.Node, 0, a.gateways(c)
	for _, g := range servers {
		disks += len(g.drives())
	}
	return a.answerTest(c, objectSpeed{}, func(ctx context.Context, tell func(any)) error {
		return speed.Objects(ctx, a.Store, cfg, func(result speed.Result) {
			put, get := speedRateOf(result.Put, endpoint), speedRateOf(result.Get, endpoint)
			tell(objectSpeed{Version: a.Version, Servers: 1, Disks: disks, Size: cfg.Size, Concurrent: result.Concurrency, PUTStats: &put, GETStats: &get})
		})
	})
}

// count returns a parameter, or what it is if it is missing.
func (c *Call) count(name string, otherwise int64) (int64, error) {
	text := c.Query.Get(name)
	if text == "" || text == "0" {
		return otherwise, nil
	}
	return strconv.ParseInt(text, 10, 64)
}

// driveSpeeds is how fast the drives of a gateway are, as MinIO's tools know it.
type driveSpeeds struct {
	Version   string       `json:"version"`
	Endpoint  string       `json:"endpoint"`
	DrivePerf []driveSpeed `json:"drivePerf,omitempty"`
}

type driveSpeed struct {
	Path            string `json:"path"`
	ReadThroughput  uint64 `json:"readThroughput"`
	WriteThroughput uint64 `json:"writeThroughput"`
	Error           string `json:"error,omitempty"`
}

// driveSpeedTest serves speedtest/drive: how fast what this gateway keeps objects on is.
func (a *API) driveSpeedTest(_ context.Context, c *Call) error {
	if a.MeasureDrives == nil {
		return errNotImplemented.with(noSpeedTest)
	}
	block, err1 := c.count("blocksize", someDriveBlock)
	size, err2 := c.count("filesize", someDriveFile)
	if err := errors.Join(err1, err2); err != nil {
		return errInvalid.because(err)
	}
	block, size = min(block, speed.MaxBlock), min(size, speed.MaxSize)
	return a.answerTest(c, driveSpeeds{}, func(ctx context.Context, tell func(any)) error {
		found := driveSpeeds{Version: a.Version, Endpoint: a.Node}
		for _, d := range a.MeasureDrives(ctx, block, size) {
			shown := driveSpeed{Path: d.Path, ReadThroughput: uint64(d.Read), WriteThroughput: uint64(d.Written)}
			if d.Err != nil {
				shown.Error = d.Err.Error()
			}
			found.DrivePerf = append(found.DrivePerf, shown)
		}
		tell(found)
		return nil
	})
}

// testBeat is how often a client hears that a test is under way.
const testBeat = time.Second

// answerTest answers with what a test tells, as it comes, each as a line of JSON, and in between
// with what it told last, at first with pending. The test ends when the client goes, and when the gateway does.
func (a *API) answerTest(c *Call, pending any, run func(ctx context.Context, tell func(any)) error) error {
	beat, err := json.Marshal(pending)
	if err != nil {
		return errInternal.because(err)
	}
	if !a.testing.TryLock() {
		return errTesting
	}
	ctx, cancel := context.WithCancel(a.attending)
	b := &testBody{lines: make(chan []byte), ctx: ctx, cancel: cancel, beat: append(beat, '\n')}
	b.next = b.beat
	id := c.ID
	a.tests.Go(func() {
		defer a.testing.Unlock()
		defer close(b.lines)
		err := run(ctx, func(v any) {
			line, err := json.Marshal(v)
			if err != nil {
				return // it has numbers and names only
			}
			select {
			case b.lines <- append(line, '\n'):
			case <-ctx.Done():
			}
		})
		if err != nil && ctx.Err() == nil {
			a.Logger.Error("a speed test has failed", "request", id, "error", err)
		}
	})
	c.Stream(b)
	return nil
}

// testBody is the answer of a test that is under way.
type testBody struct {
	lines  chan []byte
	ctx    context.Context //nolint:containedctx // of the test
	cancel context.CancelFunc
	beat   []byte
	next   []byte // to be read first
}

// Read waits for a line, or until it is time for a beat.
func (b *testBody) Read(p []byte) (int, error) {
	if len(b.next) == 0 {
		timer := time.NewTimer(testBeat)
		defer timer.Stop()
		var more bool
		select {
		case b.next, more = <-b.lines:
			if !more {
				return 0, io.EOF
			}
			b.beat = b.next // MinIO's tools take the last line for the result
		case <-timer.C:
			b.next = b.beat
		case <-b.ctx.Done():
			return 0, io.EOF
		}
	}
	n := copy(p, b.next)
	b.next = b.next[n:]
	return n, nil
}

// Close is called when the client is gone or the answer has ended. It ends the test.
func (b *testBody) Close() error {
	b.cancel()
	return nil
}

// AwaitTests returns when no speed test is under way any more, or ctx is done.
func (a *API) AwaitTests(ctx context.Context) {
	over := make(chan struct{})
	go func() {
		a.tests.Wait()
		close(over)
	}()
	select {
	case <-over:
	case <-ctx.Done():
	}
}

// devNullCall is the path of what takes bytes and does nothing with them: a client measures how
// many come through.
const devNullCall = "speedtest/client/devnull"

// maxDevNull is how long that goes on, if the client does not end it: MinIO's tools do within half
// a minute, by going away.
const maxDevNull = 40 * time.Second

// devNull serves speedtest/client/devnull. What is sent is not what was signed: nobody keeps it.
func (a *API) devNull(_ context.Context, c *Call) error {
	sent := c.Unsigned()
	for buffer, end := make([]byte, 128<<10), a.Now().Add(maxDevNull); a.Now().Before(end); {
		if _, err := sent.Read(buffer); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
	return errRequestTimeout
}

// noExtraTime serves what asks for how long the former was held up before it began.
func (a *API) noExtraTime(_ context.Context, c *Call) error {
	return c.answerJSON(map[string]int64{"dur": 0})
}
