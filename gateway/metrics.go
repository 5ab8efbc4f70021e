package gateway

import (
	"log/slog"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// Metrics counts what the gateway does. Each Server has its own registry.
type Metrics struct {
	Registry *prometheus.Registry // further collectors may be registered
	Buckets  *prometheus.Registry // of what is told of single buckets, which has a page of its own

	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	received prometheus.Counter
	sent     prometheus.Counter
	inflight prometheus.Gauge
	failures *prometheus.CounterVec
}

// NewMetrics returns metrics in a registry of their own.
func NewMetrics() *Metrics {
	m := &Metrics{
		Registry: prometheus.NewRegistry(),
		Buckets:  prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "shoal_s3_requests_total", Help: "Requests answered, by operation and HTTP status.",
		}, []string{"operation", "status"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "shoal_s3_request_seconds", Help: "Time from a request's header to its answer's header.",
			Buckets: []float64{.001, .005, .02, .1, .5, 2, 10, 60},
		}, []string{"operation"}),
		received: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "shoal_s3_received_bytes_total", Help: "Bytes of request bodies.",
		}),
		sent: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "shoal_s3_sent_bytes_total", Help: "Bytes of response bodies.",
		}),
		inflight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "shoal_s3_requests_inflight", Help: "Requests being served.",
		}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "shoal_s3_failed_authentications_total", Help: "Requests of which nobody has proven to be the sender, by what was wrong: access_key, signature, token or password.",
		}, []string{"reason"}),
	}
	m.Registry.MustRegister(m.requests, m.seconds, m.received, m.sent, m.inflight, m.failures,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// operation returns the name of the request's operation.
func (r *request) operation() string {
	if r.op == nil {
		return "Unknown"
	}
	return r.op.name
}

// tally is what a request came to, as far as is known when its answer begins.
type tally struct {
	status         int
	took           time.Duration
	received, sent int64 // bytes of bodies; one still to be sent counts as declared
}

func (s *Server) tally(r *request) tally {
	o := tally{status: r.ctx.Response.StatusCode(), took: s.Now().Sub(r.started), sent: int64(max(0, r.ctx.Response.Header.ContentLength()))}
	if !r.ctx.Response.IsBodyStream() {
		o.sent = int64(len(r.ctx.Response.Body()))
	}
	if r.method == "HEAD" {
		o.sent = 0
	}
	if r.body != nil {
		o.received = r.body.received()
	}
	return o
}

// record counts the request, writes its access line, and tells those who watch
// and the audit.
func (s *Server) record(r *request) {
	o := s.tally(r)
	s.Metrics.requests.WithLabelValues(r.operation(), strconv.Itoa(o.status)).Inc()
	s.Metrics.seconds.WithLabelValues(r.operation()).Observe(o.took.Seconds())
	s.Metrics.received.Add(float64(o.received))
	s.Metrics.sent.Add(float64(o.sent))
	s.minio.record(r, o)
	s.trace(r, o)
	s.audit(r, o)
	if s.AccessLog == nil || !s.AccessLog.Enabled(s.root, slog.LevelInfo) {
		return
	}
	attrs := []slog.Attr{
		slog.String("request", r.id), slog.String("remote", r.remoteIP()), slog.String("user", r.identity.AccessKey),
		slog.String("operation", r.operation()), slog.String("bucket", r.bucket), slog.String("key", r.key),
		slog.Int("status", o.status), slog.Int64("received", o.received), slog.Int64("sent", o.sent),
		slog.Float64("ms", float64(o.took.Microseconds())/1000),
	}
	if r.failure != nil {
		attrs = append(attrs, slog.String("code", r.failure.code))
	}
	s.AccessLog.LogAttrs(s.root, slog.LevelInfo, "access", attrs...)
}
