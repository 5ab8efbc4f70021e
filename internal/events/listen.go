package events

import (
	"context"
	"encoding/json"
	"net"
	"strings"

	"github.com/shoal-storage/shoal/internal/relay"
)

// Interest is what a listener wants to hear.
type Interest struct {
	Bucket         string   // "" for all
	Events         []string // names and families; none: all
	Prefix, Suffix string
}

// Validate refuses events that there are not.
func (i Interest) Validate() error {
	for _, pattern := range i.Events {
		if standingOf(pattern) == unknown {
			return invalid{ErrArgument, "A specified event is not supported for notifications."}
		}
	}
	return nil
}

// Wants implements relay.Interest.
func (i Interest) Wants(e *Event) bool {
	return (i.Bucket == "" || i.Bucket == e.Bucket) && strings.HasPrefix(e.Key, i.Prefix) && strings.HasSuffix(e.Key, i.Suffix) &&
		(len(i.Events) == 0 || matchesAny(e.Name, i.Events))
}

// Listen returns a Listener that hears what happens at all gateways, those included
// that join later. Its lines are documents with one record each.
func (s *Service) Listen(ctx context.Context, interest Interest) (*relay.Listener, error) {
	return s.hub.Listen(ctx, interest)
}

// Listening reports whether anybody listens. It costs nothing.
func (s *Service) Listening() bool { return s.hub.Listening() }

// Serve tells a listener at another gateway what happens here, until the connection
// ends, which it closes.
func (s *Service) Serve(ctx context.Context, c net.Conn) error { return s.hub.Serve(ctx, c) }

// forListeners is an event as they get it.
func forListeners(e *Event) ([]byte, error) {
	body, err := e.encode("", string(e.Name))
	if err != nil {
		return nil, err
	}
	return encode(struct{ Records []json.RawMessage }{[]json.RawMessage{body}})
}
