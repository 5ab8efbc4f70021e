package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/shoal-storage/shoal/internal/events"
)

func TestTheQueueOfEachEventTargetIsMeasured(t *testing.T) {
	measures := func() []events.Measure {
		return []events.Measure{
			{Destination: events.Destination{Type: "webhook", ID: "A"}, Waiting: 1, Sending: 2, Sent: 3, Failed: 4, Refused: 5, Dropped: 6, Capacity: 7},
			{Destination: events.Destination{Type: "nats", ID: "A"}, Sent: 8},
		}
	}
	var want []string
	for _, m := range []struct {
		name    string
		webhook int
		nats    int
	}{
		{"errors_total counter", 4, 0},
		{"lost_total counter", 6, 0},
		{"queue_length gauge", 1, 0},
		{"queue_limit gauge", 7, 0},
		{"refused_total counter", 5, 0},
		{"sends_inflight gauge", 2, 0},
		{"sent_total counter", 3, 8},
	} {
		want = append(want,
			fmt.Sprintf("shoal_notify_target_%s target_id=A target_type=nats %d", m.name, m.nats),
			fmt.Sprintf("shoal_notify_target_%s target_id=A target_type=webhook %d", m.name, m.webhook))
	}
	if got := gathered(t, eventCollector{measures}); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
