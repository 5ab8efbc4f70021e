package adminclient

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/shoal-storage/shoal/internal/logs"
	"github.com/shoal-storage/shoal/internal/trace"
)

// Trace calls visit for each call of any gateway that is of interest, as they end, until
// visit or the stream fails, and returns that error; never nil. It is io.EOF when the
// gateway has ended the stream.
func (c *Client) Trace(ctx context.Context, i trace.Interest, visit func(*trace.Call) error) error {
	query := url.Values{
		"s3":       {strconv.FormatBool(i.Types&trace.S3 != 0)},
		"internal": {strconv.FormatBool(i.Types&trace.Internal != 0)},
		"err":      {strconv.FormatBool(i.Errors)},
	}
	if i.Threshold > 0 {
		query.Set("threshold", i.Threshold.String())
	}
	return stream(ctx, c, "trace", query, visit)
}

// Logs calls visit for each line that any gateway has logged, and then logs, as far as it
// is of interest. It ends as Trace does. No Last is as many lines as are kept.
func (c *Client) Logs(ctx context.Context, i logs.Interest, visit func(*logs.Line) error) error {
	kind, known := map[logs.Kind]string{"": "all", logs.Request: "application", logs.Process: "minio"}[i.Kind]
	if !known {
		return fmt.Errorf("there is no kind %q of lines", i.Kind)
	}
	query := url.Values{"node": {i.Node}, "limit": {strconv.Itoa(i.Last)}, "logType": {kind}}
	return stream(ctx, c, "log", query, visit)
}

// stream calls visit for each document of an answer that goes on.
func stream[T any](ctx context.Context, c *Client, path string, query url.Values, visit func(*T) error) error {
	resp, err := c.send(ctx, call{method: http.MethodGet, path: path, query: query}, nil)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }() // the error is that of reading
	for d := json.NewDecoder(resp.Body); ; {
		var v T
		if err := d.Decode(&v); err != nil {
			return fmt.Errorf("read the answer to %s: %w", path, err)
		}
		if err := visit(&v); err != nil {
			return err
		}
	}
}
