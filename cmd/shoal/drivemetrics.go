package main

import (
	"slices"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/shoal-storage/shoal/erasure"
	"github.com/shoal-storage/shoal/gateway/admin"
)

// driveCollector is for Prometheus what this process has asked drives, and has healed.
type driveCollector struct {
	counts func() erasure.Counts
	drives func() []admin.Drive
}

// Describe implements prometheus.Collector; which metrics there are depends on the drives.
func (driveCollector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c driveCollector) Collect(out chan<- prometheus.Metric) {
	n, known := c.counts(), c.drives()
	counter := func(name, help string, labels prometheus.Labels, value int64) {
		tell(out, "shoal_", labels, []measure{{name, help, prometheus.CounterValue, float64(value)}})
	}
	counter("heal_records_total", "Records brought to drives that lacked them.", nil, n.Records)
	counter("heal_shards_total", "Shards made anew.", nil, n.Shards)
	counter("heal_bytes_total", "Bytes of those.", nil, n.Bytes)
	counter("heal_failed_total", "Names that could not be healed.", nil, n.Failed)
	const damaged = "Shards that were there and not whole, by when that was found."
	counter("damaged_shards_total", damaged, prometheus.Labels{"found_by": "scrub"}, n.DamagedScrub)
	counter("damaged_shards_total", damaged, prometheus.Labels{"found_by": "read"}, n.DamagedRead)
	const settled = "States that were not decided, by what became of them: committed, taken back, or left since too few drives are there."
	for outcome, count := range map[string]int64{"forward": n.Forward, "back": n.Back, "blocked": n.Blocked} {
		counter("undecided_states_total", settled, prometheus.Labels{"outcome": outcome}, count)
	}
	for slot := range n.Drives {
		tellDrive(out, labelsOf(slot, known), &n.Drives[slot])
	}
}

// labelsOf returns the labels of the drive that is in a slot.
func labelsOf(slot int, known []admin.Drive) prometheus.Labels {
	i := slices.IndexFunc(known, func(d admin.Drive) bool { return d.Slot == slot })
	if i < 0 { // it is not there
		return prometheus.Labels{"node": "", "path": "", "slot": strconv.Itoa(slot)}
	}
	return known[i].Labels()
}

func tellDrive(out chan<- prometheus.Metric, drive prometheus.Labels, n *erasure.DriveCounts) {
	tell(out, "shoal_drive_", drive, []measure{
		{"calls_inflight", "Calls of the drive that have not ended.", prometheus.GaugeValue, float64(n.Inside)},
		{"late_answers_total", "Answers that took so long that other drives were asked in its place.", prometheus.CounterValue, float64(n.Late)},
	})
	by := func(label, value string) prometheus.Labels {
		return prometheus.Labels{"node": drive["node"], "path": drive["path"], "slot": drive["slot"], label: value}
	}
	for op, t := range n.Calls {
		tell(out, "shoal_drive_", by("op", op), []measure{
			{"calls_total", "Calls of the drive that have ended.", prometheus.CounterValue, float64(t.Count)},
			{"seconds_total", "How long those took together.", prometheus.CounterValue, t.Time.Seconds()},
		})
	}
	for reason, count := range n.Refused {
		tell(out, "shoal_drive_", by("reason", reason), []measure{
			{"refusals_total", "Calls that did not do what was asked.", prometheus.CounterValue, float64(count)},
		})
	}
}
