package target

import (
	"context"
)

// pool lends connections, each to one user at a time. Its methods may be called
// concurrently.
type pool[C any] struct {
	dial  func(ctx context.Context) (C, error)
	close func(C)
	slots chan *C // nil: it is to be dialled
}

func newPool[C any](size int, dial func(ctx context.Context) (C, error), end func(C)) *pool[C] {
	p := &pool[C]{dial: dial, close: end, slots: make(chan *C, size)}
	for range size {
		p.slots <- nil
	}
	return p
}

// use lends a connection to f, which reports whether it can be used again.
func (p *pool[C]) use(ctx context.Context, f func(c C) (good bool, err error)) error {
	var c *C
	select {
	case c = <-p.slots:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if c == nil {
		fresh, err := p.dial(ctx)
		if err != nil {
			p.slots <- nil
			return err
		}
		c = &fresh
	}
	good, err := f(*c)
	if !good {
		p.close(*c)
		c = nil
	}
	p.slots <- c
	return err
}

// shut closes all connections, when none is in use.
func (p *pool[C]) shut() {
	for range cap(p.slots) {
		if c := <-p.slots; c != nil {
			p.close(*c)
		}
	}
}
