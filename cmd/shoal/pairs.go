package main

import (
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"path/filepath"
	"sync/atomic"

	"github.com/shoal-storage/shoal/internal/certs"
)

// pairs are the certificates of --certs-dir, if there is one.
type pairs struct {
	*certs.Certs
	config *tls.Config                // nil: no HTTPS
	asking atomic.Pointer[tls.Config] // what asks clients for certificates; nil: none are asked
}

// certificates returns those of --certs-dir.
func (f *serverFlags) certificates(log *slog.Logger) (*pairs, error) {
	p := new(pairs)
	if f.certsDir == "" {
		return p, nil
	}
	var err error
	if p.Certs, err = certs.Load(f.certsDir, log); err != nil {
		return nil, failed("cannot use --certs-dir "+f.certsDir, err, "put public.crt and private.key (PEM) into it")
	}
	p.config = p.Config()
	p.config.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return p.asking.Load(), nil }
	return p, nil
}

// ask has clients that connect from now on asked for certificates of these authorities; nil: for
// none.
func (p *pairs) ask(trusted *x509.CertPool) {
	if trusted == nil {
		p.asking.Store(nil)
		return
	}
	asking := p.Config()
	asking.ClientAuth, asking.ClientCAs = tls.VerifyClientCertIfGiven, trusted
	p.asking.Store(asking)
}

// asks reports whether clients are asked.
func (p *pairs) asks() bool { return p.asking.Load() != nil }

// Close ends the watch over them.
func (p *pairs) Close() {
	if p.Certs != nil {
		p.Certs.Close()
	}
}

// authorities returns those whose client certificates count.
func (f *serverFlags) authorities() (*x509.CertPool, error) {
	trusted, err := certs.Authorities(f.certsDir)
	if err != nil {
		return nil, usage("--identity-tls-enable cannot be used: "+err.Error(), "put the certificates (PEM) of the authorities into "+filepath.Join(f.certsDir, "CAs"))
	}
	return trusted, nil
}
