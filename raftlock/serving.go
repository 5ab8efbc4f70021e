package raftlock

import (
	"context"
	"time"

	"github.com/shoal-storage/shoal/raftlock/mount"
	"github.com/shoal-storage/shoal/raftlock/protocol"
)

// servingPace is how often Serving looks.
const servingPace = 250 * time.Millisecond

// Serving reports whether nodes keep the newest generation on a mount alive. Where it was not ended
// cleanly it watches for as long as a generation lives that nobody renews, by this machine's clock: so
// one whose nodes are all held up longer than that is taken for dead.
func Serving(ctx context.Context, m *mount.Mount) (bool, error) {
	first, err := m.Newest(ctx)
	if err != nil || first.Number == 0 || first.Closed {
		return false, err
	}
	for begun := time.Now(); time.Since(begun) < protocol.GenerationTTL; {
		sleep(ctx, servingPace)
		if err := context.Cause(ctx); err != nil {
			return false, err
		}
		now, err := m.Newest(ctx)
		if err != nil || now != first {
			return err == nil && !now.Closed, err
		}
	}
	return false, nil
}
