// Package certs keeps the TLS certificates of a directory: a pair for
// everybody, and pairs in subdirectories for the names they are made out to.
// Pairs that change are taken up at once, without dropping a connection.
package certs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/fsnotify/fsnotify"
)

// The files of a pair, PEM.
const (
	CertFile = "public.crt"
	KeyFile  = "private.key"
)

// authorities is the directory beside the pairs that holds CA certificates.
const authorities = "CAs"

// Certs is the certificates of a directory. Close it when it is used no more.
type Certs struct {
	dir     string
	log     *slog.Logger
	current atomic.Pointer[set]
	watcher *fsnotify.Watcher
	stop    context.CancelFunc
	done    chan struct{}
}

// set is one state of the directory.
type set struct {
	main   *tls.Certificate
	byName map[string]*tls.Certificate // lower case; "*.example.com" for wildcards
}

// Load reads the directory and goes on watching it. A pair must be in the
// directory itself; every subdirectory with a pair is for the names in its
// certificate.
func Load(dir string, log *slog.Logger) (*Certs, error) {
	first, err := read(dir)
	if err != nil {
		return nil, err
	}
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, fmt.Errorf("watch %s: %w", dir, err)
	}
	ctx, cancel := context.WithCancel(context.Background()) //nolint:forbidigo // the watch lives as long as Certs does
	c := &Certs{dir: dir, log: log, watcher: watcher, stop: cancel, done: make(chan struct{})}
	c.current.Store(first)
	if err := c.watchDirs(); err != nil {
		cancel()
		return nil, errors.Join(err, watcher.Close())
	}
	go c.watch(ctx)
	return c, nil
}

// Close ends the watching. Config stays usable with the last certificates.
func (c *Certs) Close() {
	c.stop()
	<-c.done
	if err := c.watcher.Close(); err != nil {
		c.log.Warn("end watching certificates", "error", err)
	}
}

// Config returns a server configuration that always uses the newest
// certificates.
func (c *Certs) Config() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: []string{"http/1.1"},
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			return c.current.Load().find(hello.ServerName), nil
		},
	}
}

// Authorities returns the certificates (PEM) in the directory "CAs" below dir: of those who
// may vouch for clients. That there are none is an error.
func Authorities(dir string) (*x509.CertPool, error) {
	dir = filepath.Join(dir, authorities)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("read authorities: %w", err)
	}
	pool, some := x509.NewCertPool(), false
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, fmt.Errorf("read authorities: %w", err)
		}
		some = pool.AppendCertsFromPEM(text) || some
	}
	if !some {
		return nil, fmt.Errorf("there is no certificate in %s", dir)
	}
	return pool, nil
}

// find returns the certificate for a name: its own, a wildcard's, or the main
// one.
func (s *set) find(name string) *tls.Certificate {
	name = strings.ToLower(name)
	if cert, ok := s.byName[name]; ok {
		return cert
	}
	if _, parent, ok := strings.Cut(name, "."); ok {
		if cert, ok := s.byName["*."+parent]; ok {
			return cert
		}
	}
	return s.main
}

func read(dir string) (*set, error) {
	main, err := readPair(dir)
	if err != nil {
		return nil, err
	}
	s := &set{main: main, byName: map[string]*tls.Certificate{}}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("read certificates: %w", err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") || e.Name() == authorities {
			continue
		}
		sub := filepath.Join(dir, e.Name())
		if info, err := os.Stat(sub); err != nil || !info.IsDir() {
			continue
		}
		cert, err := readPair(sub)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		s.add(e.Name(), cert)
	}
	return s, nil
}

// add enters the certificate under the names in it, or under the directory's
// where it names none.
func (s *set) add(dirName string, cert *tls.Certificate) {
	names := cert.Leaf.DNSNames
	if len(names) == 0 {
		names = []string{dirName}
	}
	for _, name := range names {
		s.byName[strings.ToLower(name)] = cert
	}
}

func readPair(dir string) (*tls.Certificate, error) {
	cert, err := tls.LoadX509KeyPair(filepath.Join(dir, CertFile), filepath.Join(dir, KeyFile))
	if err != nil {
		return nil, fmt.Errorf("read certificate pair in %s: %w", dir, err)
	}
	if cert.Leaf == nil {
		if cert.Leaf, err = x509.ParseCertificate(cert.Certificate[0]); err != nil {
			return nil, fmt.Errorf("parse certificate in %s: %w", dir, err)
		}
	}
	return &cert, nil
}

// watchDirs watches the directory and its subdirectories, not the files: pairs
// are mostly replaced by rename, and secrets in containers by turning a
// symbolic link.
func (c *Certs) watchDirs() error {
	if err := c.watcher.Add(c.dir); err != nil {
		return fmt.Errorf("watch %s: %w", c.dir, err)
	}
	entries, err := os.ReadDir(c.dir)
	if err != nil {
		return fmt.Errorf("watch certificates: %w", err)
	}
	for _, e := range entries {
		sub := filepath.Join(c.dir, e.Name())
		if info, err := os.Stat(sub); err != nil || !info.IsDir() || e.Name() == authorities {
			continue
		}
		if err := c.watcher.Add(sub); err != nil {
			return fmt.Errorf("watch %s: %w", sub, err)
		}
	}
	return nil
}

// settle is how long the directory must be still before it is read: the two
// files of a pair never change at the same instant.
const settle = 200 * time.Millisecond

// watch reads the directory again whenever it has changed. A state that cannot
// be used is logged and the last good one kept.
func (c *Certs) watch(ctx context.Context) {
	defer close(c.done)
	timer := time.NewTimer(settle)
	timer.Stop()
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case _, ok := <-c.watcher.Events:
			if !ok {
				return
			}
			timer.Reset(settle)
		case err, ok := <-c.watcher.Errors:
			if !ok {
				return
			}
			c.log.Warn("watch certificates", "error", err)
			timer.Reset(settle) // events may be lost: look
		case <-timer.C:
			c.reload()
		}
	}
}

func (c *Certs) reload() {
	next, err := read(c.dir)
	if err != nil {
		c.log.Error("certificates changed and cannot be used; the last ones stay in force", "error", err)
		return
	}
	c.current.Store(next)
	if err := c.watchDirs(); err != nil {
		c.log.Warn("watch certificates", "error", err)
	}
	c.log.Info("certificates loaded", "dir", c.dir, "names", len(next.byName), "expires", next.main.Leaf.NotAfter)
}
