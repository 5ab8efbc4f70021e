package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/shoal-storage/shoal/gateway/admin"
)

// networkCounters is where Linux counts what comes and goes (proc_pid_net(5)).
const networkCounters = "/proc/net/dev"

// traffic returns what has come and gone over the interface of this host that has had the most, but
// for the one with which it talks to itself.
func traffic() (admin.Traffic, error) {
	text, err := os.ReadFile(networkCounters)
	if err != nil {
		return admin.Traffic{}, fmt.Errorf("read counters of the network: %w", err)
	}
	return busiest(string(text))
}

// busiest reads such counters.
func busiest(text string) (most admin.Traffic, err error) {
	for line := range strings.Lines(text) {
		name, rest, is := strings.Cut(line, ":")
		name = strings.TrimSpace(name)
		fields := strings.Fields(rest)
		if !is || name == "lo" || len(fields) < 11 {
			continue
		}
		t := admin.Traffic{Interface: name}
		for i, to := range map[int]*uint64{0: &t.Received, 1: &t.PacketsReceived, 2: &t.ReceiveErrors, 8: &t.Sent, 9: &t.PacketsSent, 10: &t.SendErrors} {
			if *to, err = strconv.ParseUint(fields[i], 10, 64); err != nil {
				return most, fmt.Errorf("read counters of %s: %w", name, err)
			}
		}
		if most.Interface == "" || t.Received+t.Sent > most.Received+most.Sent {
			most = t
		}
	}
	if most.Interface == "" {
		return most, errors.New("there is no network interface")
	}
	return most, nil
}
