package target

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"github.com/shoal-storage/shoal/internal/events"
)

// published publishes events on an MQTT topic.
type published struct {
	client mqtt.Client
	topic  string
	qos    byte
}

// How an MQTT client behaves unless the settings say otherwise.
const (
	mqttReconnect = 5  // seconds
	mqttKeepAlive = 30 // seconds
	mqttQuiesce   = 250
)

var errDisconnected = errors.New("not connected")

func openMQTT(_ context.Context, s Settings) (events.Sender, error) {
	broker, err := s.required("broker")
	if err != nil {
		return nil, err
	}
	if u, err := url.Parse(broker); err != nil || u.Scheme == "" || u.Host == "" {
		return nil, errors.New("broker is not a URL such as tcp://host:1883")
	}
	topic, err := s.required("topic")
	if err != nil {
		return nil, err
	}
	qos, err := s.number("qos", 1)
	if err != nil || qos > 2 {
		return nil, errors.New("qos is none of 0, 1 and 2")
	}
	reconnect, err := s.seconds("reconnect_interval", mqttReconnect)
	if err != nil {
		return nil, err
	}
	alive, err := s.seconds("keep_alive_interval", mqttKeepAlive)
	if err != nil {
		return nil, err
	}
	config, err := s.tls()
	if err != nil {
		return nil, err
	}
	o := mqtt.NewClientOptions().AddBroker(broker).SetClientID("shoal-" + rand.Text()[:12]).SetUsername(s["username"]).SetPassword(s["password"]).
		SetTLSConfig(config).SetKeepAlive(alive).SetConnectRetry(true).SetConnectRetryInterval(reconnect).SetMaxReconnectInterval(reconnect).SetOrderMatters(false)
	to := &published{client: mqtt.NewClient(o), topic: topic, qos: byte(qos)}
	to.client.Connect() // and again until it succeeds
	return to, nil
}

// seconds returns a time that is given in seconds, or as in Go.
func (s Settings) seconds(name string, otherwise int) (time.Duration, error) {
	if d, err := time.ParseDuration(s[name]); err == nil && d >= 0 {
		return d, nil
	}
	n, err := s.number(name, otherwise)
	return time.Duration(n) * time.Second, err
}

// Send implements events.Sender.
func (to *published) Send(ctx context.Context, m *events.Message) error {
	body, err := m.Body()
	if err != nil {
		return err
	}
	if !to.client.IsConnectionOpen() {
		return fmt.Errorf("publish to MQTT: %w", errDisconnected)
	}
	token := to.client.Publish(to.topic, to.qos, false, body)
	select {
	case <-token.Done():
		err = token.Error()
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	if err != nil {
		return fmt.Errorf("publish to MQTT: %w", err)
	}
	return nil
}

// Close implements events.Sender.
func (to *published) Close() error {
	to.client.Disconnect(mqttQuiesce)
	return nil
}
