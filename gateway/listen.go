package gateway

import (
	"context"
	"io"
	"strconv"
	"time"

	"github.com/shoal-storage/shoal/internal/events"
	"github.com/shoal-storage/shoal/internal/relay"
)

// The answer to who listens is lines of JSON, each with the records of events. In
// between come spaces, which JSON ignores, or, every so many seconds as the parameter
// ping asks for, lines without records.
const (
	spaceEvery = 5 * time.Second
	maxPing    = 3600 // seconds
	noRecords  = `{"Records":[]}` + "\n"
)

// listen serves ListenBucketNotification and, without a bucket, ListenNotification,
// which are MinIO's.
func (s *Server) listen(ctx context.Context, r *request) error {
	if s.Events == nil {
		return errNotImplemented.with("This gateway does not tell of events.")
	}
	interest := events.Interest{Bucket: r.bucket, Prefix: r.query.get("prefix"), Suffix: r.query.get("suffix")}
	for _, p := range r.query {
		if p.name == "events" && p.value != "" {
			interest.Events = append(interest.Events, p.value)
		}
	}
	if err := interest.Validate(); err != nil {
		return fromEvents(err)
	}
	beat := listenBeat{every: spaceEvery, text: " "}
	if ping := r.query.get("ping"); ping != "" {
		seconds, err := strconv.Atoi(ping)
		if err != nil || seconds < 1 || seconds > maxPing {
			return errInvalidArgument.detailed("ArgumentName", "ping").detailed("ArgumentValue", ping)
		}
		beat = listenBeat{every: time.Duration(seconds) * time.Second, text: noRecords}
	}
	if r.bucket != "" {
		if _, err := s.Store.StatBucket(ctx, r.bucket); err != nil {
			return err
		}
	}
	l, err := s.Events.Listen(s.attending, interest)
	if err != nil {
		return fromEvents(err)
	}
	r.set("Content-Type", "text/event-stream")
	r.set("Cache-Control", "no-cache")
	// The first beat makes the header go out.
	r.ctx.Response.SetBodyStream(&listenBody{listener: l, beat: beat, next: []byte(" ")}, -1)
	return nil
}

// listenBeat is what keeps a connection alive on which nothing happens.
type listenBeat struct {
	every time.Duration
	text  string
}

// listenBody is the answer to a listener, as long as it listens.
type listenBody struct {
	listener *relay.Listener
	beat     listenBeat
	next     []byte // to be read first
}

// Read waits for an event, or until it is time for a beat.
func (b *listenBody) Read(p []byte) (int, error) {
	if len(b.next) == 0 {
		timer := time.NewTimer(b.beat.every)
		defer timer.Stop()
		select {
		case line := <-b.listener.Lines():
			b.next = append(append(make([]byte, 0, len(line)+1), line...), '\n')
		case <-timer.C:
			b.next = []byte(b.beat.text)
		case <-b.listener.Context().Done():
			return 0, io.EOF
		}
	}
	n := copy(p, b.next)
	b.next = b.next[n:]
	return n, nil
}

// Close is called when the client is gone or the answer has ended.
func (b *listenBody) Close() error {
	b.listener.Close()
	return nil
}
