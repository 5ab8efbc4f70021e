package target_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/shoal-storage/shoal/internal/events"
	"github.com/shoal-storage/shoal/internal/events/target"
)

// serveRedis answers each command by answer, on any number of connections, and returns
// its address. An empty answer ends the connection.
func serveRedis(t *testing.T, answer func(command []string) string) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	var mu sync.Mutex
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				for in := bufio.NewReader(c); ; {
					command, err := readCommand(in)
					if err != nil {
						return
					}
					mu.Lock()
					reply := answer(command)
					mu.Unlock()
					if reply == "" {
						return
					}
					_, _ = io.WriteString(c, reply)
				}
			}()
		}
	}()
	return ln.Addr().String()
}

func readCommand(in *bufio.Reader) ([]string, error) {
	number := func(mark byte) (int, error) {
		line, err := in.ReadString('\n')
		if err != nil || line[0] != mark {
			return 0, errors.Join(err, errors.New("no command"))
		}
		return strconv.Atoi(strings.TrimSpace(line[1:]))
	}
	n, err := number('*')
	if err != nil {
		return nil, err
	}
	words := make([]string, n)
	for i := range words {
		size, err := number('$')
		if err != nil {
			return nil, err
		}
		word := make([]byte, size+2)
		if _, err := io.ReadFull(in, word); err != nil {
			return nil, err
		}
		words[i] = string(word[:size])
	}
	return words, nil
}

func TestRedisGetsWhatMinIOWrites(t *testing.T) {
	for _, tt := range []struct {
		format string
		name   events.Name
		want   []string
	}{
		{"", events.CreatedPut, []string{"HSET", "key", "bucket/a b", `{"Records":[{"s3":{}}]}`}},
		{"namespace", events.Removed, []string{"HDEL", "key", "bucket/a b"}},
		{"access", events.Removed, []string{"RPUSH", "key", `[{"Event":[{"s3":{}}],"EventTime":"2026-02-03T04:05:06Z"}]`}},
	} {
		commands := make(chan []string, 2)
		address := serveRedis(t, func(command []string) string {
			commands <- command
			return ":1\r\n"
		})
		to := open(t, "redis", target.Settings{"address": address, "key": "key", "format": tt.format, "user": "u", "password": "p"})
		if err := to.Send(t.Context(), message(tt.name, "a b")); err != nil {
			t.Fatal(err)
		}
		if got := <-commands; !slices.Equal(got, []string{"AUTH", "u", "p"}) {
			t.Errorf("it was asked %q first", got)
		}
		if got := <-commands; !slices.Equal(got, tt.want) {
			t.Errorf("%s, %s: it was asked %q, want %q", tt.format, tt.name, got, tt.want)
		}
	}
}

// TestRedisIsAskedAgainAfterAnError has it refuse, break off and talk nonsense.
func TestRedisIsAskedAgainAfterAnError(t *testing.T) {
	answers := []string{"-OOM no room\r\n", "", "$3\r\nfoo\r\n", strings.Repeat("x", 1<<16), ":1\r\n"}
	address := serveRedis(t, func([]string) string {
		next := answers[0]
		answers = answers[1:]
		return next
	})
	to := open(t, "redis", target.Settings{"address": address, "key": "key"})
	for i := range 5 {
		err := to.Send(t.Context(), message(events.CreatedPut, "k"))
		if (err == nil) != (i == 4) || errors.Is(err, events.ErrRefused) {
			t.Errorf("time %d: %v", i, err)
		}
	}
}
