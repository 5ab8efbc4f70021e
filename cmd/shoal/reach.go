package main

import (
	"errors"
	"math"
	"net"
	"net/url"
	"strconv"
	"strings"
)

// validateReach refuses addresses and names by which nobody could come: they would be
// accepted, and nothing would ever come of them.
func (f *serverFlags) validateReach() error {
	if at, err := url.Parse(f.serverURL); f.serverURL != "" && (err != nil || !isWeb(at)) {
		return usage("--server-url "+f.serverURL+" is not a URL", "take one such as https://s3.example.com")
	}
	for _, given := range []struct{ flag, address string }{
		{"--address", f.address}, {"--cluster-address", f.clusterAddress}, {"--console-address", f.consoleAddress},
	} {
		if err := validateAddress(given.flag, given.address); err != nil {
			return err
		}
	}
	for _, given := range []struct{ flag, names string }{{"--domain", f.domain}, {"--website-domain", f.websiteDomain}} {
		for _, name := range domains(given.names) {
			if !isHostName(name) {
				return usage(given.flag+" "+name+" is not the name of a host", "take one such as s3.example.com, without scheme and port")
			}
		}
	}
	if err := validateOrigins(f.corsOrigins); err != nil {
		return usage("--cors-allow-origin "+err.Error(), "take one such as https://app.example.com, or * for all")
	}
	return nil
}

// validateAddress refuses what cannot be listened on, whatever else runs on the host.
func validateAddress(flag, address string) error {
	if address == "" {
		return nil
	}
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return usage(flag+" "+address+" is not host:port", "take one such as :9000 or 127.0.0.1:9000")
	}
	if n, err := strconv.Atoi(port); n < 0 || n > math.MaxUint16 || errors.Is(err, strconv.ErrRange) {
		return usage(flag+" "+address+": "+port+" is no port", "take one from 1 to 65535")
	}
	return nil
}

// isHostName reports whether a name has only what the names of hosts have.
func isHostName(name string) bool {
	return strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-_.") == "" && !strings.Contains(name, "..")
}

// validateOrigins refuses what no browser sends as an origin.
func validateOrigins(list string) error {
	for _, origin := range domains(list) {
		if !strings.Contains(origin, "*") && !strings.Contains(origin, "://") && origin != "null" {
			return errors.New(origin + " is not an origin")
		}
	}
	return nil
}
