package target

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/shoal-storage/shoal/internal/events"
)

// topic produces events to a Kafka topic. The name of the object is the record's key, so
// that what happens to one object stays in one partition, in order.
type topic struct{ client *kgo.Client }

func openKafka(_ context.Context, s Settings) (events.Sender, error) {
	brokers, err := s.required("brokers")
	if err != nil {
		return nil, err
	}
	name, err := s.required("topic")
	if err != nil {
		return nil, err
	}
	options := []kgo.Opt{
		kgo.ClientID("shoal"), kgo.SeedBrokers(strings.Split(strings.ReplaceAll(brokers, " ", ""), ",")...),
		kgo.DefaultProduceTopic(name), kgo.AllowAutoTopicCreation(), kgo.ProducerLinger(0),
	}
	codec, err := kafkaCodec(s["producer_compression_codec"])
	if err != nil {
		return nil, err
	}
	options = append(options, kgo.ProducerBatchCompression(codec))
	if s.On("tls") {
		config, err := s.tls()
		if err != nil {
			return nil, err
		}
		options = append(options, kgo.DialTLSConfig(config))
	}
	if s.On("sasl") {
		o, err := kafkaSASL(s)
		if err != nil {
			return nil, err
		}
		options = append(options, o)
	}
	client, err := kgo.NewClient(options...)
	if err != nil {
		return nil, fmt.Errorf("set up Kafka: %w", err)
	}
	return &topic{client}, nil
}

func kafkaCodec(name string) (kgo.CompressionCodec, error) {
	switch strings.ToLower(name) {
	case "", "none":
		return kgo.NoCompression(), nil
	case "gzip":
		return kgo.GzipCompression(), nil
	case "snappy":
		return kgo.SnappyCompression(), nil
	case "lz4":
		return kgo.Lz4Compression(), nil
	case "zstd":
		return kgo.ZstdCompression(), nil
	}
	return kgo.NoCompression(), errors.New("producer_compression_codec is none of none, gzip, snappy, lz4 and zstd")
}

func kafkaSASL(s Settings) (kgo.Opt, error) {
	user, password := s["sasl_username"], s["sasl_password"]
	switch strings.ToLower(s["sasl_mechanism"]) {
	case "", "plain":
		return kgo.SASL(plain.Auth{User: user, Pass: password}.AsMechanism()), nil
	case "sha256":
		return kgo.SASL(scram.Auth{User: user, Pass: password}.AsSha256Mechanism()), nil
	case "sha512":
		return kgo.SASL(scram.Auth{User: user, Pass: password}.AsSha512Mechanism()), nil
	}
	return nil, errors.New("sasl_mechanism is none of plain, sha256 and sha512")
}

// Send implements events.Sender.
func (to *topic) Send(ctx context.Context, m *events.Message) error {
	body, err := m.Body()
	if err != nil {
		return err
	}
	return to.SendDocument(ctx, m.Object(), body)
}

// SendDocument implements Plain.
func (to *topic) SendDocument(ctx context.Context, key string, document []byte) (err error) {
	produced := make(chan error, 1)
	to.client.Produce(ctx, &kgo.Record{Key: []byte(key), Value: document}, func(_ *kgo.Record, err error) { produced <- err })
	select {
	case err = <-produced:
	case <-ctx.Done(): // a record on its way is not called back
		err = context.Cause(ctx)
	}
	if errors.Is(err, kerr.MessageTooLarge) {
		err = errors.Join(err, events.ErrRefused)
	}
	if err != nil {
		return fmt.Errorf("produce to Kafka: %w", err)
	}
	return nil
}

// Close implements events.Sender.
func (to *topic) Close() error {
	to.client.Close()
	return nil
}
