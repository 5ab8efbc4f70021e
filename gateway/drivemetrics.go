package gateway

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/shoal-storage/shoal/gateway/admin"
	"github.com/shoal-storage/shoal/internal/upkeep"
)

// driveState is for Prometheus how drives stand, and what passes over them do.
type driveState struct{ s *Server }

// Describe implements prometheus.Collector; which metrics there are depends on the drives.
func (driveState) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c driveState) Collect(out chan<- prometheus.Metric) {
	all := c.s.Admin.Drives()
	for _, d := range all {
		labels := d.Labels()
		tellGauge(out, "shoal_drive_online", "1 if the drive can be used.", labels, bit(d.Online))
		tellGauge(out, "shoal_drive_healing", "1 if the drive stands for another one, and does not have all of that yet.", labels, bit(d.Healing))
	}
	for _, set := range admin.SetsOf(all) {
		q := set.Quorums()
		spare := func(what string, n int) {
			const help = "Drives that may be lost before nothing can be read, or written; below 0 that is so."
			labels := setLabels(&set)
			labels["for"] = what
			tellGauge(out, "shoal_set_spare_drives", help, labels, float64(n))
		}
		spare("read", q.Online-q.Healing-q.Read)
		spare("write", q.Online-q.Write)
	}
	passes, err := c.s.api.Passes()
	if err != nil {
		return // this gateway does not know now
	}
	for i := range passes {
		tellPass(out, &passes[i])
	}
}

// tellPass gives Prometheus what a pass does.
func tellPass(out chan<- prometheus.Metric, p *admin.Pass) {
	labels := prometheus.Labels{"pass": string(p.Kind)}
	gauge := func(name, help string, value float64) {
		tellGauge(out, "shoal_heal_pass_"+name, help, labels, value)
	}
	gauge("running", "1 while such a pass is made.", bit(p.State == upkeep.Running))
	gauge("names", "Names that the pass has looked at.", float64(p.Names))
	gauge("expected_names", "Names that the one before has found; 0: not known.", float64(p.Expected))
	gauge("failed_names", "Names that could not be healed.", float64(p.Failed))
	gauge("pending", "States that were not on every drive when the pass had looked at them.", float64(p.Pending))
	gauge("shards", "Shards made anew.", float64(p.Shards))
	gauge("bytes", "Bytes of those.", float64(p.Bytes))
	gauge("damaged_shards", "Shards that were there and not whole.", float64(p.Damaged))
	gauge("eta_seconds", "How long it will still take; 0: not known, or it is over.", p.ETA)
	gauge("complete_time_seconds", "When the last one ended without an error, in seconds since 1970; 0: never.", seconds(completed(p)))
}

// completed is when the last pass of the kind of one ended without an error.
func completed(p *admin.Pass) time.Time {
	if p.State == upkeep.Finished {
		return p.Ended
	}
	return p.Complete
}

// setLabels are those by which metrics name a set.
func setLabels(s *admin.DriveSet) prometheus.Labels {
	return prometheus.Labels{"pool": strconv.Itoa(s.Pool), "set": strconv.Itoa(s.Set)}
}

func tellGauge(out chan<- prometheus.Metric, name, help string, labels prometheus.Labels, value float64) {
	out <- prometheus.MustNewConstMetric(prometheus.NewDesc(name, help, nil, labels), prometheus.GaugeValue, value)
}

func bit(v bool) float64 {
	if v {
		return 1
	}
	return 0
}

func seconds(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.Unix())
}

// tellDrives gives Prometheus how drives stand, and what the passes over everything do, under
// MinIO's names.
func (c minioState) tellDrives(out chan<- prometheus.Metric, gauge func(name, help string, value float64)) {
	all := c.s.Admin.Drives()
	online, healthy := 0, true
	for _, set := range admin.SetsOf(all) {
		q := set.Quorums()
		online, healthy = online+q.Online, healthy && q.Online >= q.Write
		of := func(name, help string, value int) {
			tellGauge(out, "minio_cluster_health_erasure_set_"+name, help, setLabels(&set), float64(value))
		}
		of("online_drives", "Drives that can be used.", q.Online)
		of("healing_drives", "Drives that do not have all yet.", q.Healing)
		of("read_quorum", "Drives that it takes to read.", q.Read)
		of("write_quorum", "Drives that it takes to write.", q.Write)
	}
	gauge("cluster_drive_online_total", "Drives that can be used.", float64(online))
	gauge("cluster_drive_offline_total", "Drives that cannot.", float64(len(all)-online))
	gauge("cluster_drive_total", "Drives of all sets.", float64(len(all)))
	gauge("cluster_health_status", "1 if what is stored can be changed.", bit(healthy))
	passes, err := c.s.api.Passes()
	if err != nil {
		return // this gateway does not know now
	}
	for i := range passes {
		if p := &passes[i]; p.Kind == upkeep.Everything {
			of := prometheus.Labels{"type": "object"}
			tellGauge(out, "minio_heal_objects_total", "Names that the last pass over the drives has looked at.", of, float64(p.Names))
			tellGauge(out, "minio_heal_objects_errors_total", "Names that it could not heal.", of, float64(p.Failed))
			gauge("heal_time_last_activity_nano_seconds", "For how long nothing was told of it.", float64(c.s.Now().Sub(p.Told)))
		}
	}
}
