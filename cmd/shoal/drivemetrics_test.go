package main

import (
	"slices"
	"testing"
	"time"

	"github.com/shoal-storage/shoal/erasure"
	"github.com/shoal-storage/shoal/gateway/admin"
)

func TestWhatDrivesAreAskedIsMeasured(t *testing.T) {
	drive := erasure.DriveCounts{
		Inside: 2, Late: 5, Calls: map[string]erasure.Timed{"read": {Count: 4, Time: 2 * time.Second}}, Refused: map[string]int64{"stale": 3},
	}
	got := gathered(t, driveCollector{
		counts: func() erasure.Counts {
			return erasure.Counts{Records: 1, Shards: 2, Bytes: 3, Failed: 4, DamagedScrub: 5, DamagedRead: 6, Forward: 7, Back: 8, Blocked: 9, Drives: []erasure.DriveCounts{drive, {}, {}}}
		},
		drives: func() []admin.Drive { return []admin.Drive{{Node: "one", Path: "/a"}, {Path: "/b", Slot: -1}} },
	})
	for _, want := range []string{
		"shoal_heal_records_total counter  1",
		"shoal_heal_shards_total counter  2",
		"shoal_heal_bytes_total counter  3",
		"shoal_heal_failed_total counter  4",
		"shoal_damaged_shards_total counter found_by=scrub 5",
		"shoal_damaged_shards_total counter found_by=read 6",
		"shoal_undecided_states_total counter outcome=forward 7",
		"shoal_undecided_states_total counter outcome=back 8",
		"shoal_undecided_states_total counter outcome=blocked 9",
		"shoal_drive_calls_inflight gauge node=one path=/a slot=0 2",
		"shoal_drive_calls_inflight gauge node= path= slot=2 0",
		"shoal_drive_late_answers_total counter node=one path=/a slot=0 5",
		"shoal_drive_calls_total counter node=one op=read path=/a slot=0 4",
		"shoal_drive_seconds_total counter node=one op=read path=/a slot=0 2",
		"shoal_drive_refusals_total counter node=one path=/a reason=stale slot=0 3",
	} {
		if !slices.Contains(got, want) {
			t.Errorf("%q is not among %q", want, got)
		}
	}
}
