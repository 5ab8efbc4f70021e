package test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// certs is a directory for --certs-dir.
type certs struct {
	dir   string
	roots *x509.CertPool // all that was ever in it
}

// newCerts makes a directory with a pair for a name and for 127.0.0.1.
func newCerts(t *testing.T, name string) *certs {
	t.Helper()
	c := &certs{dir: t.TempDir(), roots: x509.NewCertPool()}
	c.write(t, "", name, 1)
	return c
}

// write puts a new pair into a subdirectory, in place of one that is there.
func (c *certs) write(t *testing.T, sub, name string, serial int64) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	if sub == "" {
		template.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	must(t, err)
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	must(t, err)
	cert, err := x509.ParseCertificate(der)
	must(t, err)
	c.roots.AddCert(cert)
	dir := filepath.Join(c.dir, sub)
	must(t, os.MkdirAll(dir, 0o755))
	for file, block := range map[string]*pem.Block{
		"public.crt": {Type: "CERTIFICATE", Bytes: der}, "private.key": {Type: "PRIVATE KEY", Bytes: keyDER},
	} {
		tmp := filepath.Join(t.TempDir(), file)
		must(t, os.WriteFile(tmp, pem.EncodeToMemory(block), 0o600))
		must(t, os.Rename(tmp, filepath.Join(dir, file)))
	}
}

// transport trusts the directory's certificates and asks for a name, "" for
// the host in the URL.
func (c *certs) transport(name string) *http.Transport {
	return &http.Transport{TLSClientConfig: &tls.Config{RootCAs: c.roots, ServerName: name}}
}

// serial returns the number of the certificate that a new connection sees.
func (c *certs) serial(t *testing.T, s *server, name string) int64 {
	t.Helper()
	transport := c.transport(name)
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport}).Get(s.url + "/minio/health/live")
	must(t, err)
	resp.Body.Close()
	return resp.TLS.PeerCertificates[0].SerialNumber.Int64()
}

func TestEachNameHasItsCertificate(t *testing.T) {
	c := newCerts(t, "localhost")
	c.write(t, "other", "other.example.com", 2)
	s := start(t, "--certs-dir", c.dir)
	for name, want := range map[string]int64{"": 1, "localhost": 1, "other.example.com": 2} {
		if got := c.serial(t, s, name); got != want {
			t.Errorf("%q: certificate %d, want %d", name, got, want)
		}
	}
}

func TestNewCertificateDropsNoConnection(t *testing.T) {
	c := newCerts(t, "localhost")
	s := start(t, "--certs-dir", c.dir)
	conn, err := tls.Dial("tcp", s.url[len("https://"):], &tls.Config{RootCAs: c.roots})
	must(t, err)
	defer conn.Close()
	askLive(t, conn)
	c.write(t, "", "localhost", 7)
	eventually(t, "new connections see the new certificate", func() bool { return c.serial(t, s, "") == 7 })
	askLive(t, conn)
	if got := conn.ConnectionState().PeerCertificates[0].SerialNumber.Int64(); got != 1 {
		t.Errorf("the old connection has certificate %d", got)
	}
	// A directory half written is no reason to stop serving.
	must(t, os.WriteFile(filepath.Join(c.dir, "private.key"), []byte("rubbish"), 0o600))
	eventually(t, "the log tells of the bad pair", func() bool { return logged(t, s, "ERROR", "certificates") })
	if got := c.serial(t, s, ""); got != 7 {
		t.Errorf("certificate %d, want the last good one", got)
	}
}

// askLive asks for the health on a connection that stays open.
func askLive(t *testing.T, conn net.Conn) {
	t.Helper()
	_, err := io.WriteString(conn, "GET /minio/health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
	must(t, err)
	resp := readResponse(t, conn)
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK || resp.Close {
		t.Fatalf("%s, closing: %v", resp.Status, resp.Close)
	}
}
