package main

import (
	"context"
	"fmt"
	"syscall"
	"testing"

	"github.com/shoal-storage/shoal/internal/object"
	"github.com/shoal-storage/shoal/raftlock"
)

func TestAChangeThatIsNotSavedIsToldByItsCause(t *testing.T) {
	unknown := func(cause error) error { return fmt.Errorf("set: %w: %w", raftlock.ErrUnknown, cause) }
	for _, tt := range []struct {
		err  error
		want object.Kind
	}{
		{syscall.ENOSPC, object.Full},
		{syscall.EDQUOT, object.Full},
		{syscall.EROFS, object.ReadOnly},
		{raftlock.ErrNoLeader, object.Unavailable},
		{unknown(syscall.ENOSPC), object.Unknown}, // it is in force, and may be on the storage one day
		{unknown(context.DeadlineExceeded), object.Unknown},
	} {
		if got := kindOfChange(fmt.Errorf("set: %w", tt.err)); got != tt.want {
			t.Errorf("%v: %v, want %v", tt.err, got, tt.want)
		}
	}
}
