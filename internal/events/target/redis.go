package target

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/shoal-storage/shoal/internal/events"
)

// The formats of targets that keep what they get: one entry for each object that is
// there, or one for each event.
const (
	namespace = "namespace"
	access    = "access"
)

// format returns the format of a target.
func (s Settings) format() (string, error) {
	switch f := s["format"]; f {
	case "":
		return namespace, nil
	case namespace, access:
		return f, nil
	}
	return "", errors.New("format is neither namespace nor access")
}

// hash keeps events in a Redis key: a hash of objects, or a list of events.
type hash struct {
	address        string
	user, password string
	tls            *tls.Config // nil: without
	key, format    string
	conns          *pool[*redisConn]
}

const redisConnections = 4

func openRedis(_ context.Context, s Settings) (events.Sender, error) {
	to := &hash{user: s["user"], password: s["password"]}
	var err error
	if to.address, err = s.required("address"); err != nil {
		return nil, err
	}
	if to.key, err = s.required("key"); err != nil {
		return nil, err
	}
	if to.format, err = s.format(); err != nil {
		return nil, err
	}
	if s.On("tls") {
		if to.tls, err = s.tls(); err != nil {
			return nil, err
		}
	}
	to.conns = newPool(redisConnections, to.dial, func(c *redisConn) { _ = c.Close() }) // what it has not answered is sent again
	return to, nil
}

// accessEvent is an event in a list, as MinIO has it there.
type accessEvent struct {
	Event     []json.RawMessage
	EventTime string
}

// Send implements events.Sender. A test event is nothing to keep.
func (to *hash) Send(ctx context.Context, m *events.Message) error {
	if m.Test() {
		return nil
	}
	command, err := to.command(m)
	if err != nil {
		return err
	}
	err = to.conns.use(ctx, func(c *redisConn) (bool, error) { return c.do(ctx, command...) })
	if err != nil {
		return fmt.Errorf("write to Redis: %w", err)
	}
	return nil
}

// command returns what an event is to Redis.
func (to *hash) command(m *events.Message) ([]string, error) {
	switch {
	case to.format == access:
		entry, err := json.Marshal([]accessEvent{{[]json.RawMessage{m.Record}, m.Time.UTC().Format(time.RFC3339Nano)}})
		return []string{"RPUSH", to.key, string(entry)}, err
	case m.Removes():
		return []string{"HDEL", to.key, m.Object()}, nil
	}
	value, err := m.Records()
	return []string{"HSET", to.key, m.Object(), string(value)}, err
}

// Close implements events.Sender.
func (to *hash) Close() error {
	to.conns.shut()
	return nil
}

// redisConn speaks RESP (https://redis.io/docs/latest/develop/reference/protocol-spec/)
// as far as it is needed: commands whose answers are one line. A client library for all
// of Redis would make up a quarter of the program.
type redisConn struct {
	net.Conn
	in *bufio.Reader
}

func (to *hash) dial(ctx context.Context) (*redisConn, error) {
	var plain net.Dialer
	dial := plain.DialContext
	if to.tls != nil {
		dial = (&tls.Dialer{Config: to.tls}).DialContext
	}
	conn, err := dial(ctx, "tcp", to.address)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	c := &redisConn{conn, bufio.NewReader(conn)}
	if to.password == "" {
		return c, nil
	}
	auth := []string{"AUTH", to.password}
	if to.user != "" {
		auth = []string{"AUTH", to.user, to.password}
	}
	if _, err := c.do(ctx, auth...); err != nil {
		return nil, errors.Join(fmt.Errorf("authenticate: %w", err), c.Close())
	}
	return c, nil
}

// do sends a command and reads its answer. It reports whether the connection is good
// for another one.
func (c *redisConn) do(ctx context.Context, command ...string) (good bool, err error) {
	deadline, _ := ctx.Deadline()
	if err := c.SetDeadline(deadline); err != nil {
		return false, fmt.Errorf("set a deadline: %w", err)
	}
	defer context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })()
	request := "*" + strconv.Itoa(len(command)) + "\r\n"
	for _, word := range command {
		request += "$" + strconv.Itoa(len(word)) + "\r\n" + word + "\r\n"
	}
	if _, err := c.Write([]byte(request)); err != nil {
		return false, fmt.Errorf("send: %w", err)
	}
	answer, err := c.in.ReadSlice('\n')
	if err != nil {
		return false, fmt.Errorf("read the answer: %w", err)
	}
	line := strings.TrimRight(string(answer), "\r\n")
	switch {
	case strings.HasPrefix(line, "+"), strings.HasPrefix(line, ":"):
		return true, nil
	case strings.HasPrefix(line, "-"):
		return true, errors.New(line[1:])
	}
	return false, errors.New("the answer is none of Redis")
}
