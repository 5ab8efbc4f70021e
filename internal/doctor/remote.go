package doctor

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

// actTime bounds an Act of the other host: a file server may stand still for a while.
const actTime = 30 * time.Second

// maxLine bounds what one host says to the other, in bytes.
const maxLine = 64 << 10

// question is what one host says to the other: an Act in a directory, or a report,
// which is the last.
type question struct {
	Dir    string    `json:"dir,omitempty"`
	Act    Act       `json:"act,omitzero"`
	Report []Finding `json:"report,omitempty"`
}

// Remote is a Hand on another host, which Answer acts for at the other end of Conn.
// It is for one goroutine.
type Remote struct {
	Conn net.Conn
	Dir  string // in which it acts there
	in   *bufio.Reader
}

// Act implements Hand.
func (r *Remote) Act(ctx context.Context, a Act) (seen Seen, err error) {
	if ctx.Err() != nil {
		return seen, context.Cause(ctx)
	}
	if r.in == nil {
		r.in = bufio.NewReaderSize(r.Conn, maxLine)
	}
	deadline := time.Now().Add(actTime)
	if end, ok := ctx.Deadline(); ok && end.Before(deadline) {
		deadline = end
	}
	if err := r.Conn.SetDeadline(deadline); err != nil {
		return seen, err
	}
	if err := json.NewEncoder(r.Conn).Encode(question{Dir: r.Dir, Act: a}); err != nil {
		return seen, fmt.Errorf("ask the other host: %w", err)
	}
	line, err := r.in.ReadSlice('\n')
	if err == nil {
		err = json.Unmarshal(line, &seen)
	}
	if err != nil {
		return seen, fmt.Errorf("hear from the other host: %w", err)
	}
	if seen.Error != "" {
		return seen, errors.New("on the other host: " + seen.Error)
	}
	return seen, nil
}

// Tell sends what was found to the other host.
func (r *Remote) Tell(found []Finding) error {
	if err := r.Conn.SetDeadline(time.Now().Add(actTime)); err != nil {
		return err
	}
	return json.NewEncoder(r.Conn).Encode(question{Report: found})
}

// mirrored returns what the other host has found as this one says it.
func mirrored(found []Finding) []Finding {
	sides := strings.NewReplacer(thisHost, otherHost, otherHost, thisHost)
	for i := range found {
		found[i].Check = sides.Replace(found[i].Check)
	}
	return found
}

// Answer acts for a Remote at the other end of conn until it has told what it found,
// which Answer returns, or hangs up.
func Answer(ctx context.Context, conn net.Conn, c *Client) ([]Finding, error) {
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() }) // what waits for it ends
	defer stop()
	in, out := bufio.NewReaderSize(conn, maxLine), json.NewEncoder(conn)
	for {
		if err := conn.SetDeadline(time.Now().Add(2 * actTime)); err != nil {
			return nil, err
		}
		line, err := in.ReadSlice('\n')
		if errors.Is(err, io.EOF) {
			return nil, nil
		}
		var q question
		if err == nil {
			err = json.Unmarshal(line, &q)
		}
		if err != nil {
			return nil, fmt.Errorf("hear from the other host: %w", err)
		}
		if q.Report != nil {
			return mirrored(q.Report), nil
		}
		at := *c
		at.Dir = q.Dir
		seen, err := at.Act(ctx, q.Act)
		if err != nil {
			seen.Error = err.Error()
		}
		if err := out.Encode(seen); err != nil {
			return nil, fmt.Errorf("answer the other host: %w", err)
		}
	}
}
