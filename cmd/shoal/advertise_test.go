package main

import (
	"net"
	"testing"
)

func TestTheAddressOfANetworkIsAdvertised(t *testing.T) {
	own := []net.Addr{}
	for _, cidr := range []string{"127.0.0.1/8", "172.18.0.3/16", "10.90.0.2/32", "10.90.0.5/24", "2001:db8::5/64"} {
		ip, network, err := net.ParseCIDR(cidr)
		if err != nil {
			t.Fatal(err)
		}
		own = append(own, &net.IPNet{IP: ip, Mask: network.Mask})
	}
	for cidr, want := range map[string]string{"10.90.0.0/24": "10.90.0.5", "172.16.0.0/12": "172.18.0.3", "2001:db8::/32": "2001:db8::5", "192.168.0.0/16": "<nil>"} {
		_, network, err := net.ParseCIDR(cidr)
		if err != nil {
			t.Fatal(err)
		}
		if got := addressIn(own, network).String(); got != want {
			t.Errorf("in %s: %s, want %s", cidr, got, want)
		}
	}
	for given, want := range map[string]string{"gateway.example": "gateway.example:9002", "10.0.0.1:7000": "10.0.0.1:7000", "127.0.0.0/8": "127.0.0.1:9002"} {
		f := serverFlags{advertise: given}
		if got, err := f.advertisedAs("9002"); err != nil || got != want {
			t.Errorf("%s: %s, %v", given, got, err)
		}
	}
	f := serverFlags{advertise: "198.51.100.0/24"}
	if got, err := f.advertisedAs("9002"); err == nil {
		t.Errorf("a network that this host is not in: %s", got)
	}
}
