// Package target has the ways to the targets of events, one file for each kind.
package target

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/shoal-storage/shoal/internal/events"
)

// Kind is a kind of target.
type Kind struct {
	Type     string   // in ARNs
	Variable string   // in the names of variables
	Settings []string // that it has, in lower case
	open     func(ctx context.Context, s Settings) (events.Sender, error)
}

// Settings are those of one target, by their names in lower case. They are MinIO's.
type Settings map[string]string

// Kinds returns all kinds of targets.
func Kinds() []Kind {
	return []Kind{
		{"webhook", "WEBHOOK", withTLS("endpoint", "auth_token"), openWebhook},
		{"nats", "NATS", withTLS("address", "subject", "username", "password", "token", "nkey_seed", "user_credentials", "ping_interval",
			"jetstream", "tls", "tls_handshake_first"), openNATS},
		{"kafka", "KAFKA", withTLS("brokers", "topic", "sasl", "sasl_username", "sasl_password", "sasl_mechanism", "tls", "producer_compression_codec"), openKafka},
		{"amqp", "AMQP", withTLS("url", "exchange", "exchange_type", "routing_key", "mandatory", "durable", "no_wait", "internal", "auto_deleted", "delivery_mode"), openAMQP},
		{"mqtt", "MQTT", withTLS("broker", "topic", "qos", "username", "password", "reconnect_interval", "keep_alive_interval"), openMQTT},
		{"redis", "REDIS", withTLS("address", "key", "format", "user", "password", "tls"), openRedis},
		{"postgresql", "POSTGRES", []string{"connection_string", "table", "format", "max_open_connections"}, openPostgres},
	}
}

// common are settings of every kind. queue_dir is read and not needed: events wait on
// the storage.
func common() []string { return []string{"enable", "queue_limit", "queue_dir", "comment"} }

// withTLS returns settings together with those of TLS.
func withTLS(settings ...string) []string {
	return append(settings, "tls_ca", "client_cert", "client_key", "tls_skip_verify", "cert_authority", "client_tls_cert", "client_tls_key")
}

// Has reports whether targets of the kind have a setting.
func (k Kind) Has(setting string) bool {
	return slices.Contains(k.Settings, setting) || slices.Contains(common(), setting)
}

// Open returns the target of an ID. It does not look whether anybody is there: events
// wait until there is. Errors never tell a secret.
func (k Kind) Open(ctx context.Context, id string, s Settings) (events.Target, error) {
	t := events.Target{Destination: events.Destination{Type: k.Type, ID: id}}
	limit, err := s.number("queue_limit", events.DefaultLimit)
	if err != nil {
		return t, err
	}
	if limit < 1 {
		return t, errors.New("queue_limit must be at least 1")
	}
	t.Limit = limit
	t.Sender, err = k.open(ctx, s)
	return t, err
}

// Plain takes documents of any kind. Its methods are those of audit.Sender.
type Plain interface {
	SendDocument(ctx context.Context, key string, document []byte) error
	Close() error
}

// OpenPlain returns the way to a target for documents that are not events. Not every
// kind has one. Errors never tell a secret.
func (k Kind) OpenPlain(ctx context.Context, s Settings) (Plain, error) {
	sender, err := k.open(ctx, s)
	if err != nil {
		return nil, err
	}
	plain, ok := sender.(Plain)
	if !ok {
		return nil, errors.Join(errors.New("it takes nothing but events"), sender.Close())
	}
	return plain, nil
}

// required returns a setting that there must be.
func (s Settings) required(name string) (string, error) {
	if s[name] == "" {
		return "", errors.New(name + " is missing")
	}
	return s[name], nil
}

func (s Settings) number(name string, otherwise int) (int, error) {
	if s[name] == "" {
		return otherwise, nil
	}
	n, err := strconv.Atoi(s[name])
	if err != nil || n < 0 {
		return 0, errors.New(name + " is not a number")
	}
	return n, nil
}

// On reports whether a setting is switched on.
func (s Settings) On(name string) bool {
	switch strings.ToLower(s[name]) {
	case "on", "true", "yes", "1", "enable", "enabled":
		return true
	}
	return false
}

// tls returns how to talk TLS: by settings that name files, of which some kinds have
// other names in MinIO, and tls_skip_verify.
func (s Settings) tls() (*tls.Config, error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: s.On("tls_skip_verify")} //nolint:gosec // only who asks for it
	if file := cmp.Or(s["tls_ca"], s["cert_authority"]); file != "" {
		pem, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("read tls_ca: %w", err)
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(pem) {
			return nil, errors.New("tls_ca holds no certificate")
		}
	}
	cert, key := cmp.Or(s["client_cert"], s["client_tls_cert"]), cmp.Or(s["client_key"], s["client_tls_key"])
	if cert != "" || key != "" {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return nil, fmt.Errorf("read client_cert and client_key: %w", err)
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	return cfg, nil
}
