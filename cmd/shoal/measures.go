package main

import "github.com/prometheus/client_golang/prometheus"

// measure is a number about one of several alike, such as the targets of events.
type measure struct {
	name, help string
	kind       prometheus.ValueType
	value      float64
}

// tell gives Prometheus what was measured of the one that labels name.
func tell(out chan<- prometheus.Metric, prefix string, labels prometheus.Labels, measures []measure) {
	for _, m := range measures {
		out <- prometheus.MustNewConstMetric(prometheus.NewDesc(prefix+m.name, m.help, nil, labels), m.kind, m.value)
	}
}
