package gateway

import (
	"errors"
	"runtime"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
)

// minioCounts count once more what Metrics does, under the names that dashboards and
// alerts made for MinIO ask for.
type minioCounts struct {
	requests, failed, clientErrors, serverErrors *prometheus.CounterVec
	received, sent                               prometheus.Counter
}

func newMinIOCounts() *minioCounts {
	count := func(name, help string) prometheus.CounterOpts {
		return prometheus.CounterOpts{Name: "minio_s3_" + name, Help: help}
	}
	byAPI := func(name, help string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(count(name, help), []string{"api"})
	}
	return &minioCounts{
		requests:     byAPI("requests_total", "Requests of S3 answered."),
		failed:       byAPI("requests_errors_total", "Requests of S3 answered with 400 to 599."),
		clientErrors: byAPI("requests_4xx_errors_total", "Requests of S3 answered with 400 to 499."),
		serverErrors: byAPI("requests_5xx_errors_total", "Requests of S3 answered with 500 to 599."),
		received:     prometheus.NewCounter(count("traffic_received_bytes", "Bytes of request bodies.")),
		sent:         prometheus.NewCounter(count("traffic_sent_bytes", "Bytes of response bodies.")),
	}
}

// record counts a request, if it is one of S3.
func (c *minioCounts) record(r *request, o tally) {
	if r.op == nil || r.admin {
		return
	}
	api := strings.ToLower(r.op.name)
	c.requests.WithLabelValues(api).Inc()
	switch {
	case o.status >= 500:
		c.failed.WithLabelValues(api).Inc()
		c.serverErrors.WithLabelValues(api).Inc()
	case o.status >= 400:
		c.failed.WithLabelValues(api).Inc()
		c.clientErrors.WithLabelValues(api).Inc()
	}
	c.received.Add(float64(o.received))
	c.sent.Add(float64(o.sent))
}

// register adds the counts, and the state of a Server, to a registry.
func (c *minioCounts) register(s *Server) error {
	to := prometheus.WrapRegistererWith(prometheus.Labels{"server": s.Node}, s.Metrics.Registry)
	var errs []error
	for _, part := range []prometheus.Collector{c.requests, c.failed, c.clientErrors, c.serverErrors, c.received, c.sent, minioState{s}} {
		errs = append(errs, to.Register(part))
	}
	if s.Admin.Drives != nil {
		errs = append(errs, s.Metrics.Registry.Register(driveState{s}))
	}
	return errors.Join(errs...)
}

// minioState is the state of the gateways under such names.
type minioState struct{ s *Server }

// Describe implements prometheus.Collector; which metrics there are depends on what is
// served.
func (minioState) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c minioState) Collect(out chan<- prometheus.Metric) {
	gauge := func(name, help string, value float64) {
		out <- prometheus.MustNewConstMetric(prometheus.NewDesc("minio_"+name, help, nil, nil), prometheus.GaugeValue, value)
	}
	online, all := c.nodes()
	gauge("cluster_nodes_online_total", "Gateways that serve the tree.", float64(online))
	gauge("cluster_nodes_offline_total", "Gateways that are known and do not answer.", float64(all-online))
	if c.s.Admin.Drives != nil {
		c.tellDrives(out, gauge)
	}
	gauge("node_process_uptime_seconds", "Since when this gateway serves.", c.s.Now().Sub(c.s.started).Seconds())
	gauge("node_process_starttime_seconds", "When that was, in seconds since 1970.", float64(c.s.started.Unix()))
	gauge("node_go_routine_total", "Goroutines of this process.", float64(runtime.NumGoroutine()))
	version := prometheus.NewDesc("minio_software_version_info", "The version of Shoal.", []string{"version"}, nil)
	out <- prometheus.MustNewConstMetric(version, prometheus.GaugeValue, 1, c.s.Version)
}

// nodes returns how many gateways there are, and how many of them are online.
func (c minioState) nodes() (online, all int) {
	if c.s.Admin.Gateways == nil {
		return 1, 1
	}
	for _, g := range c.s.api.Fleet() {
		if all++; g.Online {
			online++
		}
	}
	return online, all
}
