// Package trace tells who wants to watch what each request asked for and was answered,
// at all gateways. The documents are those of MinIO, so that "mc admin trace" shows them.
package trace

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/shoal-storage/shoal/internal/relay"
)

// Type is a set of kinds of calls.
type Type uint64

// The kinds that there are.
const (
	S3       Type = 1 << 2 // calls of S3
	Internal Type = 1 << 3 // calls of the administration
)

// Call is one call of a gateway. Nothing in it is secret: who makes it sees to that.
type Call struct {
	Type     Type          `json:"type"` // one kind
	Node     string        `json:"nodename"`
	Function string        `json:"funcname"`
	Time     time.Time     `json:"time"`
	Path     string        `json:"path"`
	Took     time.Duration `json:"dur"`
	Bytes    int64         `json:"bytes,omitempty"`
	Error    string        `json:"error,omitempty"`
	HTTP     Exchange      `json:"http"`
}

// Exchange is what went over the wire, but for the bodies.
type Exchange struct {
	Request  Request  `json:"request"`
	Response Response `json:"response"`
	Stats    Stats    `json:"stats"`
}

// Request is what was asked for.
type Request struct {
	Time     time.Time           `json:"time"`
	Protocol string              `json:"proto"`
	Method   string              `json:"method"`
	Path     string              `json:"path,omitempty"`
	RawQuery string              `json:"rawquery,omitempty"`
	Headers  map[string][]string `json:"headers,omitempty"`
	Client   string              `json:"client"` // address
}

// Response is what was answered.
type Response struct {
	Time    time.Time           `json:"time"`
	Headers map[string][]string `json:"headers,omitempty"`
	Status  int                 `json:"statuscode,omitempty"`
}

// Stats is what it came to.
type Stats struct {
	Received        int64         `json:"inputbytes"` // of the body
	Sent            int64         `json:"outputbytes"`
	Latency         time.Duration `json:"latency"`
	TimeToFirstByte time.Duration `json:"timetofirstbyte"`
}

// failed is the least status that is an error.
const failed = 400

// Interest is what somebody wants to watch.
type Interest struct {
	Types     Type          // kinds of calls
	Errors    bool          // only what failed
	Threshold time.Duration // only what took longer; 0: all
}

// Wants implements relay.Interest.
func (i Interest) Wants(c *Call) bool {
	return i.Types&c.Type != 0 && (!i.Errors || c.HTTP.Response.Status >= failed) && (i.Threshold == 0 || c.Took > i.Threshold)
}

// Hub knows who watches. Its methods may be called concurrently.
type Hub = relay.Hub[Call, Interest]

// Encode returns a call as those get it who watch.
func Encode(c *Call) ([]byte, error) {
	line, err := json.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("encode a traced call: %w", err)
	}
	return line, nil
}
