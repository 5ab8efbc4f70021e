package neighbours

import (
	"io"
	"log/slog"
	"net"
	"sync/atomic"
	"testing"
)

// FuzzServe has the other end say anything: whatever was let go of is free again when it
// has ended, and a stranger has nothing let go of.
func FuzzServe(f *testing.F) {
	f.Add([]byte("\x00\x04here\x00\x03keyd\x00\x05otherd"))
	f.Add([]byte("\x00\x05there\x00\x03key"))
	f.Add([]byte("\x00\x04here\xff\xffkey"))
	f.Fuzz(func(t *testing.T, said []byte) {
		var asked, held atomic.Int32
		g := New(t.Context(), Config{Here: "here", Logger: slog.New(slog.DiscardHandler), LetGo: func(string) func() {
			asked.Add(1)
			held.Add(1)
			return func() { held.Add(-1) }
		}})
		ours, theirs := net.Pipe()
		over := make(chan struct{})
		go func() {
			g.Serve(theirs)
			close(over)
		}()
		go func() { _, _ = io.Copy(io.Discard, ours) }() // whatever is answered
		_, _ = ours.Write(said)                          // it may have ended before
		_ = ours.Close()                                 // a pipe's does not fail
		<-over
		if n := held.Load(); n != 0 {
			t.Errorf("%d paths are held", n)
		}
		if stranger := len(said) < 6 || string(said[:6]) != "\x00\x04here"; stranger && asked.Load() > 0 {
			t.Error("a stranger was heard")
		}
	})
}
