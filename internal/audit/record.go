package audit

import "time"

// Record is one request and what came of it, in the shape of version 1 of MinIO's audit
// log. Nothing in it is secret: who makes it sees to that.
type Record struct {
	Version   string            `json:"version"` // FormatVersion
	Time      time.Time         `json:"time"`    // of the answer
	Trigger   string            `json:"trigger"` // Incoming
	API       API               `json:"api"`
	Remote    string            `json:"remotehost,omitempty"` // address of the client
	RequestID string            `json:"requestID,omitempty"`
	UserAgent string            `json:"userAgent,omitempty"`
	Path      string            `json:"requestPath,omitempty"`
	Host      string            `json:"requestHost,omitempty"`
	Node      string            `json:"requestNode,omitempty"` // gateway
	Query     map[string]string `json:"requestQuery,omitempty"`
	Headers   map[string]string `json:"requestHeader,omitempty"`
	Answer    map[string]string `json:"responseHeader,omitempty"`
	// AccessKey is the one that the request names, be it proven or not: Error tells.
	AccessKey string `json:"accessKey,omitempty"`
	Parent    string `json:"parentUser,omitempty"` // user whose key it is
	Error     string `json:"error,omitempty"`      // code
}

// API is what was called.
type API struct {
	Name     string `json:"name,omitempty"`
	Bucket   string `json:"bucket,omitempty"`
	Object   string `json:"object,omitempty"`
	Status   string `json:"status,omitempty"` // in words
	Code     int    `json:"statusCode,omitempty"`
	Received int64  `json:"rx"` // bytes of the body
	Sent     int64  `json:"tx"`
	// Duration is from the request's header to the answer's.
	Duration   string `json:"timeToResponse,omitempty"`
	DurationNS string `json:"timeToResponseInNS,omitempty"`
}

// What is the same in all records.
const (
	FormatVersion = "1"
	Incoming      = "incoming"
)
