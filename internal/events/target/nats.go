package target

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/shoal-storage/shoal/internal/events"
)

// subject publishes events on a NATS subject: to who listens, or, with JetStream, into
// the stream that keeps it.
type subject struct {
	conn   *nats.Conn
	stream jetstream.JetStream // nil without
	name   string
}

const natsReconnect = time.Second

func openNATS(_ context.Context, s Settings) (events.Sender, error) {
	address, err := s.required("address")
	if err != nil {
		return nil, err
	}
	name, err := s.required("subject")
	if err != nil {
		return nil, err
	}
	options, err := natsOptions(s)
	if err != nil {
		return nil, err
	}
	conn, err := nats.Connect(address, options...)
	if err != nil {
		return nil, errors.New("address, or what else says how to connect, is not valid") // its text may hold a password
	}
	to := &subject{conn: conn, name: name}
	if s.On("jetstream") {
		if to.stream, err = jetstream.New(conn); err != nil {
			conn.Close()
			return nil, fmt.Errorf("use JetStream: %w", err)
		}
	}
	return to, nil
}

func natsOptions(s Settings) ([]nats.Option, error) {
	options := []nats.Option{
		nats.Name("shoal"), nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1), nats.ReconnectWait(natsReconnect),
		nats.ReconnectBufSize(-1), // what is published meanwhile fails: it waits in a better place
	}
	if seconds, err := s.number("ping_interval", 0); err != nil {
		return nil, err
	} else if seconds > 0 {
		options = append(options, nats.PingInterval(time.Duration(seconds)*time.Second))
	}
	switch {
	case s["username"] != "":
		options = append(options, nats.UserInfo(s["username"], s["password"]))
	case s["token"] != "":
		options = append(options, nats.Token(s["token"]))
	case s["user_credentials"] != "":
		options = append(options, nats.UserCredentials(s["user_credentials"]))
	case s["nkey_seed"] != "":
		o, err := nats.NkeyOptionFromSeed(s["nkey_seed"])
		if err != nil {
			return nil, errors.New("nkey_seed does not name a file with a seed")
		}
		options = append(options, o)
	}
	if s.On("tls") || s.On("tls_handshake_first") || strings.HasPrefix(s["address"], "tls://") {
		config, err := s.tls()
		if err != nil {
			return nil, err
		}
		options = append(options, nats.Secure(config))
		if s.On("tls_handshake_first") {
			options = append(options, nats.TLSHandshakeFirst())
		}
	}
	return options, nil
}

// Send implements events.Sender.
func (to *subject) Send(ctx context.Context, m *events.Message) error {
	body, err := m.Body()
	if err != nil {
		return err
	}
	if to.stream != nil {
		_, err = to.stream.Publish(ctx, to.name, body)
	} else if err = to.conn.Publish(to.name, body); err == nil {
		err = to.conn.FlushWithContext(ctx) // the server has it when it answers
	}
	if errors.Is(err, nats.ErrMaxPayload) {
		err = errors.Join(err, events.ErrRefused)
	}
	if err != nil {
		return fmt.Errorf("publish to NATS: %w", err)
	}
	return nil
}

// Close implements events.Sender.
func (to *subject) Close() error {
	to.conn.Close()
	return nil
}
