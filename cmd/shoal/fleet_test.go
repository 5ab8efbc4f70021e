package main

import (
	"fmt"
	"testing"

	"github.com/shoal-storage/shoal/raftlock"
)

func TestAGatewayThatWasKilledAndStartedAgainIsShownOnce(t *testing.T) {
	live := func(node, address, endpoint string) raftlock.MemberStatus {
		return raftlock.MemberStatus{Node: node, Address: address, Endpoint: endpoint, Session: "live"}
	}
	gone := func(node, address string) raftlock.MemberStatus {
		return raftlock.MemberStatus{Node: node, Address: address, Error: "it does not answer"}
	}
	named := func(address string) string {
		return map[string]string{"10.0.0.1:40001": "n1:9000", "10.0.0.3:40003": "n3:9000"}[address]
	}
	tests := map[string]struct {
		members []raftlock.MemberStatus
		named   func(string) string
		want    string
	}{
		"on the same cluster port":                    {[]raftlock.MemberStatus{gone("a", "10.0.0.1:7000"), live("b", "10.0.0.1:7000", "10.0.0.1:9000")}, nil, "[10.0.0.1:9000 true]"},
		"on another, of a node with a name":           {[]raftlock.MemberStatus{live("b", "10.0.0.1:40002", "n1:9000"), gone("a", "10.0.0.1:40001")}, named, "[n1:9000 true]"},
		"and not while it is not there":               {[]raftlock.MemberStatus{gone("a", "10.0.0.1:40001"), live("b", "10.0.0.2:40002", "n2:9000")}, named, "[n1:9000 false n2:9000 true]"},
		"nor where it is two, of which none is there": {[]raftlock.MemberStatus{gone("a", "10.0.0.1:40001"), gone("c", "10.0.0.3:40003")}, named, "[n1:9000 false n3:9000 false]"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var got []any
			for _, g := range gatewaysOf(tt.members, "", tt.named) {
				got = append(got, g.Endpoint, g.Online)
			}
			if fmt.Sprint(got) != tt.want {
				t.Errorf("shown are %v, want %s", got, tt.want)
			}
		})
	}
}
