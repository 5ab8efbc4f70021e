package gateway

import (
	"bufio"
	"crypto/md5" //nolint:gosec // S3 defines the ETag by MD5.
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
)

// TestTheETagsOfManyLargeObjectsAtOnceAreTheirMD5 has uploads under way together, which
// share what computes their MD5, and breaks off every third of them.
func TestTheETagsOfManyLargeObjectsAtOnceAreTheirMD5(t *testing.T) {
	f := withBucket(t)
	type upload struct {
		conn    *net.TCPConn
		answer  *bufio.Reader
		content string
	}
	for round := range 2 {
		var all []upload
		for i := range 9 {
			content := strings.Repeat(fmt.Sprintf("%d.%d ", round, i), lanesFrom/4+i)
			c, r := f.raw(f.rawRequest(call{method: "PUT", path: fmt.Sprintf("/bucket/%d", i)}, len(content)))
			all = append(all, upload{c, r, content})
			if _, err := io.WriteString(c, content[:len(content)/2]); err != nil {
				t.Fatal(err)
			}
		}
		for i, u := range all {
			if i%3 == 2 {
				if err := u.conn.Close(); err != nil {
					t.Fatal(err)
				}
				continue
			}
			if _, err := io.WriteString(u.conn, u.content[len(u.content)/2:]); err != nil {
				t.Fatal(err)
			}
			got := readReply(t, u.answer)
			if want := fmt.Sprintf("%q", fmt.Sprintf("%x", md5.Sum([]byte(u.content)))); got.status != 200 || got.header.Get("ETag") != want { //nolint:gosec // as above
				t.Errorf("upload %d: %d, %s, want %s", i, got.status, got.header.Get("ETag"), want)
			}
		}
	}
}
