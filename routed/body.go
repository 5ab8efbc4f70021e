package routed

import (
	"errors"
	"io"

	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/internal/object/remote"
)

// body is a body while whose content comes in the bucket is not touched: so it may
// pass to another gateway however long that takes. At the end of the body the
// call is in its tenure again, or fails. What has passed on before anything was
// read is the next owner's.
type body struct {
	object.Body
	tenures *tenures
	tenure  *tenure
	begun   bool
	outside bool
}

// Read implements object.Body.
func (b *body) Read(p []byte) (int, error) {
	if !b.begun && !b.tenures.goesOn(b.tenure) {
		return 0, object.E("receive", b.tenure.bucket, object.Unavailable, errors.Join(remote.ErrAgain, errPassed))
	}
	b.begun = true
	if !b.outside {
		b.outside = true
		b.tenures.leave(b.tenure)
	}
	n, err := b.Body.Read(p)
	if err == nil && b.tenure.ctx.Err() == nil {
		return n, nil
	}
	b.outside = false
	if !b.tenures.comeBack(b.tenure) && (err == nil || errors.Is(err, io.EOF)) {
		return 0, object.E("receive", b.tenure.bucket, object.Unavailable, errPassed)
	}
	return n, err
}
