package adminclient

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

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
	resp, err := c.send(ctx, call{method: http.MethodGet, path: "trace", query: query}, nil)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }() // the error is that of reading
	for d := json.NewDecoder(resp.Body); ; {
		var traced trace.Call
		if err := d.Decode(&traced); err != nil {
			return fmt.Errorf("read the trace: %w", err)
		}
		if err := visit(&traced); err != nil {
			return err
		}
	}
}
