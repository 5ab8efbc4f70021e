package test

import (
	"fmt"
	"net"
	"testing"
)

// reserve returns a number below 256 that no other test has while this one runs, whatever process
// it is of: there are addresses and names that have to be chosen before anybody listens there.
func reserve(t *testing.T) int {
	t.Helper()
	for n := range 256 {
		if held, err := net.Listen("tcp", fmt.Sprintf("127.2.%d.254:21212", n)); err == nil {
			t.Cleanup(func() { _ = held.Close() }) // it is nobody's from then on
			return n
		}
	}
	t.Fatal("256 tests are running, or this machine has no addresses but 127.0.0.1")
	return 0
}

// addresses returns the hosts of a network of this machine that is the test's own, and a port that is
// free at all of them, and stays so when nothing listens there for a while.
func addresses(t *testing.T, n int) (hosts []string, port string) {
	t.Helper()
	network := reserve(t)
	for i := range n {
		hosts = append(hosts, fmt.Sprintf("127.2.%d.%d", network, i+1))
	}
	ln, err := net.Listen("tcp", hosts[n-1]+":0")
	must(t, err)
	defer ln.Close()
	_, port, err = net.SplitHostPort(ln.Addr().String())
	must(t, err)
	return hosts, port
}
