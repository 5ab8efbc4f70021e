package raftlock

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/shoal-storage/shoal/raftlock/protocol"
)

// FuzzFrames reads frames as a link does: whatever comes, it ends, keeps within
// the bound, and what it takes for a message can be said again.
func FuzzFrames(f *testing.F) {
	frame := func(e protocol.Envelope) []byte {
		b := binary.AppendUvarint(make([]byte, 4), uint64(e.From))
		b = binary.AppendUvarint(b, uint64(e.To))
		b = protocol.AppendMessage(b, e.Message)
		binary.BigEndian.PutUint32(b, uint32(len(b)-4)) //nolint:gosec // small
		return b
	}
	f.Add(append(frame(protocol.Envelope{From: 1, To: 2, Message: protocol.Release{Slot: 3, Request: 4}}), 0, 0, 0, 0))
	f.Add(frame(protocol.Envelope{From: 1, To: 2, Message: protocol.Acquire{Slot: 3, Request: 4, Items: []protocol.Item{{Name: "o/b/k", Mode: 2}}}}))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bufio.NewReader(bytes.NewReader(b))
		for {
			content, err := readFrame(r)
			if err != nil {
				return
			}
			if len(content) > maxFrame {
				t.Fatalf("a frame of %d bytes", len(content))
			}
			e, err := parseFrame(content)
			if err != nil || e.Message == nil {
				continue
			}
			if again, err := parseFrame(frame(e)[4:]); err != nil || again.From != e.From || again.To != e.To {
				t.Fatalf("%+v came back as %+v, %v", e, again, err)
			}
		}
	})
}

// FuzzCalls has a node answer whatever comes as a call.
func FuzzCalls(f *testing.F) {
	for _, q := range []request{
		{Join: &joinRequest{ID: "a.1", Address: "a:1"}},
		{Generation: 1, Keep: &keepRequest{Session: 1, Number: 2}},
		{Propose: protocol.Encode(protocol.SetSetting{Name: "a", Value: []byte("b")})},
		{Applied: 7, Patience: time.Second},
		{Logged: 7, Patience: time.Second},
	} {
		b, err := json.Marshal(q)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte(`{"join":null,"propose":"####"}`))
	ctx, stop := context.WithCancelCause(context.Background())
	defer stop(errClosed)
	n := &Node{cfg: Config{Logger: testLog()}, ctx: ctx, fresh: make(chan struct{})}
	f.Fuzz(func(t *testing.T, content []byte) {
		ours, theirs := net.Pipe()
		done := make(chan struct{})
		go func() {
			n.answerCalls(theirs, "peer")
			close(done)
		}()
		frame := binary.BigEndian.AppendUint32(nil, uint32(len(content))) //nolint:gosec // small
		go func() { _, _ = ours.Write(append(frame, content...)) }()
		var a response
		if err := readJSON(ours, &a); err == nil && a.Error == "" {
			t.Errorf("a node in no generation agreed to %s", content)
		}
		_ = ours.Close()
		<-done
	})
}

func TestAPreambleIsBounded(t *testing.T) {
	for name, content := range map[string]string{
		"too long":  "\x00\x00\x00\x01\xff" + strings.Repeat("x", 255),
		"cut short": "\x00\x00\x00\x01\x05abc",
	} {
		ours, theirs := net.Pipe()
		go func() {
			_, _ = io.WriteString(ours, content)
			_ = ours.Close()
		}()
		if _, _, err := readPreamble(theirs); err == nil {
			t.Errorf("%s: accepted", name)
		}
		_ = theirs.Close()
	}
}
