package neighbours

import (
	"context"
	"log/slog"
	"net"
	"testing"
)

// BenchmarkHold is what a replacement costs beside the file server's part, over bare TCP:
// with two neighbours, and with two gateways of other hosts.
func BenchmarkHold(b *testing.B) {
	for name, mount := range map[string]string{"neighbours": "here", "strangers": "there"} {
		b.Run(name, func(b *testing.B) {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				b.Fatal(err)
			}
			defer ln.Close() //nolint:errcheck // nobody comes any more
			quiet := slog.New(slog.DiscardHandler)
			other := New(b.Context(), Config{Here: mount, LetGo: func(string) func() { return func() {} }, Logger: quiet})
			go func() {
				for {
					c, err := ln.Accept()
					if err != nil {
						return
					}
					go other.Serve(c)
				}
			}()
			g := New(b.Context(), Config{
				Here: "here", Logger: quiet, Others: func() []Peer { return []Peer{{Node: "b"}, {Node: "c"}} },
				Dial: func(ctx context.Context, _ Peer) (net.Conn, error) {
					return new(net.Dialer).DialContext(ctx, "tcp", ln.Addr().String())
				},
			})
			defer g.Close()
			b.ReportAllocs()
			for b.Loop() {
				g.Hold("bucket/dir/key")()
			}
		})
	}
}
