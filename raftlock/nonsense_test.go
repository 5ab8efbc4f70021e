package raftlock

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/shoal-storage/shoal/raftlock/protocol"
)

// logText is a log that can be read while it is written.
type logText struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logText) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), text)
}

// inLoggedWorld is inWorld, with all that the nodes log.
func inLoggedWorld(t *testing.T, nodes int, scenario func(t *testing.T, w *world, log *logText)) {
	t.Helper()
	inWorld(t, 0, func(t *testing.T, w *world) {
		log := &logText{}
		w.log = slog.New(slog.NewTextHandler(log, nil))
		for i := range nodes {
			w.start(string(rune('a' + i)))
		}
		w.whole(t)
		scenario(t, w, log)
	})
}

// frame puts a length in front of what a connection is told.
func frame(content string) string {
	return string(binary.BigEndian.AppendUint32(nil, uint32(len(content)))) + content
}

// hello is what a link begins with, from a session of this life.
func (l *life) hello() string {
	sid := strconv.FormatUint(uint64(l.session.sid), 10)
	return string(binary.BigEndian.AppendUint32(nil, l.generation)) + string(rune(len(sid))) + sid
}

// A node of the cluster that says what makes no sense loses its connection, is
// logged once, and nothing else comes of it.
func TestANodeThatTalksNonsenseIsHungUpOn(t *testing.T) {
	release := string(protocol.AppendMessage(nil, protocol.Release{Slot: 1, Request: 1}))
	for name, tt := range map[string]struct {
		protocol string
		says     func(l *life) string
		lines    int // that are logged
	}{
		"a frame that is too long":     {lockProtocol, func(l *life) string { return l.hello() + "\xff\xff\xff\xff" }, 1},
		"a frame of garbage":           {lockProtocol, func(l *life) string { return l.hello() + frame("\xff\xff\xff") }, 1},
		"a message that does not end":  {lockProtocol, func(l *life) string { return l.hello() + frame(string(rune(l.session.sid))+"\x01\x01") }, 1},
		"who speaks for another":       {lockProtocol, func(l *life) string { return l.hello() + frame("\x7f\x01"+release) }, 1},
		"a call that is too long":      {callProtocol, func(*life) string { return "\x7f\xff\xff\xff" }, 1},
		"a call that is none":          {callProtocol, func(*life) string { return frame("GET / HTTP/1.1") }, 1},
		"who means another generation": {lockProtocol, func(*life) string { return "\x00\x00\x00\x09\x015" }, 0},
		"an order that is none":        {relayProtocol, func(*life) string { return "\x00\x00\x00\x01x" }, 0},
		"an order for nobody":          {relayProtocol, func(*life) string { return frame(`{"Address":"x:1","Node":"x"}`) }, 0},
		"a protocol that there is not": {relayedProtocol, func(*life) string { return frame(`{"From":"x","Protocol":"x"}`) }, 0},
		"garbage by way of another node": {relayedProtocol, func(l *life) string {
			return frame(`{"From":"`+l.node.cfg.Node+`","Protocol":"`+lockProtocol+`"}`) + l.hello() + frame("\xff\xff\xff")
		}, 1},
		"who means another node of Raft": {raftProtocol, func(*life) string { return "\x00\x00\x00\x01\x03x.1" }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			inLoggedWorld(t, 2, func(t *testing.T, w *world, log *logText) {
				a, b := w.running["a"], w.running["b"]
				c, err := a.net.Dial(context.Background(), "b:1", b.node.cfg.Node, tt.protocol)
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				if _, err := io.WriteString(c, tt.says(a.node.currentLife())); err != nil {
					t.Fatal(err)
				}
				_, _ = io.Copy(io.Discard, c) // until it is closed
				if lines := log.count("makes no sense"); lines != tt.lines {
					t.Errorf("%d log lines, not %d", lines, tt.lines)
				}
				w.whole(t)
				take(t, a, time.Second, ownedBy(b.node, true, 1)[0])
				take(t, b, time.Second, ownedBy(a.node, true, 1)[0])
			})
		})
	}
}

// A virtual machine can be copied with a gateway that runs in it.
func TestATwinOfANodeIsLeftOut(t *testing.T) {
	inLoggedWorld(t, 3, func(t *testing.T, w *world, log *logText) {
		_, others := w.leader(t)
		twin := w.startAs("d", others[0].node.cfg.Node)
		time.Sleep(10 * time.Second)
		w.crash(twin)
		if lines := log.count("a running process was copied"); lines < 1 || lines > 3 { // one for each node that it asks
			t.Errorf("%d log lines", lines)
		}
		w.whole(t)
		for _, p := range others {
			ls, _ := take(t, p, time.Second, "o/bucket/k")
			ls.Release()
		}
	})
}

func TestAComplaintIsMadeOnce(t *testing.T) {
	one, other := errors.New("one"), errors.New("other")
	var said complaint
	for i, step := range []struct {
		err  error
		news bool
	}{{nil, false}, {one, true}, {one, false}, {other, true}, {one, false}, {nil, false}, {one, true}} {
		if got := said.about(step.err); got != step.news {
			t.Errorf("step %d, %v: %v", i, step.err, got)
		}
	}
}
