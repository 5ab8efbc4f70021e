package main

import (
	"testing"

	"github.com/shoal-storage/shoal/gateway/admin"
)

func TestTheBusiestInterfaceIsCounted(t *testing.T) {
	const heading = "Inter-|   Receive                                                |  Transmit\n face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n"
	const lo, eth0, eth1 = "    lo: 900 9 0 0 0 0 0 0 900 9 0 0 0 0 0 0\n", "  eth0: 100 3 1 0 0 0 0 0 50 2 4 0 0 0 0 0\n", "eth1:10 1 0 0 0 0 0 0 20 1 0 0 0 0 0 0\n"
	want := admin.Traffic{Interface: "eth0", Received: 100, PacketsReceived: 3, ReceiveErrors: 1, Sent: 50, PacketsSent: 2, SendErrors: 4}
	if got, err := busiest(heading + lo + eth1 + eth0); err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
	for _, text := range []string{"", heading, heading + lo, heading + "eth0: x 1 0 0 0 0 0 0 20 1 0 0 0 0 0 0\n"} {
		if got, err := busiest(text); err == nil {
			t.Errorf("%q: %+v", text, got)
		}
	}
}
