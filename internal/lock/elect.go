package lock

import (
	"context"
	"time"
)

// electAgain is how long Elect waits after a lock that it could not get, or has lost.
const electAgain = 10 * time.Second

// Elect has one of all who call it with the same name do something, as long as it lives:
// whoever holds the lock of the name. do should return when its context ends; if it
// returns before, it is called again after a while. Elect returns when ctx ends.
func Elect(ctx context.Context, locker Locker, name string, do func(held context.Context)) {
	for ctx.Err() == nil {
		lease, err := locker.Acquire(ctx, Exclusive, name)
		if err == nil {
			hold(ctx, lease, do)
		}
		Pause(ctx, electAgain)
	}
}

func hold(ctx context.Context, lease Lease, do func(held context.Context)) {
	defer lease.Release()
	held, stop := context.WithCancel(lease.Context())
	defer stop()
	defer context.AfterFunc(ctx, stop)()
	do(held)
}

// Pause waits, and reports whether ctx has not ended.
func Pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
