package routed

import (
	"context"
	"sync"
)

// prover proves that this gateway was still an owner after a call of it had
// begun. What the call found is what was there then, or later: up to then nobody
// else had changed anything, and what the client of the file system has fetched
// since is newer. So a gateway that was frozen, and whose buckets have passed to
// others meanwhile, answers nothing from what it remembers.
//
// One proof serves all calls that began before it did.
type prover struct {
	ctx   context.Context
	prove func(ctx context.Context) error

	mu      sync.Mutex
	next    *proof // has not begun
	running bool
}

// proof is one question to the storage.
type proof struct {
	done chan struct{}
	err  error
}

// begin returns a proof that begins later than now.
func (p *prover) begin() *proof {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.next == nil {
		p.next = &proof{done: make(chan struct{})}
	}
	if !p.running {
		p.running = true
		go p.run()
	}
	return p.next
}

// run makes proofs as long as any are wanted.
func (p *prover) run() {
	for {
		p.mu.Lock()
		now := p.next
		p.next = nil
		p.running = now != nil
		p.mu.Unlock()
		if now == nil {
			return
		}
		now.err = p.prove(p.ctx)
		close(now.done)
	}
}

// wait returns nil once the proof is made.
func (f *proof) wait(ctx context.Context) error {
	select {
	case <-f.done:
		return f.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
