package main

import (
	"errors"
	"net"
	"net/url"
	"strings"
)

// validateReach refuses addresses and names by which nobody could come: they would be
// accepted, and nothing would ever come of them.
func (f *serverFlags) validateReach() error {
	if at, err := url.Parse(f.serverURL); f.serverURL != "" && (err != nil || !isWeb(at)) {
		return usage("--server-url "+f.serverURL+" is not a URL", "take one such as https://s3.example.com")
	}
	for _, given := range []struct{ flag, address string }{{"--address", f.address}, {"--cluster-address", f.clusterAddress}} {
		if _, _, err := net.SplitHostPort(given.address); given.address != "" && err != nil {
			return usage(given.flag+" "+given.address+" is not host:port", "take one such as :9000 or 127.0.0.1:9000")
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
