package target

import (
	"context"
	"errors"
	"fmt"
	"sync"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/shoal-storage/shoal/internal/events"
)

// exchange publishes events to an exchange of an AMQP 0-9-1 broker. Each counts as
// delivered when the broker has confirmed it.
type exchange struct {
	url      string
	settings Settings
	config   amqp.Config
	delivery uint8

	mu      sync.Mutex // also keeps what is returned beside what was published
	conn    *amqp.Connection
	channel *amqp.Channel
	returns chan amqp.Return
}

func openAMQP(_ context.Context, s Settings) (events.Sender, error) {
	address, err := s.required("url")
	if err != nil {
		return nil, err
	}
	if _, err := amqp.ParseURI(address); err != nil {
		return nil, errors.New("url is not one of amqp or amqps") // the error would show it
	}
	mode, err := s.number("delivery_mode", int(amqp.Persistent))
	if err != nil || mode != int(amqp.Transient) && mode != int(amqp.Persistent) {
		return nil, errors.New("delivery_mode is neither 1 nor 2")
	}
	config, err := s.tls()
	if err != nil {
		return nil, err
	}
	return &exchange{url: address, settings: s, delivery: uint8(mode), config: amqp.Config{TLSClientConfig: config, Properties: amqp.Table{"connection_name": "shoal"}}}, nil
}

// connect returns a channel. to.mu is held.
func (to *exchange) connect() (*amqp.Channel, error) {
	if to.channel != nil && !to.channel.IsClosed() {
		return to.channel, nil
	}
	if to.conn == nil || to.conn.IsClosed() {
		conn, err := amqp.DialConfig(to.url, to.config)
		if err != nil {
			return nil, fmt.Errorf("connect to AMQP: %w", err)
		}
		to.conn = conn
	}
	channel, err := to.conn.Channel()
	if err != nil {
		return nil, fmt.Errorf("open a channel of AMQP: %w", err)
	}
	if err := to.prepare(channel); err != nil {
		_ = channel.Close() // it serves nothing
		return nil, err
	}
	to.returns = channel.NotifyReturn(make(chan amqp.Return, 1))
	to.channel = channel
	return channel, nil
}

// prepare declares the exchange, if it is not the default one.
func (to *exchange) prepare(c *amqp.Channel) error {
	s := to.settings
	if name := s["exchange"]; name != "" {
		kind := s["exchange_type"]
		if kind == "" {
			kind = amqp.ExchangeDirect
		}
		err := c.ExchangeDeclare(name, kind, s.On("durable"), s.On("auto_deleted"), s.On("internal"), s.On("no_wait"), nil)
		if err != nil {
			return fmt.Errorf("declare an exchange of AMQP: %w", err)
		}
	}
	if err := c.Confirm(false); err != nil {
		return fmt.Errorf("have AMQP confirm: %w", err)
	}
	return nil
}

// errUnroutable says that no queue wants a message that is mandatory.
var errUnroutable = errors.New("no queue takes it")

// Send implements events.Sender.
func (to *exchange) Send(ctx context.Context, m *events.Message) error {
	body, err := m.Body()
	if err != nil {
		return err
	}
	to.mu.Lock()
	confirmation, err := to.publish(ctx, m, body)
	if err != nil || !to.settings.On("mandatory") {
		to.mu.Unlock()
	} else {
		// A broker returns a message before it confirms it.
		defer to.mu.Unlock()
	}
	if err != nil {
		return err
	}
	confirmed, err := confirmation.WaitContext(ctx)
	if err == nil && !confirmed {
		err = errors.New("the broker does not confirm")
	}
	if err == nil && to.settings.On("mandatory") {
		select {
		case <-to.returns:
			err = errUnroutable
		default:
		}
	}
	if err != nil {
		return fmt.Errorf("publish to AMQP: %w", err)
	}
	return nil
}

// publish publishes a message. to.mu is held.
func (to *exchange) publish(ctx context.Context, m *events.Message, body []byte) (*amqp.DeferredConfirmation, error) {
	channel, err := to.connect()
	if err != nil {
		return nil, err
	}
	s := to.settings
	confirmation, err := channel.PublishWithDeferredConfirmWithContext(ctx, s["exchange"], s["routing_key"], s.On("mandatory"), false, amqp.Publishing{
		ContentType: "application/json", DeliveryMode: to.delivery, Timestamp: m.Time, Body: body,
	})
	if err != nil {
		return nil, fmt.Errorf("publish to AMQP: %w", err)
	}
	return confirmation, nil
}

// Close implements events.Sender.
func (to *exchange) Close() error {
	to.mu.Lock()
	defer to.mu.Unlock()
	if to.conn == nil || to.conn.IsClosed() {
		return nil
	}
	if err := to.conn.Close(); err != nil {
		return fmt.Errorf("close AMQP: %w", err)
	}
	return nil
}
