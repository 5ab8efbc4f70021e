package certs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// writePair makes a pair with the serial number for the names.
func writePair(t *testing.T, dir string, serial int64, names ...string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), DNSNames: names, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	replace(t, filepath.Join(dir, CertFile), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	replace(t, filepath.Join(dir, KeyFile), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw}))
}

func replace(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path+".new", content, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

func serial(t *testing.T, c *Certs, name string) int64 {
	t.Helper()
	cert, err := c.Config().GetCertificate(&tls.ClientHelloInfo{ServerName: name})
	if err != nil {
		t.Fatal(err)
	}
	return cert.Leaf.SerialNumber.Int64()
}

func load(t *testing.T, dir string) *Certs {
	t.Helper()
	c, err := Load(dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestCertificateIsChosenByServerName(t *testing.T) {
	dir := t.TempDir()
	writePair(t, dir, 1, "main.example")
	writePair(t, filepath.Join(dir, "two"), 2, "two.example")
	writePair(t, filepath.Join(dir, "wild"), 3, "*.s3.example")
	c := load(t, dir)
	for name, want := range map[string]int64{
		"": 1, "main.example": 1, "unknown.example": 1, "two.example": 2, "TWO.example": 2, "bucket.s3.example": 3, "a.b.s3.example": 1,
	} {
		if got := serial(t, c, name); got != want {
			t.Errorf("%q gets certificate %d, want %d", name, got, want)
		}
	}
}

// eventually waits for what the watcher does in its own time.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal(what)
		}
	}
}

func TestReplacedPairIsTakenUp(t *testing.T) {
	dir := t.TempDir()
	writePair(t, dir, 1, "main.example")
	c := load(t, dir)
	writePair(t, dir, 2, "main.example")
	eventually(t, "the new pair is not used", func() bool { return serial(t, c, "") == 2 })
	writePair(t, filepath.Join(dir, "late"), 3, "late.example")
	eventually(t, "the pair in a new directory is not used", func() bool { return serial(t, c, "late.example") == 3 })
	writePair(t, filepath.Join(dir, "late"), 4, "late.example")
	eventually(t, "the replaced pair in a new directory is not used", func() bool { return serial(t, c, "late.example") == 4 })
}

func TestPairBehindTurnedSymlinkIsTakenUp(t *testing.T) {
	top := t.TempDir()
	writePair(t, filepath.Join(top, "v1"), 1, "main.example")
	writePair(t, filepath.Join(top, "v2"), 2, "main.example")
	dir := filepath.Join(top, "certs")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	link := func(name, target string) {
		t.Helper()
		tmp := filepath.Join(dir, "..tmp")
		if err := os.Symlink(target, tmp); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(tmp, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	link("..data", "../v1")
	link(CertFile, "..data/"+CertFile)
	link(KeyFile, "..data/"+KeyFile)
	c := load(t, dir)
	link("..data", "../v2")
	eventually(t, "the pair behind the turned link is not used", func() bool { return serial(t, c, "") == 2 })
}

func TestUnusablePairLeavesTheLastInForce(t *testing.T) {
	dir := t.TempDir()
	writePair(t, dir, 1, "main.example")
	c := load(t, dir)
	replace(t, filepath.Join(dir, CertFile), []byte("rubbish"))
	c.reload()
	if got := serial(t, c, ""); got != 1 {
		t.Errorf("certificate %d is in force", got)
	}
}

func TestDirectoryWithoutPairIsRefused(t *testing.T) {
	if _, err := Load(t.TempDir(), slog.New(slog.DiscardHandler)); err == nil {
		t.Error("loaded")
	}
}
