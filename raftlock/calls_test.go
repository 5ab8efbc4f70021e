package raftlock

import (
	"net"
	"testing"
	"testing/synctest"
	"time"
)

func TestAConnectionThatTheOtherEndMayHaveGivenUpIsNotUsedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newCalls(nil)
		defer k.close()
		here, there := net.Pipe()
		defer there.Close()
		k.keep("node", here)
		if c := k.take("node"); c != here {
			t.Fatalf("one that was used just now is not used again: %v", c)
		}
		k.keep("node", here)
		time.Sleep(idleCall - time.Second) // it is closed after idleCall, and what is asked takes time to get there
		if c := k.take("node"); c != nil {
			t.Errorf("%v is used", c)
		}
		if _, err := there.Read(make([]byte, 1)); err == nil {
			t.Error("it is kept open")
		}
	})
}
